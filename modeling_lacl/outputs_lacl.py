"""What the models return."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class LaclModelOutput(ModelOutput):
    """Output of [`LaclModel`], all at the text's own positions.

    Args:
        last_hidden_state: `(B, L, H)`.
        mean, variance: `(B, L, d)` fp32, each token's Gaussian.
        label_mean, label_variance: `(B, K, d)` fp32, each label's Gaussian in its row's prompt; None without
            prompts.
        label_present: `(B, K)` bool, whether the label stands in the row's prompt.
        hidden_states, attentions: as the encoder gives them, over text and prompt packed together.
    """

    last_hidden_state: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None
    label_mean: Tensor | None = None
    label_variance: Tensor | None = None
    label_present: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class LaclOutput(ModelOutput):
    """Output of [`LaclForTokenClassification`].

    Args:
        loss: Scalar, `alpha * context_context_loss + (1 - alpha) * context_label_loss`; None without
            `labels`.
        logits: `(B, L, K)` fp32 log-scores over the labels.
        context_context_loss, context_label_loss: Scalars, the parts of `loss`.
        mean, variance: `(B, L, d)` fp32, each token's Gaussian.
        hidden_states, attentions: as the encoder gives them, over text and prompt packed together.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    context_context_loss: Tensor | None = None
    context_label_loss: Tensor | None = None
    mean: Tensor | None = None
    variance: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
