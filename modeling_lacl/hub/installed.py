"""What the installed package does for a model, in the place of what a checkpoint's own code can do alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ..model.saving_lacl import Package
from .bundled import bundled_name, check_name, embedded_encoder_path, load_bundled
from .publishing import publish


class InstalledPackage(Package):
    """Bundled models, model cards, atomic saving, uploads, and labelled examples of every format.

    What reads data loads with its first use: a model that only predicts needs none of it.
    """

    def load_bundled(self, model_class: Any, name: str | os.PathLike[str], **kwargs: Any) -> Any:
        """Load a model that comes with the package; None if none of that name does.

        Raises:
            ValueError: The name is almost that of a bundled model, or of a folder.
        """
        if (bundled := bundled_name(os.fspath(name))) is not None:
            return load_bundled(model_class, bundled, **kwargs)
        if isinstance(name, str):
            check_name(name)
        return None

    def encoder_path(self, name: str) -> str:
        """Return the path of the embedded encoder for `"minilm"`, every other name as it is."""
        return embedded_encoder_path(name)

    def with_support(self, model: Any, support: Any, label_names: Any, batch_size: int | None) -> Any:
        """Return a model on the same weights that holds another support set, of any format."""
        from ..data.support import with_support

        return with_support(model, support, label_names, batch_size)

    def save_card(self, model: Any, folder: Path, destination: Path) -> None:
        """Write the model card; one at `destination` that somebody has changed stays."""
        from .model_card import save_card

        save_card(model, folder, destination)

    def publish(self, unfinished: Path, folder: Path, variant: str | None) -> None:
        """Move the files of a checkpoint into `folder`, atomically."""
        publish(unfinished, folder, variant)

    def push(self, model: Any, repo_id: str, **kwargs: Any) -> Any:
        """Upload a model with code and card in one commit."""
        from .push import push_model

        return push_model(model, repo_id, **kwargs)
