"""What a model card says that the model itself does not tell: how it was made, what was measured on it."""

from __future__ import annotations

import csv
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import torch
import transformers
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from ..data.tags import entity_spans, gold_tags
from ..model.configuration_lacl import LaclConfig
from ..version import __version__

if TYPE_CHECKING:
    from ..model.modeling_lacl import LaclForTokenClassification


FACTS_FILE = "card.json"
"""Stands beside the card, which is written from it."""
EXAMPLES = 3
"""Examples of a type on a card, at most."""
_LONGEST_EXAMPLE = 40
_ROWS_FOR_EXAMPLES = 10_000
_VALUES_OF_A_TENSOR = 64


@dataclass(kw_only=True)
class Measured:
    """Scores on one data set, in [0, 1], means over support sets.

    Args:
        dataset: Name of the data set.
        shots: `5-shot`, …; `zero-shot` for label names alone.
        sets: Number of support sets.
        f1, precision, recall: Micro scores of entities; the last two if they were measured.
        deviation: Sample standard deviation of the F1 of the sets, if known.
        per_type_f1: F1 of each type.
        how: How it was measured, for a reader.
    """

    dataset: str
    shots: str
    sets: int
    f1: float
    precision: float | None = None
    recall: float | None = None
    deviation: float | None = None
    per_type_f1: dict[str, float] = field(default_factory=dict)
    how: str = ""


@dataclass(kw_only=True)
class CardFacts:
    """What happened to a model; every part may be unknown.

    Args:
        name: What the model is called.
        repo_id: Its name on the Hub.
        encoder: Name on the Hub of the encoder that it began as.
        source: Name of the model that it was made from.
        stage: `source` if it was trained on source data, `adapted` if on a support set.
        language: Codes of languages.
        license: Identifier of the licence of the model, as the Hub knows it.
        datasets: Names of the training data, on the Hub or not; those of the source included.
        tags: Tags for the Hub beside the usual ones.
        sentences: Number of sentences that it was trained on.
        entities: Number of entities of each type in them.
        examples: Some entities of each type in them.
        hyperparameters: Arguments of the training.
        curve: `step`, `loss` and, where it was measured, `f1`.
        results: What was measured.
        versions: Version of each package.
        emissions: Grams of CO2 equivalents, as codecarbon measured them.
        fingerprint: Of the model that all this is true of, see [`fingerprint`].
    """

    name: str | None = None
    repo_id: str | None = None
    encoder: str | None = None
    source: str | None = None
    stage: str | None = None
    language: list[str] = field(default_factory=list)
    license: str | None = None
    datasets: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    sentences: int | None = None
    entities: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    curve: list[dict[str, float]] = field(default_factory=list)
    results: list[Measured] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    emissions: float | None = None
    fingerprint: str | None = None

    def to_json(self) -> str:
        """Everything that is known, as text."""
        values = {key: value for key, value in asdict(self).items() if value not in (None, [], {})}
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_file(cls, file: str | Path) -> CardFacts | None:
        """What stands in the file beside a card; None if there is none, or none that this version reads."""
        try:
            values = json.loads(Path(file).read_text(encoding="utf-8"))
            known = {entry.name for entry in fields(cls)}
            facts = cls(**{key: value for key, value in values.items() if key in known})
            facts.results = [Measured(**result) for result in values.get("results", [])]
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return facts

    def inherited(self) -> CardFacts:
        """What of this holds for a model that is made from this one."""
        return CardFacts(
            encoder=self.encoder,
            source=self.repo_id or self.name or self.source,
            language=list(self.language),
            license=self.license,
            datasets=list(self.datasets),
        )


def versions() -> dict[str, str]:
    """Versions of what a model was made with."""
    return {
        "lacl": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__.partition("+")[0],
        "datasets": datasets.__version__,
        "Python": platform.python_version(),
    }


def fingerprint(model: LaclForTokenClassification) -> str:
    """Digest of a model's options, its labels and some values of each of its tensors.

    Equal for a model and its copies, saved or on another device; training changes it. It says whether what
    is known of a model's making still holds, for a small part of what reading all weights would take.
    """
    config: Any = model.config
    # Of LACL alone: training and saving set inherited ones, such as use_cache and transformers_version.
    names = sorted(LaclConfig.__annotations__.keys() - {"format_version"})
    values = {name: getattr(config, name, None) for name in names}
    options = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
    # By id: a saved configuration has its names in another order.
    labels = [[label, (config.label_names or {}).get(label)] for _, label in sorted(config.id2label.items())]
    digest = hashlib.sha256(json.dumps([options, labels], ensure_ascii=True).encode())
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            flat = tensor.detach().reshape(-1)
            some = flat[:: max(1, len(flat) // _VALUES_OF_A_TENSOR)]
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(some.to("cpu", torch.float64).contiguous().numpy().tobytes())
    return digest.hexdigest()


def with_data(facts: CardFacts, dataset: Dataset, types: Iterable[str]) -> CardFacts:
    """Adds the numbers of sentences and entities, and examples of these types, of `read_dataset` data."""
    counts = dict.fromkeys(types, 0)
    examples: dict[str, list[str]] = {name: [] for name in counts}
    plain = dataset.with_format(None)
    for tokens, tags in zip(plain["tokens"][:], gold_tags(plain), strict=True):
        for first, stop, name in entity_spans(tags):
            if name in counts:
                counts[name] += 1
                _add_example(examples[name], " ".join(tokens[first:stop]))
    return replace(facts, sentences=len(dataset), entities=counts, examples=examples)


def with_rows(
    facts: CardFacts, rows: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, labels: Any
) -> CardFacts:
    """The same from rows of `tokenize_dataset`: entities as the tokenizer writes them, and no count of them.

    Args:
        facts: What is known.
        rows: `input_ids` and `labels`, −100 but at the first piece of a word.
        tokenizer: Their tokenizer.
        labels: Label id -> type; 0 is outside.
    """
    examples: dict[str, list[str]] = {labels[label]: [] for label in range(1, len(labels))}
    for row in islice(rows, _ROWS_FOR_EXAMPLES):
        if all(len(found) == EXAMPLES for found in examples.values()):
            break
        current, pieces = 0, []
        # A last label of no entity, which ends one that reaches the end.
        for label, piece in zip([*row["labels"], 0], [*row["input_ids"], None], strict=True):
            # Special tokens have no label either, and are left out on decoding.
            if label in (-100, current) and current and piece is not None:
                pieces.append(piece)
                continue
            if current:
                _add_example(examples[labels[current]], _decode(tokenizer, pieces))
            current, pieces = (label, [piece]) if label > 0 else (0, [])
    return replace(facts, sentences=len(rows), examples=examples)


def _decode(tokenizer: Any, pieces: list[int]) -> str:
    return str(tokenizer.decode(pieces, skip_special_tokens=True)).strip()


def _add_example(found: list[str], text: str) -> None:
    if text and len(found) < EXAMPLES and text not in found and len(text) <= _LONGEST_EXAMPLE:
        found.append(text)


def read_emissions(folder: str | Path) -> float | None:
    """Grams of CO2 equivalents in the `emissions.csv` that codecarbon left, the last run's; None without."""
    try:
        with open(Path(folder) / "emissions.csv", encoding="utf-8", newline="") as file:
            return [1000 * float(row["emissions"]) for row in csv.DictReader(file)][-1]  # it has kilograms
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        return None
