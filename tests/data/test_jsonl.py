"""JSON Lines, lists of examples and Datasets."""

import bz2
import gzip
import json
import lzma
import re
import zipfile

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.model.words_lacl import split_words


def sentences(dataset):
    pairs = zip(dataset["tokens"], gold_tags(dataset), strict=True)
    return [list(zip(*sentence, strict=True)) for sentence in pairs]


def span(start, end, label="person"):
    return {"start": start, "end": end, "label": label}


TAGGED = {"tokens": ["Ana", "Ruiz", "flew"], "ner_tags": ["B-person", "I-person", "O"]}
TEXT = {"text": "Ana Ruiz flew", "entities": [span(0, 8)]}
EXPECTED = [[("Ana", "B-person"), ("Ruiz", "I-person"), ("flew", "O")]]


@pytest.mark.parametrize(
    "example",
    [
        TAGGED,
        {"tokens": TAGGED["tokens"], "tags": TAGGED["ner_tags"]},
        {"words": TAGGED["tokens"], "labels": TAGGED["ner_tags"], "text": "Ana Ruiz flew"},
        {"tokens": TAGGED["tokens"], "tags": ["person", "person", "O"]},
        TEXT,
        {"text": TEXT["text"], "spans": [span(0, 8)]},
        {"text": TEXT["text"], "entities": [{"entity_group": "person", "score": 0.9, "start": 0, "end": 8}]},
    ],
)
def test_every_shape_in_every_source(tmp_path, example):
    path = tmp_path / "data.jsonl"
    path.write_text("\n" + json.dumps(example) + "\r\n\n", encoding="utf-8")
    plain = path.rename(tmp_path / "data.txt")
    for source in (plain, str(plain), [example], iter([example]), Dataset.from_list([example])):
        assert sentences(read_dataset(source)) == EXPECTED


def test_keys_given_and_ids_kept():
    example = {"id": 7, "doc_id": "d1", "w": ["a", "b"], "t": [1, 0]}
    dataset = read_dataset([example], token_column="w", tag_column="t", id2label={0: "O", 1: "B-x"})
    assert dataset[:] == {"id": ["7"], "document_id": ["d1"], "tokens": [["a", "b"]], "ner_tags": [[1, 0]]}
    assert sentences(read_dataset([example], token_column="w", tag_column="t", id2label=["O", "x"])) == [
        [("a", "B-x"), ("b", "O")]
    ]


@pytest.mark.parametrize(
    "names", [["O", "B-x", "I-x", "B-y", "I-y"], ["B-y", "I-y", "O", "B-x", "I-x"], ["O", "x", "y"]]
)
def test_class_labels(names):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))})
    begin = names.index("x" if "x" in names else "B-x")
    dataset = Dataset.from_dict(
        {"tokens": [["a", "b"]], "ner_tags": [[names.index("O"), begin]]}, features=features
    )
    assert sentences(read_dataset(dataset)) == [[("a", "O"), ("b", "B-x")]]
    types = [name.removeprefix("B-") for name in names if name != "O" and not name.startswith("I-")]
    assert read_dataset(dataset).features["ner_tags"].feature.names == [
        "O",
        *(p + t for t in types for p in ("B-", "I-")),
    ]


def test_reading_again_changes_nothing():
    once = read_dataset([TAGGED, {"tokens": [], "ner_tags": []}, {"tokens": ["x"], "ner_tags": ["B-y"]}])
    again = read_dataset(once)
    assert again.features == once.features and again[:] == once[:]
    part = once.select([2])
    assert sentences(read_dataset(part)) == [[("x", "B-y")]]
    assert read_dataset(part).features == once.features
    with pytest.raises(LaclDataError, match=r"dataset\[2\]: the tag 'B-y' is not in the label set"):
        read_dataset(once, labels=["person"])


def test_empty_texts_stay():
    dataset = read_dataset([{"text": "", "entities": []}, {"text": " \n", "spans": []}, TEXT])
    assert [row["tokens"] for row in dataset] == [[], [], ["Ana", "Ruiz", "flew"]]


def test_spans_split_words_at_their_borders():
    text = "US-based anti-Obama 10km"
    spans = [span(0, 2, "place"), span(14, 18), span(20, 22, "number"), span(22, 24, "unit")]
    assert [
        pair for pair in sentences(read_dataset([{"text": text, "entities": spans}]))[0] if pair[1] != "O"
    ] == [
        ("US", "B-place"),
        ("Obam", "B-person"),
        ("10", "B-number"),
        ("km", "B-unit"),
    ]


