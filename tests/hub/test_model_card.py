"""Model cards: what they say is what happened, what they show runs, and what somebody wrote stays."""

import copy
import inspect
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hub_card import card_errors  # type: ignore[import-not-found]  # pytest finds it beside this file
from huggingface_hub import ModelCard, metadata_load
from huggingface_hub.repocard_data import model_index_to_eval_results
from tokenizers.decoders import WordPiece
from transformers.testing_utils import CaptureLogger

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tokenize import tokenize_dataset
from modeling_lacl.evaluation.card_results import add_results
from modeling_lacl.hub import model_card
from modeling_lacl.hub.bundled import RELEASED, released_folder
from modeling_lacl.hub.card_facts import (
    CardFacts,
    Measured,
    fingerprint,
    read_emissions,
    with_data,
    with_sequences,
)
from modeling_lacl.hub.model_card import card_text, facts_of, is_generated, stated_license
from modeling_lacl.training.card import curve

ROOT = Path(__file__).parents[2]
SUPPORT = [
    {"tokens": ["ana", "ruiz", "flew"], "ner_tags": ["B-person", "I-person", "O"]},
    {"tokens": ["to", "quito", "york"], "ner_tags": ["O", "B-location", "B-location"]},
]


@pytest.fixture
def adapted(tiny_model, tiny_tokenizer):
    return adapt(tiny_model, SUPPORT, steps=2, seed=3)


def card(folder):
    return ModelCard.load(folder / "README.md")


