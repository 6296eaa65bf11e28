"""The part of the trainer that writes model cards and uploads to the Hub."""

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
    """A `Trainer` whose saves have this package's cards, and whose uploads are whole checkpoints.

    The `Trainer`'s own uploads in mid-training leave out the code that a checkpoint carries, and put pickled
    arguments beside it; a failed one is not told.
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
        """Writes the model card into `args.output_dir`; one there that somebody has changed stays.

        Args:
            language: codes of the languages of the training data.
            license: identifier of the model's licence.
            tags: tags for the Hub beside the usual ones.
            model_name: what the model is called; by default as the folder, or the repository.
            finetuned_from: name of the model that it was made from.
            dataset_tags: names on the Hub of the training data.
            dataset: further names of it.
            **kwargs: `tasks` and `dataset_args`, which are known and not needed.
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
        """The model, which knows what its card is to say."""
        model: Any = self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        model.card_facts = facts_of_training(self)
        return cast("LaclForTokenClassification", model)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        self.model_with_facts()
        super()._save(output_dir, state_dict)

    def init_hf_repo(self, *args: Any, **kwargs: Any) -> None:
        """Makes the repository, before training: what does not work comes to light now.

        Raises:
            HubError: it cannot be made, or has a model of another kind; says why, and what to do.
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
        """Saves the model with its card to `args.output_dir`, and uploads that in one commit.

        Args:
            commit_message: of the commit.
            blocking: wait until it is done.
            token: in the place of `args.hub_token`.
            revision: branch, in the place of `args.hub_revision`.
            private: whether a new repository is private, in the place of `args.hub_private_repo`.
            **kwargs: as for `create_model_card`.

        Returns:
            The commit, or what will give it, on the main process.

        Raises:
            HubError: it did not work; says why, and what to do.
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
        """Uploads what `args.output_dir` has, after uploads that are under way; raises as `push_to_hub`."""
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
        if self._uploads is None:  # one thread: commits come in their order
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
        """Uploads a checkpoint while training goes on, as `args.hub_strategy` has it."""
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        if self.push_in_progress is not None:
            if not (self.args.hub_always_push or self.push_in_progress.is_done()):
                return
            if self.push_in_progress.is_done():
                self._finish_current_push()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        checkpoint = Path(checkpoint_folder)
        # A copy, since training may remove the checkpoint before it is uploaded.
        room = tempfile.TemporaryDirectory(dir=self._output_dir, prefix=".uploading-")
        copied = Path(room.name)
        for file in published_files(checkpoint):
            shutil.copy2(file, copied)
        whole: dict[str, Path] = {}
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            last = self.args.hub_strategy == HubStrategy.CHECKPOINT
            place = "last-checkpoint" if last else checkpoint.name
            shutil.copytree(checkpoint, copied / place)
            whole = {f"{place}/{file.name}": file for file in (copied / place).iterdir() if file.is_file()}
        job = self._upload_later(
            copied, f"Training in progress, step {self.state.global_step}", more_files=whole
        )
        job.add_done_callback(lambda _: room.cleanup())
        if self.push_in_progress is None:
            self.push_in_progress = PushInProgress()
        self.push_in_progress.jobs.append(job)

    def _finish_current_push(self) -> None:
        """Waits for uploads that are under way; one that failed is told, and costs no training."""
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
