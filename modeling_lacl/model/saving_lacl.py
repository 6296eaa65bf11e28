"""Loading and saving of self-contained checkpoints, and the interface to the installed package.

A checkpoint holds weights, configuration, tokenizer and remote code: all modules in the folder of this one.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import logging

from .configuration_lacl import LaclConfig
from .losses_lacl import GaussianProjection

logger = logging.get_logger(__name__)

PLACE_ARGUMENTS = ("cache_dir", "local_files_only", "proxies", "revision", "subfolder", "token")
"""Arguments of `from_pretrained` that locate a checkpoint; its tokenizer is loaded with them, too."""

CONFIG_FILE = "config.json"
CODE_FILE = "pipeline_lacl.py"
"""The module of remote code that `config.json` names, which imports all others."""
_FOR_THE_HUB = ("push_to_hub", "repo_id", "commit_message", "private", "create_pr", "token")


class Package:
    """What a model needs from the installed package; this base class is for remote code, without a package.

    The installed package replaces it with a subclass, see [`install_package`].
    """

    def load_bundled(self, model_class: Any, name: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a model that is bundled with the package; None if there is none of this name."""
        return None

    def encoder_path(self, name: str) -> str:
        """Return the location of an encoder: its path, or its name on the Hub."""
        return name

    def check_files(self, name: Any, **kwargs: Any) -> None:
        """Raise `ValueError` for a checkpoint that names other weights than safetensors in its folder."""

    def with_support(self, model: Any, support: Any, label_names: Any, batch_size: int | None) -> Any:
        """Return a model that shares the weights of `model`, with another support set."""
        raise ModuleNotFoundError(
            "support= needs the package lacl, which is not part of a checkpoint's remote code: install it by "
            "`pip install '.[torch]'` in a clone of lacl"
        )

    def check_language(self, model: Any, texts: Sequence[str]) -> None:
        """Log a warning if texts to tag seem to be in a language that the model was not trained on."""

    def save_card(self, model: Any, folder: Path, destination: Path) -> None:
        """Write the model card into `folder`, whose files are moved to `destination` afterwards."""

    def publish(self, unfinished: Path, folder: Path, variant: str | None) -> None:
        """Move the files of a checkpoint into `folder`."""
        for file in unfinished.iterdir():
            file.replace(folder / file.name)

    def push(self, model: Any, repo_id: str, **kwargs: Any) -> Any:
        """Upload a model, as `PreTrainedModel.push_to_hub` does."""
        return PreTrainedModel.push_to_hub(model, repo_id, **kwargs)


_package = Package()


def package() -> Package:
    """Return the installed package, or a bare [`Package`] in remote code."""
    return _package


def install_package(installed: Package) -> None:
    """Replace the bare [`Package`] with the installed package."""
    global _package
    _package = installed


