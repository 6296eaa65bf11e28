"""`LaclTrainer` with what users of `Trainer` know: TensorBoard, early stopping, Optuna, the Hub, recipes."""

import json
import sys
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import HfApi, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from transformers import EarlyStoppingCallback
from transformers.testing_utils import CaptureLogger

from modeling_lacl import LaclForTokenClassification, cli
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tokenize import tokenize_dataset
from modeling_lacl.hub.card_facts import CardFacts
from modeling_lacl.hub.push import HubError
from modeling_lacl.training import hub_trainer as trainer_hub
from modeling_lacl.training.arguments import LaclTrainingArguments
from modeling_lacl.training.trainer import LaclTrainer
from modeling_lacl.viz.plots import learning_curves, plot_learning_curves

TYPES = ["person", "location", "creative-work"]
WORDS = {"person": ["ana", "ruiz"], "location": ["quito", "york"], "creative-work": ["work", "play"]}


def make_examples(rows=16):
    generator = np.random.default_rng(0)
    examples = []
    for _ in range(rows):
        tokens, tags = ["the"], ["O"]
        for name in generator.choice(TYPES, 2):
            tokens += [str(generator.choice(WORDS[name])), "flew"]
            tags += [f"B-{name}", "O"]
        examples.append({"tokens": tokens, "ner_tags": tags})
    return examples


HELD_OUT = [
    {"tokens": ["a", word, "flew"], "ner_tags": ["O", "B-plane", "O"]} for word in ["cessna", "new"] * 4
]


# What a service that Trainer reports to gets, and its key in the log.
REPORTED = {
    "train/loss": "loss",
    "train/grad_norm": "grad_norm",
    "train/context_context_loss": "context_context_loss",
    "train/context_label_loss": "context_label_loss",
    "train/tokens_per_second": "tokens_per_second",
    "eval/f1": "eval_f1",
    "eval/f1_plane": "eval_f1_plane",
}


@pytest.fixture
def make_trainer(make_tiny_model, tiny_tokenizer, tmp_path):
    rows = tokenize_dataset(read_dataset(make_examples()), tiny_tokenizer, TYPES)

    def make(*, callbacks=None, model_init=None, card_facts=None, processing_class=tiny_tokenizer, **options):
        settings = {
            "output_dir": str(tmp_path / "out"),
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "save_strategy": "no",
            "eval_strategy": "steps",
            "eval_steps": 2,
            "disable_tqdm": True,
            "use_cpu": True,
            "learning_rate": 1e-3,
            "eval_k_shot": 1,
            "eval_draws": 1,
        }
        return LaclTrainer(
            model=None if model_init else make_tiny_model(),
            model_init=model_init,
            args=LaclTrainingArguments(**{**settings, **options}),
            train_dataset=rows,
            eval_dataset=read_dataset(HELD_OUT),
            processing_class=processing_class,
            callbacks=callbacks,
            card_facts=card_facts,
        )

    return make


