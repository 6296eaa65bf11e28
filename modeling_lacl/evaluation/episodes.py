"""N-way K~2K-shot episodes: adapt on each support set, tag its query sentences, pool the counts.

The protocol of FEW-NERD (Ding et al., ACL 2021), on episodes sampled by its rule or published by its
authors. The model sees the words of the query sentences and the types of the episode, never the query tags.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers.utils.logging import tqdm

from ..data.corpora.few_nerd import read_episodes
from ..data.examples import LaclDataError
from ..data.label_names import label_names_for, load_label_names
from ..data.reading import read_dataset
from ..data.sampling import count_entities, sample_episode
from ..data.tag_schemes import to_bio
from ..data.tags import entity_types, gold_tags, to_io
from ..files import append_json_line, read_json_lines, row_of, sha256
from ..metrics import entity_counts, scores_of_counts
from ..reporting import describe_machine
from .recipe import TransferRecipe, slug
from .results import model_digest
from .tagging import Tagger
from .targets import EpisodeTarget

logger = logging.getLogger(__name__)

# Number of episodes read or sampled before they are tagged, so that their sentences are encoded together.
_EPISODES_AHEAD = 64


@dataclass(frozen=True)
class EpisodeCounts:
    """The entity counts of one episode, which are pooled with the others; one line of the results file.

    Attributes:
        episode: Number of the episode.
        types: Entity types of the episode.
        correct, found, gold: Number of correctly predicted, predicted, and gold entities in the query
            sentences.
        seconds: Wall time of adapting and tagging.
    """

    episode: int
    types: list[str]
    correct: int
    found: int
    gold: int
    seconds: float

    @property
    def f1(self) -> float:
        """Micro-F1 of this episode alone; 1 if there are neither gold nor predicted entities."""
        return 2 * self.correct / (self.found + self.gold) if self.found + self.gold else 1.0


@dataclass(frozen=True)
class EpisodeResult:
    """Scores over all episodes of a target.

    Attributes:
        target: Name of the target.
        shots: N and K in the notation of FEW-NERD, as in `5-way 1~2-shot`.
        precision, recall, f1: Micro scores in [0, 1] over the entities of all episodes.
        episodes: Counts of the individual episodes.
    """

    target: str
    shots: str
    precision: float
    recall: float
    f1: float
    episodes: list[EpisodeCounts]

    @property
    def seconds(self) -> float:
        """Wall time of all episodes."""
        return sum(one.seconds for one in self.episodes)


def evaluate_episodes(
    target: EpisodeTarget,
    recipe: TransferRecipe,
    tagger: Tagger,
    arguments: Mapping[str, Any],
) -> EpisodeResult:
    """Evaluate a source model on the episodes of a target.

    The result of each episode is appended to a JSON Lines file in the recipe's output folder; an interrupted
    run is resumed from it.

    Args:
        target: The episodes.
        recipe: The recipe, for its folders, stage, method and random seed.
        tagger: Tagger that adapts the source model.
        arguments: Further arguments of the second stage, recorded with the results.

    Returns:
        The pooled scores.

    Raises:
        ValueError: The file is missing, malformed, or has too few types or episodes, or the results file was
            written with other settings.
    """
    path = recipe.folder / target.file
    if not path.is_file():
        raise LaclDataError(f"no file {path}; set 'data_root' (--data_root) to the folder of the data")
    given = load_label_names(target.label_names) if target.label_names else None
    dataset = None if target.published else read_dataset(path)
    names = (given or {}) if dataset is None else label_names_for(entity_types(dataset), given)
    settings = {
        "lacl": describe_machine(tagger.model.device)["lacl"],
        "model": model_digest(tagger.model),
        "method": recipe.method,
        "stage": recipe.stage,
        "adapt": dict(arguments),
        "seed": recipe.seed,
        "file": sha256(path),
        "label_names": names,
        "episodes": {**asdict(target), "number": None},
    }
    folder = Path(recipe.output).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{slug(target.name)}.jsonl"
    done = _finished(file, json.loads(json.dumps(settings)))
    number = target.number if recipe.limit is None else min(target.number, recipe.limit)
    pending = [index for index in range(number) if index not in done]
    source = (
        published_episodes(path, target, pending)
        if dataset is None
        else sampled_episodes(dataset, target, pending)
    )
    with tqdm(desc=target.name, total=number, initial=number - len(pending), unit="episode") as progress:
        for counts in _counts(source, tagger, names):
            append_json_line(file, asdict(counts))
            done[counts.episode] = counts
            progress.update()
    return _pooled(target, [done[index] for index in range(number)])


@dataclass(frozen=True)
class EpisodeSentences:
    """The sentences of one episode.

    Attributes:
        number: Number of the episode.
        types: Entity types of the episode.
        support: Support sentences, in the format of `read_dataset`.
        query: Query sentences, as lists of words.
        gold: BIO tags of the query sentences, kept separate so that a model cannot see them.
    """

    number: int
    types: list[str]
    support: Dataset
    query: list[list[str]]
    gold: list[list[str]]


def sampled_episodes(
    dataset: Dataset, target: EpisodeTarget, pending: Sequence[int]
) -> Iterator[EpisodeSentences]:
    """Sample episodes by FEW-NERD's rule; each depends only on the seed and its number.

    Args:
        dataset: Sentences to sample from.
        target: The parameters of the episodes.
        pending: Numbers of the episodes to sample.

    Yields:
        The episodes, in the order of `pending`.
    """
    types = entity_types(dataset)
    counts = count_entities(to_io(dataset, types), len(types) + 1)
    tokens, tags = dataset["tokens"][:], gold_tags(dataset)
    for number in pending:
        generator = np.random.default_rng((target.seed, number))
        episode = sample_episode(counts, target.n_way, target.k_shot, target.q_shot, generator)
        chosen = [types[label - 1] for label in episode.types]
        support, query = (
            ([tokens[row] for row in rows], [tags[row] for row in rows])
            for rows in (episode.support, episode.query)
        )
        yield EpisodeSentences(number, chosen, _support(*support, chosen), *query)


def published_episodes(
    path: Path, target: EpisodeTarget, pending: Sequence[int]
) -> Iterator[EpisodeSentences]:
    """Read published episodes from a file.

    Args:
        path: The file, as published with FEW-NERD.
        target: The parameters of the episodes.
        pending: Numbers of the episodes to read, in increasing order.

    Yields:
        The episodes, in the order of the file.

    Raises:
        LaclDataError: An episode has another number of types than `target.n_way`, or the file has too few
            episodes.
    """
    if not pending:
        return
    wanted = set(pending)
    number = pending[0] - 1
    for number, one in enumerate(read_episodes(path, skip=pending[0]), start=pending[0]):
        if number in wanted:
            if len(one.types) != target.n_way:
                raise LaclDataError(
                    f"{path}: episode {number} has {len(one.types)} types, and {target.name!r} has n_way "
                    f"{target.n_way}; set 'n_way' and 'k_shot' to the values in the file name"
                )
            support = _support(one.support, to_bio(one.support_labels, "IO"), one.types)
            yield EpisodeSentences(number, one.types, support, one.query, to_bio(one.query_labels, "IO"))
        if number == pending[-1]:
            return
    raise LaclDataError(
        f"{path}: holds {number + 1} episodes; set 'number' of {target.name!r} to at most that"
    )


def _support(tokens: Iterable[list[str]], tags: Iterable[list[str]], types: list[str]) -> Dataset:
    """Return support sentences as a dataset; by the sampling rule they contain only the episode's types."""
    return read_dataset(
        [{"tokens": words, "ner_tags": row} for words, row in zip(tokens, tags, strict=True)], labels=types
    )


