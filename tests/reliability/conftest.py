"""Real processes that can be killed: forks of one process that has loaded the package and run nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

NURSERY = """
import json, os, sys, traceback
import torch, datasets, transformers
import modeling_lacl.cli, modeling_lacl.hub.loading
import modeling_lacl.training.source, modeling_lacl.training.adaptation

for line in sys.stdin:
    task = json.loads(line)
    if "wait" in task:
        print(os.waitpid(task["wait"], 0)[1], flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    for number, name in ((0, os.devnull), (1, task["out"]), (2, task["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), number)
    sys.stdin = open(0, closefd=False)
    sys.argv[1:] = task["arguments"]
    code = 1
    try:
        exec(task["program"], {"__name__": "__main__"})
        code = 0
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
"""

LACL = "from modeling_lacl.cli import main; main()"


class Child:
    """A running process."""

    def __init__(self, nursery, pid: int, place: Path) -> None:
        self.nursery = nursery
        self.pid = pid
        self.place = place
        self.started = time.monotonic()

    def kill(self) -> int:
        """Ends it as `kill -9` does; gives what `wait` gives."""
        os.kill(self.pid, signal.SIGKILL)  # it is not reaped before `wait`, so the number is still its own
        return self.wait()

    def wait(self) -> int:
        """The exit code once it has ended; minus the signal's number if one ended it."""
        return os.waitstatus_to_exitcode(int(self.nursery.ask({"wait": self.pid})))

    @property
    def out(self) -> str:
        file = self.place / "out"
        return file.read_text(encoding="utf-8") if file.exists() else ""

    @property
    def err(self) -> str:
        return (self.place / "err").read_text(encoding="utf-8", errors="replace")


class Nursery:
    def __init__(self, process, make_place) -> None:
        self.process = process
        self.make_place = make_place

    def ask(self, task) -> str:
        print(json.dumps(task), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        assert answer, "the process that others are forked from has ended"
        return answer

    def start(self, *arguments, program=LACL) -> Child:
        """Starts a Python program, by default `lacl` with these arguments."""
        place = self.make_place("child")
        task = {"program": program, "arguments": list(map(str, arguments))}
        pid = int(self.ask({**task, "out": str(place / "out"), "err": str(place / "err")}))
        return Child(self, pid, place)

    def run(self, *arguments, program=LACL) -> Child:
        """Starts it and waits until it has ended well."""
        child = self.start(*arguments, program=program)
        assert child.wait() == 0, child.err
        return child


@pytest.fixture(scope="session")
def nursery(tmp_path_factory):
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "HF_HUB_OFFLINE": "1"},
    ) as process:
        yield Nursery(process, tmp_path_factory.mktemp)


@pytest.fixture(scope="session")
def released():
    """The source model in the package."""
    from modeling_lacl import LaclForTokenClassification

    return LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
