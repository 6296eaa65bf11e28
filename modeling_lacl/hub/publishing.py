"""Moving the files of a checkpoint to their destination atomically."""

from __future__ import annotations

import filecmp
import re
from pathlib import Path

from ..model.saving_lacl import CONFIG_FILE


def publish(unfinished: Path, folder: Path, variant: str | None = None) -> None:
    """Move the files of a checkpoint to `folder`; `config.json`, required for loading, is moved last.

    Args:
        unfinished: A folder with all files of the checkpoint, on the same disk.
        folder: The destination. Weights of an earlier save, which may have other shards, are removed.
        variant: Variant of the weights' file names, as in `save_pretrained`; other variants are kept.
    """
    tag = rf"\.{re.escape(variant)}" if variant else ""
    weights = re.compile(rf"model(?:{tag}(?:-\d+-of-\d+)?\.safetensors|\.safetensors\.index{tag}\.json)")
    # Weights are written readable for their owner only; give all files the default permissions.
    mode = (unfinished / CONFIG_FILE).stat().st_mode
    new = {file.name for file in unfinished.iterdir()}
    stale = [file for file in folder.iterdir() if weights.fullmatch(file.name) and file.name not in new]
    # The fewer files are moved, the shorter the time in which a kill leaves the folder without a checkpoint.
    changed = [name for name in new - {CONFIG_FILE} if not _same(unfinished / name, folder / name)]
    moving = [*sorted(changed), CONFIG_FILE]
    for name in moving:
        (unfinished / name).chmod(mode)
    if changed or stale:
        (folder / CONFIG_FILE).unlink(missing_ok=True)
    for file in stale:
        file.unlink()
    for name in moving:
        (unfinished / name).replace(folder / name)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)
