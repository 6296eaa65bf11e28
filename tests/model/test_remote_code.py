"""Checkpoints where this package is not installed, Auto classes where it is: each in its own process."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import modeling_lacl
from modeling_lacl import LaclForTokenClassification
from modeling_lacl.model.pipeline_lacl import STRATEGIES, aggregate

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


def test_transformers_alone_gives_what_the_package_gives(in_a_process, adapted, tmp_path):
    """Auto classes and pipelines, twice in a process, from a folder that was moved after saving."""
    adapted.save_pretrained(tmp_path / "saved")
    folder = tmp_path / "moved" / "elsewhere"
    folder.parent.mkdir()
    shutil.move(tmp_path / "saved", folder)
    program = EMPTY + (
        "folder, texts, support, strategies = sys.argv[1], *map(json.loads, sys.argv[2:])\n"
        "results = []\n"
        "for time in range(2):\n"
        "    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)\n"
        "    bare = AutoModel.from_pretrained(folder, trust_remote_code=True)\n"
        "    model = AutoModelForTokenClassification.from_pretrained(folder, trust_remote_code=True)\n"
        "    encoded = AutoTokenizer.from_pretrained(folder)(texts[0], return_tensors='pt')\n"
        "    few = pipeline('few-shot-ner', model=folder, trust_remote_code=True, device='cpu')\n"
        "    tagger = lambda task: pipeline(task, model=folder, trust_remote_code=True, device='cpu')\n"
        "    standard = tagger('token-classification')\n"
        "    objects = (config, bare, model, few, standard, tagger('ner'))\n"
        "    try:\n"
        "        few(texts, support=support)\n"
        "        raise SystemExit('examples were read')\n"
        "    except ModuleNotFoundError as error:\n"
        "        message = str(error)\n"
        "    results.append({\n"
        "        'classes': [type(one).__name__ for one in objects],\n"
        "        'modules': sorted({type(one).__module__.split('.')[0] for one in objects}),\n"
        "        'mean': bare(**encoded).mean.tolist(),\n"
        "        'logits': model(**encoded).logits.tolist(),\n"
        "        'predict': model.predict(texts),\n"
        "        'few-shot-ner': few(texts),\n"
        "        'refused': message,\n"
        "        'strategies': {one: standard(texts, aggregation_strategy=one) for one in strategies},\n"
        "    })\n"
        "print('\\n' + json.dumps(results))\n"
    )
    found = in_a_process(program, folder, *map(json.dumps, (TEXTS, SUPPORT, [*STRATEGIES])))
    assert found[0] == found[1]
    found = found[0]
    assert found["classes"] == [
        *("LaclConfig", "LaclModel", "LaclForTokenClassification", "LaclPipeline"),
        *["LaclTokenClassificationPipeline"] * 2,
    ]
    assert found["modules"] == ["transformers_modules"]
    assert "support= needs the package lacl" in found["refused"]
    encoded = adapted.tokenizer(TEXTS[0], return_tensors="pt")
    torch.testing.assert_close(torch.tensor(found["mean"]), adapted.lacl(**encoded).mean, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tensor(found["logits"]), adapted(**encoded).logits, rtol=0, atol=1e-6)
    expected = adapted.predict(TEXTS)
    assert any(expected)
    for entities in (found["predict"], found["few-shot-ner"]):
        assert_same_entities(entities, expected)
    for strategy, entities in found["strategies"].items():
        here = aggregate(adapted, TEXTS, aggregation_strategy=strategy)
        assert_same_entities(entities, here)


def test_two_versions_side_by_side_without_the_package(in_a_process, adapted, tmp_path):
    """Folders of one name whose code differs in a file that is only imported inside of a function."""
    first, second = tmp_path / "first" / "model", tmp_path / "second" / "model"
    adapted.save_pretrained(first)
    adapted.save_pretrained(second)
    code = (second / "prediction_lacl.py").read_text(encoding="utf-8")
    changed = code.replace('"entity_group": self.labels', '"entity_group": "new " + self.labels')
    assert changed != code
    (second / "prediction_lacl.py").write_text(changed, encoding="utf-8")
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
    "the package": WITH_PACKAGE + "import modeling_lacl, transformers\n",
    "transformers": WITH_PACKAGE
    + "from transformers import AutoModel, pipeline\nimport modeling_lacl, transformers\n",
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
        "first = {'model': sys.argv[1], 'aggregation_strategy': 'first'}\n"
        "standard = [transformers.pipeline(task, **first) for task in ('token-classification', 'ner')]\n"
        "modules = [type(one).__module__ for one in (config, bare, model, tagger, *standard)]\n"
        "print(json.dumps([modules, [one(sys.argv[2]) for one in (tagger, *standard)]]))\n"
    )
    modules, entities = in_a_process(program, tmp_path / "model", TEXTS[0])
    names = ("configuration_lacl", "modeling_lacl", "modeling_lacl", *["pipeline_lacl"] * 3)
    assert modules == [f"modeling_lacl.model.{name}" for name in names]
    assert_same_entities(entities, [tiny_model.predict(TEXTS[0])] * 3)


def test_a_bare_import_loads_nothing():
    program = "import modeling_lacl, sys; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
