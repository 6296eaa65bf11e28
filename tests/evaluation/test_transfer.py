"""The domain-transfer protocol on a tiny model: gold unseen, every word scored, runs resumed."""

import functools
import json
import runpy
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from modeling_lacl import adapt
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.data.tags import gold_tags
from modeling_lacl.evaluation import transfer as protocol
from modeling_lacl.evaluation.comparison import evaluate_recipe
from modeling_lacl.evaluation.recipe import TransferRecipe
from modeling_lacl.evaluation.report import TransferReport
from modeling_lacl.evaluation.results import read_results
from modeling_lacl.evaluation.support_sets import support_sets
from modeling_lacl.evaluation.targets import TransferTarget
from modeling_lacl.evaluation.transfer import evaluate_transfer
from modeling_lacl.training.word_labels import predict_words

SETS = ["support-1shot/0.txt", "support-1shot/1.txt"]


@pytest.fixture
def recipe(data, tmp_path):
    return TransferRecipe(
        checkpoint="in memory",
        targets=[TransferTarget(name="news", test="test.conll", support={"1-shot": SETS}, zero_shot=True)],
        adapt={"steps": 0},
        output=str(tmp_path / "out"),
        data_root=str(data),
    )


@pytest.fixture
def adapted_on(monkeypatch):
    """The support sets that were adapted on, by their first word."""
    calls = []
    adapt = protocol.second_stage("lacl")

    @functools.wraps(adapt)  # its arguments are looked up
    def recorded(model, support, **kwargs):
        calls.append(support[0]["tokens"][0])
        return adapt(model, support, **kwargs)

    monkeypatch.setattr(protocol, "second_stage", lambda name: recorded)
    return calls


@pytest.fixture
def predicted(monkeypatch):
    """The tags that were scored."""
    calls = []
    score = protocol.entity_scores

    def recorded(gold, tags):
        calls.append(tags)
        return score(gold, tags)

    monkeypatch.setattr(protocol, "entity_scores", recorded)
    return calls


def comparable(report):
    return [{key: value for key, value in asdict(one).items() if key != "seconds"} for one in report.results]


def test_results_report_and_files(recipe, model):
    report = evaluate_transfer(recipe, model)
    assert [(one.shots, one.support) for one in report.results] == [
        ("1-shot", SETS[0]),
        ("1-shot", SETS[1]),
        ("zero-shot", None),
    ]
    for one in report.results:
        assert one.number == 5
        assert sorted(one.labels) == ["creative-work", "location", "person"]
        assert one.settings["label_names"]["creative-work"] == "creative work"
        assert one.settings["adapt"]["steps"] == 0
        assert one.settings["adapt"]["weight_decay"] > 0  # a default counts as a setting too
    output = Path(recipe.output)
    lines = [json.loads(line) for line in (output / "results.jsonl").read_text().splitlines()]
    assert lines == [asdict(one) for one in report.results]
    assert (output / "report.md").read_text() == report.to_markdown()
    summary = json.loads((output / "report.json").read_text())["summary"]
    assert summary[0]["f1"]["mean"] == pytest.approx((lines[0]["f1"] + lines[1]["f1"]) / 2)


def test_the_source_model_is_left_as_it_was(recipe, model):
    recipe.adapt = {"steps": 2}
    before = protocol.model_digest(model)
    adapted = evaluate_transfer(recipe, model).results
    assert protocol.model_digest(model) == before
    recipe.adapt, recipe.output = {"steps": 0}, f"{recipe.output}-0"
    assert evaluate_transfer(recipe, model).results[2].f1 == adapted[2].f1  # zero-shot


def test_gold_does_not_reach_predictions(recipe, model, data, tmp_path):
    before = evaluate_transfer(recipe, model)
    test = (data / "test.conll").read_text()
    (data / "test.conll").write_text(
        test.replace("Leonardo B-person", "Leonardo B-ship").replace("here O", "here B-x")
    )
    recipe.output = str(tmp_path / "changed")
    after = evaluate_transfer(recipe, model)
    for old, new in zip(before.results, after.results, strict=True):
        assert new.predictions_sha256 == old.predictions_sha256
        assert new.labels == old.labels
        assert (new.number, new.unreachable, old.unreachable) == (6, 2, 0)


def test_every_word_of_a_long_sentence_is_scored(recipe, model, data, predicted):
    words = 300  # many windows of the model's 64 tokens
    with (data / "test.conll").open("a") as file:
        file.write("\n" + "flew O\n" * words + "Oslo B-location\n")
    report = evaluate_transfer(recipe, model)
    assert report.results[0].number == 6
    assert [len(sentence) for sentence in predicted[0]] == [5, 8, 2, words + 1]


def test_types_of_a_target(recipe, model, data):
    """Of the types named alone: the others are outside in the test set and in support sets."""
    recipe.targets[0].types = ["person", "location"]
    first, second, zero = evaluate_transfer(recipe, model).results
    assert first.number == 4 and first.unreachable == 0
    assert first.labels == second.labels == zero.labels == ["person", "location"]
    recipe.targets[0].types = ["person", "boat"]
    with pytest.raises(ValueError, match=r"test\.conll: has no type 'boat', which target 'news' names"):
        evaluate_transfer(recipe, model)


