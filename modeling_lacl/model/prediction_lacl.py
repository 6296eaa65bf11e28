"""Prediction: text -> words -> windows -> batches -> scores of words -> labels -> entities with offsets.

Without torch. What it asks of a model are `config`, `tokenizer`, `has_support`, `max_sequence_length` and
`read_tokens`, which runs it; see [`LaclForTokenClassification.read_tokens`].
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .decoding_lacl import (
    OUTSIDE,
    OUTSIDE_ID,
    OVERLAPS,
    ROLES,
    Spans,
    decode_scores,
    fill_gaps,
    find_spans,
    has_token,
    label_runs,
    log_softmax,
    outside_scores,
    run_scores,
    select_spans,
)
from .words_lacl import (
    EMOJI,
    Text,
    answer,
    fast_tokenizer,
    share_words,
    tokenizer_lock,
    without_surrogates,
)

Entity: TypeAlias = dict[str, Any]
Scores: TypeAlias = NDArray[np.float32]

BATCH_SIZE = 32
# Texts are read into a buffer and sorted by length into batches with little padding.
_BATCHES_PER_BUFFER = 32


@dataclass(frozen=True)
class Window:
    """A part of a text that is encoded at once, and the words whose scores are read from it."""

    input_ids: list[int]
    words: NDArray[np.int64]  # (n,) indices of words, counted across the buffer
    tokens: NDArray[np.int64]  # (n,) position of the first subword of each, in this window


@dataclass(frozen=True)
class Predictor:
    """State of one call. Nothing is stored on the model, so that threads can share it."""

    model: Any
    labels: list[str]  # by label id
    batch_size: int
    max_length: int  # tokens per window, including special tokens
    stride: int
    overlap: str = "flat"

    @classmethod
    def build(
        cls,
        model: Any,
        batch_size: int | None = None,
        stride: int = 32,
        for_scores: bool = True,
        overlap: str = "flat",
    ) -> Predictor:
        """Check the arguments of a call and, if `for_scores`, that the model has prompts or a support set."""
        if overlap not in OVERLAPS:
            raise ValueError(f"overlap is {overlap!r}: give one of {', '.join(OVERLAPS)}")
        batch_size = BATCH_SIZE if batch_size is None else whole_number("batch_size", batch_size, 1)
        stride = whole_number("stride", stride, 0)
        tokenizer = model.tokenizer
        fast_tokenizer(tokenizer)
        config = model.config
        if for_scores and not config.use_prompts and not model.has_support:
            raise ValueError(
                "the model has neither a support set nor label prompts: adapt it to examples first"
            )
        max_length = model.max_sequence_length
        room = max_length - tokenizer.num_special_tokens_to_add()
        if room < 1:
            raise ValueError(
                "the label names leave no positions of the encoder for text: "
                "give shorter names, or lower config.max_prompt_length"
            )
        labels = [config.id2label[index] for index in range(len(config.id2label))]
        # The token strategies of the pipeline are subclasses, which read a model of spans by its tokens.
        of_spans = SpanPredictor if cls is Predictor and config.max_span_words else cls
        return of_spans(model, labels, batch_size, max_length, min(stride, room // 2), overlap)

    def entities(
        self, texts: Iterable[Text], threshold: float | None = None, ignored: Collection[str] = (OUTSIDE,)
    ) -> Iterator[list[Entity]]:
        """Yield the entities of each text, except those with `ignored` labels, in the order of the texts."""
        threshold = threshold or 0.0
        for text, scores, ids in self.label_ids(texts):
            runs = label_runs(ids, with_outside=OUTSIDE not in ignored)
            yield [
                self._entity(text, run, score)
                for run, score in zip(runs, run_scores(scores, runs), strict=True)
                if score >= threshold and self.labels[run[2]] not in ignored
            ]

    def _entity(self, text: Text, run: tuple[int, int, int], score: float) -> Entity:
        first, stop, label = run
        place = {"start": int(text.words[first, 0]), "end": int(text.words[stop - 1, 1])}
        word = text.text[place["start"] : place["end"]]
        return {"entity_group": self.labels[label], "score": score, "word": word, **place}

    def label_ids(self, texts: Iterable[Text]) -> Iterator[tuple[Text, Scores, NDArray[np.int64]]]:
        """Yield each text with the scores (W, K) and label ids (W,) of its words, in order."""
        for buffer in self._buffers(texts):
            scores = self.scores(buffer)
            yield from zip(buffer, scores, self.decode(buffer, scores), strict=True)

    def _buffers(self, texts: Iterable[Text]) -> Iterator[list[Text]]:
        """Yield the texts in the order in which they came, as many at a time as are read ahead."""
        stream = iter(texts)
        checked = False
        while buffer := list(islice(stream, self.batch_size * _BATCHES_PER_BUFFER)):
            check = None if checked else getattr(self.model, "check_language", None)
            if check is not None:  # an exported model has none
                check([text.text for text in buffer])
            checked = True
            yield buffer

    def decode(self, texts: Sequence[Text], scores: Sequence[Scores]) -> list[NDArray[np.int64]]:
        """Return (W,) label ids of each text from its scores (W, K); overridden to decode tokens."""
        return decode_texts(self.model.config, texts, scores)

    def scores(self, texts: Sequence[Text]) -> list[Scores]:
        """Return (W, K) log-scores of the words of each text."""
        return self.read(texts, self.windows(texts), "logits", outside_scores(len(self.labels)))

    def read(
        self,
        texts: Sequence[Text],
        windows: Sequence[Window],
        values: str | Callable[..., Any],
        missing: Scores,
    ) -> list[Scores]:
        """Return (W, X) per text: `values` at first subwords, or `missing` (X,) for words without tokens.

        `values` is as for [`LaclForTokenClassification.read_tokens`].
        """
        counts = [len(text.words) for text in texts]
        result = np.tile(missing, (sum(counts), 1))
        # The longest first, so that padding is little and the peak of memory comes first.
        windows = sorted(windows, key=lambda window: -len(window.input_ids))
        for first in range(0, len(windows), self.batch_size):
            batch = windows[first : first + self.batch_size]
            rows = np.repeat(np.arange(len(batch)), [len(window.words) for window in batch])
            tokens = np.concatenate([window.tokens for window in batch])
            words = np.concatenate([window.words for window in batch])
            read = self.model.read_tokens(*self.inputs(batch), rows, tokens, values)
            if not (read < np.inf).all():  # also false for NaN
                raise ValueError("scores that are not finite: load the model again, in float32")
            result[words] = read
        return np.split(result, np.cumsum(counts)[:-1]) if counts else []

    def inputs(self, batch: Sequence[Window]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (B, L) token ids and (B, L) attention mask of a batch of windows."""
        lengths = np.asarray([len(window.input_ids) for window in batch])
        inside = np.arange(lengths.max()) < lengths[:, None]
        ids = np.full(inside.shape, self.model.config.pad_token_id or 0, dtype=np.int64)
        ids[inside] = np.concatenate([window.input_ids for window in batch])
        return ids, inside.astype(np.int64)

    def windows(self, texts: Sequence[Text]) -> list[Window]:
        """Split texts into windows of at most `max_length` tokens; each word with tokens is read from one."""
        # Words are counted across the buffer. Texts without words are not encoded.
        bases = np.cumsum([0, *(len(text.words) for text in texts)])
        numbers = [number for number, text in enumerate(texts) if len(text.words)]
        if not numbers:
            return []
        with tokenizer_lock:
            encoded = self.model.tokenizer(
                [without_surrogates(texts[number].text) for number in numbers],
                truncation=True,
                max_length=self.max_length,
                stride=self.stride,
                return_overflowing_tokens=True,
                return_offsets_mapping=True,
                return_attention_mask=False,
                return_token_type_ids=False,
            )
        parts_of: list[list[int]] = [[] for _ in numbers]
        for part, sample in enumerate(encoded["overflow_to_sample_mapping"]):
            parts_of[sample].append(part)
        windows = []
        for number, parts in zip(numbers, parts_of, strict=True):
            if self.model.tokenizer.truncation_side == "left":
                parts.reverse()  # such a tokenizer starts from the end
            offsets = [np.asarray(encoded["offset_mapping"][part], dtype=np.int64) for part in parts]
            for part, (words, tokens) in zip(parts, share_words(offsets, texts[number].words), strict=True):
                if len(words):
                    windows.append(Window(encoded["input_ids"][part], words + bases[number], tokens))
        return windows


