"""Any texts and entities, written in each format and read again."""

import json
import logging
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_lacl.data.converting import convert, format_for
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.formats.registry import FORMATS
from modeling_lacl.data.reading import read_texts

WORDS = st.sampled_from(
    ["Ana", "of", "U.S.", "don't", "3", "#", "(", ")", "-", "é\u0301", "東京", "🎉🎉", "O", '"', "a,b", "a|b"]
)
TYPES = st.sampled_from(["person", "creative-work", "C", "GPE:city", "a|b(c)"])
GAPS = st.sampled_from([" ", "", "  ", "\n", "\u00a0", " \n"])


@st.composite
def labelled(draw):
    """An example of a text, its words, and nested, overlapping and adjacent entities."""
    words = draw(st.lists(WORDS, min_size=1, max_size=6))
    text = ""
    tokens: list[tuple[int, int]] = []
    for word in words:
        text += draw(GAPS) if tokens else ""
        tokens.append((len(text), len(text) + len(word)))
        text += word
    entities = []
    for _ in range(draw(st.integers(0, 4))):
        first = draw(st.integers(0, len(words) - 1))
        stop = draw(st.integers(first + 1, len(words)))
        entities.append({"start": tokens[first][0], "end": tokens[stop - 1][1], "label": draw(TYPES)})
    return {"text": text, "tokens": [text[start:end] for start, end in tokens], "entities": entities}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    logging.getLogger("modeling_lacl.data").setLevel(logging.ERROR)
    yield
    logging.getLogger("modeling_lacl.data").setLevel(logging.NOTSET)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_written_and_read_again(tmp_path_factory, name, data):
    kind = FORMATS[name]
    examples = data.draw(st.lists(labelled(), min_size=1, max_size=3))
    for number, one in enumerate(examples):
        one |= {"id": f"s{number}", "document_id": "0"}
    path = tmp_path_factory.mktemp(name) / f"data{kind.suffix or '.json'}"
    texts, _ = read_texts(examples)
    if not kind.nested and any(one.overlap() for one in texts):
        able = re.escape(", ".join(key for key in FORMATS if FORMATS[key].nested))
        with pytest.raises(
            LaclDataError, match=f"overlap, which {kind.title} cannot hold; .*--nested.*{able}"
        ):
            convert(examples, path, name)
        assert not path.exists()
        texts, _ = read_texts(examples, nested="outermost")
        convert(examples, path, name, nested="outermost")
    else:
        convert(examples, path, name)
    again, _ = read_texts(path)
    if kind.words:
        assert [one.tokens for one in again] == [one.tokens for one in texts]
        assert [one.entities for one in again] == [one.entities for one in texts]
    if kind.text:
        assert [(one.text, one.spans) for one in again] == [(one.text, one.spans) for one in texts]
    if name == "brat":  # a line break is where a sentence ends
        said = [(one.text[start:end], label) for one in again for start, end, label in one.spans]
        assert said == [
            (re.sub("[\r\n]", " ", one.text[start:end]), label)
            for one in texts
            for start, end, label in one.spans
        ]


def test_formats_are_told_by_their_suffix(tmp_path):
    for suffix in ("tsv", "bio", "txt", "CONLL"):
        assert format_for(tmp_path / f"a.{suffix}") == "conll"
    assert format_for(tmp_path / "a.json", "gliner") == "gliner"
    with pytest.raises(ValueError, match="a.json: its suffix tells no format; name one by --to, .*doccano"):
        format_for(tmp_path / "a.json")
    with pytest.raises(ValueError, match="no format 'xml' to write; there are jsonl, "):
        format_for(tmp_path / "a.json", "xml")


def test_what_a_format_cannot_write_is_named(tmp_path, caplog):
    texts = [{"tokens": ["a\tb"], "entities": [[0, 1, "x y"]]}, {"text": "", "entities": []}]
    for name, problem in (("conll", r"'a\\tb' in the text '0' cannot stand"), ("conllu", "cannot stand")):
        with pytest.raises(LaclDataError, match=problem):
            convert(texts, tmp_path / "out", name)
    for key in ("id", "document_id"):
        for name in ("conll", "conllu"):
            with pytest.raises(LaclDataError, match=r"'a\\nb' in the text .* cannot stand"):
                convert([{key: "a\nb", "text": "Ana", "entities": []}], tmp_path / "out", name)
    logging.getLogger("modeling_lacl.data").setLevel(logging.NOTSET)
    convert([{"text": "Ana", "entities": []}, texts[1]], tmp_path / "out.conll")
    assert "1 texts without a word were left out (the first has the id 1)" in caplog.text
    with pytest.raises(ValueError, match="is what is read"):
        convert(tmp_path / "out.conll", tmp_path / "out.conll")


def test_documents_and_ids_stay(tmp_path):
    examples = [
        {"id": "x", "document_id": "d1", "text": "Ana ran", "entities": []},
        {"id": "y", "document_id": "d2", "text": "and", "entities": []},
    ]
    for name in FORMATS:
        path = tmp_path / name
        convert(examples, path, name)
        found = [(one.id, one.document_id) for one in read_texts(path)[0]]
        assert (found == [("x", "d1"), ("y", "d2")]) is FORMATS[name].ids
    assert [one.document_id for one in read_texts(tmp_path / "brat")[0]] == ["d1", "d2"]
    assert sorted(path.name for path in (tmp_path / "brat").iterdir()) == [
        "d1.ann",
        "d1.txt",
        "d2.ann",
        "d2.txt",
    ]


def test_files_are_as_the_tools_read_them(tmp_path):
    text = "🎉 Ana ran"
    example = {"id": "x", "text": text, "entities": [{"start": 2, "end": 5, "label": "person"}]}

    def written(name):
        convert([example], tmp_path / name, name)
        return (tmp_path / name).read_text()

    assert json.loads(written("doccano")) == {"id": "x", "text": text, "label": [[2, 5, "person"]]}
    assert json.loads(written("spacy-json")) == [[text, {"entities": [[2, 5, "person"]]}]]
    assert json.loads(written("gliner")) == [
        {"id": "x", "tokenized_text": ["🎉", "Ana", "ran"], "ner": [[1, 1, "person"]]}
    ]
    (task,) = json.loads(written("label-studio"))
    assert task["data"]["text"] == text
    assert task["annotations"][0]["result"][0] == {
        "id": "e0",
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 3, "end": 6, "text": "Ana", "labels": ["person"]},
    }
    task = json.loads(written("prodigy"))
    assert task["spans"] == [{"start": 2, "end": 5, "token_start": 1, "token_end": 1, "label": "person"}]
    assert task["tokens"][1] == {"text": "Ana", "start": 2, "end": 5, "id": 1, "ws": True}
    (record,) = json.loads(written("argilla"))
    assert record["fields"] == {"text": text}
    assert record["suggestions"]["entities"]["value"] == [{"start": 2, "end": 5, "label": "person"}]
    assert written("conll") == "# sent_id = x\n🎉\tO\nAna\tB-person\nran\tO\n\n"
    assert "\n2\tAna" + "\t_" * 7 + "\tEntity=(e1-person)\n" in written("conllu")
    convert([example], tmp_path / "a.ann")
    assert (tmp_path / "a.ann").read_text() == "T1\tperson 2 5\tAna\n"
    assert (tmp_path / "a.txt").read_text() == text + "\n"
