"""The labels of a dataset from `read_dataset`: as BIO names, as entity spans, and as IO label ids.

Such a dataset has one of two forms: `ner_tags`, or `entities` that can nest (`nested="keep"`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc  # type: ignore[import-untyped]
from datasets import ClassLabel, Dataset, Features, List, Value
from numpy.typing import NDArray

from ..model.decoding_lacl import OUTSIDE
from .spans import WordSpan
from .tag_schemes import bio_tags, sentence_starts, split_tag

UnknownTypes = Literal["error", "outside"]


def tag_names(dataset: Dataset) -> list[str]:
    """Return the class names of `ner_tags`: O, B-x, I-x, …

    Raises:
        ValueError: The dataset does not come from `read_dataset`.
    """
    if has_spans(dataset):
        raise ValueError(
            "the dataset has 'entities', which can nest, in place of tags; for tags, read it by "
            "read_dataset(…, nested='outermost') or 'innermost'"
        )
    feature = getattr(dataset.features.get("ner_tags"), "feature", None)
    names = list(feature.names) if isinstance(feature, ClassLabel) else []
    if not names or names[0] != "O" or any(split_tag(name)[0] not in ("B", "I") for name in names[1:]):
        raise ValueError(
            "the dataset has no BIO ClassLabel column 'ner_tags'; pass it through read_dataset first"
        )
    return names


def has_spans(dataset: Dataset) -> bool:
    """Return whether a dataset has the form of `nested="keep"`: `entities` in place of `ner_tags`."""
    return dataset.features.get("entities") == span_features()["entities"] and "ner_tags" not in (
        dataset.features
    )


def gold_tags(dataset: Dataset) -> list[list[str]]:
    """Return the names of the BIO tags of every sentence of a dataset from `read_dataset`."""
    names = tag_names(dataset)
    return [[names[tag] for tag in tags] for tags in dataset["ner_tags"][:]]


def bio_spans(tags: Sequence[str]) -> list[WordSpan]:
    """Return the entities of a sentence as (first word, one past the last, type), from valid BIO tags."""
    spans: list[WordSpan] = []
    for word, tag in enumerate(tags):
        prefix, name = split_tag(tag)
        if prefix == "B":
            spans.append((word, word + 1, name))
        elif prefix == "I":
            spans[-1] = (spans[-1][0], word + 1, name)
    return spans


def entity_spans(dataset: Dataset) -> list[list[WordSpan]]:
    """Return the entities of every sentence of a dataset from `read_dataset`, of both forms.

    Returns:
        For each sentence its entities as (first word, one past the last, type), sorted.

    Raises:
        ValueError: The dataset does not come from `read_dataset`.

    Example:
        >>> from modeling_lacl import read_dataset
        >>> spans = [{"start": 0, "end": 3, "label": "university"}, {"start": 2, "end": 3, "label": "city"}]
        >>> examples = [{"tokens": ["University", "of", "Oslo"], "entities": spans}]
        >>> entity_spans(read_dataset(examples, nested="keep"))
        [[(0, 3, 'university'), (2, 3, 'city')]]
        >>> entity_spans(read_dataset(examples, nested="innermost"))
        [[(2, 3, 'city')]]
    """
    if not has_spans(dataset):
        return [bio_spans(tags) for tags in gold_tags(dataset)]
    return [
        sorted((one["start"], one["end"], one["label"]) for one in spans)
        for spans in dataset.with_format(None)["entities"][:]
    ]


def entity_types(dataset: Dataset) -> list[str]:
    """Return the entity types of a dataset from `read_dataset`, in the order of its classes.

    Where entities can nest (`nested="keep"`), there are no classes; the order is that of first appearance.
    """
    if has_spans(dataset):
        entities = dataset.with_format("arrow")[:]["entities"].combine_chunks()
        return pc.unique(entities.flatten().field("label")).to_pylist()
    return list(dict.fromkeys(split_tag(name)[1] for name in tag_names(dataset)[1:]))


def io_lookup(
    dataset: Dataset, types: Sequence[str], unknown_types: UnknownTypes = "error"
) -> NDArray[np.int64]:
    """Return the IO label id of each BIO class, (number of classes,): 0 for outside, i + 1 for `types[i]`.

    Args:
        dataset: A dataset from `read_dataset`.
        types: Entity types in the order of the labels.
        unknown_types: "error", or "outside" for classes whose type is not in `types`.

    Raises:
        ValueError: There is such a class and `unknown_types` is "error".
    """
    order = _label_ids(dataset, types, unknown_types)
    return np.array(
        [0, *(order.get(split_tag(name)[1], 0) for name in tag_names(dataset)[1:])], dtype=np.int64
    )


def _label_ids(dataset: Dataset, types: Sequence[str], unknown_types: UnknownTypes) -> dict[str, int]:
    """Return the label id of each type, i + 1 for `types[i]`; raises as `io_lookup`."""
    if unknown_types not in ("error", "outside"):
        raise ValueError(f"unknown_types must be 'error' or 'outside', got {unknown_types!r}")
    order = {name: index for index, name in enumerate(types, start=1)}
    missing = [name for name in entity_types(dataset) if name not in order]
    if missing and unknown_types == "error":
        raise ValueError(
            f"the dataset has types that are not among the given ones: {', '.join(missing)}; "
            "add them to types or pass unknown_types='outside'"
        )
    return order


LabelSpan = tuple[int, int, int]
"""An entity of a sentence: its first word, one past its last, and its label id."""


def label_spans(
    dataset: Dataset, types: Sequence[str], unknown_types: UnknownTypes = "error"
) -> list[list[LabelSpan]]:
    """Return the entities of every sentence by label id, i + 1 for `types[i]`; arguments as for `to_io`."""
    order = _label_ids(dataset, types, unknown_types)
    return [
        [(start, end, order[name]) for start, end, name in spans if name in order]
        for spans in entity_spans(dataset)
    ]


def _outermost(length: int, spans: Sequence[LabelSpan]) -> list[int]:
    """Return the label id of every word of a sentence: that of the longest entity that covers it, or 0."""
    labels = [0] * length
    for start, end, label in sorted(spans, key=lambda span: span[1] - span[0]):
        labels[start:end] = [label] * (end - start)
    return labels


def to_io(dataset: Dataset, types: Sequence[str], unknown_types: UnknownTypes = "error") -> list[list[int]]:
    """Return the IO label ids of every sentence, 0 for outside and i + 1 for `types[i]`.

    Where entities nest, a word has the label of the longest that covers it.

    Args:
        dataset: A dataset from `read_dataset`, of either form.
        types: Entity types in the order of the labels.
        unknown_types: "error", or "outside" for entities whose type is not in `types`.

    Raises:
        ValueError: A type of the dataset is not in `types` and `unknown_types` is "error".
    """
    if has_spans(dataset):
        spans = label_spans(dataset, types, unknown_types)
        return [_outermost(len(words), own) for words, own in zip(dataset["tokens"][:], spans, strict=True)]
    lookup = io_lookup(dataset, types, unknown_types)
    column = dataset.with_format("arrow")[:]["ner_tags"].combine_chunks()
    flat = lookup[column.flatten().to_numpy(zero_copy_only=False)].tolist()
    ends = np.cumsum([0, *column.value_lengths().to_pylist()]).tolist()
    return [flat[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]


def keep_types(dataset: Dataset, types: Sequence[str]) -> Dataset:
    """Return a dataset from `read_dataset`, of either form, with only `types`; all others become outside."""
    if has_spans(dataset):

        def select(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
            return {
                "entities": [[one for one in spans if one["label"] in types] for spans in rows["entities"]]
            }

        return dataset.map(select, batched=True, features=dataset.features, desc="Keeping types")
    names = bio_tags(types)
    ids = {name: index for index, name in enumerate(names)}
    lookup = [ids.get(name, 0) for name in tag_names(dataset)]

    def rename(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"ner_tags": [[lookup[tag] for tag in tags] for tags in rows["ner_tags"]]}

    features = Features({**dataset.features, "ner_tags": List(ClassLabel(names=names))})
    return dataset.map(rename, batched=True, features=features, desc="Keeping types")


def bio_features(types: Sequence[str]) -> Features:
    """Return the features of a dataset from `read_dataset` with these types."""
    return Features(
        {
            "id": Value("string"),
            "document_id": Value("string"),
            "tokens": List(Value("string")),
            "ner_tags": List(ClassLabel(names=bio_tags(types))),
        }
    )


def span_features() -> Features:
    """Return the features of a dataset from `read_dataset` whose entities can nest."""
    return Features(
        {
            "id": Value("string"),
            "document_id": Value("string"),
            "tokens": List(Value("string")),
            "entities": List({"start": Value("int32"), "end": Value("int32"), "label": Value("string")}),
        }
    )


def is_span_dataset(dataset: Dataset) -> bool:
    """Return whether a dataset is as from `read_dataset(…, nested="keep")`: its features, and valid spans."""
    if dataset.features != span_features():
        return False
    table = dataset.with_format(None)
    return all(map(_are_valid, table["tokens"][:], table["entities"][:]))


def _are_valid(tokens: list[str | None] | None, spans: list[dict[str, Any]] | None) -> bool:
    """Return whether spans are in order and inside of the words, and no word is empty."""
    if tokens is None or spans is None or None in tokens or "" in tokens:
        return False
    if any(None in one.values() or one["label"] in ("", OUTSIDE) for one in spans):
        return False
    ordered = [(one["start"], one["end"], one["label"]) for one in spans]
    return all(0 <= start < end <= len(tokens) for start, end, _ in ordered) and all(
        one < other for one, other in pairwise(ordered)
    )


def is_bio_dataset(dataset: Dataset) -> bool:
    """Return whether a dataset is as from `read_dataset`: the same features, and valid BIO tags."""
    classes = getattr(dataset.features.get("ner_tags"), "feature", None)
    if not isinstance(classes, ClassLabel) or not classes.names or classes.names[0] != OUTSIDE:
        return False
    types = list(dict.fromkeys(split_tag(name)[1] for name in classes.names[1:]))
    if dataset.features != bio_features(types):
        return False
    table = dataset.with_format("arrow")[:]
    tokens, tags = (table[name].combine_chunks() for name in ("tokens", "ner_tags"))
    words = tokens.flatten()
    lengths = tags.value_lengths().to_numpy(zero_copy_only=False)
    if words.null_count or not np.array_equal(tokens.value_lengths().to_numpy(zero_copy_only=False), lengths):
        return False
    # Classes are numbered O, B-x, I-x, B-y, …: an even id above 0 (I-x) continues an entity, so the id before
    # it must be the same (I-x) or one less (B-x).
    ids = tags.flatten().to_numpy(zero_copy_only=False)
    before = np.where(sentence_starts(lengths), 0, np.concatenate(([0], ids[:-1])))
    continues = (ids > 0) & (ids % 2 == 0)
    is_valid = ((ids >= 0) & (ids < len(classes.names))).all() and ((before == ids) | (before == ids - 1))[
        continues
    ].all()
    return bool(is_valid) and not bool(pc.any(pc.equal(words, "")).as_py())