@pytest.fixture
def sampled(recipe, data):
    """The recipe with support sets that are sampled from a file."""
    blocks = [f"{word} B-{kind}\nflew O\n" for kind, word in WORDS for _ in range(3)]
    (data / "dev.conll").write_text("\n".join(blocks))
    recipe.targets = [
        TransferTarget(name="news", test="test.conll", sample_from="dev.conll", shots=[1, 2], sets=3)
    ]
    return recipe


WORDS = [("person", "Ana"), ("person", "Leonardo"), ("location", "Oslo"), ("creative-work", "Mona")]


def test_sampled_support_sets(sampled, model, adapted_on):
    report = evaluate_transfer(sampled, model)
    assert [(one.shots, one.support) for one in report.results] == [
        (f"{shots}-shot", f"dev.conll, {shots}-shot, draw {number}")
        for shots in (1, 2)
        for number in range(3)
    ]
    for shots in (1, 2):
        for one in support_sets(sampled.folder, sampled.targets[0])[f"{shots}-shot"]:
            found = [tag for tags in gold_tags(one.sentences) for tag in tags]
            assert all(shots <= found.count(f"B-{kind}") <= 2 * shots for kind, _ in WORDS)
    adapted_on.clear()
    assert comparable(evaluate_transfer(sampled, model)) == comparable(report) and not adapted_on
    sampled.targets[0].sample_seed = 1
    with pytest.raises(ValueError, match="other settings"):
        evaluate_transfer(sampled, model)


def test_a_corpus_as_a_target(sampled, model, data):
    """The official splits by the corpus's name, and its label set cut down to the types named."""
    text = "Ana NNP O B-PER\nflew VBD O O\n\nOslo NNP O B-LOC\nis VBZ O O\n\nAcme NNP O B-ORG\n"
    (data / "conll").mkdir()
    for split in ("train", "valid", "test"):
        (data / "conll" / f"{split}.txt").write_text(text * 2)
    sampled.targets = [
        TransferTarget(
            name="CoNLL-2003",
            corpus="conll2003",
            test="conll",
            types=["LOC", "PER"],
            sample_from="validation",
            shots=[1],
            sets=2,
            label_names="conll2003",
        )
    ]
    first, second = evaluate_transfer(sampled, model).results
    assert first.number == 4 and first.labels == second.labels == ["LOC", "PER"]
    assert first.support == "validation, 1-shot, draw 0"
    assert first.settings["label_names"] == {"LOC": "location", "PER": "person"}


def test_zero_shot_is_label_similarity_alone(recipe, model, tokenizer, predicted, data):
    evaluate_transfer(recipe, model)
    sentences = [
        [line.split()[0] for line in block.splitlines()]
        for block in (data / "test.conll").read_text().strip().split("\n\n")
    ]
    labels = {"person": "person", "location": "location", "creative-work": "creative work"}
    assert predicted[-1] == io_to_bio(predict_words(model, sentences, labels=labels), list(labels))


def test_zero_shot_labels_do_not_depend_on_the_limit(recipe, model, data):
    (data / SETS[1]).write_text((data / SETS[1]).read_text() + "\nTitanic B-ship\n")
    recipe.limit = 1
    report = evaluate_transfer(recipe, model)
    assert [one.support for one in report.results] == [SETS[0], None]
    assert report.results[1].labels == ["person", "location", "creative-work", "ship"]


def test_zero_shot_alone_needs_labels(recipe, model):
    target = recipe.targets[0]
    target.support = {}
    with pytest.raises(ValueError, match="target 'news': zero-shot without support sets needs 'labels'"):
        evaluate_transfer(recipe, model)
    target.label_names = {"person": "human being", "location": "place"}
    assert evaluate_transfer(recipe, model).results[0].labels == ["person", "location"]


def test_label_names_reach_the_model(recipe, model, data):
    (data / "names.yaml").write_text("creative-work: film\nperson: human\nunused: other\n")
    recipe.targets[0].label_names = "names.yaml"
    names = evaluate_transfer(recipe, model).results[0].settings["label_names"]
    assert names == {"person": "human", "location": "location", "creative-work": "film"}


def test_goes_on_after_a_kill(recipe, model, adapted_on, monkeypatch, tmp_path):
    whole = evaluate_transfer(recipe, model)
    recipe.output = str(tmp_path / "killed")
    append = protocol.append_json_line

    def killed(path, result):
        append(path, result)
        with path.open("a") as file:
            file.write('{"target": "ne')  # half of the next line
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(protocol, "append_json_line", killed)
        with pytest.raises(KeyboardInterrupt):
            evaluate_transfer(recipe, model)
    adapted_on.clear()
    assert comparable(evaluate_transfer(recipe, model)) == comparable(whole)
    assert adapted_on == ["Oslo"]
    assert len(read_results(tmp_path / "killed" / "results.jsonl")) == 3
    adapted_on.clear()
    assert comparable(evaluate_transfer(recipe, model)) == comparable(whole)
    assert adapted_on == []


