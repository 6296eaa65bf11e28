"""Registration of the models in the Auto classes and pipelines of transformers, without importing them early.

`import modeling_lacl` installs an import hook for modules of both packages. Once the Auto classes are
imported, the modules of the models are imported as well. Once these are imported, they are registered, and
the installed package is connected to them. Either side may be imported first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def _register_configuration() -> None:
    from transformers import AutoConfig

    from .model.configuration_lacl import LaclConfig

    AutoConfig.register("lacl", LaclConfig, exist_ok=True)


def _register_models() -> None:
    from transformers import (
        AutoModel,
        AutoModelForTokenClassification,
        AutoTokenizer,
        PreTrainedTokenizerFast,
    )

    from .hub.installed import InstalledPackage
    from .model.configuration_lacl import LaclConfig
    from .model.modeling_lacl import LaclForTokenClassification, LaclModel
    from .model.saving_lacl import install_package

    install_package(InstalledPackage())
    AutoModel.register(LaclConfig, LaclModel, exist_ok=True)
    AutoModelForTokenClassification.register(LaclConfig, LaclForTokenClassification, exist_ok=True)
    # With a class for these models known, transformers never asks whether to run code of a tokenizer.
    AutoTokenizer.register(LaclConfig, fast_tokenizer_class=PreTrainedTokenizerFast, exist_ok=True)


def register_pipelines() -> None:
    """Register both pipelines in `transformers.pipeline`.

    `pipeline("few-shot-ner", model=…)` builds a `LaclPipeline`, by default with a released model.
    `pipeline("token-classification", model=…)` builds a `LaclTokenClassificationPipeline` for LACL models,
    and the same as before for all other models.
    """
    from transformers import AutoModelForTokenClassification
    from transformers.pipelines import PIPELINE_REGISTRY

    from .hub.bundled import RELEASED, released_folder
    from .model.pipeline_lacl import STANDARD_TASK, TASK, LaclPipeline

    if TASK not in PIPELINE_REGISTRY.get_supported_tasks():
        PIPELINE_REGISTRY.register_pipeline(
            TASK,
            pipeline_class=LaclPipeline,
            pt_model=AutoModelForTokenClassification,
            # A path, because transformers would look for the name of the model on the Hub.
            default={"model": (str(released_folder(RELEASED[0])), "main")},
            type="text",
        )
    _, standard, _ = PIPELINE_REGISTRY.check_task(STANDARD_TASK)
    if not hasattr(standard["impl"], "of_other_models"):
        by_model = _dispatch_by_model(standard["impl"])
        PIPELINE_REGISTRY.supported_tasks[STANDARD_TASK] = {**standard, "impl": by_model}


def _dispatch_by_model(others: Any) -> type:
    """Return a class that builds LACL's pipeline for its models, else `others` (a class or dotted name)."""
    from .model.configuration_lacl import LaclConfig
    from .model.pipeline_lacl import LaclTokenClassificationPipeline

    if isinstance(others, str):
        module, _, name = others.rpartition(".")
        others = getattr(
            import_module(module), name
        )  # transformers may register its pipelines by dotted name

    class ByModel(others):
        of_other_models = others

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            config = getattr(kwargs.get("model"), "config", None)
            is_lacl = getattr(config, "model_type", None) == LaclConfig.model_type
            return (LaclTokenClassificationPipeline if is_lacl else others)(*args, **kwargs)

    return ByModel


HOOKED_MODULES = {
    "transformers.models.auto.configuration_auto": "configuration_lacl",
    "transformers.models.auto.modeling_auto": "modeling_lacl",
    "transformers.pipelines": "pipeline_lacl",
}
"""Modules of transformers, and the modules of `model/` whose classes are registered in them."""

_REGISTER: dict[str, Callable[[], None]] = {
    f"{__package__}.model.configuration_lacl": _register_configuration,
    f"{__package__}.model.modeling_lacl": _register_models,
    f"{__package__}.model.pipeline_lacl": register_pipelines,
}


def install_import_hook() -> None:
    """Install the import hook that registers everything as soon as both packages are imported."""
    if any(isinstance(finder, _HookFinder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _HookFinder())
    for name in HOOKED_MODULES:
        if name in sys.modules:
            _after_import(name)


def _after_import(name: str) -> None:
    """Register the classes of a module of `model/`, or import it once its transformers module is loaded."""
    if name in _REGISTER:
        _REGISTER[name]()
        return
    own = f"{__package__}.model.{HOOKED_MODULES[name]}"
    if own not in sys.modules:  # otherwise it is being imported, and is registered afterwards
        import_module(own)


class _HookFinder(MetaPathFinder):
    """Finder that uses the other finders, and runs `_after_import` after some modules are executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in HOOKED_MODULES and fullname not in _REGISTER:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _HookLoader(spec.loader)
                return spec
        return None


class _HookLoader(Loader):
    """Loader that executes a module by its original loader, and then runs `_after_import`."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Restore the original loader, so that the hook leaves no trace in the module.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        _after_import(module.__name__)