def rows(text, header):
    """The cells of the table that begins with this header."""
    table = re.search(rf"^\| {re.escape(header)}.*\n\|[-:| ]+\|\n((?:\|.*\n)+)", text, re.M)
    assert table, header
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def test_an_adapted_model_knows_its_examples_and_its_training(adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    text = card(tmp_path).text
    assert rows(text, "label | name") == [
        ["person", "person", "1", "ana ruiz"],
        ["location", "location", "2", "quito, york"],
    ]
    assert [row[0] for row in rows(text, "step | loss")] == ["1", "2"]
    for words in ("2 labelled sentences", "steps `2`", "seed `3`", "learning_rate `0.0001`"):
        assert words in text, words
    assert torch.__version__.partition("+")[0] in text
    assert "was measured on this model" in text


def test_steps_without_training(tiny_model, tiny_tokenizer, tmp_path):
    adapt(tiny_model, SUPPORT, steps=0).save_pretrained(tmp_path)
    assert "steps `0`" in card(tmp_path).text and "loss |" not in card(tmp_path).text


@pytest.mark.parametrize("kind", ["source", "adapted", "without prompts"])
def test_the_snippets_run(kind, request, make_tiny_model, tmp_path, monkeypatch):
    """In the folder that the card is in, as it says."""
    if kind == "adapted":
        model = request.getfixturevalue("adapted")
    else:
        model = make_tiny_model(use_prompts=kind == "source")
    model.save_pretrained(tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", card(tmp_path).text, flags=re.M | re.S)
    assert len(blocks) == (1 if kind == "without prompts" else 3)
    found: list[dict[str, Any]] = []
    for block in blocks:
        names: dict[str, Any] = {}
        exec(compile(block, "README.md", "exec"), names)
        found.append(names)
    if kind == "without prompts":
        assert isinstance(found[0]["entities"], list)
        return
    # With transformers alone, twice, and then with the package.
    assert ["modeling_lacl" in block for block in blocks] == [False, False, True]
    expected = model.predict(model_card.TEXT)
    for names in (found[0], found[2]):
        assert [one["word"] for one in names["entities"]] == [one["word"] for one in expected]
    labels = set(model.config.id2label.values())
    assert set(found[1]["types"]) <= labels and len(found[1]["types"]) == found[1]["logits"].shape[1]


MEASURED = Measured(
    dataset="Posts: web | mixed",
    shots="5-shot",
    sets=3,
    f1=0.36912,
    precision=0.4,
    recall=0.35,
    deviation=0.014,
    per_type_f1={"person": 0.5, "location": 0.25},
    how="whole test set",
)


def test_the_metadata_pass_the_hubs_own_reading(adapted, tmp_path):
    adapted.card_facts = replace(
        adapted.card_facts, name="my-ner", license="mit", language=["en"], results=[MEASURED], emissions=12.5
    )
    adapted.save_pretrained(tmp_path)
    data = metadata_load(tmp_path / "README.md")
    assert data is not None
    name, results = model_index_to_eval_results(data["model-index"])
    assert name == "my-ner"
    assert [(one.metric_type, one.metric_value) for one in results] == [
        ("f1", 0.3691),
        ("precision", 0.4),
        ("recall", 0.35),
    ]
    assert {one.dataset_name for one in results} == {MEASURED.dataset}
    assert {one.task_type for one in results} == {"token-classification"} == {data["pipeline_tag"]}
    assert data["license"] == "mit" and data["library_name"] == "transformers"
    assert data["co2_eq_emissions"] == {"emissions": 12.5, "source": "codecarbon"}
    text = card(tmp_path).text
    assert rows(text.replace(r"\|", "!"), "data | examples | F1")[0][2:] == ["36.9", "1.4", "40.0", "35.0"]
    assert [row[2:] for row in rows(text.replace(r"\|", "!"), "data | examples | type")] == [
        ["person", "50.0"],
        ["location", "25.0"],
    ]
    assert "12.5 g CO2" in text


validated_here = pytest.mark.skipif(
    "constants.ENDPOINT" not in inspect.getsource(ModelCard.validate),
    reason="this client has cards validated by the public Hub, whichever is set",
)


@validated_here
def test_the_client_validates_a_card_against_the_hub(hub, adapted, tmp_path):
    adapted.card_facts = replace(
        adapted.card_facts,
        license="cc-by-sa-4.0",
        language=["en"],
        datasets=["DFKI-SLT/few-nerd", "my own data"],
        encoder="sentence-transformers/all-MiniLM-L6-v2",
        results=[MEASURED, replace(MEASURED, shots="1-shot"), replace(MEASURED, dataset="Ä & Ö")],
        emissions=12.5,
    )
    adapted.save_pretrained(tmp_path)
    card(tmp_path).validate()
    assert hub.requests == ["POST /api/validate-yaml"]


@validated_here
@pytest.mark.parametrize("name", RELEASED)
def test_the_cards_of_released_models_are_valid(hub, name):
    for file in (ROOT / "model_cards" / f"{name}.md", released_folder(name) / "README.md"):
        ModelCard.load(file).validate()


INDEX = """model-index:
- name: x
  results:
  - task: {type: token-classification}
    dataset: {name: Posts, type: %s}
    metrics:
    - {type: f1, value: %s}"""


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ("license: nonsense", '"license" must be one of'),
        ("license: [mit, 3]", '"license" must be a string'),
        ("language: English", "ISO 639"),
        ("pipeline_tag: few-shot-ner", '"pipeline_tag" must'),
        ("base_model: a/b/c", '"base_model"'),
        ("datasets: [my data]", '"datasets"'),
        ("tags: {a: b}", '"tags" must'),
        ("co2_eq_emissions: {source: x}", "must have a number"),
        ("license: [", "cannot be read"),
        ("model-index: 3", "cannot be read"),
        (INDEX % ("posts", "high"), "is no number"),
        (INDEX % ("my posts", "0.5"), "is no name of a dataset"),
        (INDEX % ("posts", "0.5"), None),
    ],
)
def test_the_rules_can_fail(metadata, error):
    found = card_errors(f"---\n{metadata}\n---\n# x\n")
    assert (error is None and not found) or (len(found) == 1 and error in found[0]), found


