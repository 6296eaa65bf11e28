"""Which sentences to label next: those of which a model is unsure, of every type, and unlike each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..model.decoding_lacl import OUTSIDE_ID, ROLES, softmax
from ..model.modeling_lacl import LaclForTokenClassification
from ..model.prediction_lacl import (
    BATCH_SIZE,
    Predictor,
    model_for_call,
    whole_number,
)
from ..model.words_lacl import text_from_string

_BATCHES_AT_ONCE = 32


@dataclass(frozen=True)
class Survey:
    """What a model makes of a text.

    Attributes:
        unsure: How unsure the model is, in [0, 1]: 1 minus the difference between the probabilities of the
            two best labels, as a mean over the words of predicted entities, or over all words without one.
        vector: `(d,)`, the mean over the words of the means of their Gaussians.
        labels: Ids of the predicted types.
    """

    unsure: float
    vector: NDArray[np.float32]
    labels: frozenset[int]


def suggest_sentences(
    model: LaclForTokenClassification,
    texts: Iterable[str],
    number: int = 20,
    *,
    labels: Sequence[str] | Mapping[str, str] | None = None,
    exclude: Iterable[Sequence[str]] = (),
    overlap: str = "flat",
    batch_size: int = BATCH_SIZE,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Suggest which sentences to label next, and label them as far as the model can.

    The predicted types take turns, the rarest first, and the sentences without any entity come last. In its
    turn, a type gets a sentence in which it is predicted, of which the model is unsure and which is unlike
    those suggested before.

    Args:
        model: The model, which is not modified.
        texts: The texts to choose from. Empty ones and repetitions are passed over.
        number: Number of sentences to suggest; all are if there are fewer.
        labels: Entity types instead of the model's own, zero-shot, as for `predict`.
        exclude: Sentences, as lists of words, that are labelled already: the `tokens` of a dataset.
        overlap: Which of the entities may overlap, as for `predict`.
        batch_size: Texts per forward pass.
        seed: Random seed of the choice between sentences; the same seed gives the same suggestions.

    Returns:
        Examples `{"text", "entities": [{"start", "end", "label", "score"}]}`, the first to be labelled first.
        Corrected, they are examples for `adapt`.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of range, or the model cannot find entities.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, suggest_sentences
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> texts = ["Nothing happened.", "Ana Ruiz lives in Quito.", "Ana Ruiz lives in Quito."]
        >>> suggested = suggest_sentences(model, texts, labels=["person", "city"])
        >>> [example["text"] for example in suggested]
        ['Ana Ruiz lives in Quito.', 'Nothing happened.']
    """
    number = whole_number("number", number, 1)
    seed = whole_number("seed", seed, 0, 2**32 - 1)
    known = {_letters(words) for words in exclude}
    new = [text for text in dict.fromkeys(texts) if text.strip() and _letters([text]) not in known]
    own = model_for_call(model, labels, None, batch_size)
    chosen = choose(list(survey(own, new, batch_size)), number, np.random.default_rng(seed))
    suggested = [new[index] for index in chosen]
    found = own.predict(suggested, overlap=overlap, batch_size=batch_size)
    return [
        {
            "text": text,
            "entities": [
                {
                    "start": entity["start"],
                    "end": entity["end"],
                    "label": entity["entity_group"],
                    "score": entity["score"],
                }
                for entity in entities
            ],
        }
        for text, entities in zip(suggested, found, strict=True)
    ]


def _letters(words: Iterable[str]) -> str:
    """Return words without white space: labelled sentences may be split into other words than texts."""
    return "".join("".join(words).split())


def survey(
    model: LaclForTokenClassification, texts: Iterable[str], batch_size: int = BATCH_SIZE
) -> Iterator[Survey]:
    """Yield what a model makes of each text, which goes through the encoder twice.

    Raises:
        ValueError: The model cannot find entities.
    """
    predictor = Predictor.build(model, batch_size)
    if len(predictor.labels) < 2:
        raise ValueError("the model has no entity types: give labels, or adapt it to examples first")
    size = model.config.projection_size * (len(ROLES) if model.config.max_span_words else 1)
    missing = np.zeros(size, dtype=np.float32)
    stream = (text_from_string(text, f"texts[{index}]") for index, text in enumerate(texts))
    while part := list(islice(stream, batch_size * _BATCHES_AT_ONCE)):
        vectors = predictor.read(part, predictor.windows(part), "mean", missing)
        for (_, scores, ids), vector in zip(predictor.label_ids(part), vectors, strict=True):
            best = np.sort(softmax(scores))
            unsure = 1 - best[:, -1] + best[:, -2]
            inside = ids != OUTSIDE_ID
            yield Survey(
                unsure=float(unsure[inside].mean() if inside.any() else unsure.mean()),
                vector=vector.mean(0),
                labels=frozenset(ids[inside].tolist()),
            )


def choose(surveys: Sequence[Survey], number: int, generator: np.random.Generator) -> list[int]:
    """Choose texts to label, see [`suggest_sentences`].

    A text is drawn as by k-means++ (Arthur and Vassilvitskii, 2007): with a probability that grows with the
    square of its distance to the nearest chosen one, here times how unsure the model is.

    Args:
        surveys: What the model makes of each text.
        number: How many to choose, at most.
        generator: Random generator.

    Returns:
        Their indices, in the order in which they were chosen.
    """
    unsure = np.array([one.unsure for one in surveys])
    vectors = np.array([one.vector for one in surveys])
    distance = np.ones(len(surveys))
    left = np.ones(len(surveys), dtype=bool)
    chosen: list[int] = []
    groups = _by_type(surveys)
    while left.any() and len(chosen) < number:
        for group in groups:
            rows = group[left[group]]
            if not len(rows) or len(chosen) == number:
                continue
            weights = (unsure[rows] * distance[rows]) ** 2
            total = weights.sum()
            row = int(generator.choice(rows, p=weights / total if total > 0 else None))
            apart = np.linalg.norm(vectors - vectors[row], axis=1)
            distance = np.minimum(distance, apart) if chosen else apart
            chosen.append(row)
            left[row] = False
    return chosen


def _by_type(surveys: Sequence[Survey]) -> list[NDArray[np.int64]]:
    """Return the texts in which each type is predicted, the rarest type first, and those with none last."""
    counts = Counter(label for one in surveys for label in one.labels)
    labels = sorted(counts, key=lambda label: (counts[label], label))
    groups = [[i for i, one in enumerate(surveys) if label in one.labels] for label in labels]
    groups.append([i for i, one in enumerate(surveys) if not one.labels])
    return [np.array(group, dtype=np.int64) for group in groups]
