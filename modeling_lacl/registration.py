"""Makes the model known to transformers' Auto classes and pipelines, and loads neither for it.

`import modeling_lacl` puts a watch on the imports of both sides: once transformers' Auto classes are there,
the model's modules are loaded; once these are there, they are registered, and get to know the installed
package. Either may come first.
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
    from transformers import AutoModel, AutoModelForTokenClassification

    from .hub.installed import InstalledPackage
    from .model.configuration_lacl import LaclConfig
    from .model.modeling_lacl import LaclForTokenClassification, LaclModel
    from .model.saving_lacl import install_package

    install_package(InstalledPackage())
    AutoModel.register(LaclConfig, LaclModel, exist_ok=True)
    AutoModelForTokenClassification.register(LaclConfig, LaclForTokenClassification, exist_ok=True)


def register_pipelines() -> None:
    """Make both pipelines known to `transformers.pipeline`.

    `pipeline("few-shot-ner", model=…)` builds a `LaclPipeline`, of a released model if none is named.
    `pipeline("token-classification", model=…)` builds a `LaclTokenClassificationPipeline` for a LACL model,
    and for every other what it built before.
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
            # transformers finds models by folders and on the Hub: this one's name would be asked for there.
            default={"model": (str(released_folder(RELEASED[0])), "main")},
            type="text",
        )
    _, standard, _ = PIPELINE_REGISTRY.check_task(STANDARD_TASK)
    if not hasattr(standard["impl"], "of_other_models"):
        by_model = _by_model(standard["impl"])
        PIPELINE_REGISTRY.supported_tasks[STANDARD_TASK] = {**standard, "impl": by_model}


def _by_model(others: Any) -> type:
    """What builds LACL's pipeline for a LACL model, and `others`, a class or its dotted name, for another."""
    from .model.configuration_lacl import LaclConfig
    from .model.pipeline_lacl import LaclTokenClassificationPipeline

    if isinstance(others, str):
        module, _, name = others.rpartition(".")
        others = getattr(import_module(module), name)  # as transformers names its own pipelines

    class ByModel(others):
        of_other_models = others

        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            config = getattr(kwargs.get("model"), "config", None)
            is_lacl = getattr(config, "model_type", None) == LaclConfig.model_type
            return (LaclTokenClassificationPipeline if is_lacl else others)(*args, **kwargs)

    return ByModel


WATCHED = {
    "transformers.models.auto.configuration_auto": "configuration_lacl",
    "transformers.models.auto.modeling_auto": "modeling_lacl",
    "transformers.pipelines": "pipeline_lacl",
}
"""Modules of transformers, and the module of `model/` that has what is to be registered there."""

_REGISTER: dict[str, Callable[[], None]] = {
    f"{__package__}.model.configuration_lacl": _register_configuration,
    f"{__package__}.model.modeling_lacl": _register_models,
    f"{__package__}.model.pipeline_lacl": register_pipelines,
}


def watch() -> None:
    """See to it that everything is registered as soon as transformers' side and this one are loaded."""
    if any(isinstance(finder, _Watch) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Watch())
    for name in WATCHED:
        if name in sys.modules:
            _after_import(name)


def _after_import(name: str) -> None:
    if name in _REGISTER:
        _REGISTER[name]()
        return
    own = f"{__package__}.model.{WATCHED[name]}"
    if own not in sys.modules:  # or it is being imported right now, and registered at the end of that
        import_module(own)


class _Watch(MetaPathFinder):
    """Finds modules as the other finders do, and has something done after some of them are executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in WATCHED and fullname not in _REGISTER:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _ThenLoader(spec.loader)
                return spec
        return None


class _ThenLoader(Loader):
    """Executes a module by its own loader, then `_after_import`."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # The module is to look as if nobody had watched.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        _after_import(module.__name__)
