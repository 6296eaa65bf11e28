"""Scores and losses of a model from the Gaussians of tokens, label names and support set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.compiler import is_compiling

from .decoding_lacl import IMPOSSIBLE, ROLES, span_logits
from .encoder_lacl import LaclModelOutput
from .losses_lacl import (
    Gaussians,
    context_context_loss,
    context_label_loss,
    gather_batch,
    mean_over_processes,
    pairwise_divergence,
)
from .spans_lacl import (
    batch_entities,
    by_role,
    role_labels,
    room_in_text,
    span_label_loss,
)

Losses = tuple[Tensor, Tensor, Tensor | None]

# Number of (token, support token) pairs compared at once on a CPU: 4 MiB in fp32, which fit its cache. Other
# devices, which have more parallelism, take 32 times as many.
_PAIRS = 1 << 20
_ROWS = 1 << 10


def nearest_neighbor_scores(similarity: Tensor, support_labels: Tensor, num_labels: int) -> Tensor:
    """Return the similarity to the nearest support token of every label (NNShot, Yang & Katiyar 2020).

    Args:
        similarity: (N, S) float, similarity of each token to each support token.
        support_labels: (S,) long, label ids in [0, num_labels).
        num_labels: K, the number of labels.

    Returns:
        (N, K), dtype of `similarity`. A label without support tokens gets the dtype's lowest finite
        value.
    """
    lowest = torch.finfo(similarity.dtype).min
    scores = similarity.new_full((similarity.shape[0], num_labels), lowest)
    return scores.scatter_reduce(1, support_labels.expand_as(similarity), similarity, reduce="amax")


def nearest_in_blocks(
    similarity: Callable[[Gaussians, Gaussians], Tensor],
    tokens: Gaussians,
    support: Gaussians,
    support_labels: Tensor,
    num_labels: int,
) -> Tensor:
    """Return `nearest_neighbor_scores` of (N, d) tokens and (S, d) support, in blocks to limit memory.

    Args:
        similarity: Function from (n, d) and (s, d) Gaussians to their (n, s) similarities.
        tokens, support: Mean and variance of each.
        support_labels, num_labels: As in `nearest_neighbor_scores`.
    """
    pairs = _PAIRS * (1 if support_labels.device.type == "cpu" else 32)
    rows = max(1, min(len(tokens[0]), _ROWS))
    columns = max(1, pairs // rows)
    labels = support_labels.split(columns)
    blocks = list(zip(support[0].split(columns), support[1].split(columns), labels, strict=True))
    parts = []
    for part in zip(tokens[0].split(rows), tokens[1].split(rows), strict=True):
        scores = [
            nearest_neighbor_scores(similarity(part, (mean, variance)), block_labels, num_labels)
            for mean, variance, block_labels in blocks
        ]
        parts.append(torch.stack(scores).amax(0) if len(scores) > 1 else scores[0])
    return torch.cat(parts)


def prototypes(
    mean: Tensor, variance: Tensor, support_labels: Tensor, num_labels: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return one Gaussian per label: the average mean and variance of its support tokens (Snell et al. 2017).

    Args:
        mean, variance: (S, d) float each, the diagonal Gaussians of the support tokens.
        support_labels: (S,) long, label ids in [0, num_labels).
        num_labels: K, the number of labels.

    Returns:
        Mean (K, d), variance (K, d) and presence (K,) bool. A label without support tokens is not present,
        and has mean 0 and variance 1, so that divergences from it are finite.
    """
    counts = torch.bincount(support_labels, minlength=num_labels)
    present = counts > 0
    share = counts.clamp(min=1).unsqueeze(1).to(mean.dtype)
    shape = (num_labels, mean.shape[1])
    label_mean = mean.new_zeros(shape).index_add(0, support_labels, mean) / share
    label_variance = variance.new_zeros(shape).index_add(0, support_labels, variance) / share
    return label_mean, torch.where(present.unsqueeze(1), label_variance, 1.0), present


