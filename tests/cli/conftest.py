"""A checkpoint, and `lacl` as a user runs it."""

import io
import sys

import pytest

from modeling_lacl import cli


@pytest.fixture
def checkpoint(make_tiny_model, tmp_path):
    make_tiny_model(encoder={"max_position_embeddings": 512}).save_pretrained(tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def lacl(monkeypatch, capfdbinary):
    """Runs `lacl` with arguments as `main` does; gives exit code, standard output and standard error."""

    def run(*arguments, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["lacl", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code: int | str | None = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfdbinary.readouterr()
        sys.stderr.write(err.decode())  # for pytest to show where a test fails
        return code, out.decode(), err.decode()

    return run
