"""Saving a checkpoint that stands on its own: weights, configuration, tokenizer, and the code they need."""

from __future__ import annotations

import copy
import filecmp
import os
import re
import shutil
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import logging

logger = logging.get_logger(__name__)

CONFIG_FILE = "config.json"
ENTRY_FILE = "auto_lacl.py"
_FOR_THE_HUB = ("push_to_hub", "repo_id", "commit_message", "private", "create_pr", "token")


class SelfContainedModel(PreTrainedModel):
    """A model whose saved folder needs neither this package nor another folder."""

    card_facts: Any = None
    """What the package, where it is installed, says of the model's making on its card."""

    _tokenizer: Any = None

    def save_pretrained(  # type: ignore[override]  # the arguments that it passes on are not named again
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Saves weights, configuration, tokenizer and code, so that the checkpoint stands on its own.

        Where the package is installed, also the model card; one that somebody has changed stays.

        The files are written beside their place; then those that differ are moved there, `config.json`,
        without which nothing loads the folder, last: a broken save leaves no half checkpoint.

        Args:
            save_directory: The folder; made if it is not there. Its other files stay.
            is_main_process: Whether this process writes, in distributed training.
            state_dict: Weights other than the model's own.
            **kwargs: As for every `save_pretrained`: `max_shard_size`, `variant`, `push_to_hub`, …
        """
        to_hub = {key: kwargs.pop(key) for key in _FOR_THE_HUB if key in kwargs}
        folder = Path(save_directory)
        if is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
        # Beside its destination, so that moving is renaming. What other processes write is of no use.
        with tempfile.TemporaryDirectory(dir=folder if is_main_process else None, prefix=".saving-") as name:
            unfinished = Path(name)
            super().save_pretrained(
                unfinished, is_main_process=is_main_process, state_dict=state_dict, **kwargs
            )
            if not is_main_process:
                return
            self._save_tokenizer(unfinished)
            write_code(unfinished)
            if hasattr(type(self), "tokenizer") and (cards := of_the_package("model_card")) is not None:
                cards.save_card(self, unfinished, folder)
            publish(unfinished, folder, kwargs.get("variant"))
        if to_hub.pop("push_to_hub", False):
            self.push_to_hub(to_hub.pop("repo_id", folder.name), **to_hub)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:  # type: ignore[override]
        """Uploads the checkpoint, as every `push_to_hub`, with its code and its card in one commit.

        Args:
            repo_id: `NAME` or `OWNER/NAME`; made if it is not there.
            **kwargs: As for every `push_to_hub`: `commit_message`, `private`, `token`, `revision`, …

        Raises:
            OSError: It did not work; says why, and what to do.
        """
        hub = of_the_package("hub")
        if hub is None:
            return super().push_to_hub(repo_id, **kwargs)  # type: ignore[arg-type]  # of a wrapped function
        return hub.push_model(self, repo_id, **kwargs)

    def _save_tokenizer(self, folder: Path) -> None:
        if not hasattr(type(self), "tokenizer") or (self._tokenizer is None and not self.name_or_path):
            return  # a bare `LaclModel` holds none
        try:
            tokenizer: Any = copy.deepcopy(self.tokenizer)
        except ValueError as error:  # the checkpoint came without one
            logger.warning("the model is saved without a tokenizer: %s", error)
            return
        # What the last prediction set it to is no part of it.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.save_pretrained(folder)


def of_the_package(name: str) -> Any:
    """A module of the installed package that does not travel; None for a checkpoint's own code."""
    module = f"{__package__}.{name}"
    return None if find_spec(module) is None else import_module(module)


def code_files() -> list[Path]:
    """The files of code that a checkpoint carries, found as transformers finds them, `auto_lacl.py` first."""
    entry = Path(__file__).with_name(ENTRY_FILE)
    return [entry, *sorted(map(Path, get_relative_import_files(entry)))]


def write_code(folder: Path) -> None:
    """Copies the code to a checkpoint."""
    for file in code_files():
        shutil.copyfile(file, folder / file.name)


def publish(unfinished: Path, folder: Path, variant: str | None = None) -> None:
    """Moves a checkpoint's files into `folder`: `config.json`, without which nothing loads it, goes last.

    Args:
        unfinished: A folder with all files of the checkpoint, on the same disk.
        folder: Where they go. Weights of an earlier save, which may have had other shards, are removed.
        variant: That of the weights' names, as for `save_pretrained`; other variants stay.
    """
    tag = rf"\.{re.escape(variant)}" if variant else ""
    weights = re.compile(rf"model(?:{tag}(?:-\d+-of-\d+)?\.safetensors|\.safetensors\.index{tag}\.json)")
    # Weights come readable by their owner alone; a checkpoint is as open as a new file is.
    mode = (unfinished / CONFIG_FILE).stat().st_mode
    new = {file.name for file in unfinished.iterdir()}
    stale = [file for file in folder.iterdir() if weights.fullmatch(file.name) and file.name not in new]
    # The fewer files move, the shorter is the time in which a kill leaves the folder without a checkpoint.
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
