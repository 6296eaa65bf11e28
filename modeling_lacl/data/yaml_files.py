"""YAML files: recipes, plans and label names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .examples import LaclDataError


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises:
        OSError: The file is not there or cannot be opened.
        LaclDataError: It is not UTF-8, or not YAML; the message names it.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError as error:
        raise LaclDataError(f"{path}: cannot be read as UTF-8 ({error}); save it as UTF-8") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise LaclDataError(f"{path} is not valid YAML: {error}") from error
