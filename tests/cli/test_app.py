"""Tests of app.py."""

import importlib
import logging
from typing import Any

import pytest


def test_wrong_usage_and_warnings_do_not_drive_the_terminal(monkeypatch, capsys):
    module: Any = importlib.import_module("modeling_lacl.cli.app")
    monkeypatch.setattr("sys.argv", ["lacl", "predict", "model", "--high\x1b[31m"])
    with pytest.raises(SystemExit):
        module.main()
    monkeypatch.setattr("sys.argv", ["lacl", "--low\x1b[31m"])
    with pytest.raises(SystemExit):
        module.main()
    record = logging.LogRecord("modeling_lacl", logging.WARNING, "", 0, "a label\x1b[31m\nand \x9b", (), None)
    shown = capsys.readouterr().err + module._VisibleLines().format(record)
    assert "--high" in shown and "--low" in shown and "a label" in shown
    assert not {"\x1b", "\x9b"} & set(shown) and shown.count("\n") > 1
