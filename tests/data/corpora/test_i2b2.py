"""I2B2-2014: XML notes, character spans to words, one sentence per line."""

import logging

import pytest

from modeling_lacl.data.corpora.loading import load_corpus
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.tags import entity_types

NOTE = "Record date: 2071-03-09\n\nMr. Olaf Berg, 61yo, saw Dr. Ana\nRuiz at Lakeside.\n\tPhone 555-0199\n"


def xml(tags, text=NOTE):
    lines = [
        '<?xml version="1.0" encoding="UTF-8" ?>',
        "<deIdi2b2>",
        f"<TEXT><![CDATA[{text}]]></TEXT>",
        "<TAGS>",
    ]
    for number, (element, kind, words) in enumerate(tags):
        start = text.index(words)
        quoted = words.replace("\n", " ")
        lines.append(
            f'<{element} id="P{number}" start="{start}" end="{start + len(words)}" text="{quoted}" '
            f'TYPE="{kind}" comment="" />'
        )
    return "\n".join([*lines, "</TAGS>", "</deIdi2b2>", ""])


TAGS = [
    ("DATE", "DATE", "2071-03-09"),
    ("NAME", "PATIENT", "Olaf Berg"),
    ("AGE", "AGE", "61"),
    ("NAME", "DOCTOR", "Ana\nRuiz"),
    ("LOCATION", "LOCATION-OTHER", "Lakeside"),
    ("CONTACT", "PHONE", "555-0199"),
]


@pytest.fixture
def write(tmp_path):
    def write(content, file="training-PHI-Gold-Set1/220-01.xml"):
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return tmp_path

    return write


def entities(dataset):
    names = dataset.features["ner_tags"].feature.names
    found = []
    for row in dataset:
        for word, tag in zip(row["tokens"], row["ner_tags"], strict=True):
            kind = names[tag]
            if kind.startswith("B-"):
                found.append([kind[2:], word])
            elif kind.startswith("I-"):
                found[-1].append(word)
    return found


def test_notes_as_sentences(write):
    folder = write(xml(TAGS))
    write(xml(TAGS[:1]), "training-PHI-Gold-Set2/301-04.xml")
    write(xml(TAGS[:2]), "testing-PHI-Gold-fixed/110-02.xml")
    write("<other/>", "training-RiskFactors-Gold-Set1/220-01.xml")
    corpus = load_corpus("i2b2_2014", folder)
    assert list(corpus) == ["train", "test"]
    assert len(entity_types(corpus["test"])) == 23
    assert corpus["test"]["document_id"] == ["110-02"] * len(corpus["test"])
    assert sorted(set(corpus["train"]["document_id"])) == ["220-01", "301-04"]
    first = corpus["train"].filter(lambda row: row["document_id"] == "220-01")
    # The doctor's name runs over the end of a line, which joins the two.
    assert [row[:2] for row in first["tokens"]] == [["Record", "date"], ["Mr", "."], ["Phone", "555-0199"]]
    assert entities(first) == [
        ["DATE", "2071-03-09"],
        ["PATIENT", "Olaf", "Berg"],
        ["AGE", "61"],
        ["DOCTOR", "Ana", "Ruiz"],
        ["LOCATION_OTHER", "Lakeside"],
        ["PHONE", "555-0199"],
    ]
    # A span may end inside a word, which is split there.
    words = first["tokens"][1]
    assert words[words.index("61") + 1] == "yo"


def test_every_word_of_the_text_is_there_once(write):
    dataset = load_corpus("i2b2_2014", write(xml(TAGS)))["train"]
    assert "".join(word for row in dataset["tokens"] for word in row) == "".join(NOTE.split())


def test_escapes_and_line_ends_count_as_the_characters_they_stand_for(write):
    text = "A &lt;b&gt; note\r\nfor Olaf"
    body = f"<r><TEXT>{text}</TEXT><TAGS><NAME start='15' end='19' TYPE='PATIENT'/></TAGS></r>"
    assert entities(load_corpus("i2b2_2014", write(body))["train"]) == [["PATIENT", "Olaf"]]


def test_overlapping_spans_and_wrong_quotes_warn(write, caplog):
    content = xml([*TAGS, ("NAME", "PATIENT", "Berg")]).replace('text="61"', 'text="62"')
    with caplog.at_level(logging.WARNING):
        dataset = load_corpus("i2b2_2014", write(content))["train"]
    assert ["PATIENT", "Olaf", "Berg"] in entities(dataset) and len(entities(dataset)) == 6
    assert "1 tags overlap others and were left out (the first at" in caplog.text
    assert (
        "1 tags quote another text than the note has at their offsets; the offsets were used" in caplog.text
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<deIdi2b2><TEXT>a</TEXT>", r"220-01\.xml:1: not XML"),
        ("<deIdi2b2><TAGS></TAGS></deIdi2b2>", r"220-01\.xml: has no element TEXT"),
        (
            xml(TAGS).replace('start="13"', 'start="x"'),
            r"220-01\.xml:10: the tag DATE needs 'start' and 'end'",
        ),
        (
            xml(TAGS).replace('end="23"', 'end="999"'),
            r"220-01\.xml:10: the span 13–999 \(DATE\) covers no word",
        ),
        (
            xml(TAGS).replace('TYPE="AGE"', 'TYPE="YEARS"'),
            r"220-01\.xml:5: the tag 'B-YEARS' is none of I2B2",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a/>', r"220-01\.xml:1: a document type has no place"),
    ],
)
def test_malformed_notes_are_named_with_the_line(write, content, message):
    with pytest.raises(LaclDataError, match=message):
        load_corpus("i2b2_2014", write(content))
