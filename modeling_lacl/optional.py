"""Imports of optional dependencies, which are installed by extras."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_OF_TORCH = {
    *("accelerate", "datasets", "evaluate", "huggingface_hub", "safetensors"),
    *("seqeval", "torch", "transformers", "yaml"),
}
"""Packages of the extra `torch`, by the names of their modules."""


def install_command(extra: str) -> str:
    """Return how to install the package with an extra: from a clone, since no index has the package.

    Files that travel with checkpoints, and import nothing of the root, say the same.
    """
    return f"`pip install '.[{extra}]'` in a clone of lacl"


def require(module: str, extra: str) -> Any:
    """Import `module`, which an extra of this package installs.

    Raises:
        ModuleNotFoundError: If it is not installed. The message names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, but one of its own imports is missing
        raise ModuleNotFoundError(_missing(error.name, extra), name=error.name) from error


def remedy(error: ModuleNotFoundError) -> str:
    """Return what to do about a package that is missing, as in an installation for exported models alone.

    Example:
        >>> told = remedy(ModuleNotFoundError("No module named 'yaml'", name="yaml"))
        >>> print(told.partition(";")[0])
        yaml is not installed: `pip install '.[torch]'` in a clone of lacl
    """
    package = (error.name or "").partition(".")[0]
    if package not in _OF_TORCH or "pip install" in str(error):
        return str(error)
    return _missing(package, "torch")


def _missing(package: str, extra: str) -> str:
    left = "; without it, only exported models run" if extra == "torch" else ""
    return f"{package} is not installed: {install_command(extra)}{left}"
