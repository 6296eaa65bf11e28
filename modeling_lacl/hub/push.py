"""Uploading a checkpoint to the Hub: weights, code, tokenizer, card and metrics in one commit."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from transformers.utils import logging

from ..model.configuration_lacl import LaclConfig
from ..model.saving_lacl import CODE_FILE, CONFIG_FILE
from .card_facts import FACTS_FILE, CardFacts
from .model_card import CARD_FILE, card_text, is_ours, read_text, stated_license

logger = logging.get_logger(__name__)

PUBLISHED = (
    *("*.json", "*.safetensors", "*.py", "*.md", "*.model", "*.jinja"),
    *("vocab.txt", "merges.txt", "LICENSE*"),
)
"""Files of a folder that are uploaded: nothing pickled, and no data that happen to lie there."""
_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json")
_ANY_WEIGHTS = (
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.keras", "*.msgpack"),
    *("*.onnx", "*.gguf", "*.tflite", "*.pkl", "*.pickle", "*.joblib"),
)
_TOKENS = "https://huggingface.co/settings/tokens"


class HubError(OSError):
    """An upload did not work; says why, and what to do."""


def push_folder(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | bool | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    update: bool = True,
    tags: Sequence[str] = (),
    commit_message: str | None = None,
    commit_description: str | None = None,
    more_files: Mapping[str, Path] | None = None,
) -> CommitInfo:
    """Uploads a saved checkpoint in one commit; the folder is only read.

    The card is uploaded as that of the repository; a card that somebody has changed, here or there, stays as
    it is. Weights in the repository that the checkpoint does not have, of an earlier one with other shards,
    are removed by the same commit.

    Args:
        folder: What `save_pretrained`, `lacl train` or `lacl adapt` wrote.
        repo_id: `NAME` or `OWNER/NAME`; the repository is made if it is not there.
        private: Whether a new repository is private; by default as its owner has it.
        token: As for every function of huggingface_hub; by default the one that is logged in.
        revision: Branch; made if it is not there. By default `main`.
        create_pr: Open a pull request instead of changing the branch.
        update: Whether a LACL model that is there already may be replaced, by a commit on top of it. A model
            of another kind never is.
        tags: Tags for the card beside the usual ones.
        commit_message, commit_description: Of the commit.
        more_files: Further files, by their place in the repository.

    Returns:
        The commit.

    Raises:
        HubError: The Hub refused it or could not be reached, or another model is there.
        ValueError: `folder` has no whole checkpoint.
    """
    folder = Path(folder)
    contents: dict[str, Path | bytes] = {file.name: file for file in published_files(folder)}
    contents |= dict(more_files or {})
    api = HfApi(library_name="lacl")
    with hub_errors(repo_id, token), tempfile.TemporaryDirectory() as room:
        repo_id = api.create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        there, fetch = _contents(api, repo_id, revision, token, room)
        _check_model_there(repo_id, there, fetch(CONFIG_FILE), update)
        contents |= _card_for(folder, repo_id, tags, fetch)
        stale = {name for name in there if any(fnmatch(name, one) for one in _WEIGHTS)} - contents.keys()
        return api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, content) for name, content in sorted(contents.items()) if content),
                *(CommitOperationDelete(name) for name in sorted(stale)),
            ],
            commit_message=commit_message or "Upload model",
            commit_description=commit_description,
            token=token,
            revision=revision,
            create_pr=create_pr,
        )


def push_model(
    model: Any, repo_id: str, *, max_shard_size: int | str | None = None, tags: Any = None, **kwargs: Any
) -> CommitInfo:
    """Uploads a model that need not have been saved; what its `push_to_hub` calls.

    Args:
        model: The model.
        repo_id: As for [`push_folder`].
        max_shard_size: As for `save_pretrained`.
        tags: Tags for the card beside the usual ones.
        **kwargs: As for [`push_folder`].

    Raises:
        HubError: As [`push_folder`].
    """
    sizes = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
    tags = [tags] if isinstance(tags, str) else list(tags or ())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, **sizes)
        return push_folder(folder, repo_id, tags=[*(model.model_tags or ()), *tags], **kwargs)


def published_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that are uploaded.

    Raises:
        ValueError: The folder has no whole LACL checkpoint.
    """
    remedy = "name a folder that `lacl train`, `lacl adapt` or `save_pretrained` wrote"
    try:
        model_type = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} has no checkpoint, for want of a {CONFIG_FILE}: {remedy}") from error
    if model_type != LaclConfig.model_type:
        raise ValueError(f"{folder} has a {model_type} model, not a LACL one: {remedy}")
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and not file.name.startswith((".", "_"))
        and any(fnmatch(file.name, one) for one in PUBLISHED)
    ]
    names = {file.name for file in files}
    if not any(fnmatch(name, _WEIGHTS[0]) for name in names):
        raise ValueError(f"{folder} has no weights (model.safetensors): {remedy}")
    if CODE_FILE not in names or "tokenizer_config.json" not in names:
        raise ValueError(
            f"{folder} has not the code or not the tokenizer that others need to load it: load it with "
            "LaclForTokenClassification.from_pretrained, set its tokenizer, and save it again"
        )
    return files


def check_repository(
    repo_id: str, *, token: str | bool | None = None, revision: str | None = None, update: bool = True
) -> None:
    """Sees to it that a repository has no other model, before one is trained that is to go there.

    Args:
        repo_id, token, revision, update: As for [`push_folder`].

    Raises:
        HubError: It has, or the Hub could not be reached.
    """
    with hub_errors(repo_id, token), tempfile.TemporaryDirectory() as room:
        there, fetch = _contents(HfApi(library_name="lacl"), repo_id, revision, token, room)
        _check_model_there(repo_id, there, fetch(CONFIG_FILE), update)


