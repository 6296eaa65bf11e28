"""Makes the model known to transformers' Auto classes and pipelines, and loads neither for it.

`import modeling_lacl` puts a watch on the imports of both sides: once transformers' Auto classes are there,
the model's modules are loaded; once these are there, they are registered. Either may come first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def _register_configuration() -> None:
    from transformers import AutoConfig

    from .configuration_lacl import LaclConfig

    AutoConfig.register("lacl", LaclConfig, exist_ok=True)


def _register_models() -> None:
    from transformers import AutoModel, AutoModelForTokenClassification

    from .configuration_lacl import LaclConfig
    from .modeling_lacl import LaclForTokenClassification, LaclModel

    AutoModel.register(LaclConfig, LaclModel, exist_ok=True)
    AutoModelForTokenClassification.register(LaclConfig, LaclForTokenClassification, exist_ok=True)


def _register_pipeline() -> None:
    from .pipeline_lacl import register

    register()


WATCHED = {
    "transformers.models.auto.configuration_auto": "configuration_lacl",
    "transformers.models.auto.modeling_auto": "modeling_lacl",
    "transformers.pipelines": "pipeline_lacl",
}
"""Modules of transformers, and the module of this package that has what is to be registered there."""

_REGISTER: dict[str, Callable[[], None]] = {
    f"{__package__}.configuration_lacl": _register_configuration,
    f"{__package__}.modeling_lacl": _register_models,
    f"{__package__}.pipeline_lacl": _register_pipeline,
}


def watch() -> None:
    """Sees to it that everything is registered as soon as transformers' side and this one are loaded."""
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
    own = f"{__package__}.{WATCHED[name]}"
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
