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
from .model_card import CARD_FILE, card_text, is_generated, read_text, stated_license

logger = logging.get_logger(__name__)

PUBLISHED = (
    *("*.json", "*.safetensors", "*.py", "*.md", "*.model", "*.jinja"),
    *("vocab.txt", "merges.txt", "LICENSE*"),
)
"""Files of a folder that are uploaded: no pickled files, and no data that happen to be there."""
_WEIGHTS = ("model*.safetensors", "model*.safetensors.index.json")
_ANY_WEIGHTS = (
    *("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.keras", "*.msgpack"),
    *("*.onnx", "*.gguf", "*.tflite", "*.pkl", "*.pickle", "*.joblib"),
)
_TOKENS = "https://huggingface.co/settings/tokens"


class HubError(OSError):
    """An upload failed; the message says why and what to do."""


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
    """Upload a saved checkpoint in one commit, without changing the folder.

    The card is rewritten for the repository, unless it was edited by hand, in the folder or in the
    repository: such a card is kept. Weights of an earlier checkpoint in the repository, which may have other
    shards, are removed in the same commit.

    Args:
        folder: A folder that `save_pretrained`, `lacl train` or `lacl adapt` wrote.
        repo_id: `NAME` or `OWNER/NAME`. The repository is created if it does not exist.
        private: Whether a new repository is private; by default, the setting of its owner.
        token: Token of huggingface_hub; by default, that of the logged-in user.
        revision: Branch, created if it does not exist. By default `main`.
        create_pr: Whether to open a pull request instead of changing the branch.
        update: Whether an existing LACL model may be replaced, in a new commit. A model of another type
            never is.
        tags: Additional tags for the card.
        commit_message, commit_description: Message and description of the commit.
        more_files: Further files, by their path in the repository.

    Returns:
        The commit.

    Raises:
        HubError: The Hub refused the upload or could not be reached, or the repository has another model.
        ValueError: `folder` has no complete checkpoint.
    """
    folder = Path(folder)
    contents: dict[str, Path | bytes] = {file.name: file for file in published_files(folder)}
    contents |= dict(more_files or {})
    api = HfApi(library_name="lacl")
    with hub_errors(repo_id, token), tempfile.TemporaryDirectory() as downloads:
        repo_id = api.create_repo(repo_id, private=private, token=token, exist_ok=True).repo_id
        existing, fetch = _contents(api, repo_id, revision, token, downloads)
        _check_existing_model(repo_id, existing, fetch(CONFIG_FILE), update)
        contents |= _card_for(folder, repo_id, tags, fetch)
        stale = {name for name in existing if any(fnmatch(name, one) for one in _WEIGHTS)} - contents.keys()
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
    """Save a model to a temporary folder and upload it; called by its `push_to_hub`.

    Args:
        model: The model.
        repo_id: As in [`push_folder`].
        max_shard_size: As in `save_pretrained`.
        tags: Additional tags for the card.
        **kwargs: Further arguments of [`push_folder`].

    Returns:
        The commit.

    Raises:
        HubError: As in [`push_folder`].
    """
    sizes = {} if max_shard_size is None else {"max_shard_size": max_shard_size}
    tags = [tags] if isinstance(tags, str) else list(tags or ())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, **sizes)
        return push_folder(folder, repo_id, tags=[*(model.model_tags or ()), *tags], **kwargs)


