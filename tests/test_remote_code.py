"""Checkpoints where this package is not installed, Auto classes where it is: each in its own process."""

import json
import os
import subprocess
import sys

import pytest

from modeling_lacl import LaclForTokenClassification

TEXTS = ["ana ruiz flew to quito on a cessna 172.", "a creative play of york"]

# What an environment without the package is like: importing it fails, and that is checked.
EMPTY = """
import importlib, json, os, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("modeling_lacl", "lacl"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
try:
    importlib.import_module("modeling_lacl")
    raise SystemExit("modeling_lacl can be imported")
except ModuleNotFoundError:
    pass
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline
"""


# Children that need torch begin as forks of one process that has loaded it, and nothing else.
NURSERY = """
import json, os, sys, traceback
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


@pytest.fixture(scope="module")
def in_a_process(tmp_path_factory):
    """Runs programs that print JSON, with empty caches, in another working directory, with no network."""
    if not hasattr(os, "fork"):
        pytest.skip("needs os.fork")
    command = [sys.executable, "-c", NURSERY]
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


def test_two_versions_side_by_side_without_the_package(in_a_process, adapted, tmp_path):
    """Folders of one name whose code differs in a file that is only imported inside of a function."""
    first, second = tmp_path / "first" / "model", tmp_path / "second" / "model"
    adapted.save_pretrained(first)
    adapted.save_pretrained(second)
    code = (second / "prediction.py").read_text(encoding="utf-8")
    changed = code.replace('"entity_group": self.labels', '"entity_group": "new " + self.labels')
    assert changed != code
    (second / "prediction.py").write_text(changed, encoding="utf-8")
    program = EMPTY + (
        "first, second, again, texts = *sys.argv[1:4], json.loads(sys.argv[4])\n"
        "try:\n"
        "    AutoModelForTokenClassification.from_pretrained(first)\n"
        "    raise SystemExit('the code was run without asking')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "    assert not any(name.startswith('transformers_modules.') for name in sys.modules)\n"
        "Auto = AutoModelForTokenClassification\n"
        "load = lambda folder: Auto.from_pretrained(folder, trust_remote_code=True)\n"
        "config = AutoConfig.from_pretrained(first, trust_remote_code=True)\n"
        "bare = AutoModel.from_pretrained(first, trust_remote_code=True)\n"
        "encoded = AutoTokenizer.from_pretrained(first)(texts[0], return_tensors='pt')\n"
        "models = [load(first), load(second), load(first)]\n"
        "models[0].save_pretrained(again)\n"
        "print('\\n' + json.dumps({\n"
        "    'config': [type(config).__name__, type(config) is type(models[0].config)],\n"
        "    'support': config.support_size,\n"
        "    'bare': [type(bare).__name__, bare(**encoded).mean.shape[2]],\n"
        "    'same class': [type(model) is type(models[0]) for model in models],\n"
        "    'entities': [model.predict(texts) for model in models + [load(again)]],\n"
        "    'modules': [name for name in sys.modules if name.startswith('modeling_lacl')],\n"
        "}))\n"
    )
    found = in_a_process(program, first, second, tmp_path / "again", json.dumps(TEXTS))
    assert found["config"] == ["LaclConfig", True]
    assert found["support"] == 8
    assert found["bare"] == ["LaclModel", adapted.config.projection_size]
    assert found["same class"] == [True, False, True]
    assert found["modules"] == []
    expected = adapted.predict(TEXTS)
    assert any(expected)
    renamed = [[{**one, "entity_group": "new " + one["entity_group"]} for one in text] for text in expected]
    for entities, wanted in zip(found["entities"], (expected, renamed, expected, expected), strict=True):
        assert_same_entities(entities, wanted)
    # What was saved without the package is whole again, here too.
    names = [{path.name for path in folder.iterdir()} for folder in (first, tmp_path / "again")]
    assert names[0] - {"README.md", "card.json"} == names[1]  # the card comes with the package
    assert_same_entities(
        LaclForTokenClassification.from_pretrained(tmp_path / "again").predict(TEXTS), expected
    )


LOADED_FIRST = {
    "the package": "import modeling_lacl, transformers\n",
    "transformers": "from transformers import AutoModel, pipeline\nimport modeling_lacl, transformers\n",
}


@pytest.mark.parametrize("first", LOADED_FIRST)
def test_with_the_package_the_auto_classes_need_no_trust(in_a_process, first, tiny_model, tmp_path):
    """After a bare import, whichever comes first."""
    tiny_model.save_pretrained(tmp_path / "model")
    program = LOADED_FIRST[first] + (
        "import json, sys\n"
        "config = transformers.AutoConfig.from_pretrained(sys.argv[1])\n"
        "bare = transformers.AutoModel.from_pretrained(sys.argv[1])\n"
        "model = transformers.AutoModelForTokenClassification.from_pretrained(sys.argv[1])\n"
        "tagger = transformers.pipeline('few-shot-ner', model=sys.argv[1])\n"
        "modules = [type(one).__module__ for one in (config, bare, model, tagger)]\n"
        "print(json.dumps([modules, tagger(sys.argv[2])]))\n"
    )
    modules, entities = in_a_process(program, tmp_path / "model", TEXTS[0])
    names = ("configuration_lacl", "modeling_lacl", "modeling_lacl", "pipeline_lacl")
    assert modules == [f"modeling_lacl.{name}" for name in names]
    assert_same_entities([entities], [tiny_model.predict(TEXTS[0])])


def test_a_bare_import_loads_nothing():
    program = "import modeling_lacl, sys; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
