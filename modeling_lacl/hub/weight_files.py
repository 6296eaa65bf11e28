"""Which files a checkpoint names as its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

from ..model.saving_lacl import CONFIG_FILE, PLACE_ARGUMENTS


def check_weight_files(name: Any, *, subfolder: str = "", variant: str | None = None, **kwargs: Any) -> None:
    """Check that configuration and index of a checkpoint name no weights but safetensors in its own folder.

    transformers would unpickle other files, and look for them outside of the folder.

    Args:
        name: Folder or name of the checkpoint.
        subfolder, variant: As in `from_pretrained`.
        **kwargs: Other arguments of `from_pretrained`; those that locate the checkpoint count.

    Raises:
        ValueError: They do.
    """
    where: Any = {key: kwargs[key] for key in PLACE_ARGUMENTS if key in kwargs} | {
        "subfolder": subfolder or ""
    }
    explicit = _read(name, CONFIG_FILE, where).get("transformers_weights")
    if explicit:
        _check(name, explicit, (".safetensors", ".safetensors.index.json"))
    index_file = explicit or ".".join(filter(None, ["model.safetensors.index", variant, "json"]))
    if str(index_file).endswith(".json"):
        shards = _read(name, index_file, where).get("weight_map", {})
        for file in shards.values() if isinstance(shards, dict) else [shards]:
            _check(name, file, (".safetensors",))


def _read(name: Any, file: str, where: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a JSON file of a checkpoint; empty if it has none, or none that can be read."""
    quiet: Any = {
        f"_raise_exceptions_for_{reason}": False
        for reason in ("gated_repo", "missing_entries", "connection_errors")
    }
    found = cached_file(name, file, **where, **quiet)
    try:
        content = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
    except ValueError:
        return {}  # transformers has an error of its own for it
    return content if isinstance(content, dict) else {}


def _check(name: Any, file: Any, endings: tuple[str, ...]) -> None:
    plain = isinstance(file, str) and file.endswith(endings) and Path(file).name == file and "\\" not in file
    if not plain:
        raise ValueError(
            f"{name} names {str(file)[:200]!r} as weights: only safetensors files in its own folder are "
            "read; make the checkpoint again by save_pretrained"
        )