def test_words_split_by_spans_are_counted_in_a_warning(tmp_path, caplog):
    path = tmp_path / "spans.jsonl"
    whole = {"text": "Ana ran", "entities": [span(0, 3)]}
    cut = {"text": "Anabel ran", "entities": [span(0, 3)]}
    twice = {"text": "xAnabelx and Bobby", "entities": [span(1, 7), span(13, 16)]}
    path.write_text("\n".join(map(json.dumps, [whole, cut, twice])))
    read_dataset(path)
    assert f"{path}: 3 words in which a span begins or ends were split there" in caplog.text
    assert f"the first at {path}:2" in caplog.text
    caplog.clear()
    read_dataset([whole])
    assert not caplog.text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.json",
            '[{"tokens": ["a"],\n "tags": }]',
            r"a\.json:2: begins like JSON, but is not",
        ),
        ("a.json", '[{"tokens": ["a"], "tags": ["O"]}, {"tokens": ["a"]}]', r"a\.json\[1\]: no 'ner_tags'"),
        ("a.json", '["a"]', r"a\.json\[0\]: expected an example"),
        ("a.txt", "Ana\u00a0B-person\nran\u00a0O\n", r"by no-break space \(U\+00A0\).*put tabs"),
        ("a.txt", "安娜\u3000B-person\n跑\u3000O\n", r"by ideographic space \(U\+3000\)"),
        ("a.csv", "Ana B-person\nran O\n", "no separator is the same in all lines"),
        ("a.txt", "Ana\nran\n", "single column; .*tried: JSON, CSV, CoNLL-U, brat, spaCy, Parquet"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(LaclDataError, match=message):
        read_dataset(tmp_path / name)


def test_files_that_are_no_text_are_named(tmp_path):
    lines = b"Ana\tB-person\n"
    for name, content, message in (
        ("a.txt.gz", gzip.compress(lines), "this is a gzip file: unpack it first"),
        ("a.bz2", bz2.compress(lines), "a bzip2 file"),
        ("a.xz", lzma.compress(lines), "an xz file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(LaclDataError, match=f"{re.escape(name)}: .*{message}"):
            read_dataset(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    with pytest.raises(LaclDataError, match="a zip archive, as Excel's .* save the sheet as text with tabs"):
        read_dataset(tmp_path / "a.xlsx")


@pytest.mark.parametrize("name", ["a.json", "a.txt", "a.jsonl"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_read(tmp_path, name, indent):
    (tmp_path / name).write_text(json.dumps([TAGGED, TAGGED], indent=indent), encoding="utf-8-sig")
    assert sentences(read_dataset(tmp_path / name)) == EXPECTED * 2
    assert sentences(read_dataset(tmp_path / name, format="json")) == EXPECTED * 2


def test_columns_that_look_like_other_formats(tmp_path):
    """A bracket is a word, and commas stand between tabs."""
    (tmp_path / "a.txt").write_text("[ O\nAna B-person\n] O\n")
    assert len(read_dataset(tmp_path / "a.txt")[0]["tokens"]) == 3
    (tmp_path / "a.csv").write_text("a,b\tO\nAna,\tB-person\n")
    assert read_dataset(tmp_path / "a.csv")[0]["tokens"] == ["a,b", "Ana,"]


@st.composite
def annotated_texts(draw):
    text = draw(st.text(alphabet=st.sampled_from("ab’é\u0301 \n\u00a0.-東京ไทย😀👨\u200d👩0"), max_size=30))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    spans = [
        (start, end, draw(st.sampled_from(["x", "y"])))
        for start, end in zip(cuts, cuts[1:], strict=False)
        if any(first < end and start < stop for first, stop in split_words(text)) and draw(st.booleans())
    ]
    return text, spans


@given(annotated_texts())
def test_spans_come_back_to_the_character(annotated):
    text, spans = annotated
    example = {"text": text, "entities": [span(*one) for one in reversed(spans)]}
    (words,) = sentences(read_dataset([example], labels=["x", "y"]))
    seen = {place for start, end in split_words(text) for place in range(start, end)}
    assert "".join(token for token, _ in words) == "".join(text[place] for place in sorted(seen))
    if not spans:
        assert [token for token, _ in words] == [text[start:end] for start, end in split_words(text)]
    found = []
    for token, tag in words:
        if tag[0] == "B":
            found.append((tag[2:], token))
        elif tag[0] == "I":
            found[-1] = (tag[2:], found[-1][1] + token)
    assert found == [
        (label, "".join(text[place] for place in range(start, end) if place in seen))
        for start, end, label in spans
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('["a"]', "expected an example like"),
        ('{"words": ["a"]}', "no 'ner_tags' or 'tags' or 'labels' or 'entities' or "),
        ('{"sentence": "a"}', "no 'tokens' or 'text' among the keys"),
        ('{"text": "a"}', "no 'entities' or 'spans' among the keys"),
        ('{"tokens": ["a", "b"], "tags": ["O"]}', "2 tokens but 1 tags"),
        ('{"tokens": ["a", ""], "tags": ["O", "O"]}', "token 1 is ''"),
        ('{"tokens": ["a", null], "tags": ["O", "O"]}', "token 1 is None"),
        ('{"tokens": ["a"], "tags": [1]}', "tag 0 is the number 1; .*id2label"),
        ('{"tokens": ["a"], "tags": [""]}', "tag 0 is ''"),
        ('{"tokens": ["a"], "tags": [true]}', "tag 0 is True"),
        ('{"tokens": ["a"], "tags": "O"}', "tags must be a list, got str"),
        ('{"text": "abc", "entities": {"start": 0}}', "entities must be a list"),
        ('{"text": "abc", "entities": ["x"]}', "a span must be"),
        ('{"text": "abc", "entities": [{"start": 0, "label": "x"}]}', "needs 'start' and 'end'"),
        ('{"text": "abc", "entities": [{"start": 0.0, "end": 1, "label": "x"}]}', "needs 'start' and 'end'"),
        ('{"text": "abc", "entities": [{"start": 0, "end": 1}]}', "has no 'label'; name an entity type"),
        ('{"text": "abc", "entities": [{"start": 0, "end": 1, "text": "a", "type": "x"}]}', "its 'type'"),
        ('{"text": "abc", "entities": [{"start": 0, "end": 1, "entity_group": 1}]}', "name an entity type"),
        ('{"text": "abc", "entities": [{"start": 0, "end": 1, "label": "O"}]}', "name an entity type"),
        ('{"text": "abc", "entities": [{"start": 1, "end": 4, "label": "x"}]}', "1–4 .* not inside the text"),
        ('{"text": "abc", "entities": [{"start": -1, "end": 2, "label": "x"}]}', "not inside the text"),
        ('{"text": "abc", "entities": [{"start": 2, "end": 1, "label": "x"}]}', "not inside the text"),
        ('{"text": "abc", "entities": [{"start": 1, "end": 1, "label": "x"}]}', "is empty"),
        ('{"text": "a  c", "entities": [{"start": 1, "end": 3, "label": "x"}]}', "covers no word"),
    ],
)  # fmt: skip
def test_bad_records_are_named(tmp_path, line, message):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"tokens": ["a"], "tags": ["O"]}) + "\n\n" + line + "\n", encoding="utf-8")
    with pytest.raises(LaclDataError, match=rf"data\.jsonl:3: .*{message}"):
        read_dataset(path)


def test_tag_outside_the_label_set_is_named(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(
        json.dumps(TAGGED) + "\n" + json.dumps({"tokens": ["x"], "tags": ["B-y"]}), encoding="utf-8"
    )
    with pytest.raises(
        LaclDataError, match=r"data\.jsonl:2: the tag 'B-y' is not in the label set \(person\)"
    ):
        read_dataset(path, labels=["person"])
    with pytest.raises(LaclDataError, match=r"data\.jsonl:2: tags and spans in one source"):
        path.write_text(json.dumps(TAGGED) + "\n" + json.dumps(TEXT), encoding="utf-8")
        read_dataset(path)


def test_lone_surrogates_become_replacement_characters():
    dataset = read_dataset([{"id": "\ud800", "text": "a\ud800b c", "entities": [span(0, 3, "x\udfff")]}])
    assert dataset[0]["id"] == "\ufffd"
    assert sentences(dataset)[0] == [("a", "B-x\ufffd"), ("b", "I-x\ufffd"), ("c", "O")]
    assert read_dataset([{"tokens": ["\ud800"], "tags": ["B-x"]}])[0]["tokens"] == ["\ufffd"]


def test_sources_that_cannot_be(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_dataset(tmp_path / "missing.txt")
    with pytest.raises(LaclDataError, match="is a folder"):
        read_dataset(tmp_path)
    with pytest.raises(LaclDataError, match="no sentence"):
        read_dataset([])
    with pytest.raises(TypeError, match="pass one of its splits: train"):
        read_dataset(DatasetDict({"train": Dataset.from_list([TAGGED])}))
    with pytest.raises(TypeError, match=r"source must be .*got dict; put an example into a list"):
        read_dataset(TAGGED)
    with pytest.raises(TypeError, match="list of examples, got int"):
        read_dataset(3)
    with pytest.raises(LaclDataError, match=r"examples\[0\]: expected an example"):
        read_dataset(["Ana"])
    with pytest.raises(ValueError, match="column's name"):
        read_dataset([TAGGED], token_column=0)
    with pytest.raises(ValueError, match="format is for files"):
        read_dataset([TAGGED], format="jsonl")
    with pytest.raises(ValueError, match="list of entity types, got the string"):
        read_dataset([TAGGED], labels="person")


def test_format_given(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text("{\tO\n", encoding="utf-8")
    assert sentences(read_dataset(path, format="columns")) == [[("{", "O")]]
    assert sentences(read_dataset(path.rename(tmp_path / "data.txt"))) == [[("{", "O")]]
    with pytest.raises(ValueError, match="format must be one of columns, jsonl, json"):
        read_dataset(tmp_path / "data.txt", format="xml")