def _contents(
    api: HfApi, repo_id: str, revision: str | None, token: str | bool | None, room: str
) -> tuple[set[str], Callable[[str], str | None]]:
    """The names of the files of a branch, which is made if need be, and a way to the text of one."""
    if revision is not None and not revision.startswith("refs/pr"):
        api.create_branch(repo_id, branch=revision, token=token, exist_ok=True)
    there = set(api.list_repo_files(repo_id, revision=revision, token=token))

    def fetch(name: str) -> str | None:
        if name not in there:
            return None
        file = api.hf_hub_download(repo_id, name, revision=revision, token=token, local_dir=room)
        return read_text(Path(file))

    return there, fetch


def _check_model_there(repo_id: str, there: set[str], config: str | None, update: bool) -> None:
    """Sees to it that no other model is replaced, and none unasked."""
    if config is None:
        weights = sorted(name for name in there if any(fnmatch(name, one) for one in _ANY_WEIGHTS))
        if weights:
            raise HubError(
                f"{repo_id} is there already and has a model of another kind ({weights[0]}, no "
                f"{CONFIG_FILE}), which stays as it is: choose another name"
            )
        return
    try:
        model_type = json.loads(config).get("model_type")
    except (ValueError, AttributeError):
        model_type = None
    if model_type != LaclConfig.model_type:
        raise HubError(
            f"{repo_id} is there already and has a model of another kind ({model_type or 'unknown'}), which "
            "stays as it is: choose another name"
        )
    if not update:
        raise HubError(
            f"{repo_id} is there already and has a LACL model: choose another name, or add --update "
            "(in Python, update=True) to put this one in its place; its history keeps the old one"
        )


def _card_for(
    folder: Path, repo_id: str, tags: Sequence[str], fetch: Callable[[str], str | None]
) -> dict[str, bytes]:
    """The card as that of a repository, by file; nothing where one that somebody has changed stays."""
    here = folder / CARD_FILE
    if here.is_file() and not is_ours(read_text(here)):
        return {}
    facts = CardFacts.from_file(folder / FACTS_FILE) or CardFacts()
    there = fetch(CARD_FILE)
    kept = there is not None and not is_ours(there)
    if kept and (license := stated_license(there or "")) is not None:
        # The Hub makes such a card when a repository is made on its site.
        kept, facts = False, replace(facts, license=facts.license or license)
    name = repo_id.rpartition("/")[2]
    facts = replace(facts, repo_id=repo_id, name=name, tags=list(dict.fromkeys([*facts.tags, *tags])))
    files = {FACTS_FILE: facts.to_json().encode()}
    if kept:
        logger.warning(
            "the card of %s was changed there and stays; to replace it, delete it there, or change %s",
            *(repo_id, here),
        )
        return {**files, CARD_FILE: b""}
    return {**files, CARD_FILE: card_text(LaclConfig.from_pretrained(folder), facts).encode()}


@contextmanager
def hub_errors(repo_id: str, token: str | bool | None = None) -> Iterator[None]:
    """Turns what goes wrong on the way to the Hub into a `HubError`: what happened, and the remedy."""
    try:
        yield
    except HubError:
        raise
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise HubError(_explain(error, repo_id, token)) from error
    except (RuntimeError, ValueError) as error:  # as the parts of an upload wrap what happened to them
        raise HubError(_explain(error.__cause__ or error, repo_id, token, str(error))) from error


def _explain(error: BaseException, repo_id: str, token: str | bool | None, told: str = "") -> str:
    endpoint = constants.ENDPOINT
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HTTPError):
        error = error.__cause__
    if isinstance(error, HFValidationError):
        return f"{repo_id!r} is no name for a repository: give NAME or OWNER/NAME ({error})"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set, so nothing is sent to the Hub: unset it, and try again"
    if isinstance(error, GatedRepoError):
        return f"{repo_id} is gated, and your account has no access: ask for it at {endpoint}/{repo_id}"
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        says = " ".join((told or error.server_message or f"status {status}").split())
        if status == 401 and not (token if isinstance(token, str) else token is not False and get_token()):
            return (
                "you are not logged in to the Hub: run `hf auth login`, or set HF_TOKEN, with a token that "
                f"may write ({_TOKENS})"
            )
        if status == 401:
            return (
                f"the Hub does not take your token ({says}): it is mistyped, expired or revoked; make "
                f"another at {_TOKENS}, and run `hf auth login` or set HF_TOKEN"
            )
        if status == 403:
            return (
                f"your token may not write to {repo_id} ({says}): use one with write permission, or a name "
                f"with your own account before the stroke"
            )
        if status == 404:
            return (
                f"{repo_id} is not there, or is private and closed to your account: check the name, and log "
                "in with an account that has access (`hf auth login`)"
            )
        if status == 409:
            return f"{repo_id} was changed by somebody else at the same time ({says}): try again"
        if status == 429 or status >= 500:
            return f"the Hub is busy or out of order ({says}): try again later; your files are as they were"
        return f"the Hub does not take this upload ({says}): correct that, and try again"
    if isinstance(error, HTTPError):
        return (
            f"the connection to {endpoint} failed ({type(error).__name__}: {error}): check the network, look "
            f"at {endpoint}/{repo_id} whether the upload arrived, and try again; your files are as they were"
        )
    return f"the upload to {repo_id} failed ({told or error}): try again; your files are as they were"
