"""ProML: tokens compared in two views, with all label names beside the text and with labels inside of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.support import LabelledSupport, tokenize_support
from ..model.configuration_lacl import LaclConfig
from ..model.encoder_lacl import LaclOutput, gather_positions
from ..model.labels_lacl import tokenize_label_names
from ..model.losses_lacl import full_precision
from ..model.modeling_lacl import LaclForTokenClassification, evaluating

OPTION_WEIGHT = 0.7
"""Weight of the view with label names in the mean of both, as in the published commands (`mix-rate`)."""
BRACKETS = ("[", "|", "]")


class PromlModel(LaclForTokenClassification):
    """Prompt-based metric learning (Chen et al., Findings of ACL 2023, arXiv 2211.04337).

    A support sentence is encoded twice: with all label names beside it, and with its own labels written into
    it, "[ Ana Ruiz | person ] flew home"; a token is the weighted mean of both. A query sentence is encoded
    with the label names alone. In training, a query token is attracted by the support tokens of its label,
    by the divergence of their Gaussians. The model is decoded by the nearest support token, by the squared
    Euclidean distance of hidden states; see `evaluation.stages.adapt_proml`, its second stage.

    Left out is the label information that the published program has about queries: it lists the names only up
    to the one with the highest number among the gold labels of the sentence, in the test set as well. Here
    all names of the label set stand beside every sentence. Further differences: the last hidden state is
    taken, not a mean of four layers, as by the other baselines; the names follow the text, as in this
    package; brackets stand around whole words; case is that of the tokenizer.

    The configuration has `projection="relu_gaussian"`, `divergence="jeffreys"` and
    `similarity_temperature=0.5`, since the published divergence is the sum of both KL divergences, and
    `jeffreys` their mean. Trained on episodes: the sentences of a batch alternate between support and query.
    """

    leave_one_out = False
    """Whether all sentences of a batch are both support and query, for fine-tuning on a support set."""

    def __init__(self, config: LaclConfig) -> None:
        if not config.use_prompts or config.label_vector != "mean" or config.max_span_words:
            raise ValueError("ProML needs use_prompts=True, label_vector='mean' and max_span_words=0")
        super().__init__(config)

    def forward(  # type: ignore[override]
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        prompt_ids: Tensor | None = None,
        prompt_labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> LaclOutput | tuple[Any, ...]:
        """Compute the same as `LaclForTokenClassification`; with `labels` and a prompt, ProML's loss."""
        if labels is None or prompt_ids is None or prompt_labels is None:
            rest = {"prompt_ids": prompt_ids, "prompt_labels": prompt_labels, **kwargs}
            return super().forward(
                input_ids, attention_mask, token_type_ids, labels, return_dict=return_dict, **rest
            )
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        plain = self.lacl(
            input_ids, mask, token_type_ids, prompt_ids=prompt_ids, prompt_labels=prompt_labels
        ).last_hidden_state
        is_word, even = labels >= 0, torch.arange(len(labels), device=labels.device).unsqueeze(1) % 2 == 0
        is_support = is_word if self.leave_one_out else is_word & even
        is_query = is_word if self.leave_one_out else is_word & ~even
        names = names_in_prompt(prompt_ids, prompt_labels)
        mixed = mixed_states(self, plain, input_ids, mask, labels.where(is_support, -100), names)
        with full_precision(plain):
            query = self.lacl.projection(plain[is_query].float())
            support = self.lacl.projection(mixed[is_support].float())
            similarity = self.similarity(query, support)
            if self.leave_one_out:
                similarity = similarity.masked_fill(_diagonal(similarity), torch.finfo(similarity.dtype).min)
            loss = proml_loss(similarity, labels[is_query], labels[is_support], self.leave_one_out)
        mean = plain.float()
        output = LaclOutput(loss=loss, mean=mean, variance=torch.ones_like(mean))
        return output.to_tuple() if return_dict is False else output


def proml_loss(
    similarity: Tensor, query_labels: Tensor, support_labels: Tensor, leave_one_out: bool = False
) -> Tensor:
    """Return the mean over query tokens of −log(Σ_positives exp s / Σ exp s).

    Args:
        similarity: `(Q, S)`, minus the divergence of each query token from each support token.
        query_labels, support_labels: `(Q,)` and `(S,)` long.
        leave_one_out: Whether the query tokens are the support tokens, none of which is its own positive.

    Returns:
        Scalar; a query token without a positive does not count, and without any the loss is 0.
    """
    positive = query_labels.unsqueeze(1) == support_labels
    if leave_one_out:
        positive = positive & ~_diagonal(positive)
    found = positive.any(1)
    if not bool(found.any()):
        return (similarity * 0).sum()
    similarity, positive = similarity[found], positive[found]
    attracted = similarity.masked_fill(~positive, torch.finfo(similarity.dtype).min).logsumexp(1)
    return (similarity.logsumexp(1) - attracted).mean()


def _diagonal(square: Tensor) -> Tensor:
    return torch.eye(*square.shape, dtype=torch.bool, device=square.device)


