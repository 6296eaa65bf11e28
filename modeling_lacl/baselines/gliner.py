"""A span scorer in the manner of GLiNER: spans and label names in one vector space, in one pass."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..model.configuration_lacl import LaclConfig
from ..model.decoding_lacl import OUTSIDE_ID, Spans, select_spans
from ..model.encoder_lacl import LaclOutput, gather_positions, label_means, pack
from ..model.labels_lacl import PADDING_LABEL
from ..model.losses_lacl import full_precision
from ..model.modeling_lacl import LaclForTokenClassification, evaluating
from ..model.spans_lacl import batch_entities, room_in_text, span_label_loss

MOST_WORDS = 12
"""Maximum number of words of a span, as published."""
FAR = -20.0
"""Log-score of the labels that a word does not have."""


class Encoded(NamedTuple):
    """Text and label names, encoded in one sequence each.

    Attributes:
        text: `(B, L, H)`, states of the text.
        names: `(B, K, H)`, states at the markers of the label names.
        present: `(B, K)` bool, whether the prompt of the sequence has the label.
    """

    text: Tensor
    names: Tensor
    present: Tensor


class GlinerModel(LaclForTokenClassification):
    """Span scorer after GLiNER (Zaratiana et al., NAACL 2024, arXiv 2311.08526).

    The label names stand before the sentence, each behind a marker, and are encoded with it. A span of at
    most 12 words is represented by a two-layer perceptron on the states of its first and its last word, a
    label by another on the state of its marker; their dot product is the logit of the span being an entity of
    that type. Trained by binary cross-entropy over all spans and labels; spans whose probability is above
    `config.threshold`, one half as published, are entities, the best first, without overlap.

    What differs from the published model: the encoder, the data and the steps are those of the other methods
    of this package. Its `[CLS]` marks a name, in the place of a new token without a pretrained embedding, and
    a `[SEP]` stands behind each name. There is no LSTM on top of the encoder. The sum over spans is divided
    by the number of entities in the batch. Two entities of one type side by side are found as one, as by all
    methods here that label words.

    The configuration has `projection="hidden"` and `label_vector="cls"`. A new label set needs no new
    weights, so that the model can be used by label names alone.
    """

    def __init__(self, config: LaclConfig) -> None:
        if not config.use_prompts or config.projection != "hidden" or config.label_vector != "cls":
            raise ValueError(
                "a span scorer needs use_prompts=True, projection='hidden' and label_vector='cls'"
            )
        super().__init__(config)
        dropout = getattr(config.encoder_config, "hidden_dropout_prob", 0.1)
        self.spans = SpanScorer(config.hidden_size, dropout)

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
        """Encode a text; with `labels` compute the loss, where labels of −100 are ignored.

        `prompt_ids` and `prompt_labels` are those of the batch, by default of the model's own labels. The
        logits of spans are not among the outputs, as words are known only with `labels`; see `read_tokens`.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        if prompt_ids is None or prompt_labels is None:
            encoded = self.encode(input_ids, mask, *self.own_prompts(len(input_ids))[0])
        else:
            encoded = self.encode(input_ids, mask, prompt_ids, prompt_labels, int(prompt_labels.max()) + 1)
        loss = None
        if labels is not None:
            valid = labels >= 0
            counts, room = valid.sum(1), room_in_text(valid.sum(1))
            entities = batch_entities(labels[valid], counts, None)
            with full_precision(encoded.text):
                logits = self.spans(encoded.text[valid], encoded.names, counts)
                present = encoded.present.repeat_interleave(counts, 0)
                loss = span_label_loss(logits, entities, room, present)
        mean = encoded.text.float()
        output = LaclOutput(loss=loss, mean=mean, variance=torch.ones_like(mean))
        return output.to_tuple() if return_dict is False else output

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        prompt_ids: Tensor,
        prompt_labels: Tensor,
        num_labels: int | None = None,
    ) -> Encoded:
        """Encode label names and text, in this order, in one sequence.

        Args:
            input_ids, attention_mask: `(B, L)`.
            prompt_ids, prompt_labels: `(B, P)`, as from `build_prompt` with a marker for each name. The name
                of outside is left out: no span is compared with it.
            num_labels: K; by default the number of the model's own labels.
        """
        of_prompt = without_outside(prompt_labels)
        of_text = torch.where(attention_mask.bool(), OUTSIDE_ID, PADDING_LABEL)
        in_prompt = (of_prompt != PADDING_LABEL).to(attention_mask.dtype)
        packed = pack(prompt_ids, in_prompt, input_ids, of_text, self.config.pad_token_id or 0)
        width = int(packed.attention_mask.sum(1).max())
        hidden = self.lacl.encoder(
            input_ids=packed.input_ids[:, :width],
            attention_mask=packed.attention_mask[:, :width],
            return_dict=True,
        ).last_hidden_state
        states = gather_positions(hidden, packed.text_index)
        names = label_means(states, of_prompt, num_labels or self.config.num_labels)
        return Encoded(gather_positions(hidden, packed.prompt_index), *names)

    def own_prompts(self, size: int) -> list[tuple[Tensor, Tensor]]:
        """Return the prompts of the model's labels, several if the names are too long for one, `(B, P)`."""
        prompts = self.label_prompts
        if prompts is None:
            raise ValueError("the model has no labels: call set_labels")
        return [(ids.expand(size, -1), labels.expand(size, -1)) for ids, labels in prompts.prompts]

    def read_tokens(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        rows: NDArray[np.int64],
        tokens: NDArray[np.int64],
        values: str | Callable[[Tensor, Tensor], Tensor] = "logits",
    ) -> NDArray[np.float32]:
        """Return the log-scores of the words at these tokens, by the spans chosen among all of their text.

        The arguments are those of [`LaclForTokenClassification.read_tokens`]; with other `values` than
        `logits` its result as well.
        """
        if values != "logits":
            return super().read_tokens(input_ids, attention_mask, rows, tokens, values)
        counts = np.bincount(rows, minlength=len(input_ids))
        with evaluating(self), torch.inference_mode():
            ids, mask = (torch.from_numpy(part).to(self.device) for part in (input_ids, attention_mask))
            numbers = torch.from_numpy(counts).to(self.device)
            logits: Any = None
            for prompt in self.own_prompts(len(ids)):
                encoded = self.encode(ids, mask, *prompt)
                found = self.spans(encoded.text[rows, tokens], encoded.names, numbers)
                absent = ~encoded.present.repeat_interleave(numbers, 0).unsqueeze(1)
                found = found.masked_fill(absent, torch.finfo(found.dtype).min)
                logits = found if logits is None else torch.maximum(logits, found)
            room = room_in_text(numbers)
        threshold = min(max(self.config.threshold, 1e-6), 1 - 1e-6)
        return word_scores(logits.cpu().numpy() - log(threshold / (1 - threshold)), room.cpu().numpy())


