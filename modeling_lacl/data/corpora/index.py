"""A folder of many corpora with an index: what each is about, what may be done with it, and its types."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..examples import LaclDataError

INDEX_FILE = "corpora.json"
TRAIN_FILES = ("train.jsonl.gz", "train.jsonl")


@dataclass(frozen=True)
class IndexedCorpus:
    """A corpus of an index.

    Attributes:
        name: Its name, which is that of its folder.
        folder: The folder.
        domain: What its texts are about.
        role: What it is for, such as `training`.
        licence: Its licence.
        release: Whether a model trained on it can be released: `yes`, `yes (share-alike)`, …
        near_test_types: Whether its types have names of the test types of a benchmark.
        sentences: Number of sentences of its training split.
        types: Its types, in words, with their numbers of mentions.
        attribution: Whom to name, from the line `- Attribution: …` of its README.
    """

    name: str
    folder: Path
    domain: str
    role: str
    licence: str
    release: str
    near_test_types: bool
    sentences: int
    types: Mapping[str, int]
    attribution: str

    @property
    def train_file(self) -> Path:
        """The file of the training split.

        Raises:
            LaclDataError: There is none.
        """
        for name in TRAIN_FILES:
            if (self.folder / name).is_file():
                return self.folder / name
        raise LaclDataError(
            f"{self.folder}: has no {' or '.join(TRAIN_FILES)}; add the file, or exclude {self.name!r}"
        )


def read_index(folder: Path) -> list[IndexedCorpus]:
    """Read the index of a folder of corpora.

    Args:
        folder: The folder, with `corpora.json`: a list of objects with `name`, `domain`, `role`, `licence`,
            `release`, `near_test_types`, `splits` and `types`. Each corpus has a folder of its name.

    Returns:
        The corpora, in the order of the index.

    Raises:
        LaclDataError: The index is not there or has another form; the message names the corpus.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> entry = {"name": "mail", "splits": {"train": {"sentences": 3}}, "types": {"sender": 2}}
        >>> _ = Path("corpora.json").write_text(json.dumps([entry]))
        >>> read_index(Path("."))[0].types
        {'sender': 2}
    """
    path = folder / INDEX_FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise LaclDataError(
            f"{folder}: has no {INDEX_FILE}, the index of its corpora; name the folder that has it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise LaclDataError(f"{path}: not JSON in UTF-8 ({error})") from error
    if not isinstance(entries, list):
        raise LaclDataError(f"{path}: must be a list with an object for each corpus")
    corpora = [_corpus(entry, folder, f"{path}: entry {number}") for number, entry in enumerate(entries)]
    names = [corpus.name for corpus in corpora]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise LaclDataError(f"{path}: {', '.join(repeated)} more than once; give every corpus another name")
    return corpora


def _corpus(entry: Any, folder: Path, place: str) -> IndexedCorpus:
    name = entry.get("name") if isinstance(entry, dict) else None
    if not isinstance(name, str) or Path(name).name != name:
        raise LaclDataError(f"{place}: needs a name, which is that of its folder, got {name!r}")
    place = f"{place} ({name})"
    texts = {key: entry.get(key, "") for key in ("domain", "role", "licence", "release")}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise LaclDataError(f"{place}: {key} is {value!r}; write a text")
    near = entry.get("near_test_types", False)
    if not isinstance(near, bool):
        raise LaclDataError(f"{place}: near_test_types is {near!r}; write true or false")
    types = entry.get("types")
    if not isinstance(types, dict) or not all(
        isinstance(label, str) and label.strip() and type(number) is int for label, number in types.items()
    ):
        raise LaclDataError(f"{place}: types must be an object of names and numbers of mentions")
    return IndexedCorpus(
        name=name,
        folder=folder / name,
        near_test_types=near,
        sentences=_training_sentences(entry.get("splits"), place),
        types={" ".join(label.split()): number for label, number in types.items()},
        attribution=_attribution(folder / name / "README.md"),
        **texts,
    )


def _training_sentences(splits: Any, place: str) -> int:
    """Return the number of training sentences; 0 for a corpus without such a split."""
    train = splits.get("train", {"sentences": 0}) if isinstance(splits, dict) else None
    number = train.get("sentences") if isinstance(train, dict) else None
    if type(number) is not int:
        raise LaclDataError(
            f"{place}: splits must have the number of sentences, as "
            '{"train": {"sentences": 120}}'
        )  # fmt: skip
    return number


def _attribution(readme: Path) -> str:
    if not readme.is_file():
        return ""
    lines = readme.read_text(encoding="utf-8", errors="replace").splitlines()
    mark = "- Attribution:"
    return next((line.removeprefix(mark).strip() for line in lines if line.startswith(mark)), "")
