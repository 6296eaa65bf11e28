"""The real corpora, where they lie beside the repository, against counts made from the raw bytes."""

import re
from pathlib import Path

import numpy as np
import pytest

from modeling_lacl.data.corpora.loading import load_corpus
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import entity_types, gold_tags

FOLDER = Path(__file__).parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs the corpora beside the repository")


@pytest.mark.parametrize(
    ("file", "sentences", "types"),
    [
        ("few-nerd-inter/train.txt", 24_412, 36),
        ("few-nerd-inter/test.txt", 14_006, 17),
        ("wnut17/train.conll", 3_394, 6),
        ("wnut17/dev.conll", 1_009, 6),
        ("wnut17/test.conll", 1_287, 6),
        ("gum/train.conll", 2_495, 11),
        ("gum/test.conll", 1_000, 11),
    ],
)
def test_counts(file, sentences, types):
    dataset = read_dataset(FOLDER / file)
    raw = (FOLDER / file).read_bytes()
    tags = dataset.with_format("arrow")[:]["ner_tags"].combine_chunks().flatten().to_numpy()
    assert len(dataset) == sentences
    assert len(entity_types(dataset)) == types
    assert len(tags) == len(re.findall(rb"^[^\n]*\t\S+$", raw, re.MULTILINE))
    if "few-nerd" in file:
        entities = len(re.findall(rb"\t(?!O$)(\S+)$(?:\n[^\n]*\t\1$)*", raw, re.MULTILINE))
    else:
        entities = len(re.findall(rb"\tB-", raw))
    assert np.count_nonzero(tags % 2 == 1) == entities


@pytest.mark.parametrize("corpus", ["wnut17", "gum"])
def test_support_sets(corpus):
    types = set(entity_types(read_dataset(FOLDER / corpus / "test.conll")))
    files = sorted((FOLDER / corpus).glob("support-*/*.txt"))
    assert len(files) == 20
    for file in files:
        dataset = read_dataset(file, labels=sorted(types))
        written = re.findall(r"\t(\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert [tag for tags in gold_tags(dataset) for tag in tags] == written


@pytest.mark.parametrize(
    ("name", "folder", "splits"),
    [
        ("few_nerd", "few-nerd-inter", ["train", "test"]),
        ("wnut17", "wnut17", ["train", "validation", "test"]),
        ("gum", "gum", ["train", "test"]),
    ],
)
def test_by_name(name, folder, splits):
    corpus = load_corpus(name, FOLDER / folder)
    assert list(corpus) == splits
    file = next((FOLDER / folder).glob("test.*"))
    read = read_dataset(file)
    assert gold_tags(corpus["test"]) == gold_tags(read)
    assert corpus["test"]["tokens"][:] == read["tokens"][:]