LOWEST_SCORE = 1e-3
"""Score below which a span is none, whatever the threshold: otherwise any word would be an entity with 0."""


def default_threshold(config: Any) -> float:
    """Return the minimum score of entities where none is given; see `predict`."""
    return float(config.threshold) if config.max_span_words else 0.0


@dataclass(frozen=True)
class SpanPredictor(Predictor):
    """Predictor of a model of spans: the scores of a word are its logits in the three roles, (W, 3 K)."""

    def entities(
        self, texts: Iterable[Text], threshold: float | None = None, ignored: Collection[str] = (OUTSIDE,)
    ) -> Iterator[list[Entity]]:
        for text, spans, scores in self.spans(texts, threshold):
            found = [
                self._entity(text, (first, last + 1, label), score)
                for (first, last, label), score in zip(spans, scores, strict=True)
                if self.labels[label] not in ignored
            ]
            if OUTSIDE not in ignored:
                found += self._outside(text, spans)
                found.sort(key=lambda entity: (entity["start"], -entity["end"]))
            yield found

    def _outside(self, text: Text, spans: Sequence[tuple[int, int, int]]) -> list[Entity]:
        """Return the runs of words in no entity, with the label of outside and score 1."""
        ids = np.zeros(len(text.words), dtype=np.int64)
        for first, last, label in spans:
            ids[first : last + 1] = label
        runs = label_runs(ids, with_outside=True)
        return [self._entity(text, run, 1.0) for run in runs if run[2] == OUTSIDE_ID]

    def label_ids(self, texts: Iterable[Text]) -> Iterator[tuple[Text, Scores, NDArray[np.int64]]]:
        """Yield each text with (W, K) log-scores of its words being inside an entity, and (W,) label ids."""
        for buffer in self._buffers(texts):
            scores = self.scores(buffer)
            inside = [log_softmax(text.reshape(len(text), len(ROLES), -1)[:, -1]) for text in scores]
            for text, logs, (spans, _) in zip(buffer, inside, self._select(buffer, scores), strict=True):
                ids = np.zeros(len(text.words), dtype=np.int64)
                for first, last, label in spans:
                    ids[first : last + 1] = label
                yield text, logs, ids

    def spans(
        self, texts: Iterable[Text], threshold: float | None = None
    ) -> Iterator[tuple[Text, list[tuple[int, int, int]], list[float]]]:
        """Yield each text with its spans (first word, last word, label) and their scores."""
        for buffer in self._buffers(texts):
            selected = self._select(buffer, self.scores(buffer), threshold)
            yield from ((text, *found) for text, found in zip(buffer, selected, strict=True))

    def scores(self, texts: Sequence[Text]) -> list[Scores]:
        """Return (W, 3 K) logits of the words of each text; `IMPOSSIBLE` for words without tokens."""
        missing = np.tile(outside_scores(len(self.labels)), len(ROLES))
        return self.read(texts, self.windows(texts), "role_logits", missing)

    def _select(
        self, texts: Sequence[Text], scores: Sequence[Scores], threshold: float | None = None
    ) -> Iterator[tuple[list[tuple[int, int, int]], list[float]]]:
        """Yield the chosen spans of each text and their scores."""
        slope, intercept = self._calibration()
        threshold = default_threshold(self.model.config) if threshold is None else threshold
        lowest = (_logit(max(threshold, LOWEST_SCORE)) - intercept) / slope
        # Words without a token do not count: an entity goes on behind them.
        known = [has_token(one[:, : len(self.labels)]) for one in scores]
        room = np.concatenate([np.arange(mask.sum(), 0, -1) for mask in known])
        place = np.flatnonzero(np.concatenate(known))
        words = np.concatenate(scores).reshape(-1, len(ROLES), len(self.labels))[place]
        several, width = self.overlap == "any", self.model.config.max_span_words
        found = find_spans(words, room, width, lowest, several)
        found = found._replace(first=place[found.first], last=place[found.last])
        chosen = select_spans(_without_edge_emoji_spans(texts, found), self.overlap)
        probability = 1 / (1 + np.exp(-np.clip(slope * chosen.logit.astype(np.float64) + intercept, -50, 50)))
        bounds = np.concatenate(([0], np.cumsum([len(text.words) for text in texts])))
        cuts = np.searchsorted(chosen.first, bounds)
        spans = np.stack([chosen.first, chosen.last, chosen.label], 1)
        for base, begin, end in zip(bounds[:-1], cuts[:-1], cuts[1:], strict=True):
            own = spans[begin:end] - [base, base, 0]
            yield [tuple(span) for span in own.tolist()], probability[begin:end].tolist()

    def _calibration(self) -> tuple[float, float]:
        """Return slope and intercept of the score of a span, as a logistic function of its logit."""
        lines = self.model.config.calibration
        slope, intercept = lines["support" if self.model.has_support else "names"] if lines else (1.0, 0.0)
        return float(slope), float(intercept)


