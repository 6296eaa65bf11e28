"""Imports of optional dependencies, which are installed by extras."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import `module`, which the extra `lacl[extra]` installs.

    Raises:
        ModuleNotFoundError: If it is not installed. The message names the extra.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the module exists, but one of its own imports is missing
        raise ModuleNotFoundError(
            f"{error.name} is not installed: `pip install 'lacl[{extra}]'`", name=error.name
        ) from error
