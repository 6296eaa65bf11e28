"""Exported graphs against the models that they were made from, run by the real ONNX Runtime."""

import argparse
import copy
import json
import pickle
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

import modeling_lacl
from modeling_lacl import LaclConfig, LaclForTokenClassification, cli
from modeling_lacl.integrations.onnx import export, runner
from modeling_lacl.integrations.onnx.export import export_onnx
from modeling_lacl.integrations.onnx.exported import ExportedConfig, ExportedTokenizer
from modeling_lacl.integrations.onnx.runner import LaclOnnxModel
from modeling_lacl.integrations.ray import LaclTagger
from modeling_lacl.training.word_labels import predict_words, word_scores

TEXTS = [
    "ana ruiz flew to quito on a cessna",
    "",
    "york",
    "a play of ana in quito, york and the " * 20,
    "東京 👍 ana's \x01 x",
]
SUPPORT_TEXT = ["ana ruiz flew to york", "the play of quito"]


def with_support(model):
    """Keeps the model's own Gaussians of a few words as its support."""
    batch = model.tokenizer(SUPPORT_TEXT, return_tensors="pt", padding=True)
    with torch.inference_mode():
        output = model(batch["input_ids"], batch["attention_mask"])
    inside = batch["attention_mask"].bool()
    labels = torch.arange(int(inside.sum())) % len(model.config.id2label)
    model.set_support(output.mean[inside], output.variance[inside], labels)
    return model


@pytest.fixture(scope="module")
def pair(make_tiny_model, tmp_path_factory):
    """A model with support, and what was exported of it: an export takes seconds."""
    model = with_support(make_tiny_model(encoder={"max_position_embeddings": 512}))
    folder = tmp_path_factory.mktemp("pair")
    model.save_pretrained(folder / "ner")
    export_onnx(model, folder / "fp32")
    return model, folder


@pytest.fixture(scope="module")
def spans(make_tiny_model, tmp_path_factory):
    """A calibrated model of spans with support, and what was exported of it."""
    calibration = {"names": [1.0, 0.0], "support": [0.01, -0.5]}
    model = make_tiny_model(encoder={"num_hidden_layers": 1}, max_span_words=4, calibration=calibration)
    torch.manual_seed(1)
    mean = torch.randn(9, model.config.gaussian_size)
    labels = torch.arange(27).view(9, 3) % 4
    model.set_support(mean, torch.rand_like(mean) + 0.1, labels)
    folder = tmp_path_factory.mktemp("spans")
    export_onnx(model, folder / "fp32")
    shutil.copytree(folder / "fp32", folder / "int8")
    export._quantize(folder / "int8" / "model.onnx")
    return model, folder


@pytest.fixture
def lacl(monkeypatch, capsys):
    """Runs the command; gives what it wrote."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lacl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
        return capsys.readouterr()

    return run


@pytest.fixture
def found(pair):
    return LaclOnnxModel.from_pretrained(pair[1] / "fp32", num_threads=1)


def assert_same(found, model, texts=TEXTS, tolerance=1e-4):
    """Log-scores of every word, and entities with their offsets."""
    words = [text.split() for text in texts]
    for one, other in zip(
        word_scores(found, words, batch_size=3),
        word_scores(model, words, batch_size=3),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
    assert_same_entities(found.predict(texts), model.predict(texts), tolerance)


def assert_same_entities(found, expected, tolerance=1e-4):
    for one, other in zip(found, expected, strict=True):
        assert [{**entity, "score": 0} for entity in one] == [{**entity, "score": 0} for entity in other]
        assert [e["score"] for e in one] == pytest.approx([e["score"] for e in other], abs=tolerance)


def test_ray_tags_with_an_exported_model_on_the_threads_that_it_gave(pair, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    model, folder = pair
    tagger = LaclTagger(str(folder / "fp32"))
    assert tagger.model.num_threads == 1
    found, expected = tagger.entities(TEXTS), model.predict(TEXTS)
    assert [[one["word"] for one in row] for row in found] == [
        [one["word"] for one in row] for row in expected
    ]


def test_equals_the_model(pair, found):
    assert found.has_support
    assert any(pair[0].predict(TEXTS))
    assert_same(found, pair[0])


@pytest.mark.parametrize("overlap", ["flat", "nested", "any"])
def test_spans_equal_those_of_the_model(spans, overlap):
    model, folder = spans
    expected = model.predict(TEXTS, threshold=0.0, overlap=overlap)
    assert sum(map(len, expected)) > 50
    exported = LaclOnnxModel.from_pretrained(folder / "fp32")
    assert_same_entities(exported.predict(TEXTS, threshold=0.0, overlap=overlap), expected)
    # Of the 8-bit model most, since the weights are random: scores are close.
    quantized = LaclOnnxModel.from_pretrained(folder / "int8").predict(TEXTS, threshold=0.0, overlap="any")
    every = model.predict(TEXTS, threshold=0.0, overlap="any")
    scores = [
        {(e["start"], e["end"], e["entity_group"]): e["score"] for e in sum(one, [])}
        for one in (quantized, every)
    ]
    both = scores[0].keys() & scores[1].keys()
    assert len(both) > 0.9 * len(scores[1])
    assert np.mean([abs(scores[0][key] - scores[1][key]) for key in both]) < 0.05


IN_A_LIGHT_ENVIRONMENT = """
import json, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    "Finds nothing of the extra `torch`: as where it is not installed."
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