class LaclPreTrainedModel(PreTrainedModel):
    """Base class of the models: initialisation, loading, and saving of self-contained checkpoints.

    A saved checkpoint needs neither this package nor other files.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, LaclPreTrainedModel
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> model.save_pretrained("outputs/model")
        >>> isinstance(LaclForTokenClassification.from_pretrained("outputs/model"), LaclPreTrainedModel)
        True
    """

    config_class = LaclConfig
    base_model_prefix = "lacl"
    supports_gradient_checkpointing = True
    _keep_in_fp32_modules_strict = [
        "projection.mean",
        "projection.variance",
        "support_mean",
        "support_variance",
    ]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    card_facts: Any = None
    """Facts about the training of the model for the model card, set by the installed package."""

    _tokenizer: Any = None

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=getattr(self.config.encoder_config, "initializer_range", 0.02))
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike[str] | None, *model_args: Any, **kwargs: Any
    ) -> Any:
        """Load a checkpoint, only from safetensors. Weights that the divergence does not use stay frozen.

        Raises:
            ValueError: If weights are missing, left over or not finite, or are no safetensors of its own.
        """
        kwargs["use_safetensors"] = True
        place = os.path.join(pretrained_model_name_or_path or "", kwargs.get("subfolder") or "")
        place = place.rstrip(os.sep)
        if os.path.isfile(place):
            # transformers would treat it as weights and unpickle it.
            raise OSError(f"{place} is a file: name the folder of the checkpoint")
        if os.path.isdir(place) and not os.path.isfile(os.path.join(place, CONFIG_FILE)):
            # Without it transformers would use the default configuration.
            raise OSError(f"{place} has no {CONFIG_FILE}: it is no checkpoint, or saving it was interrupted")
        package().check_files(pretrained_model_name_or_path, **kwargs)
        with_info = kwargs.pop("output_loading_info", False)
        kwargs["output_loading_info"] = True
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model, info = loaded
        _check_weights(model, info, place or "state_dict")
        for module in model.modules():
            if isinstance(module, GaussianProjection):
                module.freeze_unused(model.config)  # loading replaces the frozen parameters
        return (model, info) if with_info else model

    def save_pretrained(  # type: ignore[override]  # passes other arguments on
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save weights, configuration, tokenizer and remote code, as a self-contained checkpoint.

        If the package is installed, this also writes the model card, and saving is atomic: the files are
        written to a temporary folder, and those that differ are then moved. `config.json`, without which the
        folder does not load, is moved last. A model card that was edited is kept.

        Args:
            save_directory: Folder of the checkpoint, created if necessary. Other files in it are kept.
            is_main_process: Whether this process writes, in distributed training.
            state_dict: Weights to save instead of those of the model.
            **kwargs: Other arguments of `save_pretrained`: `max_shard_size`, `variant`, `push_to_hub`, …
        """
        to_hub = {key: kwargs.pop(key) for key in _FOR_THE_HUB if key in kwargs}
        folder = Path(save_directory)
        if is_main_process:
            folder.mkdir(parents=True, exist_ok=True)
        # In the same folder, so that moving is renaming. Files of other processes are discarded.
        with tempfile.TemporaryDirectory(dir=folder if is_main_process else None, prefix=".saving-") as name:
            unfinished = Path(name)
            super().save_pretrained(
                unfinished, is_main_process=is_main_process, state_dict=state_dict, **kwargs
            )
            if not is_main_process:
                return
            self._save_tokenizer(unfinished)
            write_code(unfinished)
            if hasattr(type(self), "tokenizer"):
                package().save_card(self, unfinished, folder)
            package().publish(unfinished, folder, kwargs.get("variant"))
        if to_hub.pop("push_to_hub", False):
            self.push_to_hub(to_hub.pop("repo_id", folder.name), **to_hub)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:  # type: ignore[override]
        """Upload the checkpoint with its remote code and model card in one commit.

        Args:
            repo_id: `NAME` or `OWNER/NAME`, created if necessary.
            **kwargs: Other arguments of `push_to_hub`: `commit_message`, `private`, `token`, `revision`, …

        Raises:
            OSError: If the upload fails. The message names the reason and what to do.
        """
        return package().push(self, repo_id, **kwargs)

    def _save_tokenizer(self, folder: Path) -> None:
        if not hasattr(type(self), "tokenizer") or (self._tokenizer is None and not self.name_or_path):
            return  # a bare `LaclModel` has no tokenizer
        try:
            tokenizer: Any = copy.deepcopy(self.tokenizer)
        except ValueError as error:  # the checkpoint has no tokenizer
            logger.warning("the model is saved without a tokenizer: %s", error)
            return
        # Settings of the last prediction are not saved.
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.save_pretrained(folder)


def _check_weights(model: Any, info: dict[str, Any], place: str) -> None:
    """Raise unless a checkpoint had all weights of the model and no others, all of them finite numbers."""
    optional = r"(^|\.)encoder\.pooler\." + ("" if model.config.support_size else "|^support_")
    for problem in ("missing", "unexpected"):
        names = sorted(name for name in info[f"{problem}_keys"] if not re.search(optional, name))
        if names:
            names[3:] = [f"{len(names)} in all"]
            raise ValueError(f"{place} has {problem} weights ({', '.join(names)}): copy or make it again")
    for name, weight in model.state_dict().items():
        # A sum is much faster than a test of each number, but can overflow where all are finite.
        if weight.is_floating_point() and not weight.is_meta and not weight.sum(dtype=torch.float).isfinite():
            if not weight.isfinite().all():
                raise ValueError(f"{place}: {name} has NaN or infinite weights: copy or make it again")


def code_files() -> list[Path]:
    """Return the files of remote code of a checkpoint: all modules in this folder."""
    return sorted(file for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__")


def write_code(folder: Path) -> None:
    """Copy the remote code to a checkpoint."""
    for file in code_files():
        shutil.copyfile(file, folder / file.name)
