"""The ladder from the paper's system to the package's, end to end on a tiny corpus, and its plan."""

import inspect
import json
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from modeling_lacl.evaluation.results import read_results
from modeling_lacl.model.configuration_lacl import LaclConfig
from modeling_lacl.training.adaptation import adapt
from modeling_lacl.training.arguments import parse_arguments

TRAINING = Path(__file__).parents[2] / "training"
PLAN = TRAINING / "recipes" / "ladder.yaml"
TYPES = {"ship": "cessna", "town": "quito", "person": "ana"}


def rows(types, repeats):
    words = [(TYPES[one], one) for one in types]
    return "\n".join(f"to O\n{word} {name}\n" for _ in range(repeats) for word, name in words)


@pytest.fixture
def plan(tmp_path, tiny_encoder):
    data = tmp_path / "data"
    (data / "support-1shot").mkdir(parents=True)
    (data / "support-1shot" / "0.txt").write_text(rows(["town", "person"], 1))
    (data / "test.txt").write_text(rows(["town", "person"], 6))
    (data / "train.txt").write_text(rows(["ship", "town"], 4))
    source = {"encoder": str(tiny_encoder), "train_file": "x", "output_dir": "x", "use_cpu": True}
    source |= {"max_steps": 2, "save_strategy": "no", "report_to": "none", "max_text_length": 32}
    source |= {"projection_size": 8, "viterbi": False}
    (tmp_path / "source.yaml").write_text(yaml.safe_dump(source))
    episodes = {"file": "test.txt", "n_way": 2, "k_shot": 2, "q_shot": 1, "number": 1}
    given = {
        "recipe": str(tmp_path / "source.yaml"),
        "train_file": "train.txt",
        "seeds": [3, 4],
        "targets": [{"name": "a", "test": "test.txt", "support_dir": "support-{shots}shot", "shots": [1]}],
        "episodes": [{"name": "b", **episodes}],
        "start": {
            "name": "first",
            "source": {"alpha": 0.1},
            "config": {"alpha": 0.3},
            "one_shot": {"divergence": "cosine"},
            "adapt": {"steps": 0, "decoding": "unit_hidden"},
            "label_names": {"a": {"town": "york"}},
        },
        "variants": {"other loss": {"source": {"loss_type": "container"}}},
        "changes": {
            "alpha": {"source": {"alpha": 0.2}, "one_shot": {"divergence": "euclidean"}},
            "space": {"adapt": {"decoding": "gaussian", "steps": 1}, "config": {"label_weight": 0}},
        },
    }
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(given))
    return given


