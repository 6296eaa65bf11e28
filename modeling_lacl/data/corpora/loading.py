"""`load_corpus`: load the splits of a corpus as datasets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, overload

from datasets import DatasetDict, IterableDataset, IterableDatasetDict

from ..building import build
from ..examples import LaclDataError, Origin, Sentence
from ..label_names import load_label_names
from ..tag_schemes import OUTSIDE, bio_tags, split_tag, to_bio
from ..tags import bio_features
from .registry import CORPORA, Corpus

SPLITS = {
    "train": {"train", "training"},
    "validation": {"dev", "development", "val", "valid", "validation", "testa"},
    "test": {"test", "testing", "testb"},
}
"""Each split, and the words that name it in file and folder names."""


@overload
def load_corpus(
    name: str, path: str | Path, splits: Sequence[str] | None = ..., streaming: Literal[False] = ...
) -> DatasetDict: ...


@overload
def load_corpus(
    name: str, path: str | Path, splits: Sequence[str] | None = ..., *, streaming: Literal[True]
) -> IterableDatasetDict: ...


def load_corpus(
    name: str, path: str | Path, splits: Sequence[str] | None = None, streaming: bool = False
) -> DatasetDict | IterableDatasetDict:
    """Read a corpus from a folder with its files, in the layout published by its authors.

    Args:
        name: "ontonotes", "conll2003", "wnut17", "i2b2_2014", "gum" or "few_nerd".
        path: Folder of its files.
        splits: Splits to read, of "train", "validation" and "test"; by default all that exist.
        streaming: Read the files lazily during iteration, without keeping sentences in memory.

    Returns:
        The official splits, each a dataset as from `read_dataset`: `id`, `document_id`, `tokens` and
        `ner_tags` (ClassLabel, BIO). The types are those of `load_label_names(name)`, in the same order. For
        FEW-NERD, whose splits have different types, they are those that occur in the split, unless it is
        streamed.

    Raises:
        LaclDataError: The corpus is not at `path` (the message says where to get it), a split does not exist,
            or a file cannot be read; the message gives file and line.
        ValueError: The name of the corpus or of a split is unknown.

    Example:
        >>> from pathlib import Path
        >>> from modeling_lacl import load_corpus
        >>> Path("wnut17").mkdir()
        >>> file = Path("wnut17/train.conll")
        >>> _ = file.write_text("Ana\\tB-person\\nleft\\tO\\nOslo\\tB-location\\n")
        >>> load_corpus("wnut17", "wnut17")["train"]["tokens"][0]
        ['Ana', 'left', 'Oslo']
    """
    if name not in CORPORA:
        raise ValueError(f"no corpus {name!r}; there are {', '.join(CORPORA)}")
    for split in splits or ():
        if split not in SPLITS:
            raise ValueError(f"no split {split!r}; there are {', '.join(SPLITS)}")
    corpus, folder = CORPORA[name], Path(path).expanduser()
    found = split_files(corpus, folder)
    for split in splits or ():
        if split not in found:
            raise LaclDataError(
                f"{folder}: {corpus.title} has no {split} split here, only {', '.join(found)}"
            )
    chosen = {split: found[split] for split in splits or found}
    types = list(load_label_names(name))
    if streaming:
        return IterableDatasetDict({split: _stream(name, files, types) for split, files in chosen.items()})
    datasets = {}
    for split, files in chosen.items():
        origin = Origin(str(files[0])) if len(files) == 1 else Origin(str(folder), has_lines=False)
        labels = None if corpus.own_types else types
        datasets[split] = build(corpus_sentences(corpus, files, types), origin, labels, corpus.scheme)
    return DatasetDict(datasets)


def split_files(corpus: Corpus, folder: Path) -> dict[str, list[Path]]:
    """Return the files of each split that exists, sorted by path.

    Raises:
        LaclDataError: No file of the corpus was found, or two files belong to the same split.
    """
    paths = folder.rglob("*") if corpus.in_folders else folder.glob("*")
    files = sorted(path for path in paths if corpus.files.fullmatch(path.name) and path.is_file())
    if corpus.among is not None:
        files = [path for path in files if corpus.among in _words(path.relative_to(folder))] or files
    found: dict[str, list[Path]] = {}
    for path in files:
        split = _split_of(path.relative_to(folder))
        if split is not None:
            found.setdefault(split, []).append(path)
    if not found:
        raise LaclDataError(
            f"{folder}: no {corpus.title} here; expected a folder with {corpus.layout}. {corpus.source}"
        )
    # The CoNLL-formatted release of OntoNotes has the test set of the shared task and a larger one.
    official = [path for path in found.get("test", ()) if "conll-2012-test" in path.parts]
    if official:
        found["test"] = official
    if not corpus.in_folders:
        for split, several in found.items():
            if len(several) > 1:
                names = ", ".join(path.name for path in several)
                raise LaclDataError(f"{folder}: {names} are all the {split} split; leave one of them there")
    return {split: found[split] for split in SPLITS if split in found}


def corpus_sentences(corpus: Corpus, files: Iterable[Path], types: Collection[str]) -> Iterator[Sentence]:
    """Read the sentences of the files lazily, and check that each tag has a type of the corpus.

    Args:
        corpus: The corpus.
        files: Files of one split.
        types: Entity types of the corpus.

    Yields:
        The sentences, in the order of the files.

    Raises:
        LaclDataError: A tag has another type; the message gives file and line.
    """
    known = {OUTSIDE}
    for path in files:
        for sentence in corpus.read(path):
            for position, tag in enumerate(sentence.tags):
                if tag in known:
                    continue
                if (tag if corpus.scheme == "IO" else split_tag(tag)[1]) not in types:
                    raise LaclDataError(
                        f"{path}:{sentence.number(position)}: the tag {tag!r} is none of {corpus.title} "
                        f"({', '.join(types)}); correct it, or read the file by read_dataset"
                    )
                known.add(tag)
            yield sentence


def _words(path: Path) -> set[str]:
    return set(re.findall("[a-z]+", str(path).lower()))


def _split_of(path: Path) -> str | None:
    """Return the split named by the outermost folder or file name that names one."""
    for part in path.parts:
        words = set(re.findall("[a-z]+", part.lower()))
        for split, names in SPLITS.items():
            if words & names:
                return split
    return None


def _stream(name: str, files: Sequence[Path], types: Sequence[str]) -> IterableDataset:
    # A tuple, since lists would be treated as shards, with sentences numbered from 0 in each.
    arguments = {"name": name, "files": tuple(map(str, files)), "types": tuple(types)}
    return IterableDataset.from_generator(_examples, features=bio_features(types), gen_kwargs=arguments)


def _examples(name: str, files: Sequence[str], types: Sequence[str]) -> Iterator[dict[str, Any]]:
    corpus = CORPORA[name]
    ids = {tag: index for index, tag in enumerate(bio_tags(types))}
    for index, sentence in enumerate(corpus_sentences(corpus, map(Path, files), types)):
        yield {
            "id": str(index) if sentence.id is None else sentence.id,
            "document_id": sentence.document_id or "0",
            "tokens": list(sentence.tokens),
            "ner_tags": [ids[tag] for tag in to_bio([sentence.tags], corpus.scheme)[0]],
        }