MISSING = set(json.loads(sys.argv[1]))
sys.meta_path.insert(0, Missing())
folders, texts, options = sys.argv[2:4], *map(json.loads, sys.argv[4:6])

import modeling_lacl
from modeling_lacl import LaclOnnxModel, cli

models = [LaclOnnxModel.from_pretrained(folder) for folder in folders]
print(json.dumps([model.predict(texts, **options) for model in models]))
print(json.dumps(models[0].predict(texts[0].split(), is_split_into_words=True)))
for arguments in (["predict", folders[0], "--jsonl"], ["predict", "checkpoint", "--text", "a"]):
    sys.argv = ["lacl", *arguments]
    try:
        cli.main()
    except SystemExit as stop:
        print(stop.code)
try:
    modeling_lacl.LaclModel
except ModuleNotFoundError as error:
    print(error, file=sys.stderr)
print(sorted(MISSING & {name.partition(".")[0] for name in sys.modules}))
"""
OF_THE_EXTRA_TORCH = (
    *("torch", "transformers", "datasets", "evaluate", "seqeval", "accelerate", "huggingface_hub", "yaml"),
    *("safetensors", "pyarrow", "pandas", "onnx", "onnxscript"),
)


def test_without_torch_and_transformers(pair, spans):
    """Of both kinds of model the same entities, from Python and from the command."""
    options = {"threshold": 0.1, "overlap": "nested"}
    root = Path(modeling_lacl.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", IN_A_LIGHT_ENVIRONMENT, json.dumps(OF_THE_EXTRA_TORCH)]
        + [str(pair[1] / "fp32"), str(spans[1] / "fp32"), json.dumps(TEXTS), json.dumps(options)],
        cwd=root,
        input=f"{TEXTS[0]}\n{TEXTS[2]}\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    found, of_words, *lines, ended, refused, loaded = done.stdout.splitlines()
    for entities, (model, _) in zip(json.loads(found), (pair, spans), strict=True):
        assert_same_entities(entities, model.predict(TEXTS, **options))
    assert_same_entities([json.loads(of_words)], [pair[0].predict(TEXTS[0])])
    assert_same_entities(
        [json.loads(line)["entities"] for line in lines], pair[0].predict([TEXTS[0], TEXTS[2]])
    )
    assert (ended, refused, loaded) == ("0", "2", "[]")
    missing = "torch is not installed: `pip install '.[torch]'` in a clone of lacl"
    missing += "; without it, only exported models run"
    assert done.stderr.splitlines()[-3:] == [
        f"lacl: {missing}",
        "Run lacl --debug … for the full traceback.",
        missing,
    ]


def test_the_configuration_is_that_of_the_model(pair, spans):
    for model, folder in (pair, spans):
        config = ExportedConfig.read(folder / "fp32" / "config.json")
        for one in fields(config):
            expected = model.max_sequence_length if one.name == "max_text_length" else None
            assert getattr(config, one.name) == (expected or getattr(model.config, one.name)), one.name
    default = LaclConfig()
    given = [one for one in fields(ExportedConfig) if one.default is not MISSING]
    assert given and all(one.default == getattr(default, one.name) for one in given)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("split_special_tokens", [False, True])
def test_the_tokenizer_is_that_of_transformers(tiny_tokenizer, tmp_path, side, split_special_tokens):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=copy.deepcopy(tiny_tokenizer.backend_tokenizer),
        truncation_side=side,
        split_special_tokens=split_special_tokens,
        **tiny_tokenizer.special_tokens_map,
    )
    tokenizer("a " * 9, truncation=True, max_length=5, padding="max_length")  # which is saved with it
    tokenizer.save_pretrained(tmp_path)
    light = ExportedTokenizer.read(tmp_path)
    assert light.num_special_tokens_to_add() == tokenizer.num_special_tokens_to_add()
    options: dict[str, Any] = {
        "truncation": True,
        "max_length": 12,
        "stride": 3,
        "return_overflowing_tokens": True,
        "return_offsets_mapping": True,
        "return_attention_mask": False,
        "return_token_type_ids": False,
    }
    texts = [*TEXTS, "ana [SEP] ruiz"]
    assert light(texts, **options) == dict(tokenizer(texts, **options))
    with pytest.raises(TypeError, match="only takes the options"):
        light(texts, max_length=5, stride=0, padding=True)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "{", r"config\.json: not JSON .*: copy the folder again, or export"),
        ("config.json", "[1]", r"config\.json: holds a list, not an object"),
        ("config.json", {"model_type": "bert"}, "of a 'bert' model, not a LACL one"),
        ("config.json", {"format_version": 2}, "format version 2, and this version of lacl reads 1"),
        ("config.json", {"viterbi": None}, None),
        ("config.json", {"id2label": {"0": "O", "2": "x"}}, "id2label is not a label for each number"),
        ("config.json", {"id2label": ["O", "x"]}, r"config\.json: .*export the model again"),
        ("config.json", {"max_text_length": 0}, "max_text_length is 0: give a whole number"),
        ("config.json", {"max_span_words": "4"}, "max_span_words is '4': give a whole number"),
        ("tokenizer.json", "{}", r"tokenizer\.json: not a tokenizer"),
        ("tokenizer_config.json", "x", r"tokenizer_config\.json: not JSON"),
    ],
)
def test_damaged_files_are_named(pair, tmp_path, name, content, message):
    for file in (pair[1] / "fp32").iterdir():
        (tmp_path / file.name).symlink_to(file)
    changed = content
    if isinstance(content, dict):
        values = json.loads((tmp_path / name).read_text())
        values.update(content)
        if message is None:
            [missing] = content
            del values[missing]
            message = rf"config\.json: {missing} is missing: copy the folder again"
        changed = json.dumps(values)
    (tmp_path / name).unlink()
    (tmp_path / name).write_text(changed)
    with pytest.raises(ValueError, match=message):
        LaclOnnxModel.from_pretrained(tmp_path)


def test_a_batch_of_many_tokens_goes_through_the_graph_in_parts(found, monkeypatch):
    expected = found.predict(TEXTS * 3)
    sizes = []
    run = found.session.run

    def watched(names, feed):
        sizes.append(feed["input_ids"].size)
        return run(names, feed)

    monkeypatch.setattr(found, "session", type("Session", (), {"run": staticmethod(watched)}))
    monkeypatch.setattr(runner, "_TOKENS_AT_ONCE", 300)
    assert_same_entities(found.predict(TEXTS * 3), expected)
    assert len(sizes) > 3 and max(sizes) <= 300


TRANSITIONS = {
    "start": {"O": 0.7, "I": 0.3},
    "O": {"O": 0.8, "I": 0.2},
    "I": {"O": 0.5, "same": 0.4, "other": 0.1},
}


# The random weights give divergences of thousands, which have no 1e-4 in fp32: hence the temperatures.
@pytest.mark.parametrize(
    ("divergence", "temperature", "settings"),
    [
        (
            "jeffreys",
            1000.0,
            {"support_method": "prototypes", "viterbi": True, "transitions": TRANSITIONS},
        ),
        ("moment_js", 10.0, {"max_prompt_length": 8}),
        ("geometric_js", 10.0, {"use_prompts": False}),
    ],
    ids=["prototypes and viterbi", "several prompts", "no prompts"],
)
def test_equals_the_model_with_other_settings(make_tiny_model, tmp_path, divergence, temperature, settings):
    one_layer = {"num_hidden_layers": 1}
    model = make_tiny_model(
        encoder=one_layer, divergence=divergence, similarity_temperature=temperature, **settings
    )
    with_support(model)
    export_onnx(model, tmp_path)
    assert_same(LaclOnnxModel.from_pretrained(tmp_path), model)


def test_names_alone_on_an_encoder_that_numbers_positions_otherwise(tiny_tokenizer, tmp_path):
    torch.manual_seed(0)
    encoder = RobertaModel(
        RobertaConfig(
            vocab_size=len(tiny_tokenizer),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=52,
            pad_token_id=0,
        )
    )
    model = LaclForTokenClassification.from_encoder(encoder, tiny_tokenizer, ["person", "location"])
    export_onnx(model, tmp_path)
    found = LaclOnnxModel.from_pretrained(tmp_path)
    assert_same(found, model)
    # RoBERTa's first position is behind that of the padding; windows leave room for the label names.
    prompt = sum(len(ids) + 1 for ids in model.config.label_token_ids)
    assert found.config.max_text_length == 52 - 1 - prompt
    assert model.config.max_text_length == 128


def test_int8_quantises_the_encoder_and_nothing_else(pair, found, lacl):
    _, folder = pair
    done = lacl("export", folder / "ner", folder / "int8", "--int8")
    assert "person, location, creative-work" in done.err
    graphs = {kind: onnx.load(folder / kind / "model.onnx").graph for kind in ("fp32", "int8")}

    def number(kind, *operators):
        return sum(node.op_type in operators for node in graphs[kind].node)

    # Query, key, value, output, and two of the feed-forward network, in each of two layers.
    assert number("int8", "MatMulInteger") == 12
    assert number("int8", "MatMul", "Gemm") == number("fp32", "MatMul", "Gemm") - 12
    sizes = {kind: (folder / kind / "model.onnx").stat().st_size for kind in graphs}
    assert sizes["int8"] < sizes["fp32"]
    quantized: Any = LaclOnnxModel.from_pretrained(folder / "int8")
    words = [text.split() for text in TEXTS]
    for one, other in zip(
        word_scores(quantized, words),
        word_scores(found, words),
        strict=True,
    ):
        if len(one):
            assert 0 < (one.exp() - other.exp()).abs().mean() < 0.05
    out = lacl("predict", folder / "int8", "--text", TEXTS[0]).out
    assert json.loads(out)["entities"] == quantized.predict(TEXTS[0])


def test_weights_too_large_for_one_file_and_a_model_left_as_it_was(make_tiny_model, tmp_path, monkeypatch):
    """The 32-bit graph is compared with the model on the way, and is gone in the end."""
    model = make_tiny_model(encoder={"num_hidden_layers": 1}).train()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    config = model.config.to_dict()
    compared = []
    compare = export._compare
    monkeypatch.setattr(export, "LARGEST_FILE", 0)

    def watched(model, folder):
        compared.append((folder / "model.onnx.data").exists())
        compare(model, folder)

    monkeypatch.setattr(export, "_compare", watched)
    export_onnx(model, tmp_path, quantize="int8")
    assert compared == [True]
    assert not (tmp_path / "model.onnx.data").exists()
    assert LaclOnnxModel.from_pretrained(tmp_path).predict(TEXTS)
    assert model.training
    assert model.config.to_dict() == config
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_inputs_as_every_predict_takes_them(pair, found):
    assert found.predict(TEXTS[0]) == found.predict([TEXTS[0]])[0]
    assert list(found.predict(text for text in TEXTS)) == found.predict(TEXTS)
    words = TEXTS[0].split()
    assert (
        found.predict(words, is_split_into_words=True) == found.predict([words], is_split_into_words=True)[0]
    )
    assert predict_words(found, [words]) == predict_words(pair[0], [words])


def test_saving_copies_the_folder(found, tmp_path):
    found.save_pretrained(tmp_path / "copy")
    assert LaclOnnxModel.from_pretrained(tmp_path / "copy").predict(TEXTS) == found.predict(TEXTS)


def test_the_folder_holds_what_is_needed_and_nothing_else(pair):
    names = {file.name for file in (pair[1] / "fp32").iterdir()}
    assert names == {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"}
    graph = onnx.load(pair[1] / "fp32" / "model.onnx").graph
    assert [value.name for value in graph.input] == ["input_ids", "attention_mask"]
    for value in (*graph.input, *graph.output):
        assert all(dim.dim_param for dim in value.type.tensor_type.shape.dim[:2]), value.name


def test_other_labels_are_refused(found):
    for labels in (["ship"], ["person"], {"person": "human"}):
        with pytest.raises(ValueError, match=r"\(person, location, creative-work\) and takes no others"):
            found.predict("ana", labels=labels)
    with pytest.raises(ValueError, match="takes no others"):
        found.predict("ana", support=[{"tokens": ["Vasa"], "ner_tags": ["ship"]}])


def test_mistakes(make_tiny_model, tiny_model, pair, tmp_path):
    with pytest.raises(ValueError, match="quantize is 'int4'"):
        export_onnx(tiny_model, tmp_path / "x", quantize="int4")
    with pytest.raises(ValueError, match="holds a checkpoint"):
        export_onnx(tiny_model, pair[1] / "ner")
    with pytest.raises(ValueError, match=r"no model\.onnx: give a folder that `lacl export` wrote"):
        LaclOnnxModel.from_pretrained(pair[1] / "ner")
    with pytest.raises(ValueError, match="num_threads is 0"):
        LaclOnnxModel.from_pretrained(pair[1] / "fp32", num_threads=0)
    with pytest.raises(ValueError, match="has no labels"):
        export_onnx(make_tiny_model(use_prompts=False), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_an_unfaithful_graph_is_not_written(make_tiny_model, pair, tmp_path, monkeypatch):
    of_another_model = pair[1] / "fp32" / "model.onnx"
    monkeypatch.setattr(export, "_write_graph", lambda model, file: shutil.copy(of_another_model, file))
    with pytest.raises(ValueError, match="bert encoder gives other scores"):
        export_onnx(make_tiny_model(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_benchmark_of_the_runtime(pair, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "benchmarks"))
    import runtime  # type: ignore[import-not-found]  # pytest is shown where it is

    rows = {"a": pair[1] / "fp32", "b": pair[1] / "fp32"}
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS[:3]))
    options = argparse.Namespace(rounds=1, texts=4, cpu_time=True)
    *_, light, command = runtime.start_table({"b": rows["b"]}, tmp_path / "texts.txt", options).splitlines()
    numbers = [cell.strip() for cell in light.split("|")[2:-1]]
    assert 0.1 < float(numbers[0]) < 10 and 20 < int(numbers[2]) <= int(numbers[3]) < 500, light
    assert numbers[1] == "at most 0.7" and numbers[4] == "at most 250" and "`lacl predict`" in command
    row = runtime.agreement_table(rows, options).splitlines()[-1]
    assert "| 100.0 | 0.0000 | 0.0000 |" in row, row


@pytest.mark.parametrize("package", ["onnxruntime", "tokenizers"])
def test_a_missing_package_of_the_runtime_says_how_to_install_it(pair, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package} is not .*`pip install '\.\[runtime\]'`"):
        LaclOnnxModel.from_pretrained(pair[1] / "fp32")


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_a_missing_package_says_how_to_install_it(tiny_model, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ModuleNotFoundError, match=rf"{package} is not installed: `pip install '\.\[onnx\]'`"):
        export_onnx(tiny_model, tmp_path)


def test_copies_and_pickles_predict_the_same(found):
    for other in (copy.copy(found), copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert other.predict(TEXTS) == found.predict(TEXTS)
        assert other.session is not found.session and other.num_threads == found.num_threads