def published_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that are uploaded.

    Raises:
        ValueError: The folder has no complete LACL checkpoint.
    """
    remedy = "name a folder that `lacl train`, `lacl adapt` or `save_pretrained` wrote"
    try:
        model_type = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} has no checkpoint, since {CONFIG_FILE} is missing: {remedy}") from error
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
            f"{folder} lacks the code or the tokenizer that others need to load it: load it with "
            "LaclForTokenClassification.from_pretrained, set its tokenizer, and save it again"
        )
    return files


def check_repository(
    repo_id: str, *, token: str | bool | None = None, revision: str | None = None, update: bool = True
) -> None:
    """Check before training that a repository has no model that must not be replaced.

    Args:
        repo_id, token, revision, update: As in [`push_folder`].

    Raises:
        HubError: The repository has such a model, or the Hub could not be reached.
    """
    with hub_errors(repo_id, token), tempfile.TemporaryDirectory() as downloads:
        existing, fetch = _contents(HfApi(library_name="lacl"), repo_id, revision, token, downloads)
        _check_existing_model(repo_id, existing, fetch(CONFIG_FILE), update)


def _contents(
    api: HfApi, repo_id: str, revision: str | None, token: str | bool | None, downloads: str
) -> tuple[set[str], Callable[[str], str | None]]:
    """Return the file names of a branch, which is created if necessary, and a function that reads a file."""
    if revision is not None and not revision.startswith("refs/pr"):
        api.create_branch(repo_id, branch=revision, token=token, exist_ok=True)
    existing = set(api.list_repo_files(repo_id, revision=revision, token=token))

    def fetch(name: str) -> str | None:
        if name not in existing:
            return None
        file = api.hf_hub_download(repo_id, name, revision=revision, token=token, local_dir=downloads)
        return read_text(Path(file))

    return existing, fetch


def _check_existing_model(repo_id: str, existing: set[str], config: str | None, update: bool) -> None:
    """Raise `HubError` if the repository has a model of another type, or one and `update` is false."""
    if config is None:
        weights = sorted(name for name in existing if any(fnmatch(name, one) for one in _ANY_WEIGHTS))
        if weights:
            raise HubError(
                f"{repo_id} exists already and has a model of another kind ({weights[0]}, no "
                f"{CONFIG_FILE}), which is not replaced: choose another name"
            )
        return
    try:
        model_type = json.loads(config).get("model_type")
    except (ValueError, AttributeError):
        model_type = None
    if model_type != LaclConfig.model_type:
        raise HubError(
            f"{repo_id} exists already and has a model of another kind ({model_type or 'unknown'}), which "
            "is not replaced: choose another name"
        )
    if not update:
        raise HubError(
            f"{repo_id} exists already and has a LACL model: choose another name, or add --update "
            "(in Python, update=True) to replace it; the old model stays in the history of the repository"
        )


def _card_for(
    folder: Path, repo_id: str, tags: Sequence[str], fetch: Callable[[str], str | None]
) -> dict[str, bytes]:
    """Return the files of the card of a repository; empty if the folder has a card edited by hand."""
    local = folder / CARD_FILE
    if local.is_file() and not is_generated(read_text(local)):
        return {}
    facts = CardFacts.from_file(folder / FACTS_FILE) or CardFacts()
    remote = fetch(CARD_FILE)
    kept = remote is not None and not is_generated(remote)
    if kept and (license := stated_license(remote or "")) is not None:
        # The Hub writes such a card when a repository is created on its website.
        kept, facts = False, replace(facts, license=facts.license or license)
    name = repo_id.rpartition("/")[2]
    facts = replace(facts, repo_id=repo_id, name=name, tags=list(dict.fromkeys([*facts.tags, *tags])))
    files = {FACTS_FILE: facts.to_json().encode()}
    if kept:
        logger.warning(
            "the card of %s was edited there and is kept; to replace it, delete it there, or edit %s",
            *(repo_id, local),
        )
        return {**files, CARD_FILE: b""}
    return {**files, CARD_FILE: card_text(LaclConfig.from_pretrained(folder), facts).encode()}


@contextmanager
def hub_errors(repo_id: str, token: str | bool | None = None) -> Iterator[None]:
    """Turn errors of an upload into a `HubError` that says what happened and what to do."""
    try:
        yield
    except HubError:
        raise
    except (HTTPError, HFValidationError, OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise HubError(_explain(error, repo_id, token)) from error
    except (RuntimeError, ValueError) as error:  # the parts of an upload wrap the original error
        raise HubError(_explain(error.__cause__ or error, repo_id, token, str(error))) from error


def _explain(error: BaseException, repo_id: str, token: str | bool | None, message: str = "") -> str:
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
        reason = " ".join((message or error.server_message or f"status {status}").split())
        if status == 401 and not (token if isinstance(token, str) else token is not False and get_token()):
            return (
                "you are not logged in to the Hub: run `hf auth login`, or set HF_TOKEN, with a token that "
                f"may write ({_TOKENS})"
            )
        if status == 401:
            return (
                f"the Hub does not take your token ({reason}): it is mistyped, expired or revoked; make "
                f"another at {_TOKENS}, and run `hf auth login` or set HF_TOKEN"
            )
        if status == 403:
            return (
                f"your token may not write to {repo_id} ({reason}): use one with write permission, or a name "
                f"with your own account before the slash"
            )
        if status == 404:
            return (
                f"{repo_id} does not exist, or is private and not accessible to your account: check "
                "the name, and log in with an account that has access (`hf auth login`)"
            )
        if status == 409:
            return f"{repo_id} was changed by somebody else at the same time ({reason}): try again"
        if status == 429 or status >= 500:
            return f"the Hub is busy or out of order ({reason}): try again later; your files are as they were"
        return f"the Hub does not take this upload ({reason}): correct that, and try again"
    if isinstance(error, HTTPError):
        return (
            f"the connection to {endpoint} failed ({type(error).__name__}: {error}): check the network, look "
            f"at {endpoint}/{repo_id} whether the upload arrived, and try again; your files are as they were"
        )
    return f"the upload to {repo_id} failed ({message or error}): try again; your files are as they were"
