"""Mixed requests over several threads on one model for some minutes: right answers, and flat memory.

    python tests/soak/soak.py --minutes 30

Run by hand. Every answer is compared with the one that the same request got before the threads began. Prints
the memory as it goes; fails on a wrong answer, and if memory grows by more than 5 % after the first third.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

import modeling_lacl
from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.data.reading import read_dataset

SAMPLES = Path(modeling_lacl.__file__).parent / "samples"
MOST_GROWTH = 0.05
PLAIN = argparse.RawDescriptionHelpFormatter
LABELS = ["person", "city or country", "company", "song or film"]


def requests() -> dict[str, Callable[[], Any]]:
    """What is asked, by name; each gives the same answer whenever it is asked."""
    source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    adapted = adapt(source, SAMPLES / "wnut17_support_5shot.txt", "wnut17", steps=0)
    sentences: list[list[str]] = read_dataset(SAMPLES / "wnut17_test.txt")["tokens"][:120]
    texts = [" ".join(words) for words in sentences]
    long = " ".join(texts)
    return {
        "one text": lambda: adapted.predict(texts[0]),
        "one text, labels of the call": lambda: source.predict(texts[1], labels=LABELS),
        "another label set": lambda: source.predict(texts[:4], labels={"PER": "person", "SHIP": "ship"}),
        "many labels": lambda: source.predict(texts[2], labels=[f"{LABELS[0]} {n}" for n in range(60)]),
        "a batch": lambda: adapted.predict(texts[:40], batch_size=8),
        "a stream": lambda: list(adapted.predict(iter(texts[40:80]), batch_size=4)),
        "a stream left half read": lambda: next(adapted.predict(iter(texts), batch_size=1)),
        "words": lambda: adapted.predict(sentences[:8], is_split_into_words=True),
        "a long text": lambda: adapted.predict(long),
        "odd characters": lambda: adapted.predict("\x00\ud800 \u200b Zoë 東京 \U0001f600" * 5),
        "nothing": lambda: adapted.predict(["", " "]),
        "a mistake": lambda: _message(lambda: source.predict(texts[0], labels=["person", "person"])),
    }


def _message(call: Callable[[], Any]) -> str:
    try:
        return str(call())
    except ValueError as error:
        return str(error)


def rounded(answer: Any) -> Any:
    """An answer with scores to three places: batches of other sizes round otherwise behind the sixth."""
    if isinstance(answer, list):
        return [rounded(one) for one in answer]
    return {**answer, "score": round(answer["score"], 3)} if isinstance(answer, dict) else answer


def soak(minutes: float, threads: int) -> int:
    asked = requests()
    names = sorted(asked)
    expected = {name: rounded(asked[name]()) for name in names}
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    lock = threading.Lock()
    end = time.monotonic() + 60 * minutes

    def work(seed: int) -> None:
        draw = random.Random(seed)
        while time.monotonic() < end:
            name = draw.choice(names)
            try:
                right = rounded(asked[name]()) == expected[name]
            except Exception as error:
                right, name = False, f"{name}: {error!r}"
            with lock:
                counts[name] += 1
                if not right:
                    wrong.append(name)

    process = psutil.Process()
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(threads)]
    for worker in workers:
        worker.start()
    sizes: list[tuple[float, float]] = []
    begin = time.monotonic()
    told = 0.0
    while any(worker.is_alive() for worker in workers):
        time.sleep(min(5.0, 6 * minutes))
        gc.collect()
        sizes.append((time.monotonic() - begin, process.memory_info().rss / 2**20))
        if sizes[-1][0] >= told:
            print(
                f"{sizes[-1][0] / 60:5.1f} min  {sum(counts.values()):7d} requests  {sizes[-1][1]:7.1f} MiB"
            )
            told += 30
    settled = [size for seconds, size in sizes if seconds >= 20 * minutes]
    half = len(settled) // 2
    first, last = sum(settled[:half]) / half, sum(settled[half:]) / (len(settled) - half)
    growth = last / first - 1
    print(
        f"{threads} threads, {minutes:g} minutes: {sum(counts.values())} requests, {len(wrong)} wrong answers"
    )
    print(f"memory after the first third: {first:.1f} MiB, then {last:.1f} MiB ({growth:+.2%})")
    for name, number in sorted(counts.items()):
        print(f"  {number:7d}  {name}")
    for name in wrong[:10]:
        print(f"wrong: {name}")
    return int(bool(wrong) or growth > MOST_GROWTH)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=PLAIN)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=4)
    arguments = parser.parse_args()
    sys.exit(soak(arguments.minutes, arguments.threads))
