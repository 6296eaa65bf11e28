"""What the README says works: its blocks are run."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from modeling_lacl import cli

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the files that the README speaks of."""
    monkeypatch.chdir(tmp_path)
    Path("support.txt").write_text(blocks("text")[0], encoding="utf-8")
    Path("support.jsonl").write_text(blocks("json")[0], encoding="utf-8")
    Path("names.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    Path("texts.txt").write_text("Ana Ruiz flew to Quito.\nAnd back.\n", encoding="utf-8")
    return tmp_path


def test_the_first_two_commands_stand_alone():
    demo, test = blocks("sh")[:2]
    for block in (demo, test):
        first, second, _ = block.splitlines()
        assert first == "python3 -m venv .venv && . .venv/bin/activate"
        assert second.startswith("pip install -c constraints.txt '.[demo")
    assert demo.splitlines()[2] == "lacl demo"
    assert test.splitlines()[2] == "pytest"


def test_the_python_blocks_run(workplace):
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert (workplace / "outputs" / "ner" / "config.json").is_file()
    assert names["ner"].has_support


def test_the_offsets_of_the_examples_are_those_of_words():
    support = re.search(r"support = (\[.*?^\])", README, flags=re.MULTILINE | re.DOTALL)
    assert support
    for line in eval(support[1]) + [json.loads(line) for line in blocks("json")[0].splitlines()]:
        for entity in line.get("entities", []):
            word = line["text"][entity["start"] : entity["end"]]
            assert re.fullmatch(r"[A-Z0-9]\w*( [A-Z0-9]\w*)*", word), word


def test_the_commands_run(workplace, monkeypatch, capfdbinary):
    for line in blocks("sh")[2].splitlines():
        monkeypatch.setattr(sys, "argv", shlex.split(line))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code, line + capfdbinary.readouterr().err.decode()
    assert len(Path("entities.jsonl").read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize("line", blocks("sh")[5].splitlines())
def test_the_recipes_are_there(line):
    assert (ROOT / shlex.split(line)[2]).is_file()


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith(("http", "#")):
            assert (ROOT / target).exists(), target
    anchors = {
        re.sub(r"[^\w -]", "", title).replace(" ", "-").lower()
        for title in re.findall(r"^#+ (.*)$", README, re.M)
    }
    for anchor in re.findall(r"\]\(#([^)]+)\)", README):
        assert anchor in anchors
