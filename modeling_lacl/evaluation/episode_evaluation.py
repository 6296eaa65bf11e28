"""N-way K~2K-shot episodes: adapt on each support set, tag its query sentences, pool the counts.

The protocol of FEW-NERD (Ding et al., ACL 2021). The model sees the words of the query sentences and the
types of the episode, never the query's tags.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerBase
from transformers.utils.logging import tqdm

from ..data import (
    LaclDataError,
    entity_types,
    io_to_bio,
    label_names_for,
    load_label_names,
    read_dataset,
    to_io,
)
from ..data.labels import tag_names
from ..episodes import Episode, count_entities, draw_episode
from ..modeling_lacl import LaclForTokenClassification
from ..prediction import predict_words
from .recipe import EpisodeTarget, TransferRecipe, slug
from .report import describe_machine
from .scores import entity_counts

logger = logging.getLogger(__name__)

# Keys of a configuration that loading fills in.
_NOT_OF_THE_MODEL = {"_name_or_path", "architectures", "dtype", "transformers_version"}


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
    stage: Callable[..., LaclForTokenClassification],
    arguments: Mapping[str, Any],
    model: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
) -> EpisodeResult:
    """Evaluates a source model on the episodes of a target.

    Each episode is appended to a JSON Lines file in the recipe's output folder as it comes; a run that was
    stopped goes on where it was.

    Args:
        target: The episodes.
        recipe: Gives the folders, the seed of adapting, and the batch size.
        stage: The second stage: `adapt`, or that of a baseline.
        arguments: Its further arguments.
        model: The source model; it is left as it is.
        tokenizer: Its tokenizer.

    Raises:
        ValueError: The file is missing or has too few types, or the results file was made with other
            settings.
    """
    path = recipe.folder / target.file
    if not path.is_file():
        raise LaclDataError(f"no file {path}; set 'data_root' (--data_root) to the folder of the data")
    dataset = read_dataset(path)
    types = entity_types(dataset)
    names = label_names_for(types, load_label_names(target.label_names) if target.label_names else None)
    counts = count_entities(to_io(dataset, types), len(types) + 1)
    settings = {
        "lacl": describe_machine(model.device)["lacl"],
        "model": model_digest(model),
        "stage": recipe.stage,
        "adapt": dict(arguments),
        "seed": recipe.seed,
        "file": hashlib.sha256(path.read_bytes()).hexdigest(),
        "label_names": names,
        "episodes": {**asdict(target), "number": None},
    }
    folder = Path(recipe.output).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{slug(target.name)}.jsonl"
    done = _finished(file, json.loads(json.dumps(settings)))
    number = target.number if recipe.limit is None else min(target.number, recipe.limit)
    pending = [index for index in range(number) if index not in done]
    with file.open("a", encoding="utf-8") as lines:
        for index in tqdm(
            pending, desc=target.name, total=number, initial=number - len(pending), unit="episode"
        ):
            generator = np.random.default_rng((target.seed, index))
            episode = draw_episode(counts, target.n_way, target.k_shot, target.q_shot, generator)
            chosen = {types[label - 1]: names[types[label - 1]] for label in episode.types}
            start = time.perf_counter()
            adapted = stage(
                model,
                tokenizer,
                _only(dataset, episode.support, list(chosen)),
                label_names=chosen,
                seed=recipe.seed,
                **arguments,
            )
            one = _score(adapted, tokenizer, dataset, episode, index, recipe.batch_size, start)
            lines.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
            done[index] = one
    episodes = [done[index] for index in range(number)]
    correct, found, gold = (
        sum(getattr(one, key) for one in episodes) for key in ("correct", "found", "gold")
    )
    return EpisodeResult(
        target=target.name,
        shots=target.shots,
        precision=correct / found if found else 0.0,
        recall=correct / gold if gold else 0.0,
        f1=2 * correct / (found + gold) if found + gold else 0.0,
        episodes=episodes,
    )


def _only(dataset: Dataset, rows: tuple[int, ...], types: list[str]) -> Dataset:
    """These sentences as a dataset over the episode's types alone, which by its rule are all they hold."""
    names = tag_names(dataset)
    chosen = dataset.select(rows)
    tags = [[names[tag] for tag in sentence] for sentence in chosen["ner_tags"]]
    return read_dataset(
        [{"tokens": words, "ner_tags": row} for words, row in zip(chosen["tokens"], tags, strict=True)],
        labels=types,
    )


def _score(
    adapted: LaclForTokenClassification,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    episode: Episode,
    index: int,
    batch_size: int,
    start: float,
) -> EpisodeCounts:
    query = dataset.select(episode.query)
    ids = predict_words(adapted, tokenizer, query["tokens"], batch_size=batch_size)
    id2label: Any = adapted.config.id2label
    types = [id2label[label] for label in range(1, len(id2label))]
    seconds = time.perf_counter() - start
    names = tag_names(dataset)
    gold = [[names[tag] for tag in tags] for tags in query["ner_tags"]]
    return EpisodeCounts(index, types, *entity_counts(gold, io_to_bio(ids, types)), seconds)


def _finished(file: Path, settings: Mapping[str, Any]) -> dict[int, EpisodeCounts]:
    """Episodes that an earlier call left in the file; a new file gets the settings as its first line."""
    if not file.exists():
        file.write_text(json.dumps({"settings": settings}, ensure_ascii=False) + "\n", encoding="utf-8")
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):  # the last line of a run that was killed
        os.truncate(file, len(whole))
    names = {entry.name for entry in fields(EpisodeCounts)}
    done: dict[int, EpisodeCounts] = {}
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if number == 1:
            if not isinstance(values, dict) or values.get("settings") != settings:
                raise ValueError(
                    f"{file} holds episodes made with other settings; choose another 'output' (--output) or "
                    "remove the file"
                )
        elif not isinstance(values, dict) or values.keys() != names:
            raise ValueError(f"{file}:{number}: not an episode of this version; remove the file")
        else:
            done[values["episode"]] = EpisodeCounts(**values)
    if done:
        logger.info("%d episodes taken over from %s", len(done), file)
    return done


def model_digest(model: LaclForTokenClassification) -> str:
    """Digest of weights and configuration: equal for a model and its copy loaded from disk."""
    config = _without(model.config.to_dict(), _NOT_OF_THE_MODEL)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _without(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """A nested mapping with these keys left out at every depth."""
    return {
        key: _without(value, keys) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in keys
    }
