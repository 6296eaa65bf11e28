"""The first stage as a whole, on a small file and a small encoder."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.training import source as source_module
from modeling_lacl.training.arguments import DataArguments, LaclTrainingArguments, ModelArguments
from modeling_lacl.training.source import read_source, train_source

WORDS = {"person-actor": "ana", "person-other": "ruiz", "location-city": "quito", "product-plane": "cessna"}


@pytest.fixture
def train_file(tmp_path):
    """FEW-NERD's format; every fourth sentence has a plane, and half of those a city as well."""
    generator = np.random.default_rng(0)
    lines = []
    for i in range(40):
        first = str(generator.choice(["person-actor", "person-other"]))
        second = "product-plane" if i % 4 == 0 else "location-city"
        third = "location-city" if i % 8 == 0 else "person-actor"
        lines += ["the\tO"]
        for name in (first, second, third):
            lines += [f"{WORDS[name]}\t{name}", "flew\tO"]
        lines += [""]
    path = tmp_path / "train.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def run(train_file, tiny_encoder, tmp_path):
    def start(held_out_types=("product-plane",), model=None, **options):
        settings = {
            "max_steps": 3,
            "per_device_train_batch_size": 8,
            "save_strategy": "no",
            "logging_steps": 1,
            "disable_tqdm": True,
            "use_cpu": True,
            "eval_k_shot": 1,
            "eval_draws": 1,
        }
        return train_source(
            ModelArguments(encoder=str(tiny_encoder), **(model or {"projection_size": 8})),
            DataArguments(train_file=str(train_file), held_out_types=list(held_out_types)),
            LaclTrainingArguments(output_dir=str(tmp_path / "model"), **{**settings, **options}),
        )

    return start


def test_the_checkpoint_stands_on_its_own(run, tmp_path):
    model = run(eval_strategy="steps", eval_steps=1)
    folder = tmp_path / "model"
    assert not list(folder.glob(".saving*"))
    loaded = LaclForTokenClassification.from_pretrained(folder)
    config: Any = loaded.config
    assert config.id2label == model.config.id2label and config.id2label[0] == "O"
    assert set(config.label2id) == {"O", "person-actor", "person-other", "location-city"}
    assert loaded.config.projection_size == 8
    assert loaded.config.transitions and loaded.config.transitions["start"]["O"] > 0.9
    texts = ["the ana flew", "quito"]
    assert loaded.predict(texts) == model.eval().predict(texts)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 0 <= metrics["eval_f1"] <= 1 and metrics["train_loss"] > 0
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    assert sum("eval_f1_product-plane" in entry for entry in history) >= 3


def test_viterbi_is_the_default_of_a_trained_model(run):
    """Only training has transitions to decode with, so a bare configuration cannot have it."""
    assert run().config.viterbi
    assert not run(model={"viterbi": False}, overwrite_output_dir=True).config.viterbi
    plain = {"method": "classifier", "use_prompts": False, "projection": "hidden"}
    assert not run(model=plain, held_out_types=(), overwrite_output_dir=True).config.viterbi


def test_the_same_seed_gives_the_same_model(run):
    first = run(seed=1)
    second = run(seed=1, overwrite_output_dir=True)
    third = run(seed=2, overwrite_output_dir=True)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True))


def test_held_out_sentences_are_set_apart(train_file):
    data: Any = read_source(DataArguments(train_file=str(train_file), held_out_types=["product-plane"]))
    assert len(data.train) == 30 and len(data.held_out) == 10
    assert sorted(data.types) == ["location-city", "person-actor", "person-other"]
    assert not any("cessna" in row["tokens"] for row in data.train)
    names = data.held_out.features["ner_tags"].feature.names
    assert names == ["O", "B-product-plane", "I-product-plane"]
    for row in data.held_out:
        tags = [names[tag] for tag in row["ner_tags"]]
        assert tags == ["B-product-plane" if token == "cessna" else "O" for token in row["tokens"]]


