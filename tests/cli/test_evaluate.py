"""`lacl evaluate MODEL FILE` and `lacl suggest`: what they write, and which options go together."""

import json

import pytest
from typer.testing import CliRunner
from web_page import Page, words  # type: ignore[import-not-found]  # in the folder above

from modeling_lacl import LaclForTokenClassification, adapt, cli, evaluate_model, read_dataset

runner = CliRunner()
LABELLED = [
    {"text": "ana flew to quito", "entities": [{"start": 0, "end": 3, "label": "person"}]},
    {"text": "york <b>", "entities": [{"start": 0, "end": 4, "label": "location"}]},
    {"text": "the play", "entities": []},
]
SUPPORT = [{"tokens": ["ana", "flew", "to", "quito"], "ner_tags": ["B-person", "O", "O", "B-location"]}]


@pytest.fixture(scope="module")
def place(make_tiny_model, tmp_path_factory):
    """A folder with an adapted model, a source model, labelled sentences and texts."""
    folder = tmp_path_factory.mktemp("place")
    adapt(make_tiny_model(), SUPPORT, steps=0).save_pretrained(folder / "ner")
    (folder / "test.jsonl").write_text("".join(json.dumps(one) + "\n" for one in LABELLED))
    (folder / "texts.txt").write_text("ana flew\r\n\nana flew\nthe play\nto york\n")
    return folder


def run(*arguments):
    return runner.invoke(cli.app, [str(one) for one in arguments])


def test_a_model_on_a_file(place):
    written, page = place / "results.json", place / "page.html"
    done = run("evaluate", place / "ner", place / "test.jsonl", "--output", written, "--html", page)
    assert done.exit_code == 0, done.output
    model = LaclForTokenClassification.from_pretrained(place / "ner")
    expected = evaluate_model(model, place / "test.jsonl")
    assert done.stdout.strip() == expected.to_markdown().strip()
    results = json.loads(written.read_text())
    assert results.pop("model") == str(place / "ner") and results.pop("file") == str(place / "test.jsonl")
    assert results == json.loads(json.dumps(expected.to_dict()))
    read = Page(page.read_text(encoding="utf-8"))
    ids = [attrs["id"] for tag, attrs in read.tags if tag == "li" and "id" in attrs]
    assert ids == [f"s{one.number + 1}" for one in expected.wrong] and ids
    assert words(read.text).startswith("Errors on test.jsonl")
    number = sum(len(one.entities(side)) for one in expected.wrong for side in (True, False))
    assert len(read.marks) == number
    assert sum(one.count("≈") for one in read.examples) == sum(
        len(one.entities(predicted=True)) for one in expected.wrong
    )
    assert "b" not in {tag for tag, _ in read.tags}


def test_other_labels_and_a_threshold(place):
    options = ("--labels", "person,creature", "--threshold", "1", "--html", place / "page.html")
    done = run("evaluate", place / "ner", place / "test.jsonl", *options)
    assert done.exit_code == 0, done.output
    assert "| correct | 0 |" in done.stdout and "| missed | 2 |" in done.stdout
    assert "## Types that the model does not find" in done.stdout and "| location | 1 |" in done.stdout
    assert not Page((place / "page.html").read_text(encoding="utf-8")).examples


def test_an_exported_model(place):
    pytest.importorskip("onnx")
    exported = place / "exported"
    assert run("export", place / "ner", exported).exit_code == 0
    page = place / "page.html"
    done = run("evaluate", exported, place / "test.jsonl", "--html", page)
    assert done.exit_code == 0, done.output
    sections = set(done.stdout.split("\n## "))
    # All but what depends on the examples of the support set, which it does not have.
    original = set(run("evaluate", place / "ner", place / "test.jsonl").stdout.split("\n## "))
    assert len(sections) > 3 and sections < original and page.is_file()
    for command in (
        ["suggest", exported, place / "texts.txt"],
        ["adapt", exported, place / "test.jsonl", "--output", place / "adapted"],
        ["export", exported, place / "again"],
    ):
        done = run(*command)
        assert "is an exported model, which only predicts: give the checkpoint that" in str(done.exception)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "ner"], "give the labelled sentences"),
        (["evaluate", "ner", "test.jsonl", "--limit", "1"], "--limit: only for recipes"),
        (["evaluate", "ner", "test.jsonl", "--data_root", "x"], "--data-root: only for recipes"),
        (["evaluate", "x.yaml", "test.jsonl"], "FILE: a recipe names its own data"),
        (["evaluate", "x.YML", "--threshold", "0"], "--threshold: a recipe"),
        (["evaluate", "ner", "test.jsonl", "--output", "test.jsonl"], "--output is the input file"),
        (["evaluate", "ner", "test.jsonl", "--html", "none/x.html"], "in a folder that does not exist"),
        (["evaluate", "ner", "test.jsonl", "--output", "ner"], "is a folder"),
        (["suggest", "ner", "texts.txt", "--output", "texts.txt"], "--output is the input file"),
        (["suggest", "ner", "texts.txt", "--number", "0"], "--number"),
        # Before a model is loaded: there is none of this name.
        (["suggest", "no-model", "texts.txt", "-o", "none/x.jsonl"], "in a folder that does not exist"),
        (["view", "no-model", "texts.txt", "-o", "none/x.html"], "in a folder that does not exist"),
        (["view", "no-model", "--text", "ana", "-o", "ner"], "ner is a folder"),
        (["render", "no-results", "-o", "none/x.html"], "in a folder that does not exist"),
        (["predict", "no-model", "texts.txt", "--svg", "none/x.svg"], "in a folder that does not exist"),
    ],
)
def test_what_does_not_go_together(place, monkeypatch, arguments, message):
    monkeypatch.chdir(place)
    done = run(*arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_suggestions(place):
    written = place / "suggested.jsonl"
    done = run("suggest", place / "ner", place / "texts.txt", "--number", "2", "-o", written)
    assert done.exit_code == 0 and done.stdout == "", done.output
    found = [json.loads(line) for line in written.read_text().splitlines()]
    assert len(found) == 2 and {one["text"] for one in found} < {"ana flew", "the play", "to york"}
    assert all(
        entity.keys() == {"start", "end", "label", "score"} for one in found for entity in one["entities"]
    )
    assert len(read_dataset(written)) == 2
    # Without what is labelled, in another encoding, and to standard output.
    (place / "utf-16.txt").write_text((place / "texts.txt").read_text(), encoding="utf-16")
    options = ("--exclude", place / "test.jsonl", "--encoding", "utf-16")
    done = run("suggest", place / "ner", place / "utf-16.txt", *options)
    assert {json.loads(line)["text"] for line in done.stdout.splitlines()} == {"ana flew", "to york"}
    assert "only 2 of 5 texts are left" in done.stderr
    labelled = place / "utf-16.jsonl"
    labelled.write_text((place / "test.jsonl").read_text(), encoding="utf-16")
    done = run("suggest", place / "ner", place / "texts.txt", "--exclude", labelled)
    assert "give the encoding: --exclude-encoding utf-16" in str(done.exception)
    options = ("--exclude", labelled, "--exclude-encoding", "utf-16")
    done = run("suggest", place / "ner", place / "texts.txt", *options)
    assert {json.loads(line)["text"] for line in done.stdout.splitlines()} == {"ana flew", "to york"}
