"""The spaCy component: `nlp.add_pipe("lacl", config={"model": "outputs/ner"})`.

spaCy imports this module in every program where both packages are installed, by the entry point in setup.cfg:
transformers loads with the first component that is made, the model with its first text.
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
from spacy.util import minibatch

logger = logging.getLogger(__name__)


class LaclComponent:
    """Finds entities and writes them to `doc.ents` and `doc.spans`.

    spaCy's tokens are the words that get a label, without those that are white space alone. So an entity
    begins and ends where a token does, whatever the rules of the language are, and nothing has to be moved
    or dropped to fit. Entities can differ from those of `model.predict(doc.text)`, which splits by its own
    rules; they are those of `predict([token.text …], is_split_into_words=True)`.

    `doc.ents` takes no overlaps: what earlier components found stays, and an entity that overlaps it stands
    in `doc.spans` alone, unless `overwrite_ents` says otherwise.
    """

    def __init__(
        self,
        name: str,
        model: str,
        labels: list[str] | dict[str, str] | None,
        threshold: float,
        spans_key: str | None,
        batch_size: int,
        overwrite_ents: bool,
    ) -> None:
        from ..model.configuration_lacl import real_number, whole_number

        self.name = name
        self.checkpoint = model
        self.wanted = labels
        self.threshold = real_number("threshold", threshold, 0, 1)
        self.spans_key = spans_key
        self.batch_size = whole_number("batch_size", batch_size, 1)
        self.overwrite_ents = overwrite_ents
        self._model: Any = None
        self._unpacked: tempfile.TemporaryDirectory[str] | None = None

    @property
    def predictor(self) -> Any:
        """The model, loaded when first used: a saved pipeline holds its own and needs no other."""
        # Not `model`: spaCy asks every component whether it has one, and so would have it loaded.
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
        """The types that it finds; none until the model is loaded."""
        # spaCy asks for them while it loads a pipeline, before it says where the pipeline's own model is.
        if self.wanted is not None or self._model is None:
            return tuple(self.wanted or ())
        id2label: dict[int, str] = self._model.config.id2label
        return tuple(id2label[index] for index in range(1, len(id2label)))

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one text."""
        return next(self.pipe([doc]))

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 1000) -> Iterator[Doc]:
        """Annotate a stream, `batch_size` texts at a time; these are sorted into the model's own batches."""
        for docs in minibatch(stream, size=batch_size):
            words = [[token for token in doc if not token.is_space] for doc in docs]
            found = self.predictor.predict(
                [[token.text for token in tokens] for tokens in words],
                is_split_into_words=True,
                labels=self.wanted,
                threshold=self.threshold,
                batch_size=self.batch_size,
            )
            for doc, tokens, entities in zip(docs, words, found, strict=True):
                lengths = np.asarray([len(token.text) for token in tokens], dtype=np.int64)
                ends = np.cumsum(lengths + 1) - 1  # in the words joined by spaces
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
            # Scores as spaCy's own span categorizer keeps them.
            attributes = {"scores": np.asarray(scores, dtype=np.float32)}
            doc.spans[self.spans_key] = SpanGroup(doc, name=self.spans_key, spans=spans, attrs=attributes)
        former, new = list(doc.ents), list(spans)
        if self.overwrite_ents:
            former = [span for span in former if not _overlaps(span, new)]
        else:
            new = [span for span in new if not _overlaps(span, former)]
        doc.ents = [*former, *new]
        return doc

    def to_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> None:
        """Save the model with the pipeline, so that `spacy.load` needs no other folder."""
        self.predictor.save_pretrained(path)

    def from_disk(self, path: str | Path, *, exclude: Iterable[str] = ()) -> "LaclComponent":
        """Take the model from a saved pipeline."""
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
        "model": "lacl-minilm-fewnerd",
        "labels": None,
        "threshold": 0.0,
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
    threshold: float,
    spans_key: str | None,
    batch_size: int,
    overwrite_ents: bool,
) -> LaclComponent:
    """Make the component.

    Args:
        nlp, name: Given by spaCy.
        model: Folder of a model, also of an exported one, or the name of a released model or one on the Hub.
        labels: Other types than the model's own, found by their names alone: a list, or a mapping from labels
            to natural-language names.
        threshold: Entities with a lower score are left out; from 0 to 1.
        spans_key: Key of `doc.spans` for all entities, whose scores are in its `attrs["scores"]`; or None.
        batch_size: Texts that go through the encoder at once.
        overwrite_ents: An entity that overlaps one of an earlier component takes its place in `doc.ents`.
    """
    return LaclComponent(name, model, labels, threshold, spans_key, batch_size, overwrite_ents)
