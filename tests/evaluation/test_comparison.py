"""Methods side by side, end to end on tiny data."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from typer.testing import CliRunner

from modeling_lacl.baselines.classifier import TokenClassifier
from modeling_lacl.cli.app import app
from modeling_lacl.evaluation.card_results import add_results
from modeling_lacl.evaluation.comparison import compare, evaluate_recipe
from modeling_lacl.evaluation.intervals import spread, value_of
from modeling_lacl.evaluation.recipe import ComparisonRecipe, slug
from modeling_lacl.reporting import percent

PLAIN: dict[str, Any] = {
    "use_prompts": False,
    "projection": "hidden",
    "divergence": "euclidean",
    "similarity_temperature": 1.0,
}


@pytest.fixture
def plan(tmp_path, data, model, tokenizer):
    model.save_pretrained(tmp_path / "lacl")
    classifier = TokenClassifier.from_encoder(model.lacl.encoder, tokenizer, ["person"], **PLAIN)
    classifier.save_pretrained(tmp_path / "classifier")
    return {
        "methods": {
            "LACL": {"checkpoint": str(tmp_path / "lacl"), "adapt": {"steps": 1}},
            "NNShot": {"checkpoint": str(tmp_path / "classifier"), "adapt": {"steps": 0}},
            "fine-tuning": {
                "checkpoint": str(tmp_path / "classifier"),
                "method": "classifier",
                "adapt": {"steps": 2},
            },
        },
        "targets": [
            {"name": "news", "test": "test.conll", "support_dir": "support-{shots}shot", "shots": [1]}
        ],
        "episodes": [
            {"name": "sampled", "file": "test.conll", "n_way": 2, "k_shot": 1, "q_shot": 1, "number": 2}
        ],
        "data_root": str(data),
        "output": str(tmp_path / "out"),
    }


def test_a_table_of_all_methods_and_settings(plan, tmp_path):
    del plan["episodes"]
    report = compare(ComparisonRecipe(**plan))
    scores = report.scores()
    assert list(scores) == ["LACL", "NNShot", "fine-tuning"]
    assert all(list(row) == ["news, 1-shot"] and row["news, 1-shot"]["count"] == 2 for row in scores.values())
    table = report.to_markdown()
    for name, row in scores.items():
        (line,) = (line for line in table.splitlines() if line.startswith(f"| {name} |"))
        assert line.endswith(f"| {100 * row['news, 1-shot']['mean']:.1f} |")
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert saved["scores"] == scores
    assert (tmp_path / "out" / "comparison.md").read_text() == table


def test_one_method_now_and_the_others_later(plan, tmp_path):
    del plan["episodes"]
    compare(ComparisonRecipe(**plan), only=["NNShot"])
    results = tmp_path / "out" / "nnshot" / "results.jsonl"
    before = results.read_text()
    report = compare(ComparisonRecipe(**plan))
    assert results.read_text() == before and len(report.reports) == 3


def test_a_method_with_several_source_models(plan, tmp_path, data, model):
    """Each is evaluated in a folder of its own, and stays as it is when another is added."""
    names = [str(tmp_path / f"source-{seed}") for seed in range(3)]
    for seed, name in enumerate(names):
        with torch.no_grad():
            next(model.parameters()).view(-1)[seed] += 1
        model.save_pretrained(name)
    sentences = [
        f"{word} B-{kind}\nflew O\n" for kind in ("person", "location") for word in "Ana Mona Oslo".split()
    ]
    (data / "episodes.conll").write_text("\n".join(sentences))
    plan["episodes"][0]["file"] = "episodes.conll"
    del plan["methods"]["fine-tuning"]
    plan["methods"]["LACL"] = {"checkpoint": names[:2], "adapt": {"steps": 0}}
    compare(ComparisonRecipe(**plan))
    folder = tmp_path / "out" / "lacl"
    files = sorted(folder.glob("*/*.jsonl"))
    before = [path.read_text() for path in files]
    assert len(files) == 4  # of transfer and of episodes, for each
    digests = {json.loads(line)["settings"]["model"] for text in before for line in text.splitlines()[:1]}
    assert len(digests) == 2
    plan["methods"]["LACL"]["checkpoint"] = names
    report = compare(ComparisonRecipe(**plan))
    assert [path.read_text() for path in files] == before and len(list(folder.glob("*/*.jsonl"))) == 6
    scores = report.scores()["LACL"]
    alone = [json.loads((folder / slug(name) / "report.json").read_text())["summary"] for name in names]
    means = {key: [value_of(rows[number]["f1"]) for rows in alone] for number, key in enumerate(scores)}
    assert {key: one["of_each"] for key, one in scores.items()} == means
    table = report.to_markdown()
    (line,) = (line for line in table.splitlines() if line.startswith("| LACL |"))
    average = spread([sum(values) / 2 for values in zip(*means.values(), strict=True)])
    interval = f"({percent(average.low)}–{percent(average.high)})"
    assert line.endswith(f"| {percent(average.mean)} ± {percent(average.deviation)} {interval} |")
    assert "Over source seeds: LACL (3)." in table
    assert "Over support sets, with one source model: NNShot." in table
    model.save_pretrained(tmp_path / "again")
    plan["methods"]["LACL"]["checkpoint"] = [names[2], str(tmp_path / "again")]
    with pytest.raises(ValueError, match="source-2 and .*again are one model: train each with a seed of its"):
        compare(ComparisonRecipe(**plan), only=["LACL"])
    with pytest.raises(ValueError, match="report.json is about several source models"):
        add_results(names[0], folder / "report.json")


def test_by_the_command_line(plan, tmp_path):
    del plan["episodes"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan))
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "recipe.yaml"), "--method", "NNShot"])
    assert result.exit_code == 0 and "| NNShot |" in result.output
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "recipe.yaml"), "--method", "NShot"])
    assert result.exit_code != 0
    with pytest.raises(ValueError, match="has a checkpoint of its own: --checkpoint cannot replace it"):
        evaluate_recipe(tmp_path / "recipe.yaml", checkpoint="elsewhere")


def test_a_source_model_for_all_methods_and_targets_of_choice(plan, tmp_path):
    del plan["methods"]["fine-tuning"]
    plan["checkpoint"] = plan["methods"]["LACL"].pop("checkpoint")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan))
    assert ComparisonRecipe(**plan).recipes()["NNShot"].checkpoint == str(tmp_path / "classifier")
    (tmp_path / "lacl").rename(tmp_path / "elsewhere")
    given = ["--checkpoint", str(tmp_path / "elsewhere"), "--target", "news", "--method", "LACL"]
    result = CliRunner().invoke(app, ["evaluate", str(tmp_path / "recipe.yaml"), *given])
    assert "news, 1-shot" in result.output and "sampled" not in result.output, result.output
    with pytest.raises(ValueError, match="no target 'new'; there are news, sampled"):
        evaluate_recipe(tmp_path / "recipe.yaml", targets=["new"])


def test_by_the_program(plan, tmp_path, monkeypatch, capsys):
    del plan["episodes"]
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plan))
    program = Path(__file__).parents[2] / "training" / "evaluate_transfer.py"
    monkeypatch.setattr("sys.argv", [str(program), str(tmp_path / "recipe.yaml"), "--method", "NNShot"])
    runpy.run_path(str(program), run_name="__main__")
    printed = capsys.readouterr().out
    assert "| NNShot |" in printed and "| LACL |" not in printed


def test_mistakes_are_named(plan, tmp_path):
    with pytest.raises(ValueError, match="no method 'NShot'; there are LACL, NNShot, fine-tuning"):
        ComparisonRecipe(**plan).recipes(["NShot"])
    plan["methods"]["LACL"]["stop"] = 3
    with pytest.raises(ValueError, match="unknown key 'stop' in method 'LACL'"):
        ComparisonRecipe(**plan).recipes()
    plan["methods"]["LACL"] = {"checkpoint": str(tmp_path / "lacl"), "config": {"vitebri": True}}
    with pytest.raises(ValueError, match="'config' has 'vitebri': only these can be set: .*viterbi"):
        compare(ComparisonRecipe(**plan), only=["LACL"])
