"""N-way K~2K-shot episodes: adapt on each support set, tag its query sentences, pool the counts.

The protocol of FEW-NERD (Ding et al., ACL 2021), on episodes drawn by its rule or as its authors published
them. The model sees the words of the query sentences and the types of the episode, never the query's tags.
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

# So many are read or drawn before they are tagged, so that their sentences can be encoded together.
_EPISODES_AHEAD = 64


@dataclass(frozen=True)
class EpisodeCounts:
    """What one episode adds to the pooled scores; one line of the results file.

    Attributes:
        episode: Its number.
        types: Its types.
        correct, found, gold: Entities found right, found, and in the query sentences.
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
        """Micro-F1 of this episode alone; 1 where there is nothing to find and nothing found."""
        return 2 * self.correct / (self.found + self.gold) if self.found + self.gold else 1.0


@dataclass(frozen=True)
class EpisodeResult:
    """All episodes of a target.

    Attributes:
        target, shots: Its name, and N, K as FEW-NERD writes them.
        precision, recall, f1: Micro scores in [0, 1] over the entities of all episodes.
        episodes: The single episodes.
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
    """Evaluates a source model on the episodes of a target.

    Each episode is appended to a JSON Lines file in the recipe's output folder as it comes; a run that was
    stopped goes on where it was.

    Args:
        target: The episodes.
        recipe: Gives the folders, the stage and the seed of adapting.
        tagger: Adapts the source model and tags.
        arguments: Further arguments of the second stage, which decide the results.

    Raises:
        ValueError: The file is missing, malformed or has too few types or episodes, or the results file was
            made with other settings.
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
        else drawn_episodes(dataset, target, pending)
    )
    with tqdm(desc=target.name, total=number, initial=number - len(pending), unit="episode") as progress:
        for counts in _counts(source, tagger, names):
            append_json_line(file, asdict(counts))
            done[counts.episode] = counts
            progress.update()
    return _pooled(target, [done[index] for index in range(number)])


@dataclass(frozen=True)
class EpisodeSentences:
    """One episode.

    Attributes:
        number: Its number.
        types: Its entity types.
        support: Sentences to adapt on, as from `read_dataset`.
        query: Sentences to tag, as lists of words.
        gold: Their BIO tags, apart from them.
    """

    number: int
    types: list[str]
    support: Dataset
    query: list[list[str]]
    gold: list[list[str]]


def drawn_episodes(
    dataset: Dataset, target: EpisodeTarget, pending: Sequence[int]
) -> Iterator[EpisodeSentences]:
    """Episodes drawn by the rule; each depends on the seed and its number alone."""
    types = entity_types(dataset)
    counts = count_entities(to_io(dataset, types), len(types) + 1)
    tokens, tags = dataset["tokens"][:], gold_tags(dataset)
    for number in pending:
        generator = np.random.default_rng((target.seed, number))
        drawn = sample_episode(counts, target.n_way, target.k_shot, target.q_shot, generator)
        chosen = [types[label - 1] for label in drawn.types]
        support, query = (
            ([tokens[row] for row in rows], [tags[row] for row in rows])
            for rows in (drawn.support, drawn.query)
        )
        yield EpisodeSentences(number, chosen, _support(*support, chosen), *query)


def published_episodes(
    path: Path, target: EpisodeTarget, pending: Sequence[int]
) -> Iterator[EpisodeSentences]:
    """The episodes of a file, in its order."""
    if not pending:
        return
    wanted = set(pending)
    number = pending[0] - 1
    for number, one in enumerate(read_episodes(path, skip=pending[0]), start=pending[0]):
        if number in wanted:
            if len(one.types) != target.n_way:
                raise LaclDataError(
                    f"{path}: episode {number} has {len(one.types)} types, and {target.name!r} has n_way "
                    f"{target.n_way}; set 'n_way' and 'k_shot' as the file's name tells"
                )
            support = _support(one.support, to_bio(one.support_labels, "IO"), one.types)
            yield EpisodeSentences(number, one.types, support, one.query, to_bio(one.query_labels, "IO"))
        if number == pending[-1]:
            return
    raise LaclDataError(
        f"{path}: holds {number + 1} episodes; set 'number' of {target.name!r} to at most that"
    )


def _support(tokens: Iterable[list[str]], tags: Iterable[list[str]], types: list[str]) -> Dataset:
    """Support sentences as a dataset over the episode's types alone, which by its rule are all they hold."""
    return read_dataset(
        [{"tokens": words, "ner_tags": row} for words, row in zip(tokens, tags, strict=True)], labels=types
    )


def _counts(
    episodes: Iterator[EpisodeSentences], tagger: Tagger, names: Mapping[str, str]
) -> Iterator[EpisodeCounts]:
    """Adapt and tag episode by episode; each takes its share of the time of preparing for several."""
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
    """Score the entities of all episodes together."""
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
    """Episodes that an earlier call left in the file; a new file gets the settings as its first line."""
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
        logger.info("%d episodes taken over from %s", len(done), file)
    return done
