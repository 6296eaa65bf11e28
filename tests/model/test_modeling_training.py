"""Training the model: its loss and the parts of it, finite gradients, and which weights are trained."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from small_models import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    ENCODERS,
    NAMES,
    TEXTS,
    alone,
    build,
    padded,
    project,
    prompts_of,
)
from transformers import DataCollatorForTokenClassification, Trainer, TrainingArguments

from modeling_lacl import LaclForTokenClassification, read_dataset, tokenize_dataset
from modeling_lacl.model.configuration_lacl import DIVERGENCES, LOSS_TYPES
from modeling_lacl.model.losses_lacl import (
    MEAN_DIVERGENCES,
    context_context_loss,
    context_label_loss,
    pairwise_divergence,
)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("outside_attracts", [True, False])
def test_loss_and_its_parts(divergence, loss_type, outside_attracts):
    """From the Gaussians of the sequences, encoded one at a time."""
    model = build(
        divergence=divergence,
        loss_type=loss_type,
        alpha=0.25,
        class_weight_power=0.5,
        outside_attracts=outside_attracts,
        similarity_temperature=2.0,
    )
    ids, mask = padded(TEXTS, "left")
    labels = torch.where(mask.bool(), ids % 3, -100)
    labels[:, -1] = -100
    with torch.no_grad():
        output = model(ids, mask, labels=labels)
    rows = [alone(model, text, [0, 1, 2]) for text in TEXTS]
    mean, variance, logits = (torch.cat([row[i][:-1] for row in rows]) for i in range(3))
    flat = torch.cat([torch.tensor(text[:-1]) % 3 for text in TEXTS])
    similarity = -pairwise_divergence(divergence, (mean, variance), (mean, variance)) / 2
    context = context_context_loss(similarity, flat, loss_type, 0.5, outside_attracts=outside_attracts)
    # The losses do not change when a constant is added to a row of similarities: log_softmax does just that.
    names = context_label_loss(logits, flat, torch.ones_like(logits, dtype=torch.bool), loss_type, 0.5)
    torch.testing.assert_close(output.context_context_loss, context, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(output.context_label_loss, names, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        output.loss, 0.25 * output.context_context_loss + 0.75 * output.context_label_loss
    )


def test_loss_without_prompts_is_context_context():
    model = build(use_prompts=False, alpha=0.25)
    ids, mask = padded(TEXTS)
    output = model(ids, mask, labels=torch.where(mask.bool(), ids % 3, -100))
    assert output.context_label_loss is None
    assert torch.equal(output.loss, output.context_context_loss)


def test_a_token_whose_label_is_not_in_its_prompt_has_no_context_label_loss():
    model = build()
    ids, mask = padded(TEXTS)
    prompt_ids, prompt_labels = prompts_of([0, 1, 2], [0, 1], [0, 1])
    labels = torch.full_like(ids, -100)
    labels[0, 1] = 2
    call = {"prompt_ids": prompt_ids, "prompt_labels": prompt_labels}
    expected = model(ids, mask, labels=labels, **call).context_label_loss
    labels[1, 1] = labels[2, 1] = 2
    torch.testing.assert_close(model(ids, mask, labels=labels, **call).context_label_loss, expected)


def test_a_label_beyond_the_prompt():
    model = build()
    with pytest.raises(ValueError, match="labels has the id 3, and the prompt has 3 labels"):
        model(torch.tensor(TEXTS[:1]), labels=torch.full((1, 8), 3))


BATCHES = {
    "mixed": [0, 1, 2, 0, 1, 2, 0, 1],
    "one type only": [1] * 8,
    "no entity": [0] * 8,
    "one token": [-100, 2, *[-100] * 6],
    "no token": [-100] * 8,
}


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("loss_type", LOSS_TYPES)
@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_gradients_are_finite(divergence, loss_type, bf16, scale):
    model = build(divergence=divergence, loss_type=loss_type).train()
    model.lacl.encoder.register_forward_hook(
        lambda module, arguments, output: output.__setitem__(
            "last_hidden_state", output.last_hidden_state * scale
        )
    )
    ids = torch.tensor([TEXTS[0]])
    for name, labels in BATCHES.items():
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = model(ids, labels=torch.tensor([labels]))
        output.loss.backward()
        assert output.loss.dtype == output.mean.dtype == output.logits.dtype == torch.float32, name
        assert output.loss.isfinite() and output.logits.isfinite().all(), name
        for parameter in model.parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name
        if name == "mixed":
            assert model.lacl.projection.mean.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_a_label_set_of_one_type(divergence):
    model = build(names=NAMES[:2], divergence=divergence).train()
    output = model(torch.tensor(TEXTS[:1]), labels=torch.tensor([[-100, 1, 0, 0, 0, 0, 0, -100]]))
    output.loss.backward()
    assert output.logits.shape[-1] == 2
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_the_head_is_fp32_under_autocast():
    """Equal to the head in fp32 on the same hidden states, to fp32's precision."""
    model = build()
    ids = torch.tensor(TEXTS[:1])
    prompt_ids, prompt_labels = prompts_of([0, 1, 2])
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = model.lacl(ids, prompt_ids=prompt_ids, prompt_labels=prompt_labels)
    mean, variance = project(model, output.last_hidden_state.float())
    torch.testing.assert_close(output.mean, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.variance, variance, rtol=1e-5, atol=1e-5)
    for part in (output.label_mean, output.label_variance):
        assert not torch.equal(part, part.bfloat16().float()), "rounded to bf16"


