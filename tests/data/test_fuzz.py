"""Whatever the bytes: a Dataset or a LaclDataError, and soon.

`LACL_FUZZ=10000` reads so many files of each format, where the tests of every day read some.
"""

import logging
import os
from datetime import timedelta

import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset

COLUMNS = "# newdoc id = a\nAna\tB-person\nRuiz\tI-person\n\n-DOCSTART- O\n東京\tB-place\n#\tO\n".encode()
SPACES = b"EU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nGerman JJ B-NP B-MISC\n"
FEW_NERD = b"The\tO\nWar\tevent-attack/battle/war/militaryconflict\nUS\tlocation-GPE\n\nship\tproduct-ship\n"
TAGGED = b'{"tokens": ["Ana", "ran"], "ner_tags": ["U-person", "O"]}\n{"tokens": [], "tags": []}\n'
SPANS = (
    b'{"text": "Ana ran", "entities": [{"start": 0, "end": 3, "label": "person"}]}\n{"text": "", "spans": []}'
)
CSV = b'id,tokens,ner_tags\n1,"[""Ana"", ""ran""]","[""B-person"", ""O""]"\n2,"[""b""]","[""O""]"\n'
WORD_ROWS = b"Sentence #,Word,Tag\n1,Ana,B-person\n,Ruiz,I-person\n2,ran,O\n"
CONLLU = b"# global.Entity = eid-etype\n" + b"".join(
    b"%d\tAna" % number + b"\t_" * 7 + b"\tEntity=%b|SpaceAfter=No\n" % brackets
    for number, brackets in ((1, b"(e1-person(e2-x)"), (2, b"e1)"))
)
STUDIO = (
    '{"data": {"text": "🎉 Ana"}, "annotations": [{"result": [{"value": {"start": 3, "end": 6, '
    '"text": "Ana", "labels": ["x"]}}]}]}\n'
).encode()
ARGILLA = (
    b'{"fields": {"text": "Ana"}, "suggestions": {"q": {"value": [{"start": 0, "end": 3, "label": "x"}]}}, '
    b'"responses": {"q": [{"value": [{"start": 0, "end": 3, "label": "x"}]}]}}\n'
)

FILES = int(os.environ.get("LACL_FUZZ", "150"))
SOON = timedelta(seconds=30)  # for a file of some lines: only what hangs takes so long

INSERTS = [
    b"\t", b"\n", b"\r", b" ", b"#", b"\xff", b"\x00", b"\xc2\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b'"',
    b"\\ud800", b"O", b"B-", b"I-", b"{", b"[", b"-1", b"1e999", b"null", b"NaN", b"-DOCSTART-",
]  # fmt: skip


@st.composite
def mutated(draw, original):
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 6))):
        position = draw(st.integers(0, len(content)))
        kind = draw(st.sampled_from(["insert", "delete", "flip", "copy"]))
        stop = min(len(content), position + draw(st.integers(1, 8)))
        if kind == "insert":
            content[position:position] = draw(st.sampled_from(INSERTS))
        elif kind == "delete":
            del content[position:stop]
        elif kind == "flip":
            content[position:stop] = draw(st.binary(min_size=stop - position, max_size=stop - position))
        else:
            content[position:position] = content[draw(st.integers(0, len(content))) :][:20]
    return bytes(content)


def check(source, **arguments):
    try:
        dataset = read_dataset(source, **arguments)
    except LaclDataError as error:
        assert len(str(error)) > 20
        return
    assert isinstance(dataset, Dataset)
    for row in dataset:
        assert len(row["tokens"]) == len(row["ner_tags"]) and all(row["tokens"])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    logging.getLogger("modeling_lacl.data").setLevel(logging.ERROR)
    yield tmp_path_factory.mktemp("fuzz") / "data.txt"
    logging.getLogger("modeling_lacl.data").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    "original",
    [COLUMNS, SPACES, FEW_NERD, TAGGED, SPANS, CSV, WORD_ROWS, CONLLU, STUDIO, ARGILLA],
    ids="columns spaces few_nerd tagged spans csv word_rows conllu studio argilla".split(),
)
@settings(max_examples=FILES, deadline=SOON, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mutated_files(path, original, data):
    path.write_bytes(data.draw(mutated(original)))
    check(path)


@settings(max_examples=FILES, deadline=SOON, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), format=st.sampled_from(["columns", "jsonl"]))
def test_any_bytes(path, content, format):
    path.write_bytes(content)
    check(path, format=format)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["start", "end", "label"]), inner)
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(["tokens", "tags", "text", "entities", "id", "document_id", "labels"])


@settings(max_examples=FILES, deadline=SOON)
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=4) | JSON, max_size=3))
def test_any_examples(examples):
    check(examples)