def _counts(
    episodes: Iterator[EpisodeSentences], tagger: Tagger, names: Mapping[str, str]
) -> Iterator[EpisodeCounts]:
    """Adapt and tag each episode; the time of encoding several episodes together is split evenly."""
    while some := list(islice(episodes, _EPISODES_AHEAD)):
        start = time.perf_counter()
        tagger.prepare(words for one in some for words in (*one.support["tokens"], *one.query))
        share = (time.perf_counter() - start) / len(some)
        for one in some:
            start = time.perf_counter()
            tags = tagger.tag(one.support, label_names_for(one.types, names or None), one.query)
            seconds = share + time.perf_counter() - start
            yield EpisodeCounts(one.number, one.types, *entity_counts(one.gold, tags), seconds)


def _pooled(target: EpisodeTarget, episodes: list[EpisodeCounts]) -> EpisodeResult:
    """Return micro scores over the entities of all episodes."""
    scores = scores_of_counts(
        *(sum(getattr(one, key) for one in episodes) for key in ("correct", "found", "gold"))
    )
    return EpisodeResult(
        target=target.name,
        shots=target.shots,
        precision=scores["precision"],
        recall=scores["recall"],
        f1=scores["f1"],
        episodes=episodes,
    )


def _finished(file: Path, settings: Mapping[str, Any]) -> dict[int, EpisodeCounts]:
    """Return the finished episodes of an earlier call; a new file gets the settings as its first line."""
    lines = read_json_lines(file)
    if not lines:
        append_json_line(file, {"settings": settings})
    elif lines[0] != {"settings": settings}:
        raise ValueError(
            f"{file} holds episodes made with other settings; choose another 'output' (--output) or "
            "remove the file"
        )
    rows = [row_of(EpisodeCounts, line, f"{file}:{number}") for number, line in enumerate(lines[1:], 2)]
    done = {one.episode: one for one in rows}
    if done:
        logger.info("Resuming with %d finished episodes from %s", len(done), file)
    return done