def test_types_to_train_on_make_the_others_outside(train_file):
    whole: Any = read_source(DataArguments(train_file=str(train_file)))
    types = ["location-city", "person-actor"]
    data: Any = read_source(DataArguments(train_file=str(train_file), train_types=types))
    assert data.types == types and data.held_out is None and len(data.train) == len(whole.train)
    before, after = (one.train.features["ner_tags"].feature.names for one in (whole, data))
    for old, new in zip(whole.train["ner_tags"], data.train["ner_tags"], strict=True):
        kept = [before[tag] if before[tag][2:] in types else "O" for tag in old]
        assert [after[tag] for tag in new] == kept
    with pytest.raises(ValueError, match="train_types: .* has no type 'person-acto'; did you mean"):
        read_source(DataArguments(train_file=str(train_file), train_types=["person-acto"]))


def test_the_scheme_can_be_given(tmp_path):
    (tmp_path / "train.txt").write_text("Ana\tB-person\nflew\tO\n")
    found: Any = read_source(DataArguments(train_file=str(tmp_path / "train.txt"), scheme="IO"))
    assert found.types == ["B-person"]


def test_a_corpus_by_name(tmp_path):
    (tmp_path / "train.txt").write_text("Ana NNP O B-PER\nflew VBD O O\n\nOslo NNP O B-LOC\n")
    data = read_source(DataArguments(train_file=str(tmp_path), corpus="conll2003", type_names="conll2003"))
    assert data.types == ["LOC", "PER"]  # those of the corpus that the split holds
    assert data.label_names == {"LOC": "location", "PER": "person"}


def test_nothing_held_out(train_file):
    data = read_source(DataArguments(train_file=str(train_file)))
    assert len(data.train) == 40 and data.held_out is None and len(data.types) == 4


@pytest.mark.parametrize(
    ("held_out_types", "message"),
    [
        (["product-plain"], "no type 'product-plain'; did you mean 'product-plane'"),
        (list(WORDS), "no entity is left"),
    ],
)
def test_bad_held_out_types(train_file, held_out_types, message):
    with pytest.raises(ValueError, match=message):
        read_source(DataArguments(train_file=str(train_file), held_out_types=held_out_types))


def test_a_folder_with_something_in_it_is_refused(run, tmp_path):
    run()
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="is not empty; .*overwrite_output_dir.*--resume"):
        run()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before
    stale = tmp_path / "model" / "checkpoint-99"
    stale.mkdir()
    run(overwrite_output_dir=True, seed=5)
    assert not stale.exists()
    assert (tmp_path / "model" / "model.safetensors").read_bytes() != before


def test_a_finished_run_without_checkpoints_is_not_begun_again(run, tmp_path):
    run(save_strategy="no")
    before = (tmp_path / "model" / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match="no checkpoint to resume from: its training has ended"):
        run(save_strategy="no", seed=5, resume_from_checkpoint="last")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == before


def test_a_broken_run_is_resumed(run, tmp_path, monkeypatch):
    options = {"max_steps": 6, "save_strategy": "steps", "save_steps": 2, "held_out_types": ()}
    unbroken = run(**options)
    whole = [entry["loss"] for entry in _history(tmp_path) if "loss" in entry]

    class Broken(Exception):
        pass

    right = source_module.LaclTrainer.compute_loss

    def breaks(self, *args, **kwargs):
        if self.state.global_step == 5:
            raise Broken
        return right(self, *args, **kwargs)

    old_model = (tmp_path / "model" / "model.safetensors").read_bytes()
    monkeypatch.setattr(source_module.LaclTrainer, "compute_loss", breaks)
    with pytest.raises(Broken):
        run(**options, overwrite_output_dir=True)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == old_model
    monkeypatch.setattr(source_module.LaclTrainer, "compute_loss", right)
    resumed = run(**options, resume_from_checkpoint="last")
    assert [entry["loss"] for entry in _history(tmp_path) if "loss" in entry] == pytest.approx(
        whole, rel=1e-5
    )
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("left", ["", '{"global_step": 4, "log_his'], ids=["nothing", "half"])
def test_a_checkpoint_that_was_not_saved_completely_is_skipped(run, tmp_path, caplog, left):
    options = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2, "held_out_types": ()}
    unbroken = run(**options)
    state = tmp_path / "model" / "checkpoint-4" / "trainer_state.json"
    state.unlink()
    if left:
        state.write_text(left)
    resumed = run(**options, resume_from_checkpoint="last")
    assert "checkpoint-4 was interrupted: this checkpoint is skipped" in caplog.text
    assert [entry["step"] for entry in _history(tmp_path) if "loss" in entry] == [1, 2, 3, 4]
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_run_without_a_checkpoint_yet_begins(run, caplog):
    model = run(resume_from_checkpoint="last")
    assert "training starts from the beginning" in caplog.text and model.config.id2label


