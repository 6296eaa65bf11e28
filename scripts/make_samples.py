"""Sample the packaged sentences from the full corpora.

    python scripts/make_samples.py --few-nerd train.txt --wnut17 wnut17/

`--few-nerd` is the training file of FEW-NERD's INTER split; `--wnut17` a folder with `test.conll` and the
published support set `support-5shot/0.txt`. Sentences are copied unchanged, with one token and tag per line.
The same seed samples the same sentences.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from pathlib import Path

SAMPLES = Path(__file__).resolve().parent.parent / "modeling_lacl" / "samples"


def read_sentences(path: Path) -> list[str]:
    """Return the sentences of a CoNLL-style file, each as the text of its lines."""
    blocks = path.read_text(encoding="utf-8").split("\n\n")
    return [block.strip("\n") for block in blocks if block.strip()]


def entity_counts(sentence: str) -> Counter[str]:
    """Return the number of entity words of each type."""
    tags = (line.split("\t")[1] for line in sentence.split("\n"))
    return Counter(tag for tag in tags if tag != "O")


def sample_balanced(sentences: list[str], size: int, generator: random.Random) -> list[str]:
    """Sample `size` sentences, always adding one with the type that has the fewest entity words so far.

    Uniform sampling would leave the rare types of FEW-NERD with one or two sentences. Sentences without
    entities keep their share of the corpus.
    """
    order = generator.sample(range(len(sentences)), len(sentences))
    counts = [entity_counts(sentence) for sentence in sentences]
    plain = [i for i in order if not counts[i]]
    by_type: dict[str, list[int]] = {}
    for i in order:
        for entity_type in counts[i]:
            by_type.setdefault(entity_type, []).append(i)

    chosen = set(plain[: round(size * len(plain) / len(sentences))])
    sampled: Counter[str] = Counter(dict.fromkeys(by_type, 0))
    while len(chosen) < size and by_type:
        rarest = min(by_type, key=lambda entity_type: (sampled[entity_type], entity_type))
        candidates = by_type[rarest]
        while candidates and candidates[-1] in chosen:
            candidates.pop()
        if not candidates:
            del by_type[rarest]
            continue
        i = candidates.pop()
        chosen.add(i)
        sampled.update(counts[i])
    return [sentences[i] for i in sorted(chosen)]


def sample_uniformly(sentences: list[str], size: int, generator: random.Random) -> list[str]:
    """Sample `size` sentences uniformly, and return them in the order of the corpus."""
    return [sentences[i] for i in sorted(generator.sample(range(len(sentences)), size))]


def write_sentences(path: Path, sentences: list[str]) -> None:
    path.write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
    types = sum((entity_counts(sentence) for sentence in sentences), Counter())
    print(f"{path.name}: {len(sentences)} sentences, {len(types)} tags other than O")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few-nerd", type=Path, required=True, help="FEW-NERD INTER train file")
    parser.add_argument("--wnut17", type=Path, required=True, help="folder of WNUT-17")
    parser.add_argument(
        "--output", type=Path, default=SAMPLES, help="output folder (default: that of the package)"
    )
    parser.add_argument("--source-size", type=int, default=800, help="FEW-NERD sentences (default: 800)")
    parser.add_argument("--test-size", type=int, default=200, help="WNUT-17 test sentences (default: 200)")
    parser.add_argument("--seed", type=int, default=13)
    arguments = parser.parse_args()

    generator = random.Random(arguments.seed)
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    source = read_sentences(arguments.few_nerd)
    write_sentences(output / "few_nerd_source.txt", sample_balanced(source, arguments.source_size, generator))
    support = read_sentences(arguments.wnut17 / "support-5shot" / "0.txt")
    write_sentences(output / "wnut17_support_5shot.txt", support)
    test = read_sentences(arguments.wnut17 / "test.conll")
    write_sentences(output / "wnut17_test.txt", sample_uniformly(test, arguments.test_size, generator))


if __name__ == "__main__":
    main()
