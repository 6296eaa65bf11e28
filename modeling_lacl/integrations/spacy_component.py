"""The spaCy component: `nlp.add_pipe("lacl", config={"model": "outputs/ner"})`.

spaCy imports this module, through the entry point in setup.cfg, in every program where both packages are
installed. So transformers is imported when the first component is created, and the model is loaded when the
component gets its first text.
"""

import io
import logging
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from spacy.language import Language
from spacy.scorer import get_ner_prf
from spacy.tokens import Doc, Span, SpanGroup
from spacy.training import Example
from spacy.util import filter_spans, minibatch

logger = logging.getLogger(__name__)


class LaclComponent:
    """spaCy component that finds entities and writes them to `doc.ents` and `doc.spans`.

    The words that get a label are spaCy's tokens, except white space. Entities are therefore always aligned
    with tokens, for all languages. They can differ from those of `model.predict(doc.text)`, which has its own
    rules for splitting text into words; they equal those of
    `predict([token.text …], is_split_into_words=True)`.

    `doc.ents` cannot have overlapping entities: entities of earlier components are kept, and an entity that
    overlaps one of them is only in `doc.spans`, unless `overwrite_ents` is set.
    """

    def __init__(
        self,
        name: str,
        model: str,
        labels: list[str] | dict[str, str] | None,
        threshold: float | None,
        overlap: str,
        spans_key: str | None,
        batch_size: int,
        overwrite_ents: bool,
    ) -> None:
        from ..model.prediction_lacl import real_number, whole_number

        self.name = name
        self.checkpoint = model
        self.wanted = labels
        self.threshold = None if threshold is None else real_number("threshold", threshold, 0, 1)
        self.overlap = overlap
        self.spans_key = spans_key
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.overwrite_ents = overwrite_ents
        self._model: Any = None
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None

    @property
    def predictor(self) -> Any:
        """The model, loaded when first used: a saved pipeline contains its own model and needs no other."""
        # Not named `model`: spaCy checks each component for that attribute, which would load the model.
        if self._model is None:
            from .predictors import load_predictor, own_labels_notice

            self._model = load_predictor(self.checkpoint)
            how = """to find others, give config={"labels": ["person", "city"]} to add_pipe"""
            notice = own_labels_notice(self._model, how) if self.wanted is None else None
            if notice:
                logger.warning("%s", notice)
        return self._model

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types that the component finds; empty until the model is loaded."""
        # spaCy reads them while it loads a pipeline, before `from_disk` gives the folder of the saved model.
        if self.wanted is not None or self._model is None:
            return tuple(self.wanted or ())
        id2label: dict[int, str] = self._model.config.id2label
        return tuple(id2label[index] for index in range(1, len(id2label)))

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one text."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 1000) -> Iterator[Doc]:
        """Annotate a stream of texts.

        Args:
            stream: The texts.
            batch_size: Number of texts passed to `predict` at once, which sorts them into its own batches.

        Yields:
            The annotated texts, in order.
        """
        for docs in minibatch(stream, size=batch_size):
            words = [[token for token in doc if not token.is_space] for doc in docs]
            found = self.predictor.predict(
                [[token.text for token in tokens] for tokens in words],
                is_split_into_words=True,
                labels=self.wanted,
                threshold=self.threshold,
                overlap=self.overlap,
                batch_size=self.batch_size,
            )
            for doc, tokens, entities in zip(docs, words, found, strict=True):
                lengths = np.asarray([len(token.text) for token in tokens], dtype=np.int64)
                ends = np.cumsum(lengths + 1) - 1  # offsets in the words joined by spaces
                number_at = {int(end): token.i for end, token in zip(ends, tokens, strict=True)}
                number_from = {
                    int(end - length): token.i
                    for end, length, token in zip(ends, lengths, tokens, strict=True)
                }
                spans = [
                    Span(
                        doc,
                        number_from[entity["start"]],
                        number_at[entity["end"]] + 1,
                        label=entity["entity_group"],
                    )
                    for entity in entities
                ]
                yield self._annotate(doc, spans, [entity["score"] for entity in entities])

    def _annotate(self, doc: Doc, spans: Sequence[Span], scores: Sequence[float]) -> Doc:
        if self.spans_key is not None:
            # Scores in the format of spaCy's span categorizer.
            attributes = {"scores": np.asarray(scores, dtype=np.float32)}
            doc.spans[self.spans_key] = SpanGroup(doc, name=self.spans_key, spans=spans, attrs=attributes)
        former, new = list(doc.ents), filter_spans(spans)
        if self.overwrite_ents:
            former = [span for span in former if not _overlaps(span, new)]
        else:
            new = [span for span in new if not _overlaps(span, former)]
        doc.ents = [*former, *new]
        return doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the model with the pipeline, so that `spacy.load` needs no other files."""
        self.predictor.save_pretrained(path)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "LaclComponent":
        """Load the model from a saved pipeline."""
        from .predictors import load_predictor

        self._model = load_predictor(path)
        return self

    def to_bytes(self, *, exclude: Iterable[str] = ()) -> bytes:
        """Return the model as bytes: the files that `to_disk` saves, in an archive."""
        archive = io.BytesIO()
        with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(archive, "w") as files:
            self.to_disk(name)
            for file in sorted(path for path in Path(name).rglob("*") if path.is_file()):
                files.write(file, str(file.relative_to(name)))
        return archive.getvalue()

    def from_bytes(self, bytes_data: bytes, *, exclude: Iterable[str] = ()) -> "LaclComponent":
        """Take the model from what `to_bytes` returned."""
        unpacked = tempfile.TemporaryDirectory(prefix="lacl-")  # as long as the model, which reads it later
        with zipfile.ZipFile(io.BytesIO(bytes_data)) as files:
            files.extractall(unpacked.name)
        self.from_disk(unpacked.name)
        self._unpacked = unpacked
        return self

    def score(self, examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
        """Return precision, recall and F1 of `doc.ents`, as `nlp.evaluate` asks for them."""
        return dict(get_ner_prf(examples))


def _overlaps(span: Span, others: Iterable[Span]) -> bool:
    return any(span.start < other.end and other.start < span.end for other in others)


@Language.factory(
    "lacl",
    assigns=["doc.ents", "doc.spans", "token.ent_type", "token.ent_iob"],
    default_config={
        "model": "lacl-minilm-wide",
        "labels": None,
        "threshold": None,
        "overlap": "flat",
        "spans_key": "lacl",
        "batch_size": 32,
        "overwrite_ents": False,
    },
)
def make_lacl(
    nlp: Language,
    name: str,
    model: str,
    labels: list[str] | dict[str, str] | None,
    threshold: float | None,
    overlap: str,
    spans_key: str | None,
    batch_size: int,
    overwrite_ents: bool,
) -> LaclComponent:
    """Create the component.

    Args:
        nlp, name: Set by spaCy.
        model: Folder of a model or of an exported model, or name of a released model or of one on the Hub.
        labels: Labels to find instead of the model's own, zero-shot from label names alone: a list of label
            names, or a mapping from labels to label names.
        threshold: Minimum score of the entities, from 0 to 1; by default the model's own.
        overlap: Which entities of a model of spans may overlap: `flat`, `nested` or `any`. Of those that do,
            `doc.ents` has the longest; all are in `doc.spans`.
        spans_key: Key of `doc.spans` for all entities, whose scores are in its `attrs["scores"]`; None for no
            span group.
        batch_size: Number of texts that go through the encoder at once.
        overwrite_ents: Whether entities replace overlapping ones of earlier components in `doc.ents`.
    """
    return LaclComponent(name, model, labels, threshold, overlap, spans_key, batch_size, overwrite_ents)
