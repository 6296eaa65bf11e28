"""The part of the trainer that writes model cards and uploads models to the Hub."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from huggingface_hub import CommitInfo
from transformers import Trainer
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress, logging

from ..hub.card_facts import CardFacts
from ..hub.model_card import save_card
from ..hub.push import check_repository, hub_errors, published_files, push_folder
from .arguments import LaclTrainingArguments
from .card import facts_of_training

if TYPE_CHECKING:
    from ..model.modeling_lacl import LaclForTokenClassification


logger = logging.get_logger(__name__)


class HubTrainer(Trainer):
    """A `Trainer` that saves the model cards of this package and uploads complete checkpoints.

    The uploads of `Trainer` during training omit the remote code of a checkpoint and include pickled
    arguments, and failures are not reported.
    """

    args: LaclTrainingArguments
    card_facts: CardFacts
    push_in_progress: Any  # a `PushInProgress`, or None
    _uploads: ThreadPoolExecutor | None = None

    def create_model_card(  # type: ignore[override]
        self,
        language: str | list[str] | None = None,
        license: str | None = None,
        tags: str | list[str] | None = None,
        model_name: str | None = None,
        finetuned_from: str | None = None,
        dataset_tags: str | list[str] | None = None,
        dataset: str | list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the model card to `args.output_dir`; a card that was edited by hand is kept.

        Args:
            language: Language codes of the training data.
            license: Identifier of the model's licence.
            tags: Additional tags for the Hub.
            model_name: Name of the model; by default that of the repository or folder.
            finetuned_from: Name of the model that it was fine-tuned from.
            dataset_tags: Names of the training data on the Hub.
            dataset: Further names of the training data.
            **kwargs: Accepted for compatibility (`tasks`, `dataset_args`) and ignored.
        """
        facts = self.card_facts
        self.card_facts = replace(
            facts,
            language=_list(language) or facts.language,
            license=license or facts.license,
            tags=list(dict.fromkeys([*facts.tags, *_list(tags)])),
            name=model_name or facts.name,
            source=finetuned_from or facts.source,
            datasets=[*_list(dataset_tags), *_list(dataset)] or facts.datasets,
        )
        if self.is_world_process_zero():
            self._output_dir.mkdir(parents=True, exist_ok=True)
            save_card(self.model_with_facts(), self._output_dir)

    def model_with_facts(self) -> LaclForTokenClassification:
        """Return the model, with the current facts for its card set."""
        model: Any = self.accelerator.unwrap_model(self.model)
        model.card_facts = facts_of_training(self)
        return cast("LaclForTokenClassification", model)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.model_with_facts()
        super()._save(output_dir, state_dict)

    def init_hf_repo(self, *args: Any, **kwargs: Any) -> None:
        """Create the repository before training, so that problems appear early.

        Raises:
            HubError: The repository cannot be created, or contains a model of another type. The message says
                why and what to do.
        """
        name = self.args.hub_model_id or self._output_dir.absolute().name
        token = kwargs.get("token") or self.args.hub_token
        with hub_errors(name, token):
            super().init_hf_repo(*args, **kwargs)
        if self.is_world_process_zero():
            revision = getattr(self.args, "hub_revision", None)
            check_repository(self.hub_model_id or name, token=token, revision=revision)

    def push_to_hub(  # type: ignore[override]
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | Future[CommitInfo] | None:
        """Save the model with its card to `args.output_dir`, and upload the folder in one commit.

        Args:
            commit_message: Message of the commit.
            blocking: Whether to wait until the upload is done.
            token: Token, instead of `args.hub_token`.
            revision: Branch, instead of `args.hub_revision`.
            private: Whether a new repository is private, instead of `args.hub_private_repo`.
            **kwargs: Arguments of `create_model_card`.

        Returns:
            The commit, or a future of it if not `blocking`; `None` on other than the main process.

        Raises:
            HubError: The upload failed. The message says why and what to do.
        """
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        self.create_model_card(**kwargs)
        job = self._upload_later(
            self._output_dir, commit_message, token=token, revision=revision, private=private
        )
        return job.result() if blocking else job

    def upload(self, commit_message: str = "End of training") -> CommitInfo:
        """Upload `args.output_dir` after all uploads in progress.

        Args:
            commit_message: Message of the commit.

        Returns:
            The commit.

        Raises:
            HubError: As in `push_to_hub`.
        """
        self._finish_current_push()
        return self._upload_later(self._output_dir, commit_message).result()

    def _upload_later(
        self,
        folder: Path,
        commit_message: str | None,
        *,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Future[CommitInfo]:
        if self._uploads is None:  # a single thread keeps the order of the commits
            self._uploads = ThreadPoolExecutor(1)
        return self._uploads.submit(
            push_folder,
            folder,
            self.hub_model_id or self.args.hub_model_id or self._output_dir.absolute().name,
            private=self.args.hub_private_repo if private is None else private,
            token=token or self.args.hub_token,
            revision=revision or getattr(self.args, "hub_revision", None),
            commit_message=commit_message,
            **kwargs,
        )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Upload a checkpoint while training continues, according to `args.hub_strategy`."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None:
            if not (self.args.hub_always_push or self.push_in_progress.is_done()):
                return
            if self.push_in_progress.is_done():
                self._finish_current_push()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        checkpoint = Path(checkpoint_folder)
        # A copy is uploaded, since training may remove the checkpoint in the meantime.
        temporary = tempfile.TemporaryDirectory(dir=self._output_dir, prefix=".uploading-")
        copied = Path(temporary.name)
        for file in published_files(checkpoint):
            shutil.copy2(file, copied)
        resumable: dict[str, Path] = {}
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            last = self.args.hub_strategy == HubStrategy.CHECKPOINT
            place = "last-checkpoint" if last else checkpoint.name
            shutil.copytree(checkpoint, copied / place)
            resumable = {
                f"{place}/{file.name}": file for file in (copied / place).iterdir() if file.is_file()
            }
        job = self._upload_later(
            copied, f"Training in progress, step {self.state.global_step}", more_files=resumable
        )
        job.add_done_callback(lambda _: temporary.cleanup())
        if self.push_in_progress is None:
            self.push_in_progress = PushInProgress()
        self.push_in_progress.jobs.append(job)

    def _finish_current_push(self) -> None:
        """Wait for uploads in progress; a failed one is logged as a warning and does not stop training."""
        super()._finish_current_push()
        progress = getattr(self, "push_in_progress", None)
        for job in progress.jobs if progress is not None else ():
            if (error := job.exception()) is not None:
                logger.warning("an upload during training failed: %s", error)
        self.push_in_progress = None

    @property
    def _output_dir(self) -> Path:
        return Path(str(self.args.output_dir))


def _list(value: str | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
