"""Random models over small encoders of every kind, batches for them, and outputs of single sequences."""

from typing import Any

import pytest
import torch
from torch.nn.functional import elu
from transformers import (
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ModernBertConfig,
    RobertaConfig,
    XLNetConfig,
)

from modeling_lacl import LaclConfig, LaclForTokenClassification
from modeling_lacl.model.labels_lacl import PADDING_LABEL, build_prompt
from modeling_lacl.model.losses_lacl import pairwise_divergence

VOCABULARY = 60
LOWEST = torch.finfo(torch.float32).min
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
COMMON: dict[str, Any] = {"vocab_size": VOCABULARY, "initializer_range": 0.2}

# What the published DeBERTa v2 and v3 have switched on, and the signature of the configuration does not name.
DEBERTA_V3: dict[str, Any] = {
    "position_buckets": 8,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "conv_kernel_size": 3,
}

ENCODERS = {
    "bert": lambda: BertConfig(**COMMON, **SIZES, max_position_embeddings=64),
    "roberta": lambda: RobertaConfig(**COMMON, **SIZES, max_position_embeddings=66, type_vocab_size=1),
    "distilbert": lambda: DistilBertConfig(
        **COMMON, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64
    ),
    "xlnet": lambda: XLNetConfig(**COMMON, d_model=32, n_layer=2, n_head=4, d_inner=48),
    "deberta-v2": lambda: DebertaV2Config(
        **COMMON,
        **SIZES,
        **DEBERTA_V3,
        max_position_embeddings=64,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
    ),
    "modernbert": lambda: ModernBertConfig(
        **COMMON,
        **SIZES,
        max_position_embeddings=64,
        local_attention=8,
        layer_types=["full_attention", "sliding_attention"],
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        cls_token_id=1,
        sep_token_id=2,
    ),
}
SEPARATOR = 2
NAMES = [[5], [6, 7, 8], [9, 6]]
TEXTS = [[1, 20, 21, 22, 23, 24, 25, 2], [1, 30, 2], [1, 40, 41, 42, 40, 2]]

every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def build(encoder="bert", names=NAMES, **settings):
    """A random model over a small encoder, with labels given as token ids, in eval mode."""
    torch.manual_seed(0)
    settings = {"divergence": "moment_js", "similarity_temperature": 1.0, "label_weight": 0.5, **settings}
    config = LaclConfig(
        encoder_config=ENCODERS[encoder]() if isinstance(encoder, str) else encoder,
        projection_size=settings.pop("projection_size", 16),
        id2label={0: "O", **{i: f"type-{i}" for i in range(1, len(names))}},
        label_token_ids=[list(name) for name in names],
        separator_token_id=SEPARATOR,
        **settings,
    )
    return LaclForTokenClassification(config).eval()


def padded(rows, side="right", value=33, extra=0):
    """Sequences as ids and mask, padded with an ordinary token, which must not matter."""
    length = max(len(row) for row in rows) + extra
    ids = torch.full((len(rows), length), value)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        places = slice(length - len(row), None) if side == "left" else slice(len(row))
        ids[i, places] = torch.tensor(row)
        mask[i, places] = 1
    return ids, mask


def prompts_of(*orders, names=NAMES):
    """A prompt for each sequence, padded to the longest."""
    built = [build_prompt(names, SEPARATOR, order) for order in orders]
    length = max(len(ids) for ids, _ in built)
    ids = torch.full((len(built), length), 33)
    labels = torch.full((len(built), length), PADDING_LABEL)
    for i, (row, row_labels) in enumerate(built):
        ids[i, : len(row)] = row
        labels[i, : len(row)] = row_labels
    return ids, labels


def project(model, hidden):
    """The Gaussian head by its formula."""
    head = model.lacl.projection
    mean = hidden @ head.mean.weight.T + head.mean.bias
    variance = elu(hidden @ head.variance.weight.T + head.variance.bias) + 1 + model.config.variance_epsilon
    return mean, variance


def alone(model, text, order):
    """Mean, variance and logits of one text, by the bare encoder on its concatenated tokens."""
    names = model.config.label_token_ids
    tokens, spans = list(text), {}
    for label in order:
        spans[label] = slice(len(tokens), len(tokens) + len(names[label]))
        tokens += [*names[label], SEPARATOR]
    with torch.no_grad():
        hidden = model.lacl.encoder(input_ids=torch.tensor([tokens])).last_hidden_state[0]
        mean, variance = project(model, hidden[: len(text)])
        if not order:
            return mean, variance, None
        labels = project(model, torch.stack([hidden[spans[label]].mean(0) for label in order]))
        divergence = pairwise_divergence(model.config.divergence, (mean, variance), labels)
        scores = (divergence / -model.config.similarity_temperature).log_softmax(-1)
        logits = torch.full((len(text), max(order) + 1), LOWEST)
        logits[:, list(order)] = scores
    return mean, variance, logits


def assert_sequences_equal(output, mask, expected):
    for i, (mean, variance, logits) in enumerate(expected):
        inside = mask[i].bool()
        torch.testing.assert_close(output.mean[i, inside], mean, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(output.variance[i, inside], variance, rtol=1e-4, atol=1e-4)
        if logits is not None:
            torch.testing.assert_close(output.logits[i, inside], logits, rtol=1e-4, atol=1e-4)


def with_support(model, size=12):
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(size, 16, generator=generator)
    variance = torch.rand(size, 16, generator=generator) + 0.1
    # The last label has no example.
    labels = torch.arange(size) % (model.config.num_labels - 1)
    model.set_support(mean, variance, labels)
    return mean, variance, labels
