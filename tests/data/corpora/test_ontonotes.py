"""OntoNotes in the CoNLL-2012 layout: trees and single files, entity brackets, parts as documents."""

import pytest

from modeling_lacl.data.corpora.loading import load_corpus
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.data.tags import entity_types, gold_tags


def conll2012(sentences, document="nw/paper/00/paper_0001", part=0):
    """The official columns: document, part, number, word, …, named entity, predicate, coreference."""
    lines = [f"#begin document ({document}); part {part:03d}"]
    for sentence in sentences:
        for number, (word, entity) in enumerate(sentence):
            fields = [document, part, number, word, "NN", "(TOP*)", "-", "-", "-", "-", entity, "*", "-"]
            lines.append("   ".join(map(str, fields)))
        lines.append("")
    return "\n".join([*lines, "#end document", ""])


ANA = [("Ana", "(PERSON*"), ("Ruiz", "*)"), ("saw", "*"), ("Oslo", "(GPE)"), ("twice", "*"), ("/.", "*")]
OTHER = [("-LRB-", "*"), ("Heat", "(WORK_OF_ART)"), ("-RRB-", "*")]


def write(path, *args, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(conll2012(*args, **kwargs))


def tagged(dataset):
    sentences = zip(dataset["tokens"], gold_tags(dataset), strict=True)
    return [list(zip(*sentence, strict=True)) for sentence in sentences]


def test_the_official_tree(tmp_path):
    for split in ("train", "development", "test"):
        annotations = tmp_path / "v4" / "data" / split / "data" / "english" / "annotations" / "nw"
        # A folder that is named like another split, as there are in OntoNotes, and a file without words.
        write(annotations / "dev_09" / "00" / "b.v4_gold_conll", [OTHER], document=f"nw/{split}/b", part=1)
        write(annotations / "a.v4_gold_conll", [ANA, OTHER], document=f"nw/{split}/a")
        (annotations / "a.v4_auto_conll").write_text("not gold")
        (annotations / "a.v4_gold_skel").write_text("not gold")
    chinese = tmp_path / "v4" / "data" / "train" / "data" / "chinese" / "annotations"
    write(chinese / "c.v4_gold_conll", [ANA], document="zh")
    corpus = load_corpus("ontonotes", tmp_path)
    assert list(corpus) == ["train", "validation", "test"]
    assert corpus["validation"]["document_id"] == [
        "nw/development/a, part 000", "nw/development/a, part 000", "nw/development/b, part 001",
    ]  # fmt: skip
    for dataset in corpus.values():
        assert entity_types(dataset) == list(load_label_names("ontonotes"))
        assert tagged(dataset)[0] == [
            ("Ana", "B-PERSON"), ("Ruiz", "I-PERSON"), ("saw", "O"), ("Oslo", "B-GPE"), ("twice", "O"),
            (".", "O"),
        ]  # fmt: skip
        assert tagged(dataset)[1] == [("(", "O"), ("Heat", "B-WORK_OF_ART"), (")", "O")]


def test_one_file_a_split(tmp_path):
    for split in ("train", "dev", "test"):
        text = conll2012([ANA]) + conll2012([OTHER, ANA], document="bc/talk/00/talk_0001", part=12)
        (tmp_path / f"{split}.english.v4_gold_conll").write_text(text)
    corpus = load_corpus("ontonotes", tmp_path)
    assert (
        corpus["test"]["document_id"]
        == ["nw/paper/00/paper_0001, part 000"] + ["bc/talk/00/talk_0001, part 012"] * 2
    )
    assert len(tagged(corpus["train"])) == 3


def test_the_test_set_of_the_shared_task_goes_before_the_larger_one(tmp_path):
    for split in ("train", "test", "conll-2012-test"):
        folder = tmp_path / "data" / split / "data" / "english" / "annotations"
        write(folder / "x.gold_conll", [ANA], document=split)
    assert load_corpus("ontonotes", tmp_path)["test"]["document_id"] == ["conll-2012-test, part 000"]


def test_touching_entities_of_one_type_stay_two(tmp_path):
    write(tmp_path / "train.gold_conll", [[("Oslo", "(GPE)"), ("Lima", "(GPE*"), ("City", "*)")]])
    (sentence,) = tagged(load_corpus("ontonotes", tmp_path)["train"])
    assert [tag for _, tag in sentence] == ["B-GPE", "B-GPE", "I-GPE"]


@pytest.mark.parametrize(
    ("sentence", "message"),
    [
        (
            [("Ana", "(PERSON*"), ("Oslo", "(GPE)")],
            r"train\.gold_conll:3: .*'\(GPE\)' does not fit an open PERSON",
        ),
        ([("Ana", "*)")], r":2: the named entity '\*\)' does not fit the brackets before"),
        ([("Ana", "(PERSON*"), ("Ruiz", "*")], r":4: the sentence ends inside an entity \('PERSON'\)"),
        ([("Ana", "PERSON")], r":2: the named entity 'PERSON' does not fit"),
        ([("Ana", "(HUMAN)")], r":2: the tag 'B-HUMAN' is none of OntoNotes 5\.0"),
        ([("[WORD]", "*")], r":2: the words are not filled in; make the file from LDC2013T19"),
    ],
)
def test_malformed_files_are_named_with_the_line(tmp_path, sentence, message):
    write(tmp_path / "train.gold_conll", [sentence])
    with pytest.raises(LaclDataError, match=message):
        load_corpus("ontonotes", tmp_path)


def test_a_file_that_is_cut_off(tmp_path):
    (tmp_path / "train.gold_conll").write_text("".join(conll2012([ANA]).splitlines(True)[:2]))
    with pytest.raises(LaclDataError, match="the file ends inside an entity"):
        load_corpus("ontonotes", tmp_path)
    (tmp_path / "train.gold_conll").write_text("nw/a 0 0 Ana NN\n")
    with pytest.raises(
        LaclDataError, match=r"train\.gold_conll:1: 5 columns, but CoNLL-2012 has at least 11"
    ):
        load_corpus("ontonotes", tmp_path)
