"""Blocks of files, against the whole file as one process reads it; and parts, against its output."""

import json
import os

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_lacl.cli.blocks import Reading
from modeling_lacl.cli.parts import Parts
from modeling_lacl.cli.texts import in_utf8, read_texts
from modeling_lacl.data.lines import read_lines

few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
FOUND = {"entity_group": "a", "score": 0.5, "word": "x", "start": 0, "end": 1}


def contents(path, size, **reading):
    """What each block of the files holds."""
    how = Reading(**reading)
    return [how.read(block) for block in how.cut(how.files(str(path)), size)]


@few
@given(
    content=st.lists(st.sampled_from(["ab", "é", "\ufeff", "東", "\r", "\n", "\x85\u2028", " "])).map(
        "".join
    ),
    size=st.integers(1, 9),
    encoding=st.sampled_from(["utf-8", "latin-1", "cp932"]),
    broken=st.binary(max_size=3),
)
def test_lines_are_those_of_the_file(tmp_path, capfd, content, size, encoding, broken):
    path = tmp_path / "texts.txt"
    path.write_bytes(b"ab" + content.encode(encoding, "ignore") + broken)
    with open(path, "rb") as stream:
        expected = list(read_texts(in_utf8(stream, "texts", encoding), "texts", True, encoding))
    told = capfd.readouterr().err
    read = contents(path, size, encoding=encoding)
    assert [text for one in read for text in one.texts] == expected and all(one.texts for one in read)
    replaced = sum(one.replaced for one in read)
    assert f"{replaced} bytes" in told if replaced else "bytes" not in told


def test_a_mark_at_the_start_of_a_file_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffana  ruiz\n\n".encode())
    (tmp_path / "b.txt").write_bytes("\ufeffquito".encode())
    (tmp_path / ".hidden").write_bytes(b"\xff")
    read = contents(tmp_path, 1, words=True)
    assert [one.texts for one in read] == [["ana ruiz"], [""], ["quito"]]


@pytest.mark.parametrize("encoding", ["utf-8", "cp932", "utf-16"])
@pytest.mark.parametrize("is_pipe", [False, True])
def test_lines_that_end_in_carriage_returns(tmp_path, encoding, is_pipe):
    """As old Macs wrote, and as labelled data are read."""
    path, texts = tmp_path / "texts.txt", ["ana", "", "東 quito", "to york"]
    path.write_bytes("\r".join(texts).encode(encoding))
    assert [line for _, line in read_lines(path, encoding)] == texts
    reading, writing = os.pipe()
    os.write(writing, path.read_bytes())
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe, open(path, "rb") as file:
        lines = in_utf8(pipe if is_pipe else file, "texts", encoding)
        assert list(read_texts(lines, "texts", True, encoding)) == texts
    if encoding != "utf-16":
        assert [one.texts for one in contents(path, 1, encoding=encoding)] == [[text] for text in texts]
    objects = path.with_suffix(".jsonl")
    objects.write_text('{"text": "ana"}\r{"text": 3}\r')
    with pytest.raises(ValueError, match=r"texts.jsonl:2: no text"):
        contents(objects, 1)


def test_a_pattern_gives_its_files_in_order(tmp_path):
    for name in ("b1", "a2", "a1"):
        (tmp_path / f"{name}.txt").write_text(name)
    assert [one.texts for one in contents(tmp_path / "a*.txt", 9)] == [["a1"], ["a2"]]


ROWS = [{"id": number, "body": f"text é {number}"} for number in range(40)]


@pytest.mark.parametrize("target", ["out.jsonl", "out.parquet"])
@pytest.mark.parametrize("size", [1, 100, 10**6])
@pytest.mark.parametrize("source", ["texts.jsonl", "texts.parquet"])
def test_other_columns_go_along(tmp_path, source, size, target):
    path = tmp_path / source
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=7)
    else:
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")
    read = contents(path, size, column="body")
    assert len(read) > 1 or size == 10**6
    parts = Parts(tmp_path / target, "job")
    with parts.held():
        for number, content in reversed(list(enumerate(read))):
            parts.write(number, content, [[FOUND] * (text == "text é 7") for text in content.texts])
        parts.merge(len(read))
    expected = [
        {"text": row["body"], "entities": [FOUND] * (row["id"] == 7), "id": row["id"]} for row in ROWS
    ]
    assert rows(tmp_path / target) == expected
    assert {path.name for path in tmp_path.iterdir()} == {source, target}


