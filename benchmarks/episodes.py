"""Time of episodes whose sentences are encoded once, beside encoding every episode anew.

    python benchmarks/episodes.py DATA/few-nerd-inter/test.txt --episodes 300

The reference encodes the support and query sentences of each episode and compares every query word with every
support word by an N x N x d tensor of differences, as published programs do. Against it stands what `lacl
evaluate` does for NNShot, StructShot and ProtoBERT. Both run in turns on blocks of the same episodes; their
tags are compared word by word. The time of encoding is in both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data import io_to_bio, label_names_for, read_dataset
from modeling_lacl.encoder import resolve_encoder
from modeling_lacl.evaluation import EpisodeTarget
from modeling_lacl.evaluation.episode_evaluation import EpisodeSentences, drawn_episodes
from modeling_lacl.evaluation.report import command_line, describe_machine, markdown_table
from modeling_lacl.evaluation.scores import entity_counts
from modeling_lacl.evaluation.tagging import EncodedOnceTagger
from modeling_lacl.prediction import word_gaussians
from modeling_lacl.support import encode_support
from modeling_lacl.validation import with_own_labels

Tags = list[list[str]]
Result = TypeVar("Result")

KINDS: dict[str, dict[str, Any]] = {
    "nnshot": {"projection": "hidden", "divergence": "euclidean", "similarity_temperature": 1.0},
    "gaussian": {"projection": "gaussian", "divergence": "jeffreys", "similarity_temperature": 1.0},
}
# Query words that the reference compares at once: the whole tensor would take gigabytes.
ROWS = 256


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="sentences to draw from, as FEW-NERD's test.txt")
    parser.add_argument("--encoder", default="minilm", help="pretrained encoder")
    parser.add_argument("--model", choices=list(KINDS), default="nnshot", help="what is compared, and how")
    parser.add_argument("--n_way", type=int, default=5)
    parser.add_argument("--shots", type=int, default=5, help="K of support and query sets")
    parser.add_argument("--episodes", type=int, default=300)
    parser.add_argument("--block", type=int, default=50, help="episodes before it is the other's turn")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    print(run(options))


def run(options: argparse.Namespace) -> str:
    torch.manual_seed(0)
    encoder = resolve_encoder(options.encoder)
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = LaclForTokenClassification.from_encoder(
        encoder, tokenizer, ["person"], use_prompts=False, **KINDS[options.model]
    ).to(options.device)
    target = EpisodeTarget(
        name="episodes",
        file=options.file,
        n_way=options.n_way,
        k_shot=options.shots,
        q_shot=options.shots,
        number=options.episodes,
    )
    episodes = drawn_episodes(read_dataset(options.file), target, range(options.episodes))
    tagger = EncodedOnceTagger(adapt, {"steps": 0}, model, tokenizer, 32)
    anew_seconds, once_seconds = [], []
    counts = torch.zeros(3, dtype=torch.long)
    words = different = drawn = 0
    while block := list(islice(episodes, options.block)):
        # By turns the one and the other first.
        if len(anew_seconds) % 2:
            once, seconds_once = timed(lambda block=block: encoded_once(tagger, block))
            anew, seconds_anew = timed(lambda block=block: encoded_anew(model, tokenizer, block))
        else:
            anew, seconds_anew = timed(lambda block=block: encoded_anew(model, tokenizer, block))
            once, seconds_once = timed(lambda block=block: encoded_once(tagger, block))
        anew_seconds.append(seconds_anew)
        once_seconds.append(seconds_once)
        for episode, tags, others in zip(block, once, anew, strict=True):
            pairs = [pair for both in zip(tags, others, strict=True) for pair in zip(*both, strict=True)]
            words += len(pairs)
            different += sum(one != other for one, other in pairs)
            counts += torch.tensor(entity_counts(episode.gold, tags))
            drawn += len(episode.support) + len(episode.query)
    correct, found, gold = counts.tolist()
    number = options.episodes
    last = number % options.block or options.block
    rows = [
        [
            name,
            f"{sum(seconds):.1f}",
            f"{1000 * sum(seconds) / number:.1f}",
            f"{1000 * seconds[-1] / last:.1f}",
        ]
        for name, seconds in (("encoded anew, N×N×d", anew_seconds), ("encoded once", once_seconds))
    ]
    rows.append(
        [
            "times faster",
            f"{sum(anew_seconds) / sum(once_seconds):.1f}",
            f"{sum(anew_seconds) / sum(once_seconds):.1f}",
            f"{anew_seconds[-1] / once_seconds[-1]:.1f}",
        ]
    )
    machine = describe_machine(options.device)
    return "\n".join(
        [
            f"{number} episodes, {target.shots}, {options.model}, encoder {options.encoder}",
            "",
            *markdown_table(["", "seconds", "ms an episode", "ms, last block"], rows, numbers=range(1, 4)),
            "",
            f"- {different} of {words} words have different tags; F1 {200 * correct / (found + gold):.2f}",
            f"- {drawn} sentences in all episodes, {len(tagger.encoded)} of them different",
            f"- Command: `{command_line()}`",
            f"- Machine: {machine['processor']}, {machine['threads']} threads, device {machine['device']}",
            f"- lacl {machine['lacl']}, torch {machine['torch']}, transformers {machine['transformers']}",
        ]
    )


def timed(function: Callable[[], Result]) -> tuple[Result, float]:
    """The result, and the seconds that it took."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def encoded_once(tagger: EncodedOnceTagger, block: Sequence[EpisodeSentences]) -> list[Tags]:
    """As `lacl evaluate` does it."""
    tagger.prepare(words for one in block for words in (*one.support["tokens"], *one.query))
    return [tagger.tag(one.support, label_names_for(one.types), one.query) for one in block]


