"""The examples run as they stand, in a process and a folder of their own, and find what they show."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SHOWN = {
    "ten_lines.py": ["Ana Ruiz: person", "Cessna 172: plane"],
    "own_data.py": ["Vasa/B-ship", "Lena/O sailed/O on/O the/O Vasa/B-ship", "Lena/B-person"],
    "zero_shot.py": ["Ana Ruiz: person", "Quito: city", "'GPE'"],
    "add_a_type.py": ["('Ana Ruiz', 'person'), ('Cessna 172', 'plane'), ('Quito', 'city')"],
    "tag_many.py": ["entities"],
    "spacy_pipeline.py": ["('Ana Ruiz', 'person'), ('Quito', 'city')", "[('Tom Hale', 'person')"],
    "hub_round_trip.py": ["Ana Ruiz: person", "Quito: city"],
}


def test_every_example_is_run_and_listed():
    assert set(SHOWN) == {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in listed for name in SHOWN)


@pytest.mark.parametrize("name", sorted(set(SHOWN) - {"hub_round_trip.py"}))
def test_an_example(name, tmp_path):
    run_example(name, tmp_path, [], {"HF_HUB_OFFLINE": "1"})


def test_the_round_trip_to_a_hub_on_the_loopback(hub, tmp_path):
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_TOKEN": "secret",
    }
    run_example("hub_round_trip.py", tmp_path, ["ana/my-ner"], settings)
    assert "ana/my-ner" in hub.repositories


def run_example(name, folder, arguments, settings):
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert run.returncode == 0, run.stderr
    for words in SHOWN[name]:
        assert words in run.stdout, run.stdout