def rows(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_columns_that_some_rows_lack(tmp_path):
    lines = ['{"text": "a", "n": 1}', '{"n": 1.5, "text": "b"}', '{"text": "c", "tags": ["x"]}']
    (tmp_path / "texts.jsonl").write_text("\n".join(lines))
    read = contents(tmp_path / "texts.jsonl", 1)
    for target in ("out.jsonl", "out.parquet"):
        parts = Parts(tmp_path / target, "job")
        with parts.held():
            for number, content in enumerate(read):
                parts.write(number, content, [[]])
            parts.merge(3)
    assert [list(row) for row in rows(tmp_path / "out.jsonl")] == [
        *([["text", "entities", "n"]] * 2),
        ["text", "entities", "tags"],
    ]
    assert [(row["n"], row["tags"]) for row in rows(tmp_path / "out.parquet")] == [
        *((1.0, None), (1.5, None), (None, ["x"]))
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", '{"text": "a"}\n\n{"text": 3}\n', r"x\.jsonl:3: no text in 'text'; --column takes"),
        ("x.jsonl", '{"text": "a"}\n["text"]\n', r"x\.jsonl:2: not an object"),
        ("x.jsonl", '{"text": "a"}\n{"text\n', r"x\.jsonl:2: not JSON"),
        ("x.jsonl", '{"text": "a", "entities": []}\n', r"x\.jsonl:1: a column 'entities' beside 'text'"),
        ("x.txt", '{"text": "a"}\n', r"x\.txt: this is JSON Lines"),
        ("x.csv", "text,id\na,1\n", r"x\.csv: this is CSV"),
        ("x.parquet", "text", r"x\.parquet: not Parquet"),
        ("x.jsonl", b"PK\x03\x04", r"x\.jsonl: this is "),
        ("x.txt", "a".encode("utf-16"), r"x\.txt:1: this is UTF-16"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        contents(path, 1)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("id", "column 'id' is int64, not text"),
        ("no", "--column takes one of id, body"),
        ("body", "row 2 .* no text"),
    ],
)
def test_columns_of_parquet_without_text_are_named(tmp_path, column, message):
    table = pa.table({"id": [1, 2, 3], "body": ["a", "b", None]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=message):
        contents(tmp_path / "x.parquet", 10**6, column=column)


def test_what_cannot_be_cut_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("a\n", "utf-16-le")
    with pytest.raises(ValueError, match="utf-16-le cannot be read in blocks"):
        contents(tmp_path / "x.txt", 1, encoding="utf-16-le")
    (tmp_path / "y.jsonl").write_text("{}")
    with pytest.raises(ValueError, match="files of one kind"):
        contents(tmp_path, 1)
    with pytest.raises(ValueError, match="LaclTagger"):
        contents("s3://bucket/x.txt", 1)
    with pytest.raises(FileNotFoundError):
        contents(tmp_path / "none*.txt", 1)
    reading = Reading()
    (block,) = reading.cut(reading.files(str(tmp_path / "x.txt")))
    os.truncate(tmp_path / "x.txt", 1)
    with pytest.raises(ValueError, match="shorter than when the run began"):
        reading.read(block)


def test_a_part_that_is_not_there_is_an_error_and_an_unfinished_run_keeps_its_parts(tmp_path):
    (tmp_path / "x.txt").write_text("a\nb\n")
    (tmp_path / "out.jsonl").write_text("the old output\n")
    first, _ = contents(tmp_path / "x.txt", 1)
    parts = Parts(tmp_path / "out.jsonl", "job")
    with pytest.raises(ValueError), parts.held():
        raise ValueError
    assert not parts.folder.exists()
    with pytest.raises(ValueError, match="000001.jsonl is missing"), parts.held():
        parts.write(0, first, [[]])
        parts.merge(2)
    assert (tmp_path / "out.jsonl").read_text() == "the old output\n"
    assert parts.part(0).is_file() and not Parts(tmp_path / "out.jsonl", "other").part(0).exists()
    with pytest.raises(ValueError, match="folder that all machines see"):
        Parts(tmp_path / "out.jsonl", "other").check()
    pytest.importorskip("fcntl")
    with parts.held(), pytest.raises(ValueError, match="another run is writing"), parts.held():
        pass