@torch.inference_mode()
def encoded_anew(
    model: LaclForTokenClassification, tokenizer: PreTrainedTokenizerBase, block: Sequence[EpisodeSentences]
) -> list[Tags]:
    """Nearest support word of every query word, for each episode from its sentences on."""
    results = []
    for episode in block:
        learner = with_own_labels(model)
        learner.set_labels(episode.types)
        *support, labels = encode_support(learner, tokenizer, episode.support)
        query = word_gaussians(model, tokenizer, episode.query)
        mean = torch.cat([words.mean for words in query]).to(model.device)
        variance = torch.cat([words.variance for words in query]).to(model.device)
        nearest = [
            differences(model.config.divergence, rows, (support[0], support[1])).argmin(dim=1)
            for rows in zip(mean.split(ROWS), variance.split(ROWS), strict=True)
        ]
        ids = torch.where(mean[:, 0].isnan(), 0, labels[torch.cat(nearest)])
        by_sentence = [row.tolist() for row in ids.split([len(words.mean) for words in query])]
        results.append(io_to_bio(by_sentence, episode.types))
    return results


def differences(divergence: str, p: tuple[Tensor, Tensor], q: tuple[Tensor, Tensor]) -> Tensor:
    """(N, M) divergences by a tensor of N x M x d."""
    (mean_p, var_p), (mean_q, var_q) = ((part[0].unsqueeze(1), part[1].unsqueeze(1)) for part in (p, q))
    mean_q, var_q = mean_q.transpose(0, 1), var_q.transpose(0, 1)
    squared = (mean_p - mean_q) ** 2
    if divergence == "euclidean":
        return squared.sum(-1)
    # Half the sum of the two Kullback-Leibler divergences.
    forward = (var_p / var_q + squared / var_q - 1 + var_q.log() - var_p.log()).sum(-1) / 2
    backward = (var_q / var_p + squared / var_p - 1 + var_p.log() - var_q.log()).sum(-1) / 2
    return (forward + backward) / 2


if __name__ == "__main__":
    main()
