"""From a dataset's BIO classes to the model's IO label ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from datasets import ClassLabel, Dataset, Features, List
from numpy.typing import NDArray

from ..schemes import bio_tags, split_tag

UnknownTypes = Literal["error", "outside"]


def tag_names(dataset: Dataset) -> list[str]:
    """The class names of `ner_tags`: O, B-x, I-x, …

    Raises:
        ValueError: the dataset does not come from `read_dataset`.
    """
    feature = getattr(dataset.features.get("ner_tags"), "feature", None)
    names = list(feature.names) if isinstance(feature, ClassLabel) else []
    if not names or names[0] != "O" or any(split_tag(name)[0] not in ("B", "I") for name in names[1:]):
        raise ValueError(
            "the dataset has no BIO ClassLabel column 'ner_tags'; pass it through read_dataset first"
        )
    return names


def entity_types(dataset: Dataset) -> list[str]:
    """The entity types of a dataset from `read_dataset`, in the order of its classes."""
    return list(dict.fromkeys(split_tag(name)[1] for name in tag_names(dataset)[1:]))


def io_lookup(
    dataset: Dataset, types: Sequence[str], unknown_types: UnknownTypes = "error"
) -> NDArray[np.int64]:
    """(number of classes,) IO label id of each BIO class: 0 outside, i + 1 for `types[i]`.

    Args:
        unknown_types: what becomes of a class whose type is not in `types`: "error", or "outside".

    Raises:
        ValueError: such a class is there and `unknown_types` is "error".
    """
    if unknown_types not in ("error", "outside"):
        raise ValueError(f"unknown_types must be 'error' or 'outside', got {unknown_types!r}")
    order = {name: index for index, name in enumerate(types, start=1)}
    present = entity_types(dataset)
    missing = [name for name in present if name not in order]
    if missing and unknown_types == "error":
        raise ValueError(
            f"the dataset has types that are not among the given ones: {', '.join(missing)}; "
            "add them to types or pass unknown_types='outside'"
        )
    return np.array(
        [0, *(order.get(split_tag(name)[1], 0) for name in tag_names(dataset)[1:])], dtype=np.int64
    )


def to_io(dataset: Dataset, types: Sequence[str], unknown_types: UnknownTypes = "error") -> list[list[int]]:
    """IO label ids of every sentence, 0 outside and i + 1 for `types[i]`.

    Raises:
        ValueError: as `io_lookup`.
    """
    lookup = io_lookup(dataset, types, unknown_types)
    column = dataset.with_format("arrow")[:]["ner_tags"].combine_chunks()
    flat = lookup[column.flatten().to_numpy(zero_copy_only=False)].tolist()
    ends = np.cumsum([0, *column.value_lengths().to_pylist()]).tolist()
    return [flat[start:end] for start, end in zip(ends[:-1], ends[1:], strict=True)]


def keep_types(dataset: Dataset, types: Sequence[str]) -> Dataset:
    """The sentences of a dataset from `read_dataset` with `types` alone; every other type becomes outside."""
    names = bio_tags(types)
    ids = {name: index for index, name in enumerate(names)}
    lookup = [ids.get(name, 0) for name in tag_names(dataset)]

    def rename(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"ner_tags": [[lookup[tag] for tag in tags] for tags in rows["ner_tags"]]}

    features = Features({**dataset.features, "ner_tags": List(ClassLabel(names=names))})
    return dataset.map(rename, batched=True, features=features, desc="Keeping types")
