"""CONTaiNER: its equations against a direct transcription, its second stage step by step."""

import math

import pytest
import torch
from transformers import TrainerCallback

from modeling_lacl.evaluation import stages as container
from modeling_lacl.evaluation.stages import second_stage
from modeling_lacl.model.losses_lacl import context_context_loss, pairwise_divergence

SUPPORT = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "the cessna in York".split(), "ner_tags": "O B-plane O B-town".split()},
]
HEAD = {
    "use_prompts": False,
    "projection": "relu_gaussian",
    "variance_epsilon": 1e-14,
    "divergence": "jeffreys",
    "similarity_temperature": 1.0,
    "loss_type": "container",
    "alpha": 1.0,
    "class_weight_power": 0.0,
}


def kl(mean_p, var_p, mean_q, var_q):
    """Das et al. 2022, eq. 4, of two diagonal Gaussians."""
    return 0.5 * sum(
        math.log(vq / vp) - 1 + vp / vq + (mp - mq) ** 2 / vq
        for mp, vp, mq, vq in zip(mean_p, var_p, mean_q, var_q, strict=True)
    )


def published_loss(means, variances, labels):
    """−log₂ Σ_pos e^−D + log₂ Σ_{j≠i} e^−D + log₂ |pos|, a mean over anchors with a positive."""
    losses = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        positives = [j for j in others if labels[j] == label]
        if not positives:
            continue
        score = {
            j: math.exp(
                -0.5
                * (
                    kl(means[i], variances[i], means[j], variances[j])
                    + kl(means[j], variances[j], means[i], variances[i])
                )
            )
            for j in others
        }
        losses.append(
            -math.log2(sum(score[j] for j in positives))
            + math.log2(sum(score.values()))
            + math.log2(len(positives))
        )
    return sum(losses) / len(losses)


def test_divergence_and_loss_are_those_published():
    torch.manual_seed(0)
    mean, variance = torch.randn(12, 5).double(), torch.rand(12, 5).double() + 0.3
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 0, 1, 4])  # one anchor without a positive of each 3, 4
    gaussians = (mean, variance)
    similarity = -pairwise_divergence("jeffreys", gaussians, gaussians)
    ours = context_context_loss(similarity, labels, "container", 0.0) / math.log(2)
    assert ours.item() == pytest.approx(published_loss(mean.tolist(), variance.tolist(), labels.tolist()))


def test_the_head_is_relu_then_linear_and_variance_elu(make_tiny_model):
    model = make_tiny_model(**HEAD).eval()
    hidden = torch.randn(3, 32)
    head = model.lacl.projection
    mean, variance = head(hidden)
    rectified = hidden.clamp(min=0)
    torch.testing.assert_close(mean, rectified @ head.mean.weight.T + head.mean.bias)
    raw = rectified @ head.variance.weight.T + head.variance.bias
    torch.testing.assert_close(variance, torch.where(raw > 0, raw, raw.exp() - 1) + 1 + 1e-14)


def test_dropout_is_that_of_the_encoder_and_comes_before_the_head(make_tiny_model):
    head = make_tiny_model(**HEAD).train().lacl.projection
    head.dropout.p = 0.999999
    mean, _ = head(torch.randn(3, 32).abs() + 1)
    torch.testing.assert_close(mean, head.mean.bias.expand(3, -1))
    with_names = make_tiny_model().train().lacl.projection
    hidden = torch.randn(3, 32)
    assert torch.equal(with_names(hidden)[0], with_names(hidden)[0]), "LACL's own head has none"


def test_decoding_is_the_nearest_support_token_by_unit_hidden_states(make_tiny_model, tiny_tokenizer):
    source = make_tiny_model(**HEAD)
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    ner = second_stage("container")(source, SUPPORT, seed=1)
    assert all(torch.equal(before[name], tensor) for name, tensor in source.state_dict().items())
    batch = tiny_tokenizer("Ana in York", return_tensors="pt")
    with torch.no_grad():
        states = ner.lacl.encoder(**batch).last_hidden_state[0]
        found = ner(batch["input_ids"], batch["attention_mask"]).logits[0].argmax(-1)
    support, labels = ner.support_mean, ner.support_labels
    torch.testing.assert_close(support.norm(dim=1), torch.ones(len(support)))
    for state, label in zip(states, found.tolist(), strict=True):
        distances = ((state / state.norm() - support) ** 2).sum(1)
        assert labels[distances.argmin()].item() == label


def test_fine_tuning_ends_when_the_loss_first_rises(make_tiny_model, tiny_tokenizer, monkeypatch):
    losses = []

    class Watch(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                losses.append(logs["loss"])

    plain = container.adapt

    def watched(*args, callbacks, **kwargs):
        assert kwargs["batch_size"] == len(SUPPORT) and kwargs["weight_decay"] == 0
        return plain(*args, callbacks=[*callbacks, Watch()], **kwargs)

    monkeypatch.setattr(container, "adapt", watched)
    second_stage("container")(make_tiny_model(**HEAD), SUPPORT, learning_rate=1e-2)
    assert all(later <= earlier for earlier, later in zip(losses[:-2], losses[1:-1], strict=True))
    assert len(losses) == container.LONGEST_RUN or losses[-1] > losses[-2]


def test_an_unknown_stage_is_named():
    with pytest.raises(ValueError, match="stage is 'contrainer'; choose one of lacl, container"):
        second_stage("contrainer")
