"""Atomic writes, JSON Lines and digests."""

import errno
import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from modeling_lacl.files import (
    append_json_line,
    new_folder,
    read_json_lines,
    row_of,
    sha256,
    write_atomically,
)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "report.md"
    write_atomically(path, "old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_and_a_mode_stay(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o600)
    link.symlink_to(file)
    write_atomically(link, "new")
    assert link.is_symlink() and file.read_text() == "new" and file.stat().st_mode & 0o777 == 0o600


def test_a_device_stays_one():
    write_atomically(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="needs /dev/stdout")
def test_standard_output_can_be_a_pipe():
    code = "from modeling_lacl.files import write_atomically as w, Path; w(Path('/dev/stdout'), 'text')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"text"


def test_a_missing_folder_is_told_by_the_name_that_was_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing/page.html"):
        write_atomically(tmp_path / "missing" / "page.html", "")


@dataclass
class Row:
    word: str


def test_lines_of_json(tmp_path):
    file = tmp_path / "rows.jsonl"
    assert read_json_lines(file) == [] and not file.exists()
    for word in ("été", "a\u2028b"):
        append_json_line(file, {"word": word})
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"wo')
    assert read_json_lines(file) == [{"word": "été"}, {"word": "a\u2028b"}] and file.read_bytes() == whole
    assert row_of(Row, {"word": "a"}, "x:1") == Row("a")
    file.write_bytes(b"{\n")
    assert read_json_lines(file) == [None]
    for value in (None, {}, {"word": "a", "more": 1}):
        with pytest.raises(ValueError, match="x:1: not a result of this version"):
            row_of(Row, value, "x:1")


def test_digests(tmp_path):
    (tmp_path / "a").write_text("é", encoding="utf-8")
    expected = hashlib.sha256("é".encode()).hexdigest()
    assert sha256("é") == sha256("é".encode()) == sha256(tmp_path / "a") == expected


def test_an_error_names_the_file(tmp_path, monkeypatch):
    path = tmp_path / "model.bin"
    write_atomically(path, b"old\xff")
    too_much = OSError(errno.EFBIG, "File too large")  # as a write raises it, without a name

    def fails(*_):
        raise too_much

    monkeypatch.setattr("shutil.copymode", fails)
    with pytest.raises(OSError, match="File too large: .*model.bin"):
        write_atomically(path, b"new")
    with pytest.raises(OSError, match="File too large: .*folder'"), new_folder(tmp_path / "folder"):
        fails()
    assert path.read_bytes() == b"old\xff" and list(tmp_path.iterdir()) == [path]


def test_a_folder_is_new_and_whole(tmp_path):
    with new_folder(tmp_path / "a" / "b") as folder:
        (folder / "file").write_text("x")
        assert not (tmp_path / "a" / "b").exists()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"
    with pytest.raises(FileExistsError, match="b: is not empty"), new_folder(tmp_path / "a" / "b"):
        pass
