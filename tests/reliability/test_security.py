"""Files of others run no code: pickles, code that configurations name, YAML, text and labels in pictures."""

import ast
import json
import pickle
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import modeling_lacl
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.viz.terminal import save_svg

EVIL = "from pathlib import Path\nPath({proof!r}).touch()\nclass Evil: pass\nLaclConfig = Evil\n"

# What a process does with a checkpoint, with every pickled object and every file of code told.
WATCHED = """
import json, sys
folder, evil = sys.argv[1:3]
told = []

def hook(event, arguments):
    if event == "pickle.find_class":
        told.append(["unpickled", list(map(str, arguments))])
    if event == "open" and str(arguments[0]).endswith(".py"):
        name = str(arguments[0])
        if name.startswith(folder) or name.startswith(evil) or "transformers_modules" in name:
            told.append(["opened", name])

sys.addaudithook(hook)
from modeling_lacl.hub.loading import load_model
try:
    load_model(folder).predict("ana flew to quito")
    outcome = "predicted"
except ValueError as error:
    outcome = str(error)
print(json.dumps([outcome, told]))
"""


class Pickled:
    """Touches a file as soon as it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return Path.touch, (Path(self.proof),)


@pytest.fixture
def checkpoint(make_tiny_model, tmp_path):
    make_tiny_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def proof(tmp_path):
    return tmp_path / "the code was run"


@pytest.fixture
def outcome(nursery, checkpoint, proof, tmp_path):
    """What becomes of loading the checkpoint and predicting; fails if any code of it was run."""

    def load():
        (tmp_path / "outside").mkdir(exist_ok=True)
        for place in (checkpoint / "evil.py", tmp_path / "outside" / "evil.py"):
            place.write_text(EVIL.format(proof=str(proof)))
        child = nursery.run(checkpoint, tmp_path / "outside", program=WATCHED)
        outcome, told = json.loads(child.out.splitlines()[-1])
        assert not told and not proof.exists()
        return outcome

    return load


def change(file, **values):
    content = json.loads(file.read_text())
    for key, value in values.items():
        content[key] = {**content[key], **value} if key == "encoder_config" else value
    file.write_text(json.dumps(content))


def test_a_whole_checkpoint_loads_without_a_pickle(outcome):
    assert outcome() == "predicted"


@pytest.mark.parametrize("beside", [True, False], ids=["beside safetensors", "alone"])
def test_pickled_weights_are_never_read(outcome, checkpoint, proof, beside):
    weights = pickle.dumps(Pickled(str(proof)))
    (checkpoint / "pytorch_model.bin").write_bytes(weights)
    if not beside:
        (checkpoint / "model.safetensors").unlink()
    found = outcome()
    assert found == "predicted" if beside else "model.safetensors" in found


@pytest.mark.parametrize("path", ["evil.Evil", "../outside/evil.Evil", "someone/else--evil.Evil"])
@pytest.mark.parametrize("place", ["model", "encoder", "tokenizer"])
def test_code_that_a_configuration_names_is_not_run(outcome, checkpoint, path, place):
    every = {"AutoConfig": path, "AutoModel": path, "AutoModelForTokenClassification": path}
    if place == "model":
        change(checkpoint / "config.json", auto_map=every)
    elif place == "encoder":
        change(checkpoint / "config.json", encoder_config={"auto_map": every, "_name_or_path": path})
    else:
        tokenizer = {"auto_map": {"AutoTokenizer": [path, path]}, "tokenizer_class": "EvilTokenizer"}
        change(checkpoint / "tokenizer_config.json", **tokenizer)
    found = outcome()
    assert found == "predicted" or (place == "tokenizer" and "no usable tokenizer" in found)


def test_an_encoder_of_a_type_that_only_remote_code_knows(outcome, checkpoint):
    change(
        checkpoint / "config.json",
        encoder_config={"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}},
    )
    assert "config.json" in outcome()


def test_weights_of_an_encoder_are_not_unpickled(nursery, make_tiny_model, proof, tmp_path):
    encoder = tmp_path / "encoder"
    model = make_tiny_model()
    model.lacl.encoder.save_pretrained(encoder)
    model.tokenizer.save_pretrained(encoder)
    (encoder / "model.safetensors").unlink()
    (encoder / "pytorch_model.bin").write_bytes(pickle.dumps(Pickled(str(proof))))
    data = tmp_path / "train.txt"
    data.write_text("ana\tB-person\nflew\tO\n")
    child = nursery.start(
        "train",
        "--encoder",
        encoder,
        "--train_file",
        data,
        "--output_dir",
        tmp_path / "out",
        "--use_cpu",
        "true",
    )
    assert child.wait() == 2 and "safetensors" in child.err and not proof.exists()


def test_every_tokenizer_and_encoder_is_loaded_without_remote_code():
    """transformers asks on standard input where nothing is said of it, and runs the code after a `y`."""
    loaded = 0
    for file in Path(modeling_lacl.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if re.fullmatch(r"Auto\w+\.from_pretrained", called):
                said = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert said.get("trust_remote_code") == "False", f"{file}:{node.lineno}"
                loaded += 1
    assert loaded >= 4


ASKED = """
import builtins, sys
folder, data, output = sys.argv[1:4]

