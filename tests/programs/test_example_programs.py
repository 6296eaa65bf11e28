"""The examples run as they stand, in a process and a folder of their own, and find what they show."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from modeling_lacl import read_dataset

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHOWN = {
    "ten_lines.py": ["Ana Ruiz: person", "Cessna 172: plane"],
    "own_data.py": ["('Ana Ruiz', 'person', 0.", "('Titanic', 'ship', 0."],
    "zero_shot.py": ["Ana Ruiz: person", "Quito: city", "'GPE'"],
    "add_a_type.py": ["('Ana Ruiz', 'person'), ('Cessna 172', 'plane'), ('Quito', 'city')"],
    "tag_many.py": ["450 entities"],
    "spacy_pipeline.py": ["('Ana Ruiz', 'person'), ('Quito', 'city')", "[('Tom Hale', 'person')"],
    "hub_round_trip.py": ["Ana Ruiz: person", "Quito: city"],
    "service.py": [],  # which test_service.py asks
}


def test_every_example_is_run_and_listed():
    assert set(SHOWN) == {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in listed for name in SHOWN)


OTHERWISE = {"own_data.py", "tag_many.py", "hub_round_trip.py", "service.py"}
"""Those that a test of their own runs."""


@pytest.mark.parametrize("name", sorted(set(SHOWN) - OTHERWISE))
def test_an_example(name, tmp_path):
    run_example(name, tmp_path)


def test_the_three_kinds_of_data_give_the_same(tmp_path):
    one, *others = run_example("own_data.py", tmp_path).splitlines()
    assert others == [one, one]
    read = [read_dataset(tmp_path / name) for name in ("spans.jsonl", "columns.txt")]
    assert read[0]["tokens"] == read[1]["tokens"] and read[0]["ner_tags"] == read[1]["ner_tags"]


def test_many_texts_by_the_program_and_by_the_command_of_its_docstring(tmp_path):
    texts = [
        f"Flight {number} took Ana Ruiz from Quito to Oslo.{' Again.' * (number % 5)}"
        for number in range(150)
    ]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n")
    run_example("tag_many.py", tmp_path, "texts.txt", "entities.jsonl")
    written = entities(tmp_path / "entities.jsonl")
    assert [text for text, _ in written] == texts
    assert all(found == [("Ana Ruiz", "person"), ("Quito", "city"), ("Oslo", "city")] for _, found in written)
    (tmp_path / "entities.jsonl").unlink()
    program = ast.parse((EXAMPLES / "tag_many.py").read_text(encoding="utf-8"))
    _, start, command = (ast.get_docstring(program) or "").partition("lacl predict ")
    run(["bash", "-ec", start + command], tmp_path)
    assert entities(tmp_path / "entities.jsonl") == written


def entities(path):
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [(row["text"], [(one["word"], one["entity_group"]) for one in row["entities"]]) for row in rows]


def test_the_round_trip_to_a_hub_on_the_loopback(hub, tmp_path):
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "secret",
    }
    run_example("hub_round_trip.py", tmp_path, "ana/my-ner", **settings)
    assert "ana/my-ner" in hub.repositories


def run_example(name, folder, *arguments, **settings):
    shown = run([sys.executable, str(EXAMPLES / name), *arguments], folder, **settings)
    for words in SHOWN[name]:
        assert words in shown, shown
    return shown


def run(command, folder, **settings):
    scripts = Path(sys.executable).parent
    environment = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "cache"),
        **settings,
    }
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout
