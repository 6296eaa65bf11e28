"""Training: what is logged, accumulated, resumed, stopped early and refused."""

import math
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import DataCollatorForTokenClassification, EarlyStoppingCallback, TrainerCallback

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tokenize import tokenize_dataset
from modeling_lacl.model import similarity_lacl as model_module
from modeling_lacl.training.arguments import LaclTrainingArguments
from modeling_lacl.training.trainer import LaclTrainer
from modeling_lacl.training.validation import FewShotValidation

TYPES = ["person", "location", "creative-work"]
NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
WORDS = {"person": ["ana", "ruiz"], "location": ["quito", "york"], "creative-work": ["work", "play"]}


def make_examples(rows=32):
    generator = np.random.default_rng(0)
    examples = []
    for _ in range(rows):
        tokens, tags = ["the"], ["O"]
        for name in generator.choice(TYPES, 2):
            tokens += [str(generator.choice(WORDS[name])), "flew"]
            tags += [f"B-{name}", "O"]
        examples.append({"tokens": tokens, "ner_tags": tags})
    return examples


def make_held_out():
    tags = ["O", "B-plane", "O"]
    return read_dataset([{"tokens": ["a", word, "flew"], "ner_tags": tags} for word in ["cessna", "new"] * 4])


@pytest.fixture
def make_trainer(make_tiny_model, tiny_tokenizer, tmp_path):
    rows = tokenize_dataset(read_dataset(make_examples()), tiny_tokenizer, TYPES)

    def make(
        *,
        model=None,
        eval_dataset=None,
        callbacks=None,
        coarse_names=None,
        folder="out",
        config=None,
        data_collator=None,
        **options,
    ):
        settings = {
            "max_steps": 4,
            "per_device_train_batch_size": 4,
            "logging_steps": 1,
            "save_strategy": "no",
            "disable_tqdm": True,
            "use_cpu": True,
            "learning_rate": 1e-3,
            "eval_k_shot": 1,
            "eval_draws": 1,
            "n_way": 2,
            "k_shot": 1,
            "q_shot": 1,
        }
        return LaclTrainer(
            model=make_tiny_model(**(config or {})) if model is None else model,
            args=LaclTrainingArguments(output_dir=str(tmp_path / folder), **{**settings, **options}),
            train_dataset=rows,
            eval_dataset=eval_dataset,
            processing_class=tiny_tokenizer,
            coarse_names=coarse_names,
            callbacks=callbacks,
            data_collator=data_collator,
        )

    return make


def steps(trainer):
    return [entry for entry in trainer.state.log_history if "loss" in entry]


@pytest.mark.parametrize("sampling", ["plain", "episodes"])
def test_the_log_has_the_parts_of_the_loss(make_trainer, sampling):
    trainer = make_trainer(sampling=sampling, config={"alpha": 0.3})
    trainer.train()
    assert len(steps(trainer)) == 4
    for entry in steps(trainer):
        mixed = 0.3 * entry["context_context_loss"] + 0.7 * entry["context_label_loss"]
        assert entry["loss"] == pytest.approx(mixed, rel=1e-4)
        assert entry["grad_norm"] > 0 and entry["learning_rate"] > 0
        assert 0 < entry["tokens_per_second"] < math.inf


def test_parts_are_means_since_the_last_log(make_trainer):
    single = make_trainer(max_steps=6)
    single.train()
    window = make_trainer(max_steps=6, logging_steps=3)
    window.train()
    assert len(steps(window)) == 2
    for number, entry in enumerate(steps(window)):
        for key in ("loss", "context_context_loss", "context_label_loss"):
            mean = np.mean([one[key] for one in steps(single)[3 * number : 3 * number + 3]])
            assert entry[key] == pytest.approx(mean, rel=1e-4)


def test_tokens_per_second_counts_text_tokens(make_trainer, tiny_tokenizer):
    trainer = make_trainer(max_steps=2, logging_steps=2, per_device_train_batch_size=16)
    rows = trainer.train_dataset
    tokens = sum(len(row["input_ids"]) for row in rows)
    seen = []
    drain = trainer._window.drain

    def watched(accelerator):
        seen.append((int(trainer._window.tokens), trainer._window.seconds))
        return drain(accelerator)

    trainer._window.drain = watched
    trainer.train()
    number, seconds = seen[0]
    assert number == tokens
    assert steps(trainer)[0]["tokens_per_second"] == pytest.approx(tokens / seconds, rel=1e-3)
    assert (
        seconds < next(e for e in trainer.state.log_history if "train_runtime" in e)["train_runtime"] + 1e-3
    )


def test_accumulated_batches_are_averaged(make_trainer):
    """Two batches a step have the gradient that is the mean of theirs."""
    grads = {}
    for accumulate in (1, 2):
        trainer = make_trainer(
            gradient_accumulation_steps=accumulate,
            max_steps=2 // accumulate,
            learning_rate=0.0,
            max_grad_norm=0.0,
            config={"encoder": NO_DROPOUT},
        )
        collected: list[torch.Tensor] = []
        trainer.add_callback(_CollectGradients(trainer.model, collected))
        trainer.train()
        grads[accumulate] = collected
    first, second = grads[1]
    (together,) = grads[2]
    assert first.norm() > 0 and not torch.allclose(first, second)
    torch.testing.assert_close(together, (first + second) / 2, rtol=1e-4, atol=1e-6)


def test_accumulated_batches_are_not_one_batch(make_trainer, tiny_tokenizer):
    """Tokens of one batch are no candidates for those of the other; names of labels are there for all.

    Each row has as many words, and each batch has the whole label set as its prompt.
    """
    logs = {}
    for rows, accumulate in ((4, 1), (4, 2), (8, 1)):
        trainer = make_trainer(
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulate,
            max_steps=8 // rows // accumulate,
            learning_rate=0.0,
            config={"encoder": NO_DROPOUT, "class_weight_power": 0.0},
            data_collator=DataCollatorForTokenClassification(tiny_tokenizer),
        )
        trainer.train()
        logs[rows, accumulate] = steps(trainer)
    for key in ("loss", "context_context_loss", "context_label_loss"):
        apart = np.mean([entry[key] for entry in logs[4, 1]])
        (accumulated,), (whole,) = ([entry[key] for entry in logs[which]] for which in ((4, 2), (8, 1)))
        assert accumulated == pytest.approx(apart, rel=1e-5)
        if key == "context_label_loss":
            assert accumulated == pytest.approx(whole, rel=1e-5)
        else:
            assert accumulated < 0.95 * whole


def test_mixed_precision_goes_on_after_saving_and_evaluating_and_when_trained_again(make_trainer):
    trainer = make_trainer(
        bf16=True,
        max_steps=3,
        eval_dataset=make_held_out(),
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
    )
    seen = []
    linear = trainer.model.lacl.encoder.encoder.layer[0].intermediate.dense
    linear.register_forward_hook(lambda module, inputs, output: seen.append((module.training, output.dtype)))
    for _ in range(2):
        seen.clear()
        trainer.train()
        assert {dtype for training, dtype in seen if training} == {torch.bfloat16}
        assert {dtype for training, dtype in seen if not training} == {torch.float32}, "evaluated in fp32"
    seen.clear()
    trainer.model.predict("ana flew", labels=["person"])
    trainer.model.eval()(torch.tensor([[2, 5, 3]]))
    assert {dtype for _, dtype in seen} == {torch.float32}


def test_mixed_precision(make_trainer, tmp_path):
    """The encoder in bf16; the projection, the losses and what is saved in fp32."""
    dtypes, logs = {}, {}

    def keep(name, index):
        def hook(module, inputs, outputs):
            dtypes[name] = [one.dtype for one in (inputs[0], outputs[0] if index else outputs)]

        return hook

    for bf16 in (False, True):
        trainer = make_trainer(bf16=bf16, config={"encoder": {**NO_DROPOUT, "initializer_range": 0.1}})
        trainer.model.lacl.projection.register_forward_hook(keep("projection", 1))
        trainer.model.lacl.encoder.encoder.layer[0].intermediate.dense.register_forward_hook(keep("layer", 0))
        trainer.train()
        logs[bf16] = steps(trainer)
        assert dtypes["projection"] == [torch.float32] * 2
        assert dtypes["layer"][1] == (torch.bfloat16 if bf16 else torch.float32)
    for key in ("loss", "context_context_loss", "context_label_loss"):
        half, full = ([entry[key] for entry in logs[which]] for which in (True, False))
        assert half != full and half == pytest.approx(full, rel=0.02)
    trainer.save_model()
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {weight.dtype for weight in saved.values() if weight.is_floating_point()} == {torch.float32}
    assert LaclForTokenClassification.from_pretrained(tmp_path / "out").dtype == torch.float32


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing`:FutureWarning")
@pytest.mark.parametrize("shared_prompt", [False, True])
def test_gradient_checkpointing_changes_no_gradient(make_trainer, shared_prompt):
    """Dropout is on: recomputed activations use the same random numbers."""
    gradients, calls = {}, {}
    for checkpointing in (False, True):
        trainer = make_trainer(
            gradient_checkpointing=checkpointing, max_steps=1, config={"shared_prompt": shared_prompt}
        )
        collected: list[torch.Tensor] = []
        trainer.add_callback(_CollectGradients(trainer.model, collected))
        called: list[str] = []
        for module in trainer.model.lacl.encoder.encoder.layer:
            module.output.dense.register_forward_hook(lambda *args, called=called: called.append("layer"))
        trainer.train()
        (gradients[checkpointing],) = collected
        calls[checkpointing] = len(called)
    assert calls[True] == 2 * calls[False]
    assert gradients[False].norm() > 1e-2
    torch.testing.assert_close(gradients[True], gradients[False], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
def test_reentrant_checkpointing_would_lose_gradients_of_a_shared_prompt(make_trainer):
    trainer = make_trainer(
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": True},
        config={"shared_prompt": True},
    )
    with pytest.raises(ValueError, match="use_reentrant to false in gradient_checkpointing_kwargs"):
        trainer.train()


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_training_and_prediction_are_those_of_eager(make_trainer, backend):
    """`inductor`, the default, compiles C++ for minutes: with `LACL_INDUCTOR=1` alone."""
    if backend == "inductor":
        if not os.environ.get("LACL_INDUCTOR"):
            pytest.skip("compiles for minutes; set LACL_INDUCTOR=1 to run it")
        if not shutil.which(os.environ.get("CXX", "g++")):
            pytest.skip("torch.compile needs a C++ compiler, such as g++")
    encoder = {**NO_DROPOUT, "num_hidden_layers": 1}
    logs, weights = [], []
    for options in ({}, {"torch_compile": True, "torch_compile_backend": backend}):
        # AdamW would make a whole step of what rounding leaves of a gradient that is zero.
        trainer = make_trainer(max_steps=1, optim="sgd", config={"encoder": encoder}, **options)
        trainer.train()
        (entry,) = steps(trainer)
        logs.append([entry[key] for key in ("loss", "grad_norm", "context_context_loss")])
        weights.append(torch.cat([one.detach().flatten() for one in trainer.model.parameters()]))
    assert isinstance(trainer.model_wrapped, torch._dynamo.eval_frame.OptimizedModule)
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-4, atol=1e-5)
    model, text = trainer.model.eval(), "ana ruiz flew to quito"
    expected = model.predict(text)
    torch._dynamo.utils.counters.clear()
    model.compile(backend=backend)
    found = model.predict(text)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    torch._dynamo.reset()
    scores = [entity.pop("score") for entity in found]
    assert scores == pytest.approx([entity.pop("score") for entity in expected], abs=1e-5)
    assert found == expected and found


class _CollectGradients(TrainerCallback):
    def __init__(self, model, collected):
        self.model, self.collected = model, collected

    def on_pre_optimizer_step(self, *args, **kwargs):
        grads = [
            parameter.grad.flatten() for parameter in self.model.parameters() if parameter.grad is not None
        ]
        self.collected.append(torch.cat(grads).clone())


def test_training_learns(make_trainer):
    trainer = make_trainer(max_steps=40, lr_scheduler_type="constant", num_train_epochs=10, logging_steps=10)
    trainer.train()
    assert steps(trainer)[-1]["loss"] < 0.8 * steps(trainer)[0]["loss"]


@pytest.mark.parametrize(
    "options", [{}, {"sampling": "episodes"}, {"train_sampling_strategy": "group_by_length"}], ids=str
)
@pytest.mark.parametrize("saved_at", [3, 10])
def test_a_resumed_run_goes_on_as_if_unbroken(make_trainer, tmp_path, options, saved_at):
    """Eight batches an epoch: the runs break within the first epoch and within the second.

    They break within a window of the log, too.
    """
    options = {
        "max_steps": 13,
        "save_strategy": "steps",
        "save_steps": saved_at,
        "logging_steps": 2,
        **options,
    }
    unbroken = make_trainer(**options)
    unbroken.train()
    resumed = make_trainer(folder="resumed", **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / f"checkpoint-{saved_at}"))
    assert saved_at in [entry["step"] for entry in steps(unbroken)]
    for key in ("step", "loss", "grad_norm", "context_label_loss"):
        assert [entry[key] for entry in steps(resumed)] == pytest.approx(
            [entry[key] for entry in steps(unbroken)], rel=1e-5
        )
    for a, b in zip(unbroken.model.parameters(), resumed.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_run_resumed_at_its_last_step_does_no_more(make_trainer, tmp_path):
    """The run was interrupted after its last checkpoint; seven steps are no complete epoch."""
    options = {"max_steps": 7, "save_strategy": "steps", "save_steps": 7}
    unbroken = make_trainer(**options)
    unbroken.train()
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-7"))
    assert [entry["step"] for entry in steps(resumed)] == list(range(1, 8))
    for a, b in zip(unbroken.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("part", ["context_label_loss", "context_context_loss"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run(make_trainer, monkeypatch, tmp_path, part, value):
    trainer = make_trainer(save_strategy="steps", save_steps=1)
    right = getattr(model_module, part)

    def wrong(*args):
        loss = right(*args)
        return loss * value if trainer.state.global_step == 2 else loss

    monkeypatch.setattr(model_module, part, wrong)
    with pytest.raises(
        FloatingPointError, match=f"step 3 is not a finite number: {part} is {value}.*learning_rate"
    ):
        trainer.train()
    folder = tmp_path / "out"
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint-1", "checkpoint-2"]


def scripted_scores(values):
    remaining = iter(values)
    return lambda self, model, batch_size: {"f1": next(remaining)}


def test_early_stopping_and_the_best_model(make_trainer, monkeypatch):
    monkeypatch.setattr(FewShotValidation, "scores", scripted_scores([0.1, 0.6, 0.3, 0.5, 0.9]))
    weights = {}

    class Keep(EarlyStoppingCallback):
        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            weights[state.global_step] = [p.detach().clone() for p in kwargs["model"].parameters()]
            super().on_evaluate(args, state, control, metrics, **kwargs)

    trainer = make_trainer(
        max_steps=20,
        eval_dataset=make_held_out(),
        eval_strategy="steps",
        eval_steps=2,
        save_strategy="steps",
        save_steps=2,
        load_best_model_at_end=True,
        callbacks=[Keep(early_stopping_patience=2)],
    )
    trainer.train()
    assert sorted(weights) == [2, 4, 6, 8] and trainer.state.best_global_step == 4
    assert trainer.state.best_metric == 0.6
    after = list(trainer.model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(after, weights[4], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(after, weights[8], strict=True))


def test_evaluation_during_training_changes_nothing(make_trainer):
    plain = make_trainer()
    plain.train()
    evaluated = make_trainer(eval_dataset=make_held_out(), eval_strategy="steps", eval_steps=1)
    evaluated.train()
    assert [entry["loss"] for entry in steps(plain)] == [entry["loss"] for entry in steps(evaluated)]
    found = [entry for entry in evaluated.state.log_history if "eval_f1" in entry]
    assert len(found) == 4
    for key in ("f1", "precision", "recall", "f1_plane", "precision_plane", "recall_plane"):
        assert 0 <= found[0][f"eval_{key}"] <= 1
    assert found[0]["eval_runtime"] > 0


def test_evaluation_with_mixed_precision(make_trainer):
    trainer = make_trainer(max_steps=1, bf16=True, eval_dataset=make_held_out())
    trainer.train()
    assert 0 <= trainer.evaluate()["eval_f1"] <= 1


def test_several_evaluation_sets(make_trainer):
    trainer = make_trainer(eval_dataset={"a": make_held_out(), "b": make_held_out()})
    metrics = trainer.evaluate()
    assert metrics["eval_a_f1"] == metrics["eval_b_f1"]
    assert trainer.evaluate("a", metric_key_prefix="x")["x_f1"] == metrics["eval_a_f1"]


def test_evaluation_data_are_checked_before_training(make_trainer):
    with pytest.raises(ValueError, match=r"found no sample of 50 to 100 .*\{'plane': 8\}"):
        make_trainer(eval_dataset=make_held_out(), eval_k_shot=50)
    with pytest.raises(ValueError, match="evaluation needs an eval_dataset"):
        make_trainer().evaluate()


def test_without_prompts_there_is_no_label_part(make_trainer):
    trainer = make_trainer(config={"use_prompts": False})
    trainer.train()
    assert all("context_label_loss" not in entry and entry["loss"] > 0 for entry in steps(trainer))


def test_coarse_names_reach_the_batches(make_trainer):
    trainer = make_trainer(
        coarse_names={"person": "anything", "location": "anything"}, coarse_probability=1.0
    )
    batch = next(iter(trainer.get_train_dataloader()))
    assert batch["prompt_labels"].max() == 2
    trainer.train()


@pytest.mark.parametrize("config", [{}, {"max_prompt_length": 12}, {"max_span_words": 2}], ids=str)
def test_prediction_is_by_the_labels_of_the_model(make_trainer, tiny_tokenizer, config):
    """In training, a prompt has one type here, of another number in every batch."""
    trainer = make_trainer(config=config, labels_per_prompt=1, per_device_eval_batch_size=4)
    model = trainer.model
    dataset = read_dataset(make_examples(rows=6))
    rows = tokenize_dataset(dataset, tiny_tokenizer, TYPES, entities=bool(config.get("max_span_words")))
    trainer.compute_metrics = lambda result: {"cells": result.label_ids.size}
    found = trainer.predict(rows)
    logits = found.predictions[0] if isinstance(found.predictions, tuple) else found.predictions
    assert logits.shape[-1] == 4 and found.metrics["test_cells"] == found.label_ids.size
    for row, labels, scores in zip(rows, found.label_ids, logits, strict=True):
        length = len(row["input_ids"])
        assert labels[:length].tolist() == row["labels"] and set(labels[length:]) <= {-100}
        with torch.no_grad():
            expected = model(torch.tensor([row["input_ids"]])).logits[0]
        np.testing.assert_allclose(scores[:length], expected, atol=1e-4)
    batch = next(iter(trainer.get_eval_dataloader(rows)))
    assert "prompt_ids" not in batch and batch["labels"].max() == 3
    assert "prompt_ids" in next(iter(trainer.get_train_dataloader()))


def test_a_label_set_too_long_for_a_prompt_is_refused(make_trainer):
    with pytest.raises(ValueError, match="max_prompt_length"):
        make_trainer(config={"max_prompt_length": 12, "labels": ["a" * 8, "b" * 8]})


def test_too_few_types_for_an_episode(make_trainer):
    with pytest.raises(ValueError, match="n_way is 4, but only 3 types"):
        make_trainer(sampling="episodes", n_way=4).train()
