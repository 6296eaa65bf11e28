"""The program that evaluates models on whole corpora of other domains, on two tiny ones."""

import gzip
import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TRAINING = Path(__file__).resolve().parents[2] / "training"
PEOPLE, PLACES = ["ana", "ruiz"], ["quito", "york"]


@pytest.fixture
def folder(tmp_path):
    rest: dict[str, Any] = {
        "splits": {"train": {"sentences": 24}},
        "types": {"person": 24, "city": 24, "rare": 2},
    }
    roles = {"trips": "development", "other": "training"}
    index = [{"name": name, "role": role, **rest} for name, role in roles.items()]
    (tmp_path / "corpora.json").write_text(json.dumps(index))
    (tmp_path / "trips").mkdir()
    for split, number in (("train", 24), ("test", 8)):
        with gzip.open(tmp_path / "trips" / f"{split}.jsonl.gz", "wt") as file:
            for row in range(number):
                words = [PEOPLE[row % 2], "flew", "to", PLACES[row % 2]]
                entities = [
                    {"start": 0, "end": 1, "label": "person"},
                    {"start": 3, "end": 4, "label": "city"},
                ]
                rare = [{"start": 1, "end": 2, "label": "rare"}] if row < 2 else []
                file.write(json.dumps({"tokens": words, "entities": entities + rare}) + "\n")
    return tmp_path


@pytest.mark.parametrize("width", [0, 4])
def test_a_table_a_second_call_and_a_calibration(folder, make_tiny_model, monkeypatch, capsys, width):
    model = make_tiny_model(["person"], max_span_words=width)
    model.save_pretrained(folder / "model")
    output = folder / "results"
    arguments = [str(folder / "model"), "--folder", str(folder), "--output", str(output), "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", ["domains", *arguments, "--shots", "0", "1", "--calibrate"])
    monkeypatch.syspath_prepend(str(TRAINING))

    def run():
        runpy.run_path(str(TRAINING / "domains.py"), run_name="__main__")
        return capsys.readouterr().out

    report = run()
    rows = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    assert [row["run"][1:4] for row in rows] == [["trips", 0, 0], ["trips", 1, 0], ["trips", 1, 1]]
    assert all(row["gold"] == 16 and len(row["scores"]) == len(row["correct"]) for row in rows)
    assert report.count("| trips |") == 2 and report == (output / "report.md").read_text()
    # By a random model all may be wrong, of which no calibration can be made; tokens have none.
    told = re.findall(r"^(?:calibration: |no calibration of )(names|support): ", report, re.MULTILINE)
    assert told == (["names", "support"] if width else [])
    assert run() == report  # nothing is measured again
    assert len((output / "results.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("program", "arguments", "expected"),
    [
        (
            "nested",
            ["--corpora", "trips", "--shots", "0", "--output", "{folder}/n"],
            r"\| trips \| 0 \| 16 \| 0 \|",
        ),
        (
            "label_words",
            ["--names", "person", "city", "--mentions", "8", "--output", "{folder}/words.md"],
            r"\| city \|  \|  \| \d+ \| 8 \|",
        ),
        ("label_lists", ["--lengths", "5", "6"], r"\| 6 \| \d+ \| [\d.]+ \| \d+ \| [\d.]+ \| [\d.]+ \|"),
    ],
)
def test_programs_about_label_names(
    folder, make_tiny_model, monkeypatch, capsys, program, arguments, expected
):
    make_tiny_model(["person"], max_span_words=4).save_pretrained(folder / "model")
    index = json.loads((folder / "corpora.json").read_text())
    index[0]["types"] = {"person": 16, "city": 16}
    index[1] |= {"types": {"ship": 3, "a": 1, "b": 1, "c": 1, "d": 1}}
    (folder / "corpora.json").write_text(json.dumps(index))
    given = [argument.format(folder=folder) for argument in arguments]
    monkeypatch.setattr(sys, "argv", [program, str(folder / "model"), "--folder", str(folder), *given])
    monkeypatch.syspath_prepend(str(TRAINING))
    runpy.run_path(str(TRAINING / f"{program}.py"), run_name="__main__")
    assert re.search(expected, capsys.readouterr().out)


def test_inner_entities():
    nested = runpy.run_path(str(TRAINING / "nested.py"))
    entities = {(0, 4, "a"), (0, 4, "b"), (1, 3, "a"), (3, 5, "a"), (6, 7, "a")}
    assert nested["inner"](entities) == {(1, 3, "a")}
    assert nested["f1"]([entities, set()], [{(1, 3, "a"), (1, 3, "b")}, {(0, 1, "a")}]) == 200 * 1 / 8


def test_more_and_more_corpora(folder, tiny_encoder, monkeypatch, capsys):
    index = json.loads((folder / "corpora.json").read_text())
    (folder / "other").mkdir()
    shutil.copy(folder / "trips" / "train.jsonl.gz", folder / "other" / "train.jsonl.gz")
    about = {"domain": "travel", "licence": "CC0", "release": "yes", "near_test_types": False}
    index[0] |= about | {"splits": {"train": {"sentences": 24}}, "types": {}}
    index[1] |= about | {
        "splits": {"train": {"sentences": 24}},
        "types": {"person": 24, "city": 24, "rare": 2},
    }
    (folder / "corpora.json").write_text(json.dumps(index))
    (folder / "source.conll").write_text("Ana B-who\nleft O\n\n" * 8)
    corpora = [
        {"folder": "elsewhere", "min_mentions": 3},
        {"file": str(folder / "source.conll"), "name": "source"},
    ]
    recipe = {
        **{"encoder": str(tiny_encoder), "corpora": corpora, "max_span_words": 4, "max_steps": 1, "seed": 0},
        **{"per_device_train_batch_size": 4, "group_size": 2, "report_to": "none", "use_cpu": True},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    plan = {"recipe": str(folder / "recipe.yaml"), "folder": ".", "types_of_files": 1, "types": [1]}
    plan |= {"sentences": 4, "arguments": {"save_strategy": "no"}, "variants": {"more": {"max_steps": 2}}}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    given = [folder / "plan.yaml", "--data_root", folder, "--output", folder / "scale"]
    monkeypatch.setattr(sys, "argv", ["scale", *map(str, given)])
    monkeypatch.syspath_prepend(str(TRAINING))
    runpy.run_path(str(TRAINING / "scale.py"), run_name="__main__")
    results = json.loads((folder / "scale" / "results.json").read_text())
    told = {
        name: (one["types"], one["corpora"], one["exclude"], one["steps"]) for name, one in results.items()
    }
    assert told == {
        "1 types": (1, 0, ["other"], 1),
        "3 types": (3, 1, [], 1),
        "more": (3, 1, [], 2),
    }
    assert len(re.findall(r"^\| (?:[13] types|more) \| [01] \| [12] \|", capsys.readouterr().out, re.M)) == 3
    assert "types in the source" in (folder / "scale" / "scale.svg").read_text()
