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
}


def test_every_example_is_run_and_listed():
    assert set(SHOWN) == {path.name for path in EXAMPLES.glob("*.py")}
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in listed for name in SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_an_example(name, tmp_path):
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert run.returncode == 0, run.stderr
    for words in SHOWN[name]:
        assert words in run.stdout, run.stdout