def test_tensorboard(make_trainer, tmp_path):
    """The events that TensorBoard reads are those of the log."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = make_trainer(report_to="tensorboard")
    trainer.train()
    (folder,) = {path.parent for path in (tmp_path / "out").rglob("events.out.tfevents.*")}
    events = EventAccumulator(str(folder))
    events.Reload()
    for tag, key in REPORTED.items():
        logged = [(entry["step"], entry[key]) for entry in trainer.state.log_history if key in entry]
        seen = [(event.step, event.value) for event in events.Scalars(tag)]
        assert len(seen) == len(logged) > 1
        np.testing.assert_allclose(seen, logged, rtol=1e-5)


def test_wandb(make_trainer, tmp_path, monkeypatch):
    """A run of Weights & Biases, offline: the last values of the log, the arguments, the configuration."""
    pytest.importorskip("wandb")
    import wandb

    for name, value in {"MODE": "offline", "DIR": str(tmp_path), "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    trainer = make_trainer(report_to="wandb", run_name="few shots")
    trainer.train()
    run = wandb.run
    assert run is not None and run.name == "few shots"
    for tag, key in REPORTED.items():
        logged = [entry[key] for entry in trainer.state.log_history if key in entry]
        assert run.summary[tag] == logged[-1]
    assert run.config["divergence"] == trainer.model.config.divergence
    assert run.config["eval_k_shot"] == 1
    wandb.finish()
    assert len(list(tmp_path.rglob("*.wandb"))) == 1


def test_the_curves_of_a_checkpoint(make_trainer, tmp_path):
    """`lacl plot curves` has the parts of the loss and the norm of the gradient from `trainer_state.json`."""
    pytest.importorskip("matplotlib")
    make_trainer(save_strategy="steps", save_steps=4).train()
    checkpoint = tmp_path / "out" / "checkpoint-4"
    logged = ("loss", "context_context_loss", "context_label_loss", "grad_norm")
    curves = learning_curves(checkpoint)
    for name in logged:
        taken_at, values = curves[name]
        assert taken_at == [1, 2, 3, 4] and len(set(values)) == 4 and min(values) > 0
    plot_learning_curves(checkpoint, tmp_path / "curves.svg")
    picture = (tmp_path / "curves.svg").read_text()
    assert all(f">{name}<" in picture for name in (*logged, "eval_f1"))


def test_early_stopping_leaves_the_best_model(make_trainer):
    trainer = make_trainer(
        max_steps=20,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        learning_rate=1e-2,
        callbacks=[EarlyStoppingCallback(2)],
    )
    trainer.train()
    measured = {entry["step"]: entry["eval_f1"] for entry in trainer.state.log_history if "eval_f1" in entry}
    best = trainer.state.best_metric
    assert trainer.state.global_step < 20 and best == max(measured.values())
    assert trainer.state.global_step == trainer.state.best_global_step + 2 * 2
    facts = trainer.model_with_facts().card_facts
    assert facts.results[0].f1 == best
    assert trainer.evaluate()["eval_f1"] == best


def test_optuna(make_trainer, make_tiny_model):
    """Every trial begins with the same fresh model, and with batches as its own arguments have them."""
    optuna = pytest.importorskip("optuna")
    begun, prompts = [], []

    def model_init():
        begun.append(make_tiny_model())
        return begun[-1]

    class Watched(EarlyStoppingCallback):
        def on_train_begin(self, args, state, control, **kwargs):
            prompts.append((args.labels_per_prompt, trainer.data_collator.labels_per_prompt))
            weights.append(kwargs["model"].lacl.projection.mean.weight.detach().clone())

    weights: list[torch.Tensor] = []
    trainer = make_trainer(model_init=model_init, processing_class=None, callbacks=[Watched(99)])
    best = trainer.hyperparameter_search(
        hp_space=lambda trial: {"labels_per_prompt": trial.suggest_int("labels_per_prompt", 1, 3)},
        n_trials=3,
        backend="optuna",
        sampler=optuna.samplers.GridSampler({"labels_per_prompt": [1, 2, 3]}),
    )
    assert len(begun) == 4
    assert sorted(prompts) == [(1, 1), (2, 2), (3, 3)]
    assert all(torch.equal(one, weights[0]) for one in weights)
    study = best.run_summary
    assert study is None or study.direction.name == "MAXIMIZE"
    assert 0 <= best.objective <= 1 and set(best.hyperparameters) == {"labels_per_prompt"}


def test_push_to_hub_during_training_and_after(make_trainer, hub, tmp_path):
    facts = CardFacts(license="mit", datasets=["someone/corpus"])
    trainer = make_trainer(
        push_to_hub=True,
        hub_model_id="ana/source",
        hub_token="secret",
        hub_private_repo=True,
        hub_always_push=True,
        save_strategy="steps",
        save_steps=2,
        save_total_limit=1,
        card_facts=facts,
    )
    repository = hub.repositories["ana/source"]
    assert repository.private and len(repository.commits) == 1
    trainer.train()
    assert [commit.message for commit in repository.commits[1:]] == [
        "Training in progress, step 2",
        "Training in progress, step 4",
    ]
    commit = trainer.push_to_hub(language="en", tags="birds")
    assert commit.oid == repository.commits[-1].oid and repository.commits[-1].message == "End of training"
    assert len(repository.commits) == 4
    for pushed in repository.commits[1:]:
        names = pushed.files.keys()
        assert {
            "config.json",
            "model.safetensors",
            "pipeline_lacl.py",
            "tokenizer.json",
            "README.md",
        } <= names
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pth")) or "/" in name]
    assert not list((tmp_path / "out").glob(".uploading-*"))
    card: Any = ModelCard(repository.files()["README.md"].decode())
    assert (card.data.license, card.data.language, card.data.datasets) == ("mit", ["en"], ["someone/corpus"])
    assert "birds" in card.data.tags and 'from_pretrained("ana/source")' in card.text
    last = [entry for entry in trainer.state.log_history if "eval_f1" in entry][-1]
    measured = {one.metric_type: one.metric_value for one in card.data.eval_results or ()}
    assert measured["f1"] == round(last["eval_f1"], 4)
    assert "F1" in card.text and "| plane |" in card.text


def test_the_last_checkpoint_whole(make_trainer, hub):
    options = {"save_strategy": "steps", "save_steps": 2, "max_steps": 2, "hub_strategy": "checkpoint"}
    make_trainer(push_to_hub=True, hub_model_id="ana/source", **options).train()
    (pushed,) = hub.repositories["ana/source"].commits[1:]
    assert {"last-checkpoint/optimizer.pt", "last-checkpoint/trainer_state.json", "config.json"} <= (
        pushed.files.keys()
    )


def test_a_dropped_upload_costs_no_training(make_trainer, hub, tmp_path):
    trainer = make_trainer(push_to_hub=True, hub_model_id="ana/source", save_strategy="steps", save_steps=2)
    hub.breaks = "/commit/"
    with CaptureLogger(trainer_hub.logger) as log:
        trainer.train()
    assert trainer.state.global_step == 4
    assert "an upload during training failed: the connection to" in log.out
    with pytest.raises(HubError, match="your files are as they were"):
        trainer.push_to_hub()
    assert LaclForTokenClassification.from_pretrained(tmp_path / "out").predict("ana flew") is not None
    hub.breaks = None
    trainer.push_to_hub(blocking=False).result()
    assert len(hub.repositories["ana/source"].commits) == 2


def test_a_wrong_token_comes_to_light_before_training(make_trainer, hub):
    with pytest.raises(HubError, match="does not take your token"):
        make_trainer(push_to_hub=True, hub_token="nonsense")


def test_a_model_of_another_kind_comes_to_light_before_training(make_trainer, hub):
    HfApi().create_repo("ana/source")
    hub.repositories["ana/source"].files()["config.json"] = b'{"model_type": "bert"}'
    with pytest.raises(HubError, match=r"another kind \(bert\).*choose another name"):
        make_trainer(push_to_hub=True, hub_model_id="ana/source")


def test_a_recipe_with_a_push(hub, tiny_encoder, tmp_path, monkeypatch, capfd):
    """`lacl train RECIPE`: held-out F1 on the card, everything in one last commit."""
    with (tmp_path / "train.jsonl").open("w") as file:
        file.writelines(json.dumps(one) + "\n" for one in make_examples() + HELD_OUT)
    recipe = {
        "encoder": str(tiny_encoder),
        "projection_size": 8,
        "train_file": str(tmp_path / "train.jsonl"),
        "dataset_name": "Birds and planes",
        "language": "en",
        "license": "cc-by-4.0",
        "held_out_types": ["plane"],
        "output_dir": str(tmp_path / "out"),
        "max_steps": 3,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 1,
        "eval_k_shot": 1,
        "eval_draws": 2,
        "save_strategy": "steps",
        "save_steps": 1,
        "load_best_model_at_end": True,
        "early_stopping_patience": 9,
        "use_cpu": True,
        "disable_tqdm": True,
        "push_to_hub": True,
        "hub_model_id": "ana/source",
        "hub_strategy": "end",
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setattr(sys, "argv", ["lacl", "train", str(tmp_path / "recipe.yaml"), "--seed", "1"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code, capfd.readouterr().err
    repository = hub.repositories["ana/source"]
    assert [commit.message for commit in repository.commits] == ["initial commit", "End of training"]
    metrics = json.loads(repository.files()["metrics.json"])
    assert repository.files()["metrics.json"] == (tmp_path / "out" / "metrics.json").read_bytes()
    card: Any = ModelCard((tmp_path / "out" / "README.md").read_text(encoding="utf-8"))
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == "source"
    assert {one.metric_type: one.metric_value for one in results} == {
        key: round(metrics[f"eval_{key}"], 4) for key in ("f1", "precision", "recall")
    }
    assert results[0].dataset_name.startswith("Birds and planes")
    assert (card.data.license, card.data.language) == ("cc-by-4.0", ["en"])
    assert "| person | person |" in card.text and "ana, ruiz" in card.text
    assert "seed `1`" in card.text and "F1 |" in card.text and "16 sentences" in card.text
    assert str(tmp_path) not in card.content
