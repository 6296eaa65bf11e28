"""Loading and saving checkpoints that stand on their own, and what the installed package adds to a model.

A checkpoint holds weights, configuration, tokenizer, and the code that they need: every module of the folder
that this one lies in.
"""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
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
"""What `from_pretrained` takes to say where a checkpoint is, which its tokenizer is read by as well."""

CONFIG_FILE = "config.json"
CODE_FILE = "pipeline_lacl.py"
"""The file of code that `config.json` names, which imports every other."""
_FOR_THE_HUB = ("push_to_hub", "repo_id", "commit_message", "private", "create_pr", "token")


class Package:
    """What a model asks of the package around it: here the answers of a checkpoint's own code, without one.

    The installed package puts a subclass in its place, see [`install_package`].
    """

    def load_bundled(self, model_class: Any, name: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a model that comes with the package; None if none of that name does."""
        return None

    def encoder_path(self, name: str) -> str:
        """Return where the encoder of that name is: its path, or its name on the Hub."""
        return name

    def with_support(self, model: Any, support: Any, label_names: Any, batch_size: int | None) -> Any:
        """Return a model on the same weights that holds another support set."""
        raise ModuleNotFoundError(
            "support= has examples read, which a checkpoint's own code cannot do: install the package lacl, "
            "by `pip install .` in a clone of its repository"
        )

    def save_card(self, model: Any, folder: Path, destination: Path) -> None:
        """Write the model card into `folder`, whose files are then moved to `destination`."""

    def publish(self, unfinished: Path, folder: Path, variant: str | None) -> None:
        """Move the files of a checkpoint into `folder`."""
        for file in unfinished.iterdir():
            file.replace(folder / file.name)

    def push(self, model: Any, repo_id: str, **kwargs: Any) -> Any:
        """Upload a model, as every `push_to_hub`."""
        return PreTrainedModel.push_to_hub(model, repo_id, **kwargs)


_package = Package()


def package() -> Package:
    """Return the package around this code; a bare [`Package`] in a checkpoint's own copy."""
    return _package


def install_package(installed: Package) -> None:
    """Put the installed package in the place of a bare [`Package`]."""
    global _package
    _package = installed


class LaclPreTrainedModel(PreTrainedModel):
    """Base class: weights, configuration, loading, and saving folders that need nothing else.

    A saved folder needs neither this package nor another folder.

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
    """What the package, where it is installed, says of the model's making on its card."""

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
        """As in every model, from safetensors alone; weights that have no part in the result stay frozen."""
        kwargs["use_safetensors"] = True
        place = os.path.join(pretrained_model_name_or_path or "", kwargs.get("subfolder") or "").rstrip(
            os.sep
        )
        if os.path.isfile(place):
            # transformers would take it for weights, and unpickle it.
            raise OSError(f"{place} is a file: name the folder of the checkpoint")
        if os.path.isdir(place) and not os.path.isfile(os.path.join(place, CONFIG_FILE)):
            # Without it transformers would take the default configuration.
            raise OSError(f"{place} has no {CONFIG_FILE}: it is no checkpoint, or saving one was broken off")
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for module in model.modules():
            if isinstance(module, GaussianProjection):
                module.freeze_idle(model.config)  # loading puts new parameters in place of the frozen ones
        return loaded

    def save_pretrained(  # type: ignore[override]  # the arguments that it passes on are not named again
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Save weights, configuration, tokenizer and code, so that the checkpoint stands on its own.

        Where the package is installed, the model card as well, and saving is atomic: the files are written
        beside their place; then those that differ are moved there, `config.json`, without which nothing loads
        the folder, last. A card that somebody has changed stays.

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
            if hasattr(type(self), "tokenizer"):
                package().save_card(self, unfinished, folder)
            package().publish(unfinished, folder, kwargs.get("variant"))
        if to_hub.pop("push_to_hub", False):
            self.push_to_hub(to_hub.pop("repo_id", folder.name), **to_hub)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:  # type: ignore[override]
        """Upload the checkpoint, as every `push_to_hub`, with its code and its card in one commit.

        Args:
            repo_id: `NAME` or `OWNER/NAME`; made if it is not there.
            **kwargs: As for every `push_to_hub`: `commit_message`, `private`, `token`, `revision`, …

        Raises:
            OSError: It did not work; says why, and what to do.
        """
        return package().push(self, repo_id, **kwargs)

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


def code_files() -> list[Path]:
    """Return the files of code that a checkpoint carries: all modules beside this one."""
    return sorted(file for file in Path(__file__).parent.glob("*.py") if file.stem != "__init__")


def write_code(folder: Path) -> None:
    """Copy the code to a checkpoint."""
    for file in code_files():
        shutil.copyfile(file, folder / file.name)