def _history(tmp_path):
    return json.loads((tmp_path / "model" / "trainer_state.json").read_text())["log_history"]


def test_a_loss_that_is_no_number_leaves_the_old_model(run, tmp_path):
    run()
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    with pytest.raises(FloatingPointError, match="is not a finite number"):
        run(overwrite_output_dir=True, learning_rate=1e30, max_steps=20, max_grad_norm=0.0)
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_strategy": "steps", "held_out_types": ()}, "name held_out_types"),
        ({"early_stopping_patience": 2}, "set eval_strategy"),
    ],
)
def test_arguments_that_do_not_go_together(run, options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_early_stopping_by_argument(run, monkeypatch, tmp_path):
    values = iter([0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    monkeypatch.setattr(
        "modeling_lacl.training.validation.FewShotValidation.scores", lambda *args: {"f1": next(values)}
    )
    run(max_steps=6, eval_strategy="steps", eval_steps=1, early_stopping_patience=2)
    assert max(entry["step"] for entry in _history(tmp_path)) == 3


@pytest.fixture
def nested_file(tmp_path):
    """A city within every team, and sentences with a city or a team alone."""
    team, city = {"start": 0, "end": 2, "label": "team"}, {"start": 0, "end": 1, "label": "city"}
    rows = [{"tokens": ["quito", "united"], "entities": [team, city]}] * 12
    rows += [{"tokens": ["quito", "a"], "entities": [city]}]
    rows += [{"tokens": ["play", "united"], "entities": [team]}]
    path = tmp_path / "nested.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_nested_types_are_trained_on_or_held_out(nested_file):
    data: Any = read_source(DataArguments(train_file=nested_file, nested="keep"))
    assert sorted(data.types) == ["city", "team"]
    held: Any = read_source(DataArguments(train_file=nested_file, nested="keep", held_out_types=["city"]))
    assert held.types == ["team"] and held.train["tokens"][:] == [["play", "united"]]
    assert len(held.held_out) == 13
    assert {one["label"] for row in held.held_out for one in row["entities"]} == {"city"}


def test_a_model_of_spans_trains_on_nested_entities_and_is_evaluated_on_them(
    nested_file, tiny_encoder, tmp_path, caplog
):
    def start(**model):
        return train_source(
            ModelArguments(encoder=str(tiny_encoder), projection_size=8, **model),
            DataArguments(train_file=nested_file, nested="keep", held_out_types=["city"]),
            LaclTrainingArguments(
                output_dir=str(tmp_path / "model"),
                max_steps=1,
                save_strategy="no",
                disable_tqdm=True,
                use_cpu=True,
                eval_k_shot=1,
                eval_draws=1,
            ),
        )

    with pytest.raises(ValueError, match="'keep' is for a model of spans.*max_span_words"):
        start()
    assert start(max_span_words=1).entity_types == ["team"]
    assert "1 of 1 entities have more than 1 words and are not learnt, such as 'play united'" in caplog.text
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert 0 <= metrics["eval_f1_city"] <= 1


def test_processes_that_would_train_alone_are_refused(monkeypatch, tmp_path):
    alone = LaclTrainingArguments(output_dir=str(tmp_path), use_cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="2 processes were started, but each would train alone"):
        train_source(ModelArguments(), DataArguments(train_file="none.txt"), alone)
