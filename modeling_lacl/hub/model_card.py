"""The model card: the `README.md` of a checkpoint, written at every save from the known facts.

The facts are stored beside it in `card.json`, so that they are still known after a checkpoint is loaded and
saved again, adapted, evaluated or pushed.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers.utils import cached_file, logging

from ..files import sha256, write_atomically
from ..model.configuration_lacl import LaclConfig, hub_name
from ..reporting import markdown_table, percent
from .bundled import RELEASED, released_folder
from .card_facts import FACTS_FILE, CardFacts, fingerprint

if TYPE_CHECKING:
    from ..model.modeling_lacl import LaclForTokenClassification


logger = logging.get_logger(__name__)

CARD_FILE = "README.md"
TEMPLATE = Path(__file__).with_name("model_card_template.md")
TEXT = "Ana Ruiz flew to Quito on a Cessna 172."
_SEAL = re.compile(r"\n<!-- lacl:card ([0-9a-f]{64}) -->\s*\Z")
_HUB_DATASET = re.compile(r"[\w.-]+/[\w.-]+")
FREE_OPTIONS = (
    "divergence",
    "similarity_temperature",
    "loss_type",
    "alpha",
    "class_weight_power",
    "outside_attracts",
    "support_method",
    "label_weight",
    "viterbi",
    "transition_power",
    "max_text_length",
    "max_prompt_length",
)
"""Options of losses, decoding and lengths, which do not change the set of weights."""
_OPTIONS = ("projection", "projection_size", *FREE_OPTIONS)
_SPAN_OPTIONS = ("max_span_words", "calibration")


def save_card(model: LaclForTokenClassification, folder: Path, destination: Path | None = None) -> None:
    """Write the card of a model and its `card.json` to `folder`.

    Args:
        model: The model.
        folder: The folder for the two files.
        destination: The folder that they are moved to later. If it has a card that was edited by hand, no
            card is written. By default `folder`.
    """
    write_card(folder, model.config, facts_of(model), destination)


def write_card(folder: Path, config: LaclConfig, facts: CardFacts, destination: Path | None = None) -> None:
    """Write a card from its facts and the configuration of the model; otherwise like `save_card`."""
    write_atomically(folder / FACTS_FILE, facts.to_json())
    if not keep_changed_card(folder, destination or folder):
        write_atomically(folder / CARD_FILE, card_text(config, facts))


def keep_changed_card(folder: Path, destination: Path) -> bool:
    """Return whether `destination` has a card edited by hand; if so, remove the card in `folder`."""
    existing = destination / CARD_FILE
    if not existing.is_file() or is_generated(read_text(existing)):
        return False
    logger.warning("%s was edited by hand, so it is kept; remove it to have a new card written", existing)
    if folder != destination:
        (folder / CARD_FILE).unlink(missing_ok=True)
    return True


def is_generated(text: str) -> bool:
    """Return whether a card is unchanged since this package wrote it, by the digest in its last line."""
    text = text.replace("\r\n", "\n")
    seal = _SEAL.search(text)
    return seal is not None and seal[1] == sha256(text[: seal.start()])


def read_text(path: Path) -> str:
    """Read a card as text; invalid bytes are replaced."""
    return path.read_text(encoding="utf-8-sig", errors="replace")


def stated_license(text: str) -> str | None:
    """Return the licence in a card that has only metadata (`""` if none); `None` if the card has a text."""
    card = ModelCard(text)
    return None if card.text.strip() else str(card.data.get("license") or "")


def facts_of(model: LaclForTokenClassification) -> CardFacts:
    """Return the facts about a model in its current state.

    These are all facts known from its training or its folder if the weights, the labels and the options have
    not changed since. Otherwise, they are the facts that a model inherits from the one that it was made from.
    """
    known = known_facts(model)
    if known is None:
        return CardFacts()
    return known if known.fingerprint == fingerprint(model) else known.inherited()


def known_facts(model: LaclForTokenClassification) -> CardFacts | None:
    """Return the facts about a model when it was loaded or trained; it may have changed since."""
    if model.card_facts is not None:
        return cast(CardFacts, model.card_facts)
    name = str(model.name_or_path or "")
    if name in RELEASED and not (Path(name) / "config.json").is_file():
        data = ModelCard.load(released_folder(name) / CARD_FILE).data
        return CardFacts(
            name=name,
            encoder=data.base_model,
            language=_list(data.language),
            license=data.license,
            datasets=_list(data.datasets),
        )
    if not name:
        return None
    try:
        file = cached_file(name, FACTS_FILE, **model.tokenizer_arguments)
    except OSError:  # the file does not exist or cannot be downloaded
        file = None
    found = None if file is None else CardFacts.from_file(file)
    return CardFacts(repo_id=name) if found is None and hub_name(name) else found


def card_text(config: LaclConfig, facts: CardFacts) -> str:
    """Return the complete card: metadata, text, and the digest that `is_generated` checks."""
    settings: Any = config
    labels = [settings.id2label[index] for index in range(1, len(settings.id2label or ()))]
    encoder = facts.encoder or hub_name(settings.encoder_config.name_or_path)
    name = facts.name or (facts.repo_id or "").rpartition("/")[2] or "LACL"
    card = ModelCard.from_template(
        _metadata(facts, encoder, name),
        template_path=str(TEMPLATE),
        title=_cell(name),
        license=_cell(facts.license or "not stated"),
        facts=facts,
        settings=settings,
        source=_code(facts.source or ""),
        encoder=_code(encoder or ""),
        datasets_named=", ".join(map(_cell, facts.datasets)),
        checkpoint=json.dumps(facts.repo_id or "."),
        text=json.dumps(TEXT),
        adapted=bool(settings.support_size),
        can_predict=bool(labels) and bool(settings.use_prompts or settings.support_size),
        labels_table=_label_table(settings, labels, facts),
        corpora_table=_corpora_table(facts),
        results_table=_result_table(facts),
        types_table=_type_table(facts),
        result_notes=[f"{_cell(one.dataset)}, {one.shots}: {one.how}" for one in facts.results if one.how],
        curve_table=_curve_table(facts),
        hyperparameters=[(key, _code(value)) for key, value in facts.hyperparameters.items()],
        options=[
            (key, _code(getattr(settings, key)))
            for key in (*_OPTIONS, *(_SPAN_OPTIONS if settings.max_span_words else ()))
        ],
    )
    text = re.sub(r"\n{3,}", "\n\n", str(card)).rstrip() + "\n"
    return f"{text}\n<!-- lacl:card {sha256(text)} -->\n"


def _metadata(facts: CardFacts, encoder: str | None, name: str) -> ModelCardData:
    # The Hub lists a model under the one that it was fine-tuned from.
    source = facts.source if facts.source and _HUB_DATASET.fullmatch(facts.source) else None
    results = [
        EvalResult(
            task_type="token-classification",
            task_name=f"Named entity recognition, {one.shots}",
            dataset_type=re.sub(r"[^\w./-]+", "-", one.dataset.lower()).strip("-"),
            dataset_name=one.dataset,
            metric_type=kind,
            metric_name=f"{kind if kind != 'f1' else 'micro-F1'} of entities",
            metric_value=round(value, 4),
        )
        for one in facts.results
        for kind, value in (("f1", one.f1), ("precision", one.precision), ("recall", one.recall))
        if value is not None
    ]
    emissions = None if facts.emissions is None else {"emissions": facts.emissions, "source": "codecarbon"}
    return ModelCardData(
        language=facts.language or None,
        license=facts.license,
        library_name="transformers",
        pipeline_tag="token-classification",
        tags=["named-entity-recognition", "few-shot", "zero-shot", "lacl", *facts.tags],
        base_model=source or encoder or None,
        datasets=[name for name in facts.datasets if _HUB_DATASET.fullmatch(name)] or None,
        metrics=["f1", "precision", "recall"] if results else None,
        eval_results=results or None,
        model_name=name if results else None,
        co2_eq_emissions=emissions,
    )


def _label_table(config: Any, labels: Sequence[str], facts: CardFacts) -> str:
    names = config.label_names or {}
    rows = [
        [
            _cell(label),
            _cell(names.get(label, "")),
            str(facts.entities.get(label, "–")),
            ", ".join(map(_cell, facts.examples.get(label, []))) or "–",
        ]
        for label in labels
    ]
    return _table(["label", "name", "entities", "examples"], rows, [2])


def _corpora_table(facts: CardFacts) -> str:
    texts = ("name", "domain", "licence", "attribution")
    rows = [
        [*(_cell(str(one.get(key) or "–")) for key in texts), str(one.get("sentences", "–"))]
        for one in facts.corpora
    ]
    return _table(["corpus", *texts[1:], "sentences"], rows, [4])


def _result_table(facts: CardFacts) -> str:
    rows = [
        [_cell(one.dataset), one.shots, *map(percent, (one.f1, one.deviation, one.precision, one.recall))]
        for one in facts.results
    ]
    return _table(["data", "examples", "F1", "sd", "precision", "recall"], rows, range(2, 6))


def _type_table(facts: CardFacts) -> str:
    rows = [
        [_cell(one.dataset), one.shots, _cell(name), percent(f1)]
        for one in facts.results
        for name, f1 in one.per_type_f1.items()
    ]
    return _table(["data", "examples", "type", "F1"], rows, [3])


def _curve_table(facts: CardFacts) -> str:
    with_f1 = any("f1" in row for row in facts.curve)
    rows = [
        [
            str(row["step"]),
            f"{row['loss']:.4f}" if "loss" in row else "–",
            *([percent(row.get("f1"))] if with_f1 else []),
        ]
        for row in facts.curve
    ]
    return _table(["step", "loss", *(["F1"] if with_f1 else [])], rows, range(3))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int]) -> str:
    return "\n".join(markdown_table(header, rows, numbers)) if rows else ""


def _cell(text: str) -> str:
    """Escape arbitrary text for a table cell: one line, without Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _code(value: Any) -> str:
    """Format a value as inline code."""
    return f"`{str(value).replace('`', '')}`" if str(value) else ""


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])