def names_in_prompt(prompt_ids: Tensor, prompt_labels: Tensor) -> list[dict[int, list[int]]]:
    """Return the token ids of the label names in the prompt of each sequence, by label id."""
    found = []
    for ids, labels in zip(prompt_ids.tolist(), prompt_labels.tolist(), strict=True):
        names: dict[int, list[int]] = {}
        for token, label in zip(ids, labels, strict=True):
            if label >= 0:
                names.setdefault(label, []).append(token)
        found.append(names)
    return found


class Annotated(NamedTuple):
    """A sequence with labels written into it.

    Attributes:
        input_ids: Its tokens.
        places: Position in it of each token of the original sequence.
    """

    input_ids: list[int]
    places: list[int]


def annotate(
    input_ids: Sequence[int],
    labels: Sequence[int],
    names: Mapping[int, Sequence[int]],
    brackets: Sequence[Sequence[int]],
    separator: int | None,
) -> Annotated:
    """Write the labels of a sequence into it: `[ Ana Ruiz | person ] flew home`.

    Args:
        input_ids: Tokens without padding.
        labels: Label ids, negative except at the first subword of each word. A run of words with one label is
            an entity.
        names: Token ids of the label names.
        brackets: Token ids of `[`, `|` and `]`.
        separator: Token at the end of a sequence, behind which no entity goes.
    """
    opening, bar, closing = brackets
    made: list[int] = []
    places: list[int] = []
    inside = 0
    for token, label in zip(input_ids, labels, strict=True):
        at_end = token == separator and len(places) == len(input_ids) - 1
        new = 0 if at_end else label if label >= 0 else inside
        if new != inside:
            made += [*bar, *names[inside], *closing] if inside else []
            made += opening if new else []
            inside = new
        places.append(len(made))
        made.append(token)
    return Annotated([*made, *bar, *names[inside], *closing] if inside else made, places)


def mixed_states(
    model: LaclForTokenClassification,
    plain: Tensor,
    input_ids: Tensor,
    attention_mask: Tensor,
    labels: Tensor,
    names: Sequence[Mapping[int, Sequence[int]]],
) -> Tensor:
    """Return the `(B, L, H)` mean of both views of support sentences; of other sentences the plain one.

    Args:
        model: The model, for its encoder and tokenizer.
        plain: `(B, L, H)`, states of the tokens with all label names beside the text.
        input_ids, attention_mask: `(B, L)`.
        labels: `(B, L)` long, label ids, negative except at the first subword of the words of the support.
        names: Token ids of the label names, for each sequence.
    """
    rows = (labels >= 0).any(1).nonzero().squeeze(1)
    if not len(rows):
        return plain
    brackets = tokenize_label_names(model.tokenizer, BRACKETS)
    is_token = attention_mask.bool()
    made = []
    for row in rows.tolist():
        tokens, own = input_ids[row, is_token[row]].tolist(), labels[row, is_token[row]].tolist()
        made.append(annotate(tokens, own, names[row], brackets, model.config.separator_token_id))
    ids = _padded([one.input_ids for one in made], model.config.pad_token_id or 0, input_ids)
    mask = _padded([[1] * len(one.input_ids) for one in made], 0, attention_mask)
    places = torch.zeros_like(input_ids[rows])
    places[is_token[rows]] = places.new_tensor([place for one in made for place in one.places])
    annotated = gather_positions(model.lacl(ids, mask).last_hidden_state, places)
    mixed = OPTION_WEIGHT * plain[rows] + (1 - OPTION_WEIGHT) * annotated.to(plain.dtype)
    return plain.index_copy(0, rows, mixed)


def _padded(rows: Sequence[Sequence[int]], value: int, like: Tensor) -> Tensor:
    width = max(map(len, rows))
    return like.new_tensor([[*row, *[value] * (width - len(row))] for row in rows])


@torch.inference_mode()
def mixed_support(
    model: LaclForTokenClassification, support: LabelledSupport, batch_size: int = 32
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean `(S, H)`, variance and label ids of support words, for a model that compares hidden states.

    Args:
        model: A model with `projection="hidden"` and the types of the support set.
        support: The support set.
        batch_size: Number of sequences per batch.
    """
    sequences: Any = tokenize_support(model, support.dataset, support.labels).sequences
    token_ids: Any = model.config.label_token_ids
    means, labels = [], []
    with evaluating(model):
        for start in range(0, len(sequences), batch_size):
            rows = [dict(sequences[index]) for index in range(start, min(start + batch_size, len(sequences)))]
            like = torch.zeros(0, dtype=torch.long, device=model.device)
            ids = _padded([row["input_ids"] for row in rows], model.config.pad_token_id or 0, like)
            mask = _padded([row["attention_mask"] for row in rows], 0, like)
            own = _padded([row["labels"] for row in rows], -100, like)
            plain = model(ids, mask, return_dict=True).mean
            states = mixed_states(model, plain, ids, mask, own, [dict(enumerate(token_ids))] * len(rows))
            means.append(states[own >= 0].float())
            labels.append(own[own >= 0])
    mean = torch.cat(means)
    return mean, torch.ones_like(mean), torch.cat(labels)
