"""Corpora by name: files found, splits, types and documents, and what is said where they are not there."""

import re

import pytest

from modeling_lacl.data.corpora.loading import load_corpus
from modeling_lacl.data.corpora.registry import CORPORA
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.tags import entity_types, gold_tags

CONLL = """\
-DOCSTART- -X- O O

Ana NNP I-NP I-PER
Ruiz NNP I-NP I-PER
flew VBD I-VP O
to TO I-PP O
Quito NNP I-NP I-LOC
. . O O

-DOCSTART- -X- O O

Oslo NNP I-NP I-LOC
Lima NNP I-NP B-LOC
"""
FEW_NERD = "Ana\tperson-actor\nRuiz\tperson-actor\nin\tO\nHeat\tart-film\n\nLima\tlocation-GPE\n"


def tagged(dataset):
    sentences = zip(dataset["tokens"], gold_tags(dataset), strict=True)
    return [list(zip(*sentence, strict=True)) for sentence in sentences]


@pytest.mark.parametrize(
    "files",
    [("eng.train", "eng.testa", "eng.testb"), ("train.txt", "valid.txt", "test.txt")],
)
def test_conll2003(tmp_path, files):
    for file in files:
        (tmp_path / file).write_text(CONLL)
    (tmp_path / "labels.txt").write_text("not of the corpus")
    corpus = load_corpus("conll2003", tmp_path)
    assert list(corpus) == ["train", "validation", "test"]
    for dataset in corpus.values():
        assert entity_types(dataset) == ["LOC", "MISC", "ORG", "PER"]
        assert dataset["document_id"] == ["0", "1"]
        assert tagged(dataset)[0][:3] == [("Ana", "B-PER"), ("Ruiz", "I-PER"), ("flew", "O")]
        # IOB1: the B- parts two entities that touch.
        assert tagged(dataset)[1] == [("Oslo", "B-LOC"), ("Lima", "B-LOC")]


def test_conll2003_with_tags_as_most_copies_have_them(tmp_path):
    (tmp_path / "train.txt").write_text(re.sub(r"I-(\w+)$", r"B-\1", CONLL, flags=re.MULTILINE))
    assert tagged(load_corpus("conll2003", tmp_path)["train"])[0][:2] == [("Ana", "B-PER"), ("Ruiz", "B-PER")]


def test_wnut17_by_its_own_file_names(tmp_path):
    text = "Ana\tB-person\nflew\tO\n\t\n@ana\tO\nOslo\tB-location\n"
    for file in ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated"):
        (tmp_path / file).write_text(text)
    (tmp_path / "emerging.test.conll").write_text("without\tO\nlabels\tO\n")
    corpus = load_corpus("wnut17", tmp_path)
    assert list(corpus) == ["train", "validation", "test"]
    assert tagged(corpus["test"])[1] == [("@ana", "O"), ("Oslo", "B-location")]
    assert entity_types(corpus["test"]) == list(load_label_names("wnut17"))


def test_each_split_of_few_nerd_has_its_own_types(tmp_path):
    (tmp_path / "train.txt").write_text(FEW_NERD)
    (tmp_path / "dev.txt").write_text("a\tO\nboat\tproduct-ship\n")
    (tmp_path / "labels-train.txt").write_text("person-actor\n")
    (tmp_path / "train.txt.zip").write_text("")
    corpus = load_corpus("few_nerd", str(tmp_path))
    assert entity_types(corpus["train"]) == ["person-actor", "art-film", "location-GPE"]
    assert entity_types(corpus["validation"]) == ["product-ship"]
    assert tagged(corpus["train"])[0][:2] == [("Ana", "B-person-actor"), ("Ruiz", "I-person-actor")]


def test_only_the_splits_asked_for_are_read(tmp_path):
    (tmp_path / "train.txt").write_text("malformed")
    (tmp_path / "test.txt").write_text(FEW_NERD)
    assert list(load_corpus("few_nerd", tmp_path, splits=["test"])) == ["test"]
    with pytest.raises(LaclDataError, match="FEW-NERD has no validation split here, only train, test"):
        load_corpus("few_nerd", tmp_path, splits=["validation"])
    with pytest.raises(ValueError, match="no split 'dev'; there are train, validation, test"):
        load_corpus("few_nerd", tmp_path, splits=["dev"])


def test_streaming_reads_no_further_than_it_is_asked(tmp_path):
    (tmp_path / "train.txt").write_text(FEW_NERD + "\nfoo\tno-type\n")
    stream = load_corpus("few_nerd", tmp_path, streaming=True)["train"]
    rows = iter(stream)
    first, second = next(rows), next(rows)
    names = stream.features["ner_tags"].feature.names
    assert [names[tag] for tag in first["ner_tags"]] == [
        "B-person-actor",
        "I-person-actor",
        "O",
        "B-art-film",
    ]
    assert (second["id"], second["document_id"], second["tokens"]) == ("1", "0", ["Lima"])
    assert (len(names) - 1) / 2 == 66
    with pytest.raises(LaclDataError, match=r"train\.txt:8: the tag 'no-type'"):
        next(rows)


def test_streamed_and_whole_are_the_same(tmp_path):
    (tmp_path / "train.txt").write_text(CONLL)
    whole = load_corpus("conll2003", tmp_path)["train"]
    assert list(load_corpus("conll2003", tmp_path, streaming=True)["train"]) == list(whole)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("ontonotes", "not free: get LDC2013T19"),
        ("conll2003", "Reuters corpus RCV1"),
        ("i2b2_2014", "DBMI portal"),
        ("wnut17", "free: https://github.com"),
        ("gum", "free: https://github.com/UniversalDependencies/UD_English-GUM"),
        ("few_nerd", "free: https://ningding97"),
    ],
)
def test_a_corpus_that_is_not_there_says_where_to_get_it(tmp_path, name, place):
    for folder in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(LaclDataError, match=f"{re.escape(str(folder))}: no .* expected .*{place}"):
            load_corpus(name, folder)
    assert set(CORPORA) >= {name}


def test_every_corpus_has_names_for_its_types():
    sizes = {name: len(load_label_names(name)) for name in CORPORA}
    assert sizes == {
        "ontonotes": 18, "conll2003": 4, "wnut17": 6, "i2b2_2014": 23, "gum": 11, "few_nerd": 66,
    }  # fmt: skip


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no corpus 'conll'; there are ontonotes, conll2003"):
        load_corpus("conll", tmp_path)
    (tmp_path / "train.txt").write_text(CONLL)
    (tmp_path / "train.conll").write_text(CONLL)
    with pytest.raises(LaclDataError, match=r"train\.conll, train\.txt are all the train split"):
        load_corpus("conll2003", tmp_path)
    (tmp_path / "train.conll").unlink()
    (tmp_path / "train.txt").write_text(CONLL + "Ana NNP I-NP I-PERSON\n")
    with pytest.raises(
        LaclDataError, match=r"train\.txt:14: the tag 'I-PERSON' is none of CoNLL-2003 \(LOC,"
    ):
        load_corpus("conll2003", tmp_path)
    (tmp_path / "train.txt").write_text("Ana B-PER\nflew O\n")
    with pytest.raises(LaclDataError, match=r"train\.txt: tag_column=3, but lines have 2 columns"):
        load_corpus("conll2003", tmp_path)
