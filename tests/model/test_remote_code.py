"""Checkpoints where this package is not installed, Auto classes where it is: each in its own process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import modeling_lacl

TEXTS = ["ana ruiz flew to quito on a cessna 172.", "a creative play of york"]

# Of a process whose import path holds what is installed here, save this package.
EMPTY = """
import importlib.metadata, json, os, sys

try:
    import modeling_lacl
    raise SystemExit(f"modeling_lacl is imported from {modeling_lacl.__file__}")
except ModuleNotFoundError as error:
    assert error.name == "modeling_lacl", error
assert "lacl" not in {one.metadata["Name"] for one in importlib.metadata.distributions()}
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline
"""

# Where the package is, as an installation would put it at the front.
WITH_PACKAGE = f"import sys; sys.path.insert(0, {str(Path(modeling_lacl.__file__).parents[1])!r})\n"


# Children that need torch begin as forks of one process that has loaded it, and nothing else.
NURSERY = """
import json, os, sys, traceback
sys.path.append(sys.argv[1])
import numpy, regex, safetensors, tokenizers, torch

for line in sys.stdin:
    task = json.loads(line)
    child = os.fork()
    if not child:
        for number, name in ((0, os.devnull), (1, task["out"]), (2, task["err"])):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        os.environ.update(task["environment"])
        os.chdir(task["place"])
        sys.argv[1:] = task["arguments"]
        sys.stdin = open(0, closefd=False)
        code = 1
        try:
            exec(task["program"], {"__name__": "__main__"})
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
os._exit(0)
"""


def packages_but_this_one(folder):
    """Fills a folder with links to everything that is installed, save this package in any of its forms."""
    for place in map(Path, sys.path):
        if place.name not in ("site-packages", "dist-packages") or not place.is_dir():
            continue
        for entry in place.iterdir():
            is_ours = re.match(r"modeling_lacl|lacl[-.]|__editable__.*lacl", entry.name)
            # Lines of .pth files are not read: they may lead to a checkout of the package.
            if not (is_ours or entry.suffix == ".pth" or (folder / entry.name).exists()):
                (folder / entry.name).symlink_to(entry)


@pytest.fixture(scope="module")
def in_a_process(tmp_path_factory):
    """Runs programs that print JSON where this package is not installed.

    With empty caches, in another working directory, with no network. Python reads neither the environment
    nor what is installed beside it (`-I -S`): the folder of links is all that it can import from.
    """
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    installed = tmp_path_factory.mktemp("installed")
    packages_but_this_one(installed)
    command = [sys.executable, "-I", "-S", "-c", NURSERY, str(installed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:

        def run(program, *arguments):
            place = tmp_path_factory.mktemp("elsewhere")
            out, err = place / "out", place / "err"
            environment = {
                "HF_HOME": str(place / "hf"),
                "HF_MODULES_CACHE": str(place / "modules"),
                "HF_HUB_OFFLINE": "1",
            }
            task = {
                **{"program": program, "arguments": list(map(str, arguments)), "place": str(place)},
                **{"environment": environment, "out": str(out), "err": str(err)},
            }
            assert nursery.stdin is not None and nursery.stdout is not None
            print(json.dumps(task), file=nursery.stdin, flush=True)
            assert int(nursery.stdout.readline()) == 0, err.read_text()
            return json.loads(out.read_text().splitlines()[-1])

        yield run


def assert_same_entities(found, expected):
    """Equal entities, and scores equal to 1e-6."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert [{**entity, "score": None} for entity in one] == [
            {**entity, "score": None} for entity in other
        ]
        assert [entity["score"] for entity in one] == pytest.approx(
            [entity["score"] for entity in other], abs=1e-6
        )


@pytest.fixture
def adapted(tiny_model):
    """A model with a support, which travels as well."""
    generator = iter(range(1, 1000))
    size = tiny_model.config.projection_size
    mean = tiny_model.support_mean.new_tensor([[next(generator) % 7 for _ in range(size)] for _ in range(8)])
    labels = tiny_model.support_labels.new_tensor([0, 1, 2, 3, 0, 1, 2, 3])
    tiny_model.set_support(mean, mean.abs() + 1, labels)
    return tiny_model


SUPPORT = [{"tokens": ["the", "vasa", "sank"], "ner_tags": ["O", "B-war-ship", "O"]}]
