"""Calls of a model: the arguments of `predict`, and the answer in the form of its inputs.

Without torch, as `prediction_lacl`, so that exported models have the same method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

from .prediction_lacl import BATCH_SIZE, Entity, Predictor, real_number
from .words_lacl import Text, text_from_string, text_from_words

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _Options(TypedDict, total=False):
    """For type checkers: the arguments of `predict` that do not decide the type of its result."""

    labels: Sequence[str] | Mapping[str, str] | None
    support: Any
    threshold: float | None
    overlap: str
    batch_size: int | None
    stride: int


class PredictMixin:
    """The method `predict` of a model that has what [`prediction_lacl`] asks of one."""

    @overload
    def predict(self, inputs: str, **options: Unpack[_Options]) -> list[Entity]: ...

    @overload
    def predict(
        self, inputs: list[str] | tuple[str, ...], **options: Unpack[_Options]
    ) -> list[list[Entity]]: ...

    @overload
    def predict(
        self,
        inputs: list[str] | tuple[str, ...],
        *,
        is_split_into_words: Literal[True],
        **options: Unpack[_Options],
    ) -> list[Entity]: ...

    @overload
    def predict(
        self,
        inputs: Iterator[str] | Iterator[Sequence[str]],
        *,
        is_split_into_words: bool = False,
        **options: Unpack[_Options],
    ) -> Iterator[list[Entity]]: ...

    @overload
    def predict(
        self, inputs: Any, *, is_split_into_words: bool = False, **options: Unpack[_Options]
    ) -> Any: ...

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
    ) -> list[Entity] | list[list[Entity]] | Iterator[list[Entity]]:
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


def answer(
    inputs: Any,
    entities: Callable[[Iterable[Text]], Iterator[list[Entity]]],
    is_split_into_words: bool = False,
    delimiter: str = " ",
) -> list[Entity] | list[list[Entity]] | Iterator[list[Entity]]:
    """Apply `entities` to inputs of any form, and return the entities in the same form; see `predict`.

    Args:
        inputs: As in `predict`.
        entities: Function from texts to the entities of each text.
        is_split_into_words: As in `predict`.
        delimiter: Delimiter between the words of a list.
    """
    expected = "a list of words (is_split_into_words=True)" if is_split_into_words else "a string"

    def of_words(words: Any, where: str) -> Text:
        return text_from_words(words, where, delimiter)

    to_text = of_words if is_split_into_words else text_from_string

    def stream(items: Iterable[Any]) -> Iterator[list[Entity]]:
        return entities(to_text(item, f"inputs[{index}]") for index, item in enumerate(items))

    if isinstance(inputs, str):
        if is_split_into_words:
            raise TypeError("inputs is a string, but is_split_into_words=True: give a list of words")
        return next(stream([inputs]))
    if not isinstance(inputs, Iterable) and hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):
        # A map-style dataset of torch, such as the `KeyDataset` of transformers.
        rows: Any = inputs
        return stream(rows[index] for index in range(len(rows)))
    if isinstance(inputs, bytes | bytearray | Mapping) or not isinstance(inputs, Iterable):
        raise TypeError(
            f"inputs is of type {type(inputs).__name__}: give {expected}, or a list or generator of those"
        )
    if not isinstance(inputs, list | tuple):
        return stream(inputs)
    if is_split_into_words and len(inputs) and isinstance(inputs[0], str):
        return next(entities([of_words(inputs, "inputs")]))
    return list(stream(inputs))