@pytest.mark.parametrize(
    ("encoder", "divergence"),
    [
        *((encoder, "moment_js") for encoder in sorted(set(ENCODERS) - {"xlnet"})),
        *(("bert", divergence) for divergence in DIVERGENCES),
    ],
)
def test_every_weight_is_trained(encoder, divergence):
    """No pooling layer and nothing else idle, on which distributed training would wait."""
    model = build(encoder, divergence=divergence).train()
    ids, mask = padded(TEXTS)
    model(ids, mask, labels=torch.where(mask.bool(), ids % 3, -100)).loss.backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert idle == frozen
    variance = {"lacl.projection.variance.weight", "lacl.projection.variance.bias"}
    assert frozen == (variance if divergence in MEAN_DIVERGENCES else set())


def test_loading_leaves_idle_weights_frozen(tmp_path):
    model = build("bert", divergence="cosine")
    model.save_pretrained(tmp_path)
    loaded = [LaclForTokenClassification.from_pretrained(tmp_path)]
    loaded += LaclForTokenClassification.from_pretrained(tmp_path, output_loading_info=True)[:1]  # type: ignore[index]
    for again in loaded:
        for (name, a), b in zip(model.named_parameters(), again.parameters(), strict=True):
            assert a.requires_grad == b.requires_grad, name
    other = LaclForTokenClassification.from_pretrained(tmp_path, divergence="jeffreys")
    assert all(parameter.requires_grad for parameter in other.parameters())


def test_no_processes_to_go_across():
    model = build("bert")
    ids, mask = padded(TEXTS)
    with pytest.raises(ValueError, match="torch.distributed is not set up: start .* `accelerate launch`"):
        model(ids, mask, labels=torch.zeros_like(ids), across_processes=True)


@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable.*:FutureWarning")
@pytest.mark.parametrize("encoder", sorted(set(ENCODERS) - {"xlnet"}))
def test_gradient_checkpointing(encoder):
    """The encoder's layers run twice, and the gradients are the same. (XLNet has none in transformers.)"""
    ids, mask = padded(TEXTS)
    labels = torch.where(mask.bool(), ids % 3, -100)
    gradients, runs = [], []
    for checkpointing in (False, True):
        model = build(encoder).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if checkpointing:
            model.gradient_checkpointing_enable()
        calls: list[int] = []
        feed_forward = (
            m for m in model.modules() if type(m).__name__.endswith(("FFN", "MLP", "Intermediate"))
        )
        next(feed_forward).register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        model(ids, mask, labels=labels).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
        runs.append(len(calls))
    assert runs == [1, 2]
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, msg=name)


def test_a_plain_trainer_evaluates_and_predicts(make_tiny_model, tiny_tokenizer, tmp_path):
    """`Trainer` takes every argument of `forward` with "label" in its name for one that batches must have."""
    model = make_tiny_model()
    rows = [
        {"tokens": ["ana", "flew", "to", name], "ner_tags": ["person", "O", "O", "location"]}
        for name in "abc"
    ]
    data = tokenize_dataset(read_dataset(rows), tiny_tokenizer, model.entity_types)
    called = []

    def metrics(prediction: Any):
        called.append((prediction.predictions.shape, prediction.label_ids.shape))
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    settings: dict[str, Any] = {"max_steps": 1, "save_strategy": "no", "disable_tqdm": True}
    settings |= {"gradient_accumulation_steps": 2, "per_device_eval_batch_size": 2}
    trainer = Trainer(
        model,
        TrainingArguments(str(tmp_path), report_to="none", use_cpu=True, **settings),
        DataCollatorForTokenClassification(tiny_tokenizer),
        data,
        data,
        compute_metrics=metrics,
    )
    assert trainer.label_names == ["labels"] and not trainer.model_accepts_loss_kwargs
    trainer.train()
    found = trainer.evaluate()
    assert math.isfinite(found["eval_loss"]) and 0 <= found["eval_accuracy"] <= 1
    predicted: Any = trainer.predict(data)
    assert called == [(predicted.predictions.shape, predicted.label_ids.shape)] * 2
    batch = trainer.data_collator([data[0]])
    with torch.no_grad():
        logits = model.eval()(**batch).logits
    np.testing.assert_allclose(predicted.predictions[0, : logits.shape[1]], logits[0], atol=1e-5)


def test_unknown_arguments_are_refused(tiny_model):
    with pytest.raises(TypeError, match="prompt_label'"):
        tiny_model(torch.ones(1, 3, dtype=torch.long), prompt_label=torch.zeros(1, 3))
