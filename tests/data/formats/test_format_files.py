"""Tables, brat, CoNLL-U and spaCy's files in the layouts that people have them in."""

from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import spacy
from datasets import DatasetDict
from spacy.tokens import Doc, DocBin

from modeling_lacl.data.converting import convert
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.formats.registry import FORMATS as WRITTEN
from modeling_lacl.data.reading import read_dataset, read_texts
from modeling_lacl.data.tags import entity_spans

SENTENCES = [["Ana", "Ruiz", "ran"], ["In", "Oslo"]]
SPANS = [[(0, 2, "person")], [(1, 2, "city")]]
TABLES = {
    "Kaggle": 'Sentence #,Word,POS,Tag\nSentence: 1,Ana,NNP,B-person\n,Ruiz,NNP,I-person\n,ran,VBD,O\n'
    "Sentence: 2,In,IN,O\n,Oslo,NNP,B-city\n",
    "each row": "sentence_id,words,labels\n0,Ana,B-person\n0,Ruiz,I-person\n0,ran,O\n1,In,O\n1,Oslo,B-city\n",
    "empty rows": "Ana;B-person\nRuiz;I-person\nran;O\n\nIn;O\nOslo;B-city\n",
    "empty cells": "token,tag\nAna,B-person\nRuiz,I-person\nran,O\n,\nIn,O\nOslo,B-city\n",
    "JSON": 'id,tokens,ner_tags\n0,"[""Ana"", ""Ruiz"", ""ran""]","[""B-person"", ""I-person"", ""O""]"\n'
    '1,"[""In"", ""Oslo""]","[""O"", ""B-city""]"\n',
    "Python": "tokens,ner_tags\n\"['Ana', 'Ruiz', 'ran']\",\"['B-person', 'I-person', 'O']\"\n"
    "\"['In', 'Oslo']\",\"['O', 'B-city']\"\n",
    "texts with tags": "text,labels\nAna Ruiz ran,B-person I-person O\nIn Oslo,O B-city\n",
    "texts with spans": 'text,entities\nAna Ruiz ran,"[{""start"": 0, ""end"": 8, ""label"": ""person""}]"\n'
    'In Oslo,"[[3, 7, ""city""]]"\n',
    "doccano": 'id,text,label\n1,Ana Ruiz ran,"[[0, 8, ""person""]]"\n2,In Oslo,"[[3, 7, ""city""]]"\n',
    "Label Studio": "annotation_id,annotator,id,label,text\n"
    '1,1,1,"[{""start"": 0, ""end"": 8, ""text"": ""Ana Ruiz"", ""labels"": [""person""]}]",Ana Ruiz ran\n'
    '2,1,2,"[{""start"": 3, ""end"": 7, ""text"": ""Oslo"", ""labels"": [""city""]}]",In Oslo\n',
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_csv(tmp_path, name):
    path = tmp_path / "data.csv"
    path.write_text(TABLES[name])
    dataset = read_dataset(path)
    assert dataset["tokens"][:] == SENTENCES and entity_spans(dataset) == SPANS


def test_words_that_look_like_lists(tmp_path):
    path = tmp_path / "a.csv"
    rows = [("Ana", "B-person"), ("[1]", "O"), ("ran", "O"), ("", ""), ("{}", "O"), ("Oslo", "B-city")]
    path.write_text("word,tag\n" + "".join(f"{word},{tag}\n" for word, tag in rows))
    assert read_dataset(path)["tokens"][:] == [["Ana", "[1]", "ran"], ["{}", "Oslo"]]


def test_a_text_of_one_word_is_read_as_the_others(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text,labels\nOslo,B-city\nAna Ruiz,B-person I-person\n")
    dataset = read_dataset(path)
    assert dataset["tokens"][:] == [["Oslo"], ["Ana", "Ruiz"]]
    assert entity_spans(dataset) == [[(0, 1, "city")], [(0, 2, "person")]]


@pytest.mark.parametrize(
    ("line_end", "inside"),
    [(end, inside) for end in ("\n", "\r\n") for inside in ("\n", "\r\n", "\r")] + [("\r", "\r")],
)
def test_line_endings_inside_of_cells_stay(tmp_path, line_end, inside):
    text = f"Loft to let.{inside}Write to us.{inside}In Oslo now"
    start = text.index("Oslo")
    rows = ["text,label", f'"{text}","[[{start}, {start + 4}, ""place""]]"', 'Ana,"[[0, 3, ""person""]]"']
    path = tmp_path / "a.csv"
    path.write_bytes("".join(row + line_end for row in rows).encode("utf-8-sig"))
    found, other = read_texts(path)[0]
    assert found.text == text and [found.text[a:b] for a, b, _ in found.spans] == ["Oslo"]
    assert other.tokens == ["Ana"]


def test_csv_that_pandas_wrote(tmp_path):
    tags = [["B-person", "I-person", "O"], ["O", "B-city"]]
    table = pd.DataFrame({"tokens": SENTENCES, "ner_tags": tags})
    table.to_csv(tmp_path / "a.csv")
    assert entity_spans(read_dataset(tmp_path / "a.csv")) == SPANS
    table.to_parquet(tmp_path / "a.parquet")
    assert entity_spans(read_dataset(tmp_path / "a.parquet")) == SPANS
    words = [(n, word, tag) for n in range(2) for word, tag in zip(SENTENCES[n], tags[n], strict=True)]
    pd.DataFrame(words, columns=["sentence_id", "word", "tag"]).to_parquet(tmp_path / "b.parquet")
    assert entity_spans(read_dataset(tmp_path / "b.parquet")) == SPANS
    arrays = table.map(np.array)
    arrays.to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(LaclDataError, match="c.csv:2: .* has no commas, as NumPy writes a list; .*Parquet"):
        read_dataset(tmp_path / "c.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("word,tag\nAna,B-x\nran\n", "a.csv:3: 1 columns where the first row has 2"),
        ("word,tag\nAna,\n", "a.csv:2: the column 'tag' is empty"),
        ('id,tokens,ner_tags\n1,"[""a""]","[""O"", ""O""]"\n', "a.csv:2: 1 tokens but 2 tags"),
        ('word,tag\n"a\nb",O\nc,B-\n', "a.csv:4: the tag 'B-' names no entity type"),
        ("text,labels\nAna Ruiz,B-x I-x\nIn Oslo,O\n", "a.csv:3: 2 tokens but 1 tags"),
        ("a b\n", "no separator is the same in all lines"),
    ],
)
def test_faults_of_tables_are_named(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises(LaclDataError, match=message):
        read_dataset(path)


def test_columns_of_tables_can_be_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("w,x,t\nAna,1,B-person\nran,2,O\n")
    read = read_dataset(path, token_column="w", tag_column="t")
    assert read["tokens"][:] == [["Ana", "ran"]] and entity_spans(read) == [[(0, 1, "person")]]
    with pytest.raises(LaclDataError, match="token_column is 'y'; the columns are w, x, t"):
        read_dataset(path, token_column="y")
    path.write_text("Ana,1,B-person\nran,2,O\n")  # numbers are those of columns without names
    assert read_dataset(path, token_column=0, tag_column=-1)["tokens"][:] == [["Ana", "ran"]]


def test_folders(tmp_path):
    kept = read_dataset([{"tokens": SENTENCES[0], "entities": SPANS[0]}], nested="keep")
    kept.save_to_disk(tmp_path / "kept")
    assert read_dataset(tmp_path / "kept", nested="keep")[:] == kept[:]
    DatasetDict({"train": kept}).save_to_disk(tmp_path / "splits")
    with pytest.raises(LaclDataError, match="splits: has several splits; name the folder of one: train"):
        read_dataset(tmp_path / "splits")
    assert len(read_dataset(tmp_path / "splits" / "train")) == 1
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(LaclDataError, match="bad.parquet: cannot be read as Parquet"):
        read_dataset(tmp_path / "bad.parquet")
    with pytest.raises(LaclDataError, match="is a folder, neither with brat's .ann files nor"):
        read_dataset(tmp_path)


ANN = (
    "T1\tperson 0 3;4 8\tAna Ruiz\nT2\tschool 14 29\tOslo University\nR1\tat Arg1:T1 Arg2:T2\n"
    "T3\tcity 14 18\tOslo\n#1\tAnnotatorNotes T3\twhy\nA1\tSure T3\n"
)
TXT = "Ana Ruiz, the Oslo University\nstaff\n\nand so on\n"


def test_brat(tmp_path):
    (tmp_path / "a.ann").write_text(ANN)
    (tmp_path / "a.txt").write_text(TXT)
    (tmp_path / "b.ann").write_text("T1\tplace 0 8\tNew York\n")
    (tmp_path / "b.txt").write_text("New\nYork\n")
    for source in (tmp_path / "a.ann", tmp_path / "a.txt"):
        dataset = read_dataset(source, nested="keep")
        assert [len(row) for row in dataset["tokens"]] == [6, 1, 3]
        assert entity_spans(dataset)[0] == [(0, 2, "person"), (4, 5, "city"), (4, 6, "school")]
        assert dataset["document_id"][:] == ["a"] * 3
    with pytest.raises(LaclDataError, match="a.txt:1: the entities 'Oslo' .city, .*'Oslo University'"):
        read_dataset(tmp_path)
    dataset = read_dataset(tmp_path, nested="innermost")
    assert dataset["tokens"][-1] == ["New", "York"]  # a span over two lines joins them
    assert dataset["document_id"][:] == ["a", "a", "a", "b"]


@pytest.mark.parametrize(
    ("ann", "message"),
    [
        ("T1\tx 0 3;10 13\tAna the\n", "a.ann:1: the entity T1 .'x'. is not in one piece .0 3;10 13."),
        ("T1\tx 1 4\tAna\n", "a.ann:1: T1 is 'Ana', but the text has 'na ' at 1–4"),
        ("\nT1\tx 0 99\tAna\n", "a.ann:2: the span 0–99 .* is not inside the text of"),
        ("T1 x 0 3 Ana\n", "a.ann:1: .* is no entity of brat"),
        (None, "a.ann: no such file; brat has a text in .txt"),
    ],
)
def test_faults_of_brat_are_named(tmp_path, ann, message):
    (tmp_path / "a.txt").write_text(TXT)
    if ann is not None:
        (tmp_path / "a.ann").write_text(ann)
    with pytest.raises(LaclDataError, match=message):
        read_dataset(tmp_path / "a.txt", format="brat")


def conllu(*tokens, head=""):
    return head + "".join(
        "\t".join([str(n), word, *"_" * 7, misc]) + "\n" for n, (word, misc) in enumerate(tokens, start=1)
    )


def test_conllu(tmp_path):
    path = tmp_path / "a.conllu"
    head = "# newdoc id = d\n# global.Entity = eid-etype-head\n# text = Ana of Oslo.\n"
    path.write_text(
        conllu(("Ana", "Entity=(e1-person-1"), ("of", "_"), ("Oslo", "SpaceAfter=No|Entity=(e2-place-1)e1)"),
               (".", "_"), head=head)
    )  # fmt: skip
    (text,), name = read_texts(path)
    assert name == "CoNLL-U" and text.text == "Ana of Oslo." and text.document_id == "d"
    assert text.entities == [(0, 3, "person"), (2, 3, "place")]
    for key in ("NER", "ner", "Entity"):
        path.write_text(
            conllu(("Ana", f"{key}=B-person"), ("Ruiz", f"{key}=E-person"), ("ran", "SpaceAfter=No"))
        )
        assert entity_spans(read_dataset(path)) == [[(0, 2, "person")]]
    path.write_text(conllu(("Ana", "Entity=1)")))
    with pytest.raises(LaclDataError, match=r"a.conllu:1: the bracket '1\)' closes no open entity"):
        read_dataset(path)


def test_the_columns_that_label_studio_writes(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text(
        "-DOCSTART- -X- O\nAna -X- _ B-person\nRuiz -X- _ I-person\nran -X- _ O\n\n"
        "In -X- _ O\nOslo -X- _ B-city\n"
    )
    assert entity_spans(read_dataset(path)) == SPANS


def test_docbins(tmp_path, caplog):
    nlp: Any = spacy.blank("en")
    ents, groups, bare, other = (nlp(text) for text in ("Ana ran.", "Oslo University", "who?", "Oslo"))
    ents.ents = [ents.char_span(0, 3, label="person")]
    groups.spans["sc"] = [groups.char_span(0, 15, label="school"), groups.char_span(0, 4, label="city")]
    other.spans["coref"] = [other.char_span(0, 4, label="city")]
    path = tmp_path / "a.spacy"
    DocBin(docs=[ents, groups, bare]).to_disk(path)
    dataset = read_dataset(path, nested="keep")
    assert dataset["tokens"][:] == [["Ana", "ran", "."], ["Oslo", "University"]]
    assert entity_spans(dataset) == [[(0, 1, "person")], [(0, 1, "city"), (0, 2, "school")]]
    assert (
        f"1 documents have no annotation of entities and were left out (the first at {path}[2])"
        in caplog.text
    )
    DocBin(docs=[other]).to_disk(path)
    with pytest.raises(LaclDataError, match=r"a.spacy\[0\]: the spans are in the groups 'coref'; put"):
        read_dataset(path)
    DocBin(docs=[Doc(nlp.vocab, words=["a"], spaces=[False])]).to_disk(path)
    with pytest.raises(LaclDataError, match="no sentence"):
        read_dataset(path)


def test_without_spacy_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "spacy.tokens", None)
    path = tmp_path / "a.spacy"
    path.write_bytes(b"x\x9c")
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[spacy\]'"):
        read_dataset(path)


def test_formats_given(tmp_path):
    path = tmp_path / "a.dat"
    path.write_text(TABLES["each row"])
    assert entity_spans(read_dataset(path, format="csv")) == SPANS
    for name in WRITTEN:  # what is written can be read by the same name
        written = tmp_path / (f"{name}.ann" if name == "brat" else name)
        convert([{"text": "Ana", "entities": [(0, 3, "person")]}], written, name)
        assert entity_spans(read_dataset(written, format=name)) == [[(0, 1, "person")]]
    with pytest.raises(ValueError, match="format must be one of columns, jsonl, json, csv, conllu, brat"):
        read_dataset(path, format="xml")
