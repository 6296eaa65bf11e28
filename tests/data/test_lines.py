"""Line ends, encodings, and files that are not text."""

import pickle
import sqlite3
import zlib

import pytest

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset

TEXT = "Zoë\tB-person\nRuiz\tI-person\n\nran\tO\n"
WORDS = [["Zoë", "Ruiz"], ["ran"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_in_every_encoding(tmp_path, encoding, end):
    path = tmp_path / "data.txt"
    path.write_bytes(TEXT.replace("\n", end).encode(encoding))
    assert read_dataset(path, encoding=encoding)["tokens"][:] == WORDS


def test_a_carriage_return_inside_of_a_line_stays(tmp_path):
    path = tmp_path / "data.txt"
    path.write_bytes(b"a\rb\tO\nc\tB-x\n")
    assert read_dataset(path)["tokens"][:] == [["a\rb", "c"]]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [TEXT, "東京\tB-place\nへ\tO\n", '{"tokens": ["東"], "ner_tags": ["B-x"]}'])
@pytest.mark.parametrize("given", ["utf-8", "latin-1"])
def test_utf16_without_a_mark_is_named(tmp_path, encoding, text, given):
    path = tmp_path / "data.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(LaclDataError, match=f"data.txt:1: the file is UTF-16; .*--encoding {encoding}, "):
        read_dataset(path, encoding=given)


def test_files_of_other_programs_are_named(tmp_path):
    path = tmp_path / "data.txt"
    database = tmp_path / "data.db"
    with sqlite3.connect(database) as connection:
        connection.execute("create table words (word, tag)")
    for content, message in (
        (zlib.compress(b"words" * 100), "a DocBin of spaCy"),
        (database.read_bytes(), "an SQLite database"),
        (b"{\\rtf1\\ansi Mira B-person\\par}", "an RTF file"),
        *((pickle.dumps([TEXT], protocol), "a Python pickle") for protocol in (2, 3, 4, 5)),
    ):
        path.write_bytes(content)
        with pytest.raises(LaclDataError, match=message):
            read_dataset(path)
