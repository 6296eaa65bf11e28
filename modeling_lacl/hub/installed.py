"""The functions of the installed package that the remote code of a checkpoint does not have."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..model.saving_lacl import Package
from .bundled import bundled_name, check_name, embedded_encoder_path, load_bundled
from .publishing import publish


class InstalledPackage(Package):
    """Bundled models, model cards, atomic saving, uploads, and labelled examples of every format.

    Modules that read data are imported on first use, since a model that only predicts does not need them.
    """

    def load_bundled(self, model_class: Any, name: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a bundled model; return `None` if there is none of that name.

        Raises:
            ValueError: The name is similar to that of a bundled model or of a folder.
        """
        if (bundled := bundled_name(os.fspath(name))) is not None:
            return load_bundled(model_class, bundled, **kwargs)
        if isinstance(name, str):
            check_name(name)
        return None

    def encoder_path(self, name: str) -> str:
        """Return the path of the embedded encoder for `"minilm"`, every other name unchanged."""
        return embedded_encoder_path(name)

    def check_files(self, name: Any, **kwargs: Any) -> None:
        """Raise `ValueError` for a checkpoint that names other weights than safetensors in its folder."""
        from .weight_files import check_weight_files

        if name is not None:
            check_weight_files(name, **kwargs)

    def with_support(self, model: Any, support: Any, label_names: Any, batch_size: int | None) -> Any:
        """Return a model with the same weights and another support set, given in any format."""
        from ..data.support import with_support

        return with_support(model, support, label_names, batch_size)

    def check_language(self, model: Any, texts: Sequence[str]) -> None:
        """Log a warning, once a process, for a language that the model was not trained on."""
        from ..data.language import check_language

        check_language(model, texts)

    def save_card(self, model: Any, folder: Path, destination: Path) -> None:
        """Write the model card, unless `destination` has one that was edited by hand."""
        from .model_card import save_card

        save_card(model, folder, destination)

    def publish(self, unfinished: Path, folder: Path, variant: str | None) -> None:
        """Move the files of a checkpoint into `folder`, atomically."""
        publish(unfinished, folder, variant)

    def push(self, model: Any, repo_id: str, **kwargs: Any) -> Any:
        """Upload a model with its code and its card in one commit."""
        from .push import push_model

        return push_model(model, repo_id, **kwargs)
