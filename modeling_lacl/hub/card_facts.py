"""The facts for a model card that the model itself does not contain: its training and its results."""

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

from ..data.tags import entity_spans
from ..model.configuration_lacl import LaclConfig
from ..version import __version__

if TYPE_CHECKING:
    from ..model.modeling_lacl import LaclForTokenClassification


FACTS_FILE = "card.json"
"""Name of the file with the facts that the card beside it is written from."""
MAX_EXAMPLES = 3
"""Maximum number of examples per type on a card."""
_LONGEST_EXAMPLE = 40
_SEQUENCES_FOR_EXAMPLES = 10_000
_VALUES_OF_A_TENSOR = 64


@dataclass(kw_only=True)
class Measured:
    """Scores on one dataset, in [0, 1], as means over support sets.

    Args:
        dataset: Name of the dataset.
        shots: `5-shot`, …, or `zero-shot` for label names alone.
        sets: Number of support sets.
        f1, precision, recall: Entity-level micro scores; the last two if they were measured.
        deviation: Sample standard deviation of F1 over the support sets, if known.
        per_type_f1: F1 of each type.
        how: Description of the measurement, for readers.
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
    """How a model was made and evaluated; every fact may be unknown.

    Args:
        name: Name of the model.
        repo_id: Repository on the Hub.
        encoder: Model id on the Hub of the pretrained encoder.
        source: Name of the model that it was fine-tuned from.
        stage: `source` if it was trained on source data, `adapted` if on a support set.
        language: Language codes.
        license: Identifier of the licence of the model on the Hub.
        datasets: Names of the training data, on the Hub or elsewhere, including those of the source model.
        corpora: If they are many, the corpora of the training data or of the source model's: `name`,
            `domain`, `sentences`, `licence` and `attribution` of each.
        tags: Additional tags for the Hub.
        sentences: Number of sentences in the training data.
        entities: Number of entities of each type in these sentences.
        examples: Some entities of each type in these sentences.
        hyperparameters: Training arguments.
        curve: Points of the training curve: `step`, `loss` and, where measured, `f1`.
        results: Evaluation results.
        versions: Versions of the packages used.
        emissions: Emissions in grams of CO2 equivalents, measured by codecarbon.
        fingerprint: Fingerprint of the model that the facts are about, see [`fingerprint`].
    """

    name: str | None = None
    repo_id: str | None = None
    encoder: str | None = None
    source: str | None = None
    stage: str | None = None
    language: list[str] = field(default_factory=list)
    license: str | None = None
    datasets: list[str] = field(default_factory=list)
    corpora: list[dict[str, Any]] = field(default_factory=list)
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
        """Return all known facts as JSON."""
        values = {key: value for key, value in asdict(self).items() if value not in (None, [], {})}
        return json.dumps(values, ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_file(cls, file: str | Path) -> CardFacts | None:
        """Read the facts from the file beside a card; `None` if it is missing or cannot be read."""
        try:
            values = json.loads(Path(file).read_text(encoding="utf-8"))
            known = {entry.name for entry in fields(cls)}
            facts = cls(**{key: value for key, value in values.items() if key in known})
            facts.results = [Measured(**result) for result in values.get("results", [])]
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        return facts

    def inherited(self) -> CardFacts:
        """Return the facts that also hold for a model fine-tuned from this one."""
        return CardFacts(
            encoder=self.encoder,
            source=self.repo_id or self.name or self.source,
            language=list(self.language),
            license=self.license,
            datasets=list(self.datasets),
            corpora=list(self.corpora),
        )


def versions() -> dict[str, str]:
    """Return the versions of the packages that models are made with."""
    return {
        "lacl": __version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__.partition("+")[0],
        "datasets": datasets.__version__,
        "Python": platform.python_version(),
    }


def fingerprint(model: LaclForTokenClassification) -> str:
    """Return a digest of a model's options, its labels, and a sample of values of each of its tensors.

    It is the same for a model and its copies, also after saving or on another device, and changes with
    training. It shows whether the facts about a model still hold, without the cost of reading all weights.
    """
    config: Any = model.config
    # Options of LACL alone: training and saving set inherited ones, such as use_cache.
    names = sorted(LaclConfig.__annotations__.keys() - {"format_version"})
    values = {name: getattr(config, name, None) for name in names}
    options = {name: value for name, value in values.items() if isinstance(value, bool | int | float | str)}
    # Ordered by id: a saved configuration may have them in another order.
    labels = [[label, (config.label_names or {}).get(label)] for _, label in sorted(config.id2label.items())]
    digest = hashlib.sha256(json.dumps([options, labels], ensure_ascii=True).encode())
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            flat = tensor.detach().reshape(-1)
            sampled = flat[:: max(1, len(flat) // _VALUES_OF_A_TENSOR)]
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(sampled.to("cpu", torch.float64).contiguous().numpy().tobytes())
    return digest.hexdigest()


def with_data(facts: CardFacts, dataset: Dataset, types: Iterable[str]) -> CardFacts:
    """Add the numbers of sentences and entities, and examples, from a dataset of `read_dataset`.

    Args:
        facts: The facts known so far.
        dataset: The training data.
        types: The types to count and to show examples of.

    Returns:
        The facts with those of the data.
    """
    counts = dict.fromkeys(types, 0)
    examples: dict[str, list[str]] = {name: [] for name in counts}
    plain = dataset.with_format(None)
    for tokens, spans in zip(plain["tokens"][:], entity_spans(plain), strict=True):
        for first, stop, name in spans:
            if name in counts:
                counts[name] += 1
                _add_example(examples[name], " ".join(tokens[first:stop]))
    return replace(facts, sentences=len(dataset), entities=counts, examples=examples)


def with_sequences(
    facts: CardFacts, sequences: Sequence[Mapping[str, Any]], tokenizer: PreTrainedTokenizerBase, labels: Any
) -> CardFacts:
    """Add the number of sentences and examples from the sequences of `tokenize_dataset`.

    The examples are decoded by the tokenizer; entities are not counted.

    Args:
        facts: The facts known so far.
        sequences: `input_ids` and `labels`, with −100 everywhere but at the first subword of a word.
        tokenizer: The tokenizer of the sequences.
        labels: Label id -> type; 0 is outside.

    Returns:
        The facts with those of the data.
    """
    examples: dict[str, list[str]] = {labels[label]: [] for label in range(1, len(labels))}
    for sequence in islice(sequences, _SEQUENCES_FOR_EXAMPLES):
        if all(len(found) == MAX_EXAMPLES for found in examples.values()):
            break
        current, subwords = 0, []
        # The final outside label ends an entity at the end of the sequence.
        for label, subword in zip([*sequence["labels"], 0], [*sequence["input_ids"], None], strict=True):
            # Special tokens have no label either; decoding skips them.
            if label in (-100, current) and current and subword is not None:
                subwords.append(subword)
                continue
            if current:
                _add_example(examples[labels[current]], _decode(tokenizer, subwords))
            current, subwords = (label, [subword]) if label > 0 else (0, [])
    return replace(facts, sentences=len(sequences), examples=examples)


def _decode(tokenizer: Any, subwords: list[int]) -> str:
    return str(tokenizer.decode(subwords, skip_special_tokens=True)).strip()


def _add_example(found: list[str], text: str) -> None:
    if text and len(found) < MAX_EXAMPLES and text not in found and len(text) <= _LONGEST_EXAMPLE:
        found.append(text)


def read_emissions(folder: str | Path) -> float | None:
    """Return the grams of CO2 equivalents of the last run in codecarbon's `emissions.csv`, or `None`."""
    try:
        with open(Path(folder) / "emissions.csv", encoding="utf-8", newline="") as file:
            return [1000 * float(row["emissions"]) for row in csv.DictReader(file)][-1]  # from kilograms
    except (OSError, KeyError, ValueError, TypeError, IndexError):
        return None