def _logit(probability: float) -> float:
    """Return the log-odds of a probability; finite at 0 and 1, beyond every real score."""
    odds = np.clip(probability, 1e-12, 1 - 1e-12)
    return float(np.log(odds / (1 - odds)))


def _without_edge_emoji_spans(texts: Sequence[Text], spans: Spans) -> Spans:
    """Return the spans that do not begin or end with an emoji, unless they are nothing else."""
    if not any(EMOJI.search(text.text) for text in texts):
        return spans
    emoji = [[bool(EMOJI.match(text.text, start)) for start in text.words[:, 0]] for text in texts]
    is_one = np.fromiter((one for text in emoji for one in text), dtype=bool)
    before = np.concatenate(([0], np.cumsum(is_one)))
    alone = before[spans.last + 1] - before[spans.first] == spans.last - spans.first + 1
    return spans.take(alone | ~(is_one[spans.first] | is_one[spans.last]))


def decode_texts(config: Any, texts: Sequence[Text], scores: Sequence[Scores]) -> list[NDArray[np.int64]]:
    """Return (W,) label ids of each text, decoded from (W, K) scores and without emoji at edges.

    A word without a token, such as a blank one, does not cut an entity; see `fill_gaps`.
    """
    known = [has_token(one) for one in scores]
    labels = decode_scores(config, [one[mask] for one, mask in zip(scores, known, strict=True)])
    return [
        fill_gaps(_without_edge_emoji(text.text, text.words[mask], ids), mask)
        for text, mask, ids in zip(texts, known, labels, strict=True)
    ]