def combine_scores(label_scores: Tensor, support_scores: Tensor, label_weight: float) -> Tensor:
    """Combine two distributions over the labels by a weighted geometric mean of log-scores.

    A label without support, whose support score is the dtype's lowest value, goes by its name alone: the
    distribution of the support set is completed by the probability of its name.

    Args:
        label_scores: (..., K), similarity to the label names.
        support_scores: (..., K), similarity to the support set.
        label_weight: Weight of the label names in [0, 1].

    Returns:
        (..., K) `label_weight * log_softmax(label_scores) + (1 - label_weight) * log_softmax(support_scores)`

    Raises:
        ValueError: If `label_weight` is out of range.
    """
    if not 0.0 <= label_weight <= 1.0:
        raise ValueError(f"label_weight is {label_weight}: give a number from 0 (support) to 1 (names)")
    by_name, by_support = label_scores.log_softmax(dim=-1), support_scores.log_softmax(dim=-1)
    missing = support_scores == torch.finfo(support_scores.dtype).min
    # Without a missing label this adds 0, and changes no digit. No branch, for exported graphs.
    rest = (1 - by_name.exp().masked_fill(~missing, 0).sum(-1, keepdim=True)).clamp_min(1e-30).log()
    by_support = torch.where(missing, by_name, by_support + rest)
    # With a weight of 0 or 1 only one part is used, because 0 times minus infinity is NaN.
    if label_weight in (0.0, 1.0):
        return by_name if label_weight else by_support
    return torch.lerp(by_support, by_name, label_weight)


