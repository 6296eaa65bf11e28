"""Pipes in the place of files, output that a terminal would obey, and two runs that write to one file."""

import io
import json
import os
import sys
import threading
from typing import Any

import pytest
from datasets import Dataset
from typer.testing import CliRunner

from modeling_lacl import read_dataset
from modeling_lacl.cli.app import app, printable
from modeling_lacl.cli.output import LineFile, write_lines
from modeling_lacl.cli.tagging import predict_texts
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import load_label_names

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")

COLUMNS = "".join(f"word{number}\tO\nAna\tB-person\n\n" for number in range(4096))
RECORDS = [{"tokens": [f"word{number}", "Ana"], "ner_tags": ["O", "B-person"]} for number in range(2000)]


@pytest.fixture
def fifo(tmp_path):
    """Makes a FIFO that gives its content once."""
    writers = []

    def make(content, name="fifo"):
        os.mkfifo(tmp_path / name)
        writer = threading.Thread(target=(tmp_path / name).write_text, args=(content,), daemon=True)
        writer.start()
        writers.append(writer)
        return tmp_path / name

    yield make
    for writer in writers:
        writer.join(timeout=10)
        assert not writer.is_alive()


@pytest.mark.parametrize(
    "content",
    [COLUMNS, "".join(json.dumps(record) + "\n" for record in RECORDS), json.dumps(RECORDS)],
    ids=["columns", "jsonl", "json"],
)
def test_labelled_data_from_a_pipe_are_those_of_the_file(fifo, tmp_path, content):
    (tmp_path / "data").write_text(content)
    expected = read_dataset(tmp_path / "data")
    found = read_dataset(fifo(content))
    assert isinstance(found, Dataset) and found["tokens"] == expected["tokens"]
    assert found["ner_tags"] == expected["ner_tags"]


def test_an_error_names_the_pipe_and_the_line(fifo):
    with pytest.raises(LaclDataError, match=r"fifo:2: "):
        read_dataset(fifo('{"tokens": ["a"], "ner_tags": ["O"]}\n{"tokens": 3}\n'))


def test_label_names_from_a_pipe(fifo):
    assert load_label_names(fifo("ship: big boat\n")) == {"ship": "big boat"}


def test_results_go_into_a_pipe_whole():
    """More than a pipe holds, so that it takes parts of a line."""
    reading, writing = os.pipe()
    results: list[Any] = [("x" * 300_000, []), ("end", [])]
    with io.FileIO(writing, "wb") as file:

        def write():
            write_lines(file, results, bar=False)
            file.close()

        writer = threading.Thread(target=write)
        writer.start()
        with os.fdopen(reading, encoding="utf-8") as stream:
            found = [json.loads(line)["text"] for line in stream]
        writer.join()
    assert found == [text for text, _ in results]


def test_what_a_terminal_obeys_is_escaped_and_the_same_value(monkeypatch):
    text = "a\x9b31mb\u202ec\u2066d\x7fe\u200f"

    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    for kind, raw in ((Terminal, False), (io.TextIOWrapper, True)):
        content = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", kind(content, encoding="utf-8"))
        write_lines(None, [(text, [])])
        line = content.getvalue().decode()
        assert json.loads(line)["text"] == text
        assert ("\x9b" in line) is raw and ("\u202e" in line) is raw


def test_messages_drive_no_terminal():
    obeyed = "".join(map(chr, [*range(9), *range(0xE, 0x20), *range(0x7F, 0xA0)])) + "\u202e\u2066\u200f"
    assert not set(obeyed) & set(printable(obeyed + "plain")) and printable("plain\n") == "plain\n"


def test_a_second_run_on_one_file_is_refused(tmp_path):
    pytest.importorskip("fcntl")
    with LineFile(tmp_path / "out", False, job="a").held():
        with (
            pytest.raises(ValueError, match="another run is writing"),
            LineFile(tmp_path / "out", True).held(),
        ):
            pass
    with LineFile(tmp_path / "out", False, job="a").held():
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_going_on_with_other_labels_or_another_model_is_refused(tmp_path, make_tiny_model):
    make_tiny_model().save_pretrained(tmp_path / "model")
    (tmp_path / "texts").write_text("ana\nquito\n")
    command = ["predict", tmp_path / "model", tmp_path / "texts", "--output", tmp_path / "out", "--labels"]
    command = [str(part) for part in command]
    run = CliRunner().invoke
    assert run(app, [*command, "person"]).exit_code == 0
    whole = (tmp_path / "out").read_bytes()
    # As a killed run leaves it: one line, and the note of what it depends on.
    line = LineFile(tmp_path / "out", False, job="other")
    with pytest.raises(KeyboardInterrupt), line.held(), line.open() as file:
        file.write(whole.splitlines(keepends=True)[0])
        raise KeyboardInterrupt
    refused = run(app, [*command, "city", "--resume"])
    assert "begun with another model" in str(refused.exception)
    refused = run(app, [*command, "person"])
    assert "has the results of an unfinished run: --resume goes on with it" in str(refused.exception)
    assert (tmp_path / "out").read_bytes() in whole
    (tmp_path / "out").unlink()
    assert run(app, [*command, "person"]).exit_code == 0 and (tmp_path / "out").read_bytes() == whole


def test_an_interrupted_run_says_how_it_goes_on(tmp_path, make_tiny_model, monkeypatch):
    make_tiny_model().save_pretrained(tmp_path / "model")
    (tmp_path / "texts").write_text("ana\nquito\nyork\n")
    command = ["predict", tmp_path / "model", tmp_path / "texts", "--output", tmp_path / "out"]
    command = [*map(str, command), "--labels", "person"]
    run = CliRunner().invoke
    # A run that fails before its model is loaded takes nothing away, and is none to go on with.
    (tmp_path / "out").write_text("old\n")
    assert run(app, [command[0], "no-model", *command[2:]]).exit_code != 0
    assert (tmp_path / "out").read_text() == "old\n"

    def interrupted(*arguments, **options):
        results = predict_texts(*arguments, **options)
        yield next(results)
        yield next(results)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("modeling_lacl.cli.tagging.predict_texts", interrupted)
        stopped = run(app, command)
    assert stopped.exit_code != 0
    assert f"{tmp_path / 'out'}: 2 texts are done; --resume goes on" in stopped.stderr
    assert "--resume goes on" in str(run(app, command).exception)
    assert run(app, [*command, "--resume"]).exit_code == 0
    lines = (tmp_path / "out").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["ana", "quito", "york"]