def asked(*prompt):
    print("asked")
    return "y"

builtins.input = asked
from transformers import AutoTokenizer, pipeline
from modeling_lacl.cli.app import app
import modeling_lacl.cli
from modeling_lacl.integrations.onnx import LaclOnnxModel

def train(encoder):
    settings = {"train_file": data, "output_dir": output, "use_cpu": "true", "max_steps": "1"}
    given = [part for key, value in settings.items() for part in ("--" + key, value)]
    app(["train", "--encoder", encoder, *given], standalone_mode=False)

for task in (
    lambda: pipeline("few-shot-ner", model=folder)("ana flew"),
    lambda: pipeline("token-classification", model=folder)("ana flew"),
    lambda: AutoTokenizer.from_pretrained(folder),
    lambda: train(folder),
    lambda: train(folder + "/encoder"),
    lambda: LaclOnnxModel.from_pretrained(folder),
):
    try:
        task()
    except (ValueError, OSError) as error:
        print(type(error).__name__)
"""


def test_nothing_asks_whether_to_run_code(nursery, checkpoint, proof, tmp_path):
    every = {name: "evil.Evil" for name in ("AutoConfig", "AutoModel", "AutoModelForTokenClassification")}
    encoder = checkpoint / "encoder"
    encoder.mkdir()
    for folder in (checkpoint, encoder):
        (folder / "evil.py").write_text(EVIL.format(proof=str(proof)))
        shutil.copy(checkpoint / "tokenizer.json", tmp_path / "tokenizer.json")
        tokenizer = {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}, "tokenizer_class": "Evil"}
        (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    shutil.copy(tmp_path / "tokenizer.json", encoder)
    (encoder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": every}))
    (tmp_path / "train.txt").write_text("ana\tB-person\nflew\tO\n")
    child = nursery.run(checkpoint, tmp_path / "train.txt", tmp_path / "out", program=ASKED)
    assert "asked" not in child.out and not proof.exists(), child.out


EVIL_YAML = "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{proof}]]"


def test_yaml_builds_no_objects(proof, tmp_path):
    file = tmp_path / "evil.yaml"
    file.write_text("person: " + EVIL_YAML.format(proof=json.dumps(str(proof))))
    with pytest.raises(LaclDataError, match="not YAML"):
        load_label_names(file)
    with pytest.raises(ValueError, match=r"evil\.yaml"):
        parse_arguments([str(file)])
    assert not proof.exists()


# What a picture of a terminal is made of.
ELEMENTS = {"svg", "style", "defs", "clipPath", "rect", "g", "text", "circle"}
ATTRIBUTES = {"href", "onload", "onclick", "onerror"}
markup = st.sampled_from(
    ["<script>", "]]>", "<!--", "&", '"', "'", "</text>", "</style>", "onload=", "javascript:"]
)
anything = st.text(st.characters(), max_size=8)
written = st.lists(markup | anything, max_size=6).map("".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=written, label=written.filter(str.strip), title=written)
def test_a_picture_of_any_text_is_plain_svg(tmp_path, text, label, title):
    entities = [{"entity_group": label, "score": 0.5, "word": text, "start": 0, "end": len(text)}]
    save_svg(tmp_path / "x.svg", [(text, entities if text else [])], labels=[label], title=title)
    root = ElementTree.fromstring((tmp_path / "x.svg").read_bytes())
    for element in root.iter():
        assert element.tag.removeprefix("{http://www.w3.org/2000/svg}") in ELEMENTS
        assert not ATTRIBUTES & set(element.attrib)
        assert not any("javascript" in value for value in element.attrib.values())


def test_moving_the_checkpoint_changes_nothing(nursery, checkpoint, tmp_path):
    """No path in it leads back to where it was made."""
    shutil.move(checkpoint, tmp_path / "moved")
    child = nursery.run("predict", tmp_path / "moved", "--text", "ana flew")
    assert json.loads(child.out)["text"] == "ana flew"