def test_all_rows_seeds_and_settings(plan, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    given = [tmp_path / "plan.yaml", "--data_root", tmp_path / "data", "--output", output]
    monkeypatch.setattr("sys.argv", ["ladder", *map(str, given), "--learning_rate", "1e-3"])
    monkeypatch.syspath_prepend(str(TRAINING))

    def run():
        runpy.run_path(str(TRAINING / "ladder.py"), run_name="__main__")
        printed = capsys.readouterr().out
        return printed[printed.index("| row |") :].strip()

    table = run()
    assert (output / "report.md").read_text().strip() == table
    columns = ["a, 1-shot", "b, 2-way 2~4-shot"]
    assert f"| row | {' | '.join(columns)} | average | change |" in table
    scores = json.loads((output / "scores.json").read_text())
    assert list(scores) == ["first", "other loss", "alpha", "space"]
    assert all(list(run) == columns for runs in scores.values() for run in runs)
    average = {name: [sum(run.values()) / 2 for run in runs] for name, runs in scores.items()}
    differences = [a - b for a, b in zip(average["space"], average["alpha"], strict=True)]
    (line,) = (line for line in table.splitlines() if line.startswith("| space |"))
    assert f"| {sum(differences) / 2:.1f} ± " in line
    # Three source models for each seed, since the last row changes adapting and decoding alone.
    sources = sorted((output / "sources").glob("*.yaml"))
    trained = [yaml.safe_load(file.read_text()) for file in sources]
    losses = [(one["seed"], one["alpha"], one.get("loss_type")) for one in trained]
    expected = [(seed, *one) for seed in (3, 4) for one in ((0.1, "container"), (0.1, None), (0.2, None))]
    assert sorted(losses, key=str) == sorted(expected, key=str)
    (result,) = read_results(output / "space" / "seed-3" / "1-shot" / "results.jsonl")
    assert result.settings["adapt"]["decoding"] == "gaussian" and result.settings["adapt"]["steps"] == 1
    assert result.settings["label_names"]["town"] == "york"

    # What is there is not run again; what the source data are is no matter of their name.
    results = {file: file.read_text() for file in output.rglob("*.jsonl")}  # with the seconds of each
    models = {file: file.stat().st_mtime_ns for file in output.rglob("*.safetensors")}
    assert run() == table and len(models) == 6
    assert results == {file: file.read_text() for file in output.rglob("*.jsonl")}
    assert models == {file: file.stat().st_mtime_ns for file in output.rglob("*.safetensors")}
    (tmp_path / "data" / "train.txt").write_text(rows(["ship", "town"], 3))
    with pytest.raises(ValueError, match="made with other settings"):
        run()


def test_rows_add_up(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    ladder = import_module("ladder")
    start = {"name": "0", "source": {"a": 1}, "config": {"x": 1}}
    plan = {"start": start, "variants": {"v": {"source": {"a": 9}}}}
    plan |= {"changes": {"1": {"source": {"b": 2}}, "2": {"source": {"a": 3}, "one_shot": {"y": 1}}}}
    found = {row.name: row for row in ladder.rows_of(plan)}
    assert found["v"].source == {"a": 9} and found["1"].source == {"a": 1, "b": 2}
    assert found["2"].source == {"a": 3, "b": 2} and found["2"].config == {"x": 1}
    assert [row.base for row in found.values()] == [None, "0", "0", "1"]
    with pytest.raises(ValueError, match="'3' has the key 'sorce', which is none of a row"):
        ladder.rows_of({**plan, "changes": {"3": {"sorce": {}}}})
    with pytest.raises(ValueError, match="the name of the row '0' is too much like that of another"):
        ladder.rows_of({**plan, "changes": {"0!": {}}})


def test_the_last_row_of_the_plan_is_the_recipe_of_the_released_model(monkeypatch, tmp_path):
    """With the defaults of `adapt` and of decoding."""
    monkeypatch.syspath_prepend(str(TRAINING))
    plan = yaml.safe_load(PLAN.read_text())
    *_, last = import_module("ladder").rows_of(plan)
    base = yaml.safe_load((TRAINING.parent / plan["recipe"]).read_text())
    (tmp_path / "last.yaml").write_text(yaml.safe_dump({**base, **last.source}))
    released = TRAINING / "recipes" / "few_nerd_inter_minilm.yaml"
    of_last, of_released = (
        [vars(part) for part in parse_arguments([str(file), "--output_dir", str(tmp_path)])]
        for file in (tmp_path / "last.yaml", released)
    )
    defaults = LaclConfig().to_dict()

    def options(arguments: Any) -> dict[str, Any]:
        given = {key: value for key, value in arguments.items() if value is not None}
        return defaults | given | {"viterbi": None, "transition_power": None}

    assert options(of_last[0]) == options(of_released[0])
    assert of_last[1] == of_released[1]
    about = ["learning_rate", "head_learning_rate", "max_steps", "warmup_steps", "lr_scheduler_type"]
    about += ["train_sampling_strategy", "weight_decay", "max_grad_norm", "per_device_train_batch_size"]
    about += ["fixed_labels", "labels_per_prompt", "coarse_probability", "present_share"]
    assert {key: of_last[2][key] for key in about} == {key: of_released[2][key] for key in about}
    assert (last.config["viterbi"], last.config["transition_power"]) == (True, 0.3)
    assert last.config["label_weight"] == defaults["label_weight"] and last.config["alpha"] == 0.6
    given = {key: value for key, value in last.adapt.items() if value is not None}
    keywords = inspect.signature(adapt).parameters
    assert {key: keywords[key].default for key in given} == given