def test_a_card_is_read_and_written_unchanged_by_the_client(adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert str(ModelCard(text)) == text and is_generated(text)
    assert is_generated(text.replace("\n", "\r\n"))


def test_texts_of_others_are_nothing_but_text(make_tiny_model, tmp_path):
    nasty = "a|b <img src=x> `c` *d* [e](f)\n# g"
    facts = CardFacts(examples={"person": [nasty]}, name="<b>", datasets=[nasty], results=[MEASURED])
    text = card_text(make_tiny_model().config, facts)
    assert "<img" not in text.partition("\n---\n")[2] and "\n# g" not in text
    assert r"a\|b &lt;img src=x&gt; \`c\` \*d\*" in text
    assert "[e](f)" not in text
    yaml.safe_load(text.split("---\n")[1])


def test_the_card_of_a_model_of_spans_says_that_they_nest(make_tiny_model):
    of_spans = card_text(make_tiny_model(max_span_words=12).config, CardFacts())
    of_tokens = card_text(make_tiny_model().config, CardFacts())
    assert 'overlap="nested"' in of_spans and "max_span_words `12`" in of_spans
    assert "without nesting" in of_tokens and "max_span_words" not in of_tokens
    assert "without nesting" not in of_spans


def test_a_changed_card_stays(adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    first = (tmp_path / "README.md").read_text()
    changed = first.replace("## Limits", "## Limits\n\n- It knows no ships.")
    (tmp_path / "README.md").write_text(changed)
    adapted.card_facts = replace(adapted.card_facts, license="mit")
    with CaptureLogger(model_card.logger) as log:
        adapted.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == changed
    assert "so it is kept; remove it" in log.out
    (tmp_path / "README.md").unlink()
    adapted.save_pretrained(tmp_path)
    assert "license: mit" in (tmp_path / "README.md").read_text()


def test_an_unchanged_card_is_written_anew(adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    adapted.card_facts = replace(adapted.card_facts, license="mit")
    adapted.save_pretrained(tmp_path)
    assert metadata_load(tmp_path / "README.md")["license"] == "mit"  # type: ignore[index]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"no metadata\n"])
def test_whatever_else_is_there_stays(tiny_model, tmp_path, content):
    (tmp_path / "README.md").write_bytes(content)
    tiny_model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == content


def test_what_is_known_travels_with_the_checkpoint(adapted, tmp_path):
    adapted.save_pretrained(tmp_path / "first")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    loaded.save_pretrained(tmp_path / "second")
    for name in ("README.md", "card.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.lacl.projection.mean.weight.data.mul_(1.001),
        lambda model: model.set_labels(["person", "location"], {"person": "human being"}),
        lambda model: setattr(model.config, "label_weight", 0.1),
        lambda model: model.clear_support(),
    ],
)
def test_a_model_that_has_changed_is_not_what_was_measured(adapted, tmp_path, change):
    adapted.card_facts = replace(
        adapted.card_facts, results=[MEASURED], license="mit", name="my-ner", encoder="someone/encoder"
    )
    assert facts_of(adapted).results
    adapted.save_pretrained(tmp_path / "first")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
    change(loaded)
    loaded.save_pretrained(tmp_path / "second")
    facts = CardFacts.from_file(tmp_path / "second" / "card.json")
    assert facts is not None and not facts.results and not facts.curve and not facts.examples
    assert (facts.license, facts.source, facts.encoder) == ("mit", "my-ner", "someone/encoder")


def test_copies_have_one_fingerprint(adapted, tmp_path):
    adapted.save_pretrained(tmp_path, max_shard_size="20KB")
    assert fingerprint(LaclForTokenClassification.from_pretrained(tmp_path)) == fingerprint(adapted)


@pytest.mark.parametrize("name", RELEASED)
def test_what_is_made_from_a_released_model_has_its_licence(name, tmp_path):
    model = LaclForTokenClassification.from_pretrained(name)
    adapted = adapt(model, SUPPORT, steps=0)
    adapted.save_pretrained(tmp_path)
    data = card(tmp_path).data
    here, there = (
        ModelCard.load(path).data
        for path in (released_folder(name) / "README.md", ROOT / "model_cards" / f"{name}.md")
    )
    assert here.license == there.license == data.license
    assert here.base_model == there.base_model == data.base_model
    assert f"**Made from**: `{name}`" in card(tmp_path).text


def test_the_template_stands_in_model_cards():
    linked = ROOT / "model_cards" / "template.md"
    assert linked.read_text(encoding="utf-8") == model_card.TEMPLATE.read_text(encoding="utf-8")


def test_no_folder_of_this_machine_is_on_a_card(adapted, tmp_path):
    adapted.save_pretrained(tmp_path / "private" / "ner")
    loaded = LaclForTokenClassification.from_pretrained(tmp_path / "private" / "ner")
    again = adapt(loaded, SUPPORT, steps=1)
    again.save_pretrained(tmp_path / "second")
    for name in ("README.md", "card.json"):
        assert "private" not in (tmp_path / "second" / name).read_text()


def test_a_damaged_file_of_facts_is_no_hindrance(adapted, tmp_path):
    adapted.save_pretrained(tmp_path / "first")
    for content in ("[]", "{", '{"results": [1]}', '{"results": [{"x": 1}]}'):
        (tmp_path / "first" / "card.json").write_text(content)
        assert CardFacts.from_file(tmp_path / "first" / "card.json") is None
        loaded = LaclForTokenClassification.from_pretrained(tmp_path / "first")
        loaded.save_pretrained(tmp_path / "second")
    known = json.dumps({"license": "mit", "of a later version": 1})
    (tmp_path / "first" / "card.json").write_text(known)
    facts = CardFacts.from_file(tmp_path / "first" / "card.json")
    assert facts is not None and facts.license == "mit"


def test_examples_are_few_short_and_different():
    words = ["ana", "ana", "ruiz", "quito", "x" * 41, "york"]
    data = read_dataset([{"tokens": ["the", word], "ner_tags": ["O", "B-person"]} for word in words])
    facts = with_data(CardFacts(), data, ["person"])
    assert facts.examples == {"person": ["ana", "ruiz", "quito"]}
    assert facts.entities == {"person": 6} and facts.sentences == 6


def test_examples_of_tokenised_sequences(tiny_tokenizer):
    data = read_dataset(
        [
            {"tokens": ["Cessna", "Kite", "flew"], "ner_tags": ["B-plane", "I-plane", "O"]},
            {"tokens": ["to", "Quito"], "ner_tags": ["O", "B-city"]},
        ]
    )
    tokenizer = copy.deepcopy(tiny_tokenizer)
    tokenizer.backend_tokenizer.decoder = WordPiece()
    labelled = tokenize_dataset(data, tokenizer, ["plane", "city"])
    facts = with_sequences(CardFacts(), labelled, tokenizer, {0: "O", 1: "plane", 2: "city"})
    assert facts.examples == {"plane": ["cessna kite"], "city": ["quito"]}


def test_a_curve_is_thinned_out_and_keeps_its_ends():
    history = [{"step": step, "loss": 100.0 - step} for step in range(1, 101)]
    points = curve(history)
    assert len(points) == 12 and points[0] == {"step": 1, "loss": 99.0} and points[-1]["step"] == 100
    assert all(point["loss"] == 100 - point["step"] for point in points)
    with_f1 = curve([*history, {"step": 50, "eval_f1": 0.25}, {"step": 100, "eval_f1": 0.5}])
    assert with_f1 == [{"step": 50, "loss": 50.0, "f1": 0.25}, {"step": 100, "loss": 0.0, "f1": 0.5}]


def test_emissions_of_the_last_run(tmp_path):
    assert read_emissions(tmp_path) is None
    lines = ["timestamp,project_name,duration,emissions", "2024-01-01,a,3,0.5", "2024-01-02,a,3,0.002"]
    (tmp_path / "emissions.csv").write_text("\n".join(lines) + "\n")
    assert read_emissions(tmp_path) == 2.0


def test_what_an_evaluation_measured_comes_onto_the_card(tiny_model, tmp_path):
    from modeling_lacl.evaluation.recipe import TransferRecipe
    from modeling_lacl.evaluation.targets import TransferTarget
    from modeling_lacl.evaluation.transfer import evaluate_transfer

    tiny_model.save_pretrained(tmp_path / "model")
    lines = "ana B-person\nflew O\n\nquito B-location\n"
    for name in ("test.txt", "support.txt"):
        (tmp_path / name).write_text(lines)
    recipe = TransferRecipe(
        checkpoint=str(tmp_path / "model"),
        output=str(tmp_path / "results"),
        data_root=str(tmp_path),
        targets=[TransferTarget(name="posts", test="test.txt", support={"1-shot": ["support.txt"]})],
        adapt={"steps": 0},
    )
    report = evaluate_transfer(recipe)
    add_results(tmp_path / "model", tmp_path / "results" / "report.json")
    _, results = model_index_to_eval_results(metadata_load(tmp_path / "model" / "README.md")["model-index"])  # type: ignore[index]
    measured = {one.dataset_name: one.metric_value for one in results if one.metric_type == "f1"}
    assert measured == {"posts": round(report.results[0].f1, 4)}
    add_results(tmp_path / "model", report)
    facts = CardFacts.from_file(tmp_path / "model" / "card.json")
    assert facts is not None and len(facts.results) == len(report.summary())
    # Kept when the model is saved elsewhere, refused for another model.
    loaded: Any = LaclForTokenClassification.from_pretrained(tmp_path / "model")
    loaded.save_pretrained(tmp_path / "same")
    assert "model-index" in (metadata_load(tmp_path / "same" / "README.md") or {})
    loaded.lacl.projection.mean.weight.data.mul_(2)
    loaded.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="is not about the model in .*lacl evaluate RECIPE --checkpoint"):
        add_results(tmp_path / "other", report)
    (tmp_path / "none.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a report"):
        add_results(tmp_path / "other", tmp_path / "none.json")


def test_a_licence_alone_is_no_card_of_somebodys():
    assert stated_license("---\nlicense: mit\n---\n") == "mit"
    assert stated_license("---\ntags: []\n---\n\n") == ""
    assert stated_license("---\nlicense: mit\n---\n# Mine\n") is None
