"""Domain transfer: adapt a source model on each support set and score it on the whole test set.

The protocol of CONTaiNER (Das et al., ACL 2022) and arXiv 2404.17178, with published support sets. The model
sees the words of the test set and the types of the support set, never the gold tags.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers.utils.logging import tqdm

from ..baselines import model_class
from ..data.label_names import label_names_for, load_label_names
from ..data.tags import entity_types, gold_tags
from ..files import append_json_line, sha256
from ..hub.loading import load_model
from ..metrics import entity_scores
from ..model.configuration_lacl import LaclConfig
from ..model.decoding_lacl import OUTSIDE
from ..model.modeling_lacl import LaclForTokenClassification
from ..reporting import ZERO_SHOT, command_line, describe_machine
from ..training.word_labels import predict_tags
from .episodes import evaluate_episodes
from .recipe import CONFIG_OPTIONS, TransferRecipe
from .report import SeedsReport, TransferReport
from .results import TransferResult, model_digest, read_results
from .stages import second_stage
from .support_sets import SupportSet, read_test, support_sets
from .tagging import Tagger, make_tagger
from .targets import TransferTarget

logger = logging.getLogger(__name__)

RESULTS_FILE = "results.jsonl"
# Arguments set by the protocol; a recipe has separate keys for them.
_NOT_FOR_ADAPT = {"model", "tokenizer", "support", "label_names", "seed", "callbacks"}


@dataclass(frozen=True)
class _Target:
    """A target as read, with sentences and gold tags separate, so that a model cannot see gold tags."""

    recipe: TransferTarget
    sentences: list[list[str]]
    gold: list[list[str]]
    label_names: dict[str, str]
    digest: str


@dataclass(frozen=True)
class _Run:
    """A planned result, one line of the results file; `support` is None for zero-shot."""

    target: _Target
    shots: str
    support: SupportSet | None
    labels: list[str]
    settings: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str | None]:
        return self.target.recipe.name, self.shots, self.support.name if self.support else None


def evaluate_transfer(
    recipe: TransferRecipe,
    model: LaclForTokenClassification | None = None,
) -> TransferReport:
    """Adapt on every support set of a recipe and score the whole test sets.

    Each result is appended to `results.jsonl` in the recipe's output folder. An interrupted run is resumed:
    results in that file are reused if everything that they depend on is equal (weights and configuration of
    the source model, content of the files, label names, arguments of adapting, random seed, version of this
    package). Finally, `report.md` and `report.json` are written to the same folder.

    Args:
        recipe: The recipe.
        model: The source model, which is not modified; by default loaded from `recipe.checkpoint`.

    Returns:
        The report.

    Raises:
        ValueError: The recipe has several checkpoints, one does not load, a file is missing or malformed,
            an argument of adapting is unknown, or the output folder holds results made with other settings.
    """
    source = recipe.source
    stage = second_stage(recipe.stage)
    adapt_arguments = stage_arguments(stage, recipe.adapt)
    if model is None:
        model = load_source(recipe)
    tagger = make_tagger(
        *(recipe.stage, stage, {**adapt_arguments, "seed": recipe.seed}, model, recipe.batch_size)
    )
    runs = _plan(recipe, model, adapt_arguments)
    output = Path(recipe.output).expanduser()
    output.mkdir(parents=True, exist_ok=True)
    results = _finished(output / RESULTS_FILE, runs)
    pending = [run for run in runs if run.key not in results]
    with tqdm(pending, desc="support sets", total=len(runs), initial=len(results), unit="set") as progress:
        for run in progress:
            progress.set_postfix_str(f"{run.target.recipe.name} {run.shots}")
            results[run.key] = _evaluate(run, tagger)
            append_json_line(output / RESULTS_FILE, asdict(results[run.key]))
    in_order = [results[run.key] for run in runs]
    episodes = [evaluate_episodes(target, recipe, tagger, adapt_arguments) for target in recipe.episodes]
    report = TransferReport(
        checkpoint=source,
        seed=recipe.seed,
        adapt=adapt_arguments,
        results=in_order,
        episodes=episodes,
        seconds=sum(result.seconds for result in in_order) + sum(result.seconds for result in episodes),
        command=command_line(),
        machine=describe_machine(model.device),
    )
    report.save(output)
    return report


def evaluate_sources(recipe: TransferRecipe) -> TransferReport | SeedsReport:
    """Evaluate the source model of a recipe with `evaluate_transfer`, or each of several, one after another.

    Args:
        recipe: The recipe. The results of each of several source models are in a folder of its own, so that
            one can be added later.

    Returns:
        The report, which has also been written to the output folder.

    Raises:
        ValueError: As for `evaluate_transfer`, or two of several source models are the same.
    """
    if isinstance(recipe.checkpoint, str):
        return evaluate_transfer(recipe)
    reports: list[TransferReport] = []
    known: dict[str, str] = {}
    for one in recipe.of_each_source():
        model = load_source(one)
        other = known.setdefault(model_digest(model), one.source)
        if other != one.source:
            raise ValueError(f"{other} and {one.source} are one model: train each with a seed of its own")
        reports.append(evaluate_transfer(one, model))
    report = SeedsReport(reports=reports, command=command_line(), machine=reports[0].machine)
    report.save(Path(recipe.output).expanduser())
    return report


def load_source(recipe: TransferRecipe) -> LaclForTokenClassification:
    """Load the source model of a recipe and set the options of its `config`.

    Raises:
        ValueError: The checkpoint does not load, or an option cannot be overridden or has an invalid value.
    """
    for key, value in recipe.config.items():
        if key not in CONFIG_OPTIONS:
            raise ValueError(f"'config' has {key!r}: only these can be set: {', '.join(CONFIG_OPTIONS)}")
        try:
            LaclConfig(**{key: value})
        except (TypeError, ValueError) as error:
            raise ValueError(f"'config': {key} is {value!r}: {error}") from None
    model = load_model(recipe.source, model_class(recipe.method))
    model.config.update(recipe.config)
    return model


def stage_arguments(stage: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all arguments of a second stage that a recipe may set, with defaults for those not given.

    Raises:
        ValueError: An argument is unknown, or is not the number that it should be.
    """
    parameters = inspect.signature(stage).parameters.values()
    defaults = {entry.name: entry.default for entry in parameters if entry.name not in _NOT_FOR_ADAPT}
    for key in given:
        if key not in defaults:
            raise ValueError(f"unknown key {key!r} under 'adapt'; known keys: {', '.join(defaults)}")
    return {**defaults, **{key: _as_number(key, value, defaults[key]) for key, value in given.items()}}