def change_seed(recipe, model, data):
    recipe.seed += 1


def change_steps(recipe, model, data):
    recipe.adapt = {"steps": 3}


def change_weights(recipe, model, data):
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1


def change_configuration(recipe, model, data):
    model.config.label_weight = 0.123


def change_method(recipe, model, data):
    recipe.method = "classifier"  # of which a model can have the same weights


def change_support(recipe, model, data):
    (data / SETS[0]).write_text("Ana B-person\nsaw O\nOslo B-location\n")


def change_test(recipe, model, data):
    (data / "test.conll").write_text("Ana B-person\n")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (change_seed, "seed"),
        (change_steps, "adapt"),
        (change_weights, "model"),
        (change_configuration, "model"),
        (change_method, "method"),
        (change_support, "support, labels, label_names"),
        (change_test, "test"),
    ],
)
def test_results_of_other_settings_are_refused(recipe, model, data, change, named):
    recipe.targets[0].zero_shot = False
    recipe.limit = 1
    evaluate_transfer(recipe, model)
    change(recipe, model, data)
    with pytest.raises(ValueError, match=rf"other settings \({named}\); choose another 'output'"):
        evaluate_transfer(recipe, model)


def test_a_saved_model_counts_as_the_same(recipe, model, tmp_path, adapted_on):
    evaluate_transfer(recipe, model)
    model.save_pretrained(tmp_path / "model")
    adapted_on.clear()
    recipe.checkpoint = str(tmp_path / "model")
    evaluate_transfer(recipe)
    assert adapted_on == []


def test_a_results_file_that_is_none(recipe, model):
    output = Path(recipe.output)
    output.mkdir()
    (output / "results.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match="results.jsonl:1: not a result of this version"):
        evaluate_transfer(recipe, model)


def test_numbers_that_yaml_reads_as_texts():
    given = yaml.safe_load("{learning_rate: 1e-4, steps: '3'}")
    assert given["learning_rate"] == "1e-4"
    arguments = protocol.stage_arguments(adapt, given)
    assert arguments["learning_rate"] == 1e-4 and arguments["steps"] == 3


def test_what_is_refused(recipe, model, tmp_path):
    recipe.adapt = {"stepz": 3}
    with pytest.raises(ValueError, match="unknown key 'stepz' under 'adapt'; known keys: .*steps"):
        evaluate_transfer(recipe, model)
    recipe.adapt = {"learning_rate": "fast"}
    with pytest.raises(ValueError, match="'learning_rate' under 'adapt' is 'fast': give a number"):
        evaluate_transfer(recipe, model)
    recipe.adapt = {}
    for config, message in (
        ({"to_dict": 3}, "'config' has 'to_dict': only these can be set: divergence, "),
        ({"projection": "hidden"}, "'config' has 'projection': only these can be set"),
        ({"support_method": "prototype"}, "support_method is 'prototype': .*neighbors"),
        ({"label_weight": 7}, "label_weight is 7: label_weight must be between 0 and 1"),
        ({"alpha": "much"}, "alpha is 'much': "),
    ):
        recipe.config = config
        with pytest.raises(ValueError, match=message):
            evaluate_transfer(recipe)
    recipe.config = {}
    recipe.targets[0].test = "missing.conll"
    with pytest.raises(ValueError, match="no file .*missing.conll; set 'data_root'"):
        evaluate_transfer(recipe, model)
    recipe.checkpoint = str(tmp_path / "no-model")
    with pytest.raises(ValueError, match="cannot load the checkpoint .*no-model"):
        evaluate_transfer(recipe)


@pytest.fixture
def recipe_file(model, data, tmp_path):
    model.save_pretrained(tmp_path / "model")
    values = {
        "checkpoint": "elsewhere",
        "adapt": {"steps": 0},
        "targets": [
            {
                "name": "news",
                "test": "data/test.conll",
                "support_dir": "data/support-{shots}shot",
                "shots": [1],
            }
        ],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_evaluate_recipe(recipe_file, tmp_path):
    report = evaluate_recipe(recipe_file, checkpoint=tmp_path / "model", output=tmp_path / "out", limit=1)
    assert isinstance(report, TransferReport)
    assert [one.support for one in report.results] == ["data/support-1shot/0.txt"]
    assert (tmp_path / "out" / "report.md").exists()


def test_the_program(recipe_file, tmp_path, capsys, monkeypatch):
    path = Path(__file__).parents[2] / "training" / "evaluate_transfer.py"
    options = {"--checkpoint": tmp_path / "model", "--output": tmp_path / "out", "--limit": 1}
    arguments = [str(path), str(recipe_file), *(str(part) for option in options.items() for part in option)]
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(str(path), run_name="__main__")
    assert "| news | 1-shot | 1 |" in capsys.readouterr().out
    with pytest.raises(ValueError, match="has no 'methods' to choose from"):
        evaluate_recipe(recipe_file, methods=["NNShot"])
