"""What a command loads, and what it shows while it does: in one process of its own."""

import json
import os
import subprocess
import sys

from modeling_lacl.cli.app import no_short_bars

PROGRAM = """
import json, sys
from modeling_lacl import cli
sys.argv = sys.argv[1:]
try:
    cli.main()
except SystemExit as end:
    assert not end.code
print(json.dumps(list(sys.modules)))
"""
HEAVY = {
    *("datasets", "pandas", "pyarrow", "sklearn", "seqeval", "evaluate", "py3langid", "matplotlib"),
    *("transformers.trainer", "transformers.pipelines"),
    *("modeling_lacl.training", "modeling_lacl.evaluation", "modeling_lacl.baselines"),
}
"""What training or reading labelled data need, and predicting does not."""
BARS = ("HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS")


def test_predict_loads_what_it_needs_and_shows_nothing_else(checkpoint):
    """No bar, and no warning such as that of a model type."""
    environment = {name: value for name, value in os.environ.items() if name not in BARS}
    command = ["lacl", "predict", str(checkpoint), "--text", "ana flew", "--labels", "person"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command], env=environment, capture_output=True, text=True, check=True
    )
    answer, modules = map(json.loads, done.stdout.splitlines())
    assert answer["text"] == "ana flew"
    assert "transformers" in modules and not HEAVY & set(modules)
    assert done.stderr == ""


def test_bars_that_the_user_asks_for_are_shown(monkeypatch):
    shown, hidden = BARS
    monkeypatch.setenv(shown, "0")
    monkeypatch.setenv(hidden, "")  # what is set is put back; what is only deleted is not
    monkeypatch.delenv(hidden)
    no_short_bars()
    assert (os.environ[shown], os.environ[hidden]) == ("0", "1")
