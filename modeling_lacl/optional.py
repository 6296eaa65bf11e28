"""Packages that one part of the library needs, and that only its extra installs."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def require(module: str, extra: str) -> Any:
    """Imports `module`, which the extra `lacl[extra]` installs.

    Raises:
        ModuleNotFoundError: It is not installed; says how to.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # it is there, and lacks something of its own
        raise ModuleNotFoundError(
            f"{error.name} is not installed: `pip install 'lacl[{extra}]'`", name=error.name
        ) from error
