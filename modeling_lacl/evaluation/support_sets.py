"""The sentences of a target: its test set, and its support sets, read from files or sampled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..data.corpora.loading import load_corpus
from ..data.examples import LaclDataError
from ..data.reading import read_dataset
from ..data.sampling import entity_counts, sample_support_from_counts
from ..data.tags import entity_types, keep_types, tag_names
from ..files import sha256
from .targets import TransferTarget


@dataclass(frozen=True)
class SupportSet:
    """Labelled sentences to adapt on.

    Attributes:
        name: Its file as named in the recipe, or the file or split that it was sampled from, with shots and
            number.
        sentences: The sentences, in the format of `read_dataset`.
        digest: SHA-256 of the content.
    """

    name: str
    sentences: Dataset
    digest: str


def read_test(folder: Path, target: TransferTarget) -> tuple[Dataset, str]:
    """Return the test set and its digest, restricted to the types of the target if it lists any.

    Raises:
        LaclDataError: The file is missing or malformed, or lacks one of the types.
    """
    return _read(folder, target, target.test, "test")


def support_sets(folder: Path, target: TransferTarget) -> dict[str, list[SupportSet]]:
    """Return the support sets by shots.

    A sampled support set depends only on `sample_seed`, the shots and its number.

    Raises:
        ValueError: As for `TransferTarget.support_files`; or there are too few entities to sample from.
        LaclDataError: As for `read_test`.
    """
    if target.sample_from is None:
        return {
            shots: [SupportSet(file, *_read(folder, target, file)) for file in files]
            for shots, files in target.support_files(folder).items()
        }
    dataset, _ = _read(
        folder, target, target.test if target.corpus else target.sample_from, target.sample_from
    )
    names = entity_types(dataset)
    counts = entity_counts(dataset, names)
    found = np.flatnonzero(counts.sum(axis=0)).tolist()
    types = [names[label - 1] for label in found]
    if len(types) < len(names):  # a corpus also lists types that do not occur in this split
        dataset = keep_types(dataset, types)
    sets: dict[str, list[SupportSet]] = {}
    for shots in target.shots:
        for number in range(target.sets or 1):
            generator = np.random.default_rng((target.sample_seed, shots, number))
            rows = sample_support_from_counts(counts, found, shots, generator, names=types)
            sampled = dataset.select(rows)
            name = f"{target.sample_from}, {shots}-shot, draw {number}"
            sets.setdefault(f"{shots}-shot", []).append(SupportSet(name, sampled, _content_digest(sampled)))
    return sets


def _read(folder: Path, target: TransferTarget, file: str, split: str | None = None) -> tuple[Dataset, str]:
    """Return a file or corpus split, restricted to the target's types, and its digest."""
    path = folder / file
    if target.corpus and split:
        dataset = load_corpus(target.corpus, path, splits=[split])[split]
    elif not path.is_file():
        raise LaclDataError(f"no file {path}; set 'data_root' (--data_root) to the folder of the data")
    else:
        dataset = read_dataset(path)
        if not target.types:
            return dataset, sha256(path)
    if target.types:
        missing = [name for name in target.types if name not in entity_types(dataset)]
        if missing:
            raise LaclDataError(
                f"{path}: has no type {missing[0]!r}, which target {target.name!r} names; its types are "
                f"{', '.join(entity_types(dataset))}"
            )
        dataset = keep_types(dataset, target.types)
    return dataset, _content_digest(dataset)


def _content_digest(dataset: Dataset) -> str:
    sentences = zip(dataset["tokens"][:], dataset["ner_tags"][:], strict=True)
    return sha256("".join(map(json.dumps, (tag_names(dataset), *sentences))))