class SimilarityMixin:
    """Similarity of tokens to label names and support set, as log-scores or losses, by token or by role."""

    # Provided by the model.
    config: Any
    support_mean: Tensor
    support_variance: Tensor
    support_labels: Tensor

    def similarity(self, p: Gaussians, q: Gaussians) -> Tensor:
        """Return minus the divergence, divided by the temperature; shapes as in `pairwise_divergence`."""
        divergence = pairwise_divergence(self.config.divergence, p, q)
        # In place if no gradient is needed, because the tensor is large.
        divide = torch.div if divergence.requires_grad else torch.Tensor.div_
        return divide(divergence, -self.config.similarity_temperature)

    def label_similarity(self, passes: Sequence[LaclModelOutput]) -> tuple[Tensor | None, Tensor | None]:
        """Return the similarity of tokens to labels, and `(B, K)`: whether a prompt contains the label.

        The similarity is `(B, L, K)`; for a model of spans `(B, 3, L, K)`, relative to outside.
        """
        if passes[0].label_mean is None:
            return None, None
        spans = bool(self.config.max_span_words)
        total: Any = 0
        number: Any = 0
        for one in passes:
            tokens = cast(Gaussians, (one.mean, one.variance))
            names = cast(Gaussians, (one.label_mean, one.label_variance))
            similarity = self.similarity(*((by_role(tokens), by_role(names)) if spans else (tokens, names)))
            present = cast(Tensor, one.label_present).unsqueeze(1)
            present = present.unsqueeze(1) if spans else present
            if len(passes) > 1 or spans:
                # Scores of several prompts are aligned by outside, which is in each of them. A constant per
                # token changes neither losses nor log-scores.
                similarity = similarity - similarity[..., :1]
            total = total + similarity * present
            number = number + present.to(similarity.dtype)
        lowest = IMPOSSIBLE if spans else torch.finfo(total.dtype).min
        in_prompt = (number > 0).flatten(0, -2)
        return (total / number.clamp_min(1)).masked_fill(number == 0, lowest), in_prompt

    def log_scores(self, similarity: Tensor | None, support: Gaussians | None) -> Tensor | None:
        """`(B, L, K)` log-scores by label names, support, or both; None without either."""
        if support is None:
            return None if similarity is None else similarity.log_softmax(-1)
        to_support = self.support_similarity(*support)
        if similarity is None:
            return to_support.log_softmax(-1)
        return combine_scores(similarity, to_support, self.config.label_weight)

    def role_scores(self, similarity: Tensor | None, support: Gaussians | None) -> Tensor | None:
        """`(B, L, 3, K)` logits of each role against outside, by label names, support, or both."""
        if support is None:
            return None if similarity is None else similarity.transpose(1, 2)
        tokens, examples = by_role(support), by_role((self.support_mean, self.support_variance))
        scores = []
        for role in range(len(ROLES)):
            of_role = self.support_labels[:, role] >= 0
            to_support = self._support_scores(
                (tokens[0][:, role], tokens[1][:, role]),
                (examples[0][role][of_role], examples[1][role][of_role]),
                self.support_labels[of_role, role],
            )
            scores.append(to_support)
        to_support = torch.stack(scores, 1)
        lowest = torch.finfo(to_support.dtype).min
        # Without an example, or without one of outside to compare with, a label goes by its name alone.
        missing = (to_support == lowest) | (to_support[..., :1] == lowest)
        to_support = to_support - to_support[..., :1].masked_fill(missing[..., :1], 0)
        if similarity is None:
            return to_support.masked_fill(missing, IMPOSSIBLE).transpose(1, 2)
        to_support = torch.where(missing, similarity, to_support)
        return torch.lerp(to_support, similarity, self.config.label_weight).transpose(1, 2)

    def support_similarity(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Return the `(B, L, K)` similarity of tokens `(B, L, d)` to the support set of each label."""
        return self._support_scores(
            (mean, variance), (self.support_mean, self.support_variance), self.support_labels
        )

    def _support_scores(self, tokens: Gaussians, support: Gaussians, labels: Tensor) -> Tensor:
        """Return the `(B, L, K)` similarity of tokens `(B, L, d)` to support `(S, d)` of each label."""
        num_labels = len(self.config.id2label or ())
        shape = tokens[0].shape[:2]
        tokens = (tokens[0].flatten(0, 1), tokens[1].flatten(0, 1))
        support = (support[0].to(tokens[0].dtype), support[1].to(tokens[0].dtype))
        if self.config.support_method == "neighbors":
            if is_compiling():  # in an exported graph the number of tokens is dynamic
                scores = nearest_neighbor_scores(self.similarity(tokens, support), labels, num_labels)
            else:
                scores = nearest_in_blocks(self.similarity, tokens, support, labels, num_labels)
        else:
            *centres, present = prototypes(*support, labels, num_labels)
            scores = self.similarity(tokens, (centres[0], centres[1]))
            scores = scores.masked_fill(~present, torch.finfo(scores.dtype).min)
        return scores.view(*shape, num_labels)

    def token_losses(
        self,
        tokens: Gaussians,
        labels: Tensor,
        similarity: Tensor | None,
        present: Tensor | None,
        across_processes: bool,
    ) -> Losses:
        """Return the loss and its two parts, from tokens `(B, L, d)` and their similarity to label names."""
        config = self.config
        valid = labels >= 0
        anchors, labels = (tokens[0][valid], tokens[1][valid]), labels[valid]
        gathered = gather_batch(anchors, labels) if across_processes else None
        to_tokens = self.similarity(anchors, anchors if gathered is None else gathered.tokens)
        context_context = context_context_loss(
            to_tokens, labels, config.loss_type, config.class_weight_power, gathered, config.outside_attracts
        )
        if similarity is None or present is None:
            return context_context, context_context, None
        _check_ids(labels, similarity.shape[-1])
        in_prompt = present.unsqueeze(1).expand(*valid.shape, -1)[valid]
        context_label = context_label_loss(
            similarity[valid], labels, in_prompt, config.loss_type, config.class_weight_power, gathered
        )
        return self._weighted(context_context, context_label)

    def span_losses(
        self,
        tokens: Gaussians,
        labels: Tensor,
        entities: Tensor | None,
        similarity: Tensor | None,
        present: Tensor | None,
        across_processes: bool,
    ) -> Losses:
        """Return the loss and its two parts for a model of spans; arguments as in `forward`.

        The context–context loss is the mean over the roles, where a word has the label of the entity in which
        it has the role, or outside. The context–label loss is that of [`spans_lacl.span_label_loss`].
        """
        config = self.config
        valid = labels >= 0
        counts, words = valid.sum(1), labels[valid]
        found = batch_entities(words, counts, entities)
        of_roles = role_labels(found, len(words))
        means, variances = by_role((tokens[0][valid], tokens[1][valid]))
        parts = []
        for role in range(len(ROLES)) if config.alpha or similarity is None else ():
            anchors, own = (means[role], variances[role]), of_roles[role]
            gathered = gather_batch(anchors, own) if across_processes else None
            to_tokens = self.similarity(anchors, anchors if gathered is None else gathered.tokens)
            options = (config.loss_type, config.class_weight_power, gathered, config.outside_attracts)
            parts.append(context_context_loss(to_tokens, own, *options))
        context_context = torch.stack(parts).mean() if parts else means.new_zeros(())
        if similarity is None or present is None:
            return context_context, context_context, None
        _check_ids(found.label, similarity.shape[-1])
        room = room_in_text(counts)
        logits = span_logits(similarity.transpose(1, 2)[valid], room, config.max_span_words, torch)
        in_prompt = present.repeat_interleave(counts, 0)
        number = in_prompt[found.first, found.label].sum()
        if across_processes:
            number = mean_over_processes(number.float())
        context_label = span_label_loss(logits, found, room, in_prompt, number)
        return self._weighted(context_context, context_label)

    def _weighted(self, context_context: Tensor, context_label: Tensor) -> Losses:
        alpha = self.config.alpha
        return alpha * context_context + (1 - alpha) * context_label, context_context, context_label


def _check_ids(labels: Tensor, num_labels: int) -> None:
    if len(labels) and int(labels.max()) >= num_labels:
        raise ValueError(
            f"labels has the id {int(labels.max())}, and the prompt has {num_labels} labels, from 0"
        )
