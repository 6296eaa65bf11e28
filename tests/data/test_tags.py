"""BIO classes to IO label ids."""

import pytest
from datasets import Dataset

from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import entity_types, to_io

EXAMPLES = [
    {"tokens": ["a", "b", "c", "d"], "tags": ["B-y", "I-y", "B-y", "O"]},
    {"tokens": [], "tags": []},
    {"tokens": ["e", "f"], "tags": ["B-x-z", "B-y"]},
]


def test_types_and_ids():
    dataset = read_dataset(EXAMPLES)
    assert entity_types(dataset) == ["y", "x-z"]
    assert to_io(dataset, ["y", "x-z"]) == [[1, 1, 1, 0], [], [2, 1]]
    assert to_io(dataset, ["w", "x-z", "y"]) == [[3, 3, 3, 0], [], [2, 3]]
    assert to_io(dataset.select([2, 0]), ["y", "x-z"]) == [[2, 1], [1, 1, 1, 0]]
    assert io_to_bio(to_io(dataset, ["x-z", "y"]), ["x-z", "y"])[2] == ["B-x-z", "B-y"]


def test_types_not_asked_for():
    dataset = read_dataset(EXAMPLES)
    with pytest.raises(ValueError, match="not among the given ones: x-z; .*unknown_types='outside'"):
        to_io(dataset, ["y"])
    assert to_io(dataset, ["y"], unknown_types="outside") == [[1, 1, 1, 0], [], [0, 1]]
    with pytest.raises(ValueError, match="must be 'error' or 'outside'"):
        to_io(dataset, ["y"], unknown_types="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [{"ner_tags": [["B-x"]]}, {"ner_tags": [[1]]}, {"tags": [[1]]}])
def test_other_datasets_are_sent_to_read_dataset(columns):
    with pytest.raises(ValueError, match="pass it through read_dataset first"):
        entity_types(Dataset.from_dict(columns))