def _without_edge_emoji(
    text: str, words: NDArray[np.int64], label_ids: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return (W,) label ids in which entities do not begin or end with an emoji, unless all words are."""
    if not EMOJI.search(text):
        return label_ids
    trimmed = label_ids.copy()
    for first, stop, _ in label_runs(label_ids):
        is_word = np.asarray([not EMOJI.match(text, start) for start in words[first:stop, 0]])
        kept = np.flatnonzero(is_word)
        if len(kept):
            trimmed[first : first + kept[0]] = OUTSIDE_ID
            trimmed[first + kept[-1] + 1 : stop] = OUTSIDE_ID
    return trimmed


def whole_number(name: str, value: Any, least: int, most: int | None = None) -> int:
    """Return `value`, an integer of Python, NumPy or torch, as an int.

    Raises:
        TypeError: If it is not a whole number: a string, a float, None or a bool.
        ValueError: If it is out of range.
    """
    range_of = f"{least} or more" if most is None else f"from {least} to {most}"
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} is {value!r}: give a whole number, {range_of}")
    if number < least or (most is not None and number > most):
        raise ValueError(f"{name} is {value}: give a whole number, {range_of}")
    return number


def real_number(name: str, value: Any, least: float, most: float | None = None) -> float:
    """Return `value`, a number of Python, NumPy or torch, as a float.

    Raises:
        TypeError: If it is not a number: a string, None or a bool.
        ValueError: If it is out of range or NaN.
    """
    range_of = f"{least:g} or more" if most is None else f"from {least:g} to {most:g}"
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"{name} is {value!r}: give a number, {range_of}")
    number = float(value)
    if not (least <= number and (most is None or number <= most)):
        raise ValueError(f"{name} is {value}: give a number, {range_of}")
    return number


class PredictMixin:
    """The method `predict` of a model that has what this module asks of one."""

    def predict(
        self,
        inputs: Any,
        *,
        is_split_into_words: bool = False,
        labels: Sequence[str] | Mapping[str, str] | None = None,
        support: Any = None,
        threshold: float | None = None,
        overlap: str = "flat",
        batch_size: int | None = BATCH_SIZE,
        stride: int = 32,
    ) -> Any:
        """Find the entities of one text, several texts, or a stream of texts.

        Args:
            inputs: A string returns its entities, a list or tuple of strings a list of these. Any other
                iterable (a generator, an open file, a column of a dataset, the `KeyDataset` of transformers)
                returns a generator, which reads at most 32 batches ahead.
            is_split_into_words: Whether the texts are lists of words. A list of strings is then *one*
                sentence, a list of lists several, and any other iterable of lists a stream. Offsets refer to
                `" ".join(words)`.
            labels: Other entity types for this call, zero-shot (from label names alone, without a support
                set): a list of labels, or a mapping from labels to label names.
            support: Labelled examples of other entity types for this call, in the form that `adapt` takes.
                They are encoded without fine-tuning, as in `adapt` with `steps=0`. Needs the installed
                package. `labels` may then be a mapping from labels to label names.
            threshold: Minimum score of returned entities, in [0, 1]. By default that of the configuration for
                a model of spans, and 0 for one that labels tokens, whose best labels are always entities.
            overlap: For a model of spans: `flat`, entities do not overlap; `nested`, an entity may lie within
                another; `any`, all that reach the threshold, also crossing and with several labels.
            batch_size: Windows of text per batch. None, as in pipelines, means 32.
            stride: Number of tokens that adjacent windows of a long text share, at most half a window.

        Returns:
            Entities in the order of the text, each a dict: `entity_group` (label), `score` (float in [0, 1]:
            the calibrated probability of the span, or the mean probability of the label over the words of the
            entity), `word`, `start` and `end`, where `text[start:end] == word`. Emoji at the edges of an
            entity are not part of it.

        Raises:
            TypeError: If `inputs`, one of the texts or another argument has a wrong type, or there is no such
                argument.
            ValueError: If an argument is out of range, labels or support cannot be used, as with an exported
                model, or the model has neither prompts nor a support set.

        Example:
            >>> from modeling_lacl import LaclForTokenClassification
            >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
            >>> model.set_labels(["person", "city"])
            >>> [entity["word"] for entity in model.predict("Ana Ruiz lives in Quito.")]
            ['Ana Ruiz', 'Quito']
            >>> [len(entities) for entities in model.predict(["Ana Ruiz sleeps.", "It rains."])]
            [1, 0]
            >>> words = ["Ana", "Ruiz", "lives", "in", "Quito"]
            >>> cities = model.predict(words, is_split_into_words=True, labels=["city"])
            >>> [(city["word"], city["start"], city["end"]) for city in cities]
            [('Quito', 18, 23)]
        """
        minimum = None if threshold is None else real_number("threshold", threshold, 0, 1)
        called = model_for_call(self, labels, support, batch_size)
        predictor = Predictor.build(called, batch_size, stride, overlap=overlap)
        return answer(inputs, lambda texts: predictor.entities(texts, minimum), is_split_into_words)


def model_for_call(model: Any, labels: Any, support: Any, batch_size: int | None) -> Any:
    """Return `model`, or one that shares its weights for the labels and support of a call; see `predict`."""
    if support is not None:
        return model.with_support(support, labels, batch_size)
    return model if labels is None else model.with_labels(labels)