class SpanScorer(nn.Module):
    """Logits of spans and labels: dot products of what two perceptrons make of them.

    Args:
        size: Size of the encoder's states.
        dropout: Dropout between the two layers of each perceptron.
    """

    def __init__(self, size: int, dropout: float) -> None:
        super().__init__()
        inner = 4 * size
        # A layer on first and last word, one behind the other, is the sum of one on each.
        self.first = nn.Linear(size, inner)
        self.last = nn.Linear(size, inner, bias=False)
        self.span = nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, size))
        self.label = nn.Sequential(
            nn.Linear(size, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, size)
        )

    def forward(self, words: Tensor, names: Tensor, counts: Tensor) -> Tensor:
        """Return the `(N, 12, K)` fp32 logits of the spans that begin at each word.

        Args:
            words: `(N, H)`, states of the words of all texts, one text after the other.
            names: `(B, K, H)`, states of the label names with each text.
            counts: `(B,)` long, number of words of each text.

        Where the text ends before the span does, and for a label that the text's prompt lacks, the value has
        no meaning.
        """
        dtype = self.first.weight.dtype
        of_words = self.label(names.to(dtype)).repeat_interleave(counts, 0)
        first, last = self.first(words.to(dtype)), self.last(words.to(dtype))
        places = torch.arange(len(words), device=words.device)
        logits = []
        for more in range(MOST_WORDS):
            at = (places + more).clamp(max=len(words) - 1)
            logits.append(torch.einsum("nh,nkh->nk", self.span(first + last[at]), of_words))
        return torch.stack(logits, 1).float()


def without_outside(prompt_labels: Tensor) -> Tensor:
    """Return `(B, P)` labels of a prompt in which the marker, name and separator of outside are padding."""
    is_padding = prompt_labels == PADDING_LABEL
    # A name, with what follows it, goes from its marker to the next.
    name = (prompt_labels >= 0).cumsum(1)
    of_outside = (name * (prompt_labels == OUTSIDE_ID)).amax(1, keepdim=True)
    return prompt_labels.masked_fill((name == of_outside) & ~is_padding & (of_outside > 0), PADDING_LABEL)


def word_scores(logits: NDArray[np.float32], room: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return `(N, K)` log-scores of words, whose best labels are those of the chosen spans.

    Spans with a logit above 0 are taken in the order of their logits, unless they overlap with one taken
    before.

    Args:
        logits: `(N, M, K)`, logits of the spans of m + 1 words from word n, minus that of the threshold;
            label 0 is outside.
        room: `(N,)`, number of words from each to the end of its text.
    """
    number, width, labels = logits.shape
    scores = np.full((number, labels), FAR, dtype=np.float32)
    scores[:, OUTSIDE_ID] = 0
    best = logits[:, :, 1:].argmax(2) + 1
    values = np.take_along_axis(logits, best[:, :, None], 2)[:, :, 0]
    first, more = ((values > 0) & (np.arange(width) < room[:, None])).nonzero()
    if len(first):
        spans = Spans(first, first + more, best[first, more], values[first, more])
        chosen = select_spans(spans, "flat")
        for begin, last, label, logit in zip(*chosen, strict=True):
            scores[begin : last + 1, OUTSIDE_ID] = -np.logaddexp(0, logit)
            scores[begin : last + 1, label] = -np.logaddexp(0, -logit)
    return scores