def _as_number(key: str, value: Any, default: Any) -> Any:
    """Convert a string to a number unless the default is a string: YAML reads 1e-4 as a string."""
    if not isinstance(value, str) or isinstance(default, str):
        return value
    try:
        return int(value) if value.isdecimal() else float(value)
    except ValueError:
        raise ValueError(f"{key!r} under 'adapt' is {value!r}: give a number") from None


def _plan(
    recipe: TransferRecipe, model: LaclForTokenClassification, adapt_arguments: Mapping[str, Any]
) -> list[_Run]:
    """Return all runs in order, each with everything that its result depends on."""
    common = {
        "lacl": describe_machine(model.device)["lacl"],
        "model": model_digest(model),
        "method": recipe.method,
        "stage": recipe.stage,
        "adapt": adapt_arguments,
        "seed": recipe.seed,
    }
    runs = []
    for entry in recipe.targets:
        target = _read_target(recipe.folder, entry)
        sets = support_sets(recipe.folder, entry)
        planned: list[tuple[str, SupportSet | None, list[str]]] = [
            (shots, one, entity_types(one.sentences))
            for shots, group in sets.items()
            for one in group[: recipe.limit]
        ]
        if entry.zero_shot:  # with the types of all support sets, regardless of the limit
            types = [entity_types(one.sentences) for group in sets.values() for one in group]
            planned.append((ZERO_SHOT, None, _zero_shot_labels(target, types)))
        for shots, support, labels in planned:
            settings = {
                **common,
                "test": target.digest,
                "support": None if support is None else support.digest,
                "labels": labels,
                "label_names": _names_of(target, labels),
            }
            # In the form that JSON reads back: lists for tuples, strings for keys.
            runs.append(_Run(target, shots, support, labels, json.loads(json.dumps(settings))))
    return runs


def _read_target(folder: Path, entry: TransferTarget) -> _Target:
    test, digest = read_test(folder, entry)
    names = entry.label_names
    if isinstance(names, str) and (folder / names).is_file():
        names = str(folder / names)
    return _Target(
        recipe=entry,
        sentences=list(test["tokens"]),
        gold=gold_tags(test),
        label_names=load_label_names(names) if names else {},
        digest=digest,
    )


def _zero_shot_labels(target: _Target, types: Iterable[Sequence[str]]) -> list[str]:
    """Return the labels of the recipe, else the types of its support sets, else those with label names."""
    named = [label for label in target.label_names if label != OUTSIDE]
    labels = target.recipe.labels or list(dict.fromkeys(label for some in types for label in some)) or named
    if not labels:
        raise ValueError(f"target {target.recipe.name!r}: zero-shot without support sets needs 'labels'")
    return labels


def _names_of(target: _Target, labels: Sequence[str]) -> dict[str, str]:
    """Return the label names of these labels, and that of outside if there is one."""
    outside = {label: name for label, name in target.label_names.items() if label == OUTSIDE}
    return outside | label_names_for(labels, target.label_names or None)


def _finished(file: Path, runs: Sequence[_Run]) -> dict[tuple[str, str, str | None], TransferResult]:
    """Return the results of these runs that an earlier call wrote to the file."""
    settings = {run.key: run.settings for run in runs}
    finished = {}
    for result in read_results(file):
        wanted = settings.get(result.key)
        if wanted is None:
            continue
        if result.settings != wanted:
            changed = [name for name in wanted if result.settings.get(name) != wanted[name]]
            raise ValueError(
                f"{file} holds results of {result.target}, {result.shots}, made with other settings "
                f"({', '.join(changed)}); choose another 'output' (--output) or remove the file"
            )
        finished[result.key] = result
    if finished:
        logger.info("Resuming with %d of %d results from %s", len(finished), len(runs), file)
    return finished


def _evaluate(run: _Run, tagger: Tagger) -> TransferResult:
    start = time.perf_counter()
    names, sentences = run.settings["label_names"], run.target.sentences
    if run.support is None:
        tags = predict_tags(tagger.model, sentences, labels=names, batch_size=tagger.batch_size)
    else:
        tags = tagger.tag(run.support.sentences, names, sentences)
    seconds = time.perf_counter() - start
    scores = entity_scores(run.target.gold, tags)
    unreachable = sum(one["number"] for label, one in scores["per_type"].items() if label not in run.labels)
    if unreachable:
        logger.warning(
            "%s, %s: %d of %d entities of the test set have a type that the model is not given",
            *(run.target.recipe.name, run.key[2] or ZERO_SHOT, unreachable, scores["number"]),
        )
    return TransferResult(
        target=run.target.recipe.name,
        shots=run.shots,
        support=run.key[2],
        **scores,
        unreachable=unreachable,
        labels=run.labels,
        predictions_sha256=sha256(json.dumps(tags)),
        seconds=seconds,
        settings=run.settings,
    )
