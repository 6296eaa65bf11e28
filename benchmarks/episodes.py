"""Benchmark episodes whose sentences are encoded once, against encoding every episode again.

    python benchmarks/episodes.py DATA/few-nerd-inter/test.txt

The reference encodes the support and query sentences of each episode, and compares all query words with all
support words in an N x N x d tensor of differences, as published implementations do. It is compared with what
`lacl evaluate` does for NNShot, StructShot and ProtoBERT. Both take turns on blocks of episodes, and their
tags are compared word by word. The reference may run on a part of each block, since its time per episode is
constant. Times include encoding but not the sampling of episodes. On the CPU, processor time is measured,
which depends less on other programs on the machine.

The speed-up grows with the number of episodes sampled from the same sentences. FEW-NERD's protocol has 5,000
episodes on 14,006 test sentences; `--sentences 1400 --episodes 500` has the same ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoTokenizer

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.label_names import label_names_for
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.support import encode_support
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.evaluation.episodes import EpisodeSentences, sampled_episodes
from modeling_lacl.evaluation.tagging import EncodedOnceTagger
from modeling_lacl.evaluation.targets import EpisodeTarget
from modeling_lacl.hub.bundled import embedded_encoder_path
from modeling_lacl.metrics import entity_counts
from modeling_lacl.model.labels_lacl import with_own_labels
from modeling_lacl.reporting import command_line, describe_machine, markdown_table
from modeling_lacl.training.word_labels import word_gaussians

Tags = list[list[str]]

KINDS: dict[str, dict[str, Any]] = {
    "nnshot": {"projection": "hidden", "divergence": "euclidean", "similarity_temperature": 1.0},
    "gaussian": {"projection": "gaussian", "divergence": "jeffreys", "similarity_temperature": 1.0},
}
# Number of query words that the reference compares at once: the whole tensor would need gigabytes.
ROWS = 256


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", help="sentences to sample from, such as FEW-NERD's test.txt")
    parser.add_argument("--encoder", default="minilm", help="pretrained encoder")
    parser.add_argument(
        "--model",
        choices=list(KINDS),
        default="gaussian",
        help="Jeffreys of Gaussians, or Euclidean of states",
    )
    parser.add_argument("--sentences", type=int, help="use only this number of sentences from the file")
    parser.add_argument("--n_way", type=int, default=5)
    parser.add_argument("--shots", type=int, default=5, help="K of support and query sets")
    parser.add_argument("--episodes", type=int, default=5000)
    parser.add_argument("--block", type=int, default=50, help="episodes per turn (default: 50)")
    parser.add_argument(
        "--reference", type=int, help="episodes of each block for the reference (default: all)"
    )
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    print(run(options))


def run(options: argparse.Namespace) -> str:
    torch.manual_seed(0)
    encoder = embedded_encoder_path(options.encoder)
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
    dataset = read_dataset(options.file)
    if options.sentences:
        dataset = dataset.select(range(min(options.sentences, len(dataset))))
    episodes = sampled_episodes(dataset, target, range(options.episodes))
    tagger = EncodedOnceTagger(adapt, {"steps": 0}, model, 32)
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    anew_each: list[float] = []  # seconds per episode, by block
    once_each: list[float] = []
    once_total = 0.0
    counts = np.zeros(3, dtype=int)
    words = different = sentences = compared = 0
    for number in range(0, options.episodes, options.block):
        block = list(islice(episodes, options.block))
        part = block[: options.reference]
        turns = ("anew", "once") if number // options.block % 2 else ("once", "anew")
        tags: dict[str, list[Tags]] = {}
        for turn in turns:
            start = clock()
            if turn == "once":
                tags[turn] = encoded_once(tagger, block)
                once_total += clock() - start
                once_each.append((clock() - start) / len(block))
            else:
                tags[turn] = encoded_anew(model, part)
                anew_each.append((clock() - start) / len(part))
        for episode, found in zip(block, tags["once"], strict=True):
            counts += entity_counts(episode.gold, found)
            sentences += len(episode.support) + len(episode.query)
        for found, others in zip(tags["once"], tags["anew"], strict=False):
            pairs = [pair for both in zip(found, others, strict=True) for pair in zip(*both, strict=True)]
            words += len(pairs)
            different += sum(one != other for one, other in pairs)
        compared += len(part)
    correct, found_entities, gold = counts.tolist()
    anew, once = float(np.mean(anew_each)), once_total / options.episodes
    rows = [
        ["encoded anew, N×N×d", f"{1000 * anew:.1f}", f"{1000 * anew_each[-1]:.1f}"],
        ["encoded once", f"{1000 * once:.1f}", f"{1000 * once_each[-1]:.1f}"],
        ["times faster", f"{anew / once:.1f}", f"{anew_each[-1] / once_each[-1]:.1f}"],
    ]
    machine = describe_machine(options.device)
    return "\n".join(
        [
            f"{options.episodes} episodes, {target.shots}, {options.model}, encoder {options.encoder}",
            "",
            *markdown_table(["ms an episode", "all", "last block"], rows, numbers=range(1, 3)),
            "",
            f"- {different} of {words} words have different tags, in the {compared} episodes that the "
            "reference ran on",
            f"- F1 of all {200 * correct / max(found_entities + gold, 1):.2f}",
            f"- {sentences} sentences in all episodes, {len(tagger.encoded)} of them different",
            f"- Command: `{command_line()}`",
            f"- Machine: {machine['processor']}, {machine['threads']} threads, device {machine['device']}",
            f"- lacl {machine['lacl']}, torch {machine['torch']}, transformers {machine['transformers']}",
        ]
    )


def encoded_once(tagger: EncodedOnceTagger, block: Sequence[EpisodeSentences]) -> list[Tags]:
    """Tag the query sentences as `lacl evaluate` does."""
    tagger.prepare(words for one in block for words in (*one.support["tokens"], *one.query))
    return [tagger.tag(one.support, label_names_for(one.types), one.query) for one in block]


@torch.inference_mode()
def encoded_anew(model: LaclForTokenClassification, block: Sequence[EpisodeSentences]) -> list[Tags]:
    """Tag the query words of each episode with their nearest support words, encoding all sentences again."""
    results = []
    for episode in block:
        learner = with_own_labels(model)
        learner.set_labels(episode.types)
        *support, labels = encode_support(learner, episode.support)[:3]
        query = word_gaussians(model, episode.query)
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
    """Return divergences `(N, M)`, computed with a tensor of N x M x d."""
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
