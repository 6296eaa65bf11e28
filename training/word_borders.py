"""Compare ways to split raw text into words, zero-shot on development corpora of other domains.

    python training/word_borders.py --data_root DATA

Each corpus is a folder `DATA/wide/NAME` with `dev.jsonl.gz` or `test.jsonl.gz`: JSON Lines with `tokens` and
`ner_tags` in BIO. Its tokens are joined to text as people write it, and the model finds the corpus's own
types in the text. An entity counts if its type and both of its offsets in the text are right. Prints a
Markdown table of micro-F1 in percent.

The ways differ in what is one word, as the last column of the table shows. In one way words stay apart, but
an entity neither begins nor ends inside a string that is one word in another.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import regex
from scoring import micro_f1

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data.entity_lines import read_entity_lines
from modeling_lacl.model.prediction_lacl import Predictor, Scores
from modeling_lacl.model.words_lacl import Text, split_words
from modeling_lacl.reporting import markdown_table

Span: TypeAlias = tuple[int, int, str]
"""Start, end and type of an entity in a text."""
Splitter: TypeAlias = Callable[[str], list[tuple[int, int]]]

CORPORA = ("cyner", "uner_en_ewt", "tasteset", "green_job_ads", "indian_legal_dev", "mars_mte")
SHOWN = "Ana's UK-based H&M, al-Qaeda and 40,000"

_APOSTROPHE = r"(?<=\p{L})['’](?=\p{L})"
_ENDING = r"['’](?:s|S|ll|re|ve)\b"
_JOINT = r"[&./+@'’]|://|(?<=\p{N})[,:](?=\p{N})"


def splitter(joint: str, ending: str = _ENDING) -> Splitter:
    """Return a function that splits English text, where `joint` joins runs of letters and digits."""
    pattern = regex.compile(rf"(?<=\w){ending}|\w+(?:(?!{ending})(?:{joint})\w+)*|\S")
    return lambda text: [match.span() for match in pattern.finditer(text)]


WAYS: dict[str, Splitter] = {
    "apostrophes join, also possessives": splitter(_APOSTROPHE, ending=r"(?!)"),
    "apostrophes join": splitter(_APOSTROPHE),
    "signs join": splitter(_JOINT),
    "signs and hyphens join": splitter(f"{_JOINT}|-"),
    "as it is": split_words,
}
BORDERS = "apostrophes join, borders as it is"


class _WholeStrings(Predictor):
    """Predictor of words of which those inside one word of `split_words` have the label of the first."""

    def decode(self, texts: Sequence[Text], scores: Sequence[Scores]) -> list[np.ndarray]:
        found = []
        for text, ids in zip(texts, super().decode(texts, scores), strict=True):
            starts = np.array([start for start, _ in split_words(text.text)])
            first = np.searchsorted(text.words[:, 0], starts)
            found.append(ids[first[np.searchsorted(starts, text.words[:, 0], side="right") - 1]])
        return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--data_root", type=Path, default=Path("../shared/data"), help="folder with the data")
    parser.add_argument("--corpora", nargs="+", default=CORPORA, help="folders in DATA/wide")
    parser.add_argument("--sentences", type=int, default=1000, help="at most so many of each (default: 1000)")
    options = parser.parse_args()
    model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    rows: dict[str, list[float]] = {}
    for name in options.corpora:
        examples = read_corpus(options.data_root / "wide" / name, options.sentences)
        for way, score in scores(model, examples).items():
            rows.setdefault(way, []).append(score)
    cells = []
    for way, values in rows.items():
        split = WAYS.get(way, WAYS["apostrophes join"])
        example = f"`{' '.join(SHOWN[start:end] for start, end in split(SHOWN))}`"
        cells.append([way, *(f"{value:.2f}" for value in [*values, float(np.mean(values))]), example])
    header = ["words", *options.corpora, "mean", "example"]
    print("\n".join(markdown_table(header, cells, range(1, len(header) - 1))))


def read_corpus(folder: Path, most: int) -> list[tuple[str, list[Span]]]:
    """Return the text and the entities of the first sentences of a corpus, of its dev split first."""
    examples: list[tuple[str, list[Span]]] = []
    files = [file for file in (folder / "dev.jsonl.gz", folder / "test.jsonl.gz") if file.is_file()]
    for sentence in islice(chain.from_iterable(map(read_entity_lines, files)), most):
        # In EWT a hyphen is a token where it joins words; elsewhere it is one only between spaces.
        text, places = detokenize(sentence.words, hyphens=folder.name == "uner_en_ewt")
        spans = [(places[first][0], places[stop - 1][1], name) for first, stop, name in sentence.entities]
        examples.append((text, spans))
    return examples


def detokenize(tokens: Sequence[str], hyphens: bool = False) -> tuple[str, list[tuple[int, int]]]:
    """Join tokens with spaces as people write them.

    Args:
        tokens: The tokens.
        hyphens: Whether a hyphen between letters or digits has no spaces.

    Returns:
        The text, and the offsets of each token in it.
    """
    text, places, quoted, glued = "", [], False, True
    for token, after in pairwise([*tokens, ""]):
        closes = re.fullmatch(r"[\],.;:!?)}%…”'’]|['’](s|S|m|d|ll|re|ve)|n['’]t", token) or (
            token == '"' and quoted
        )
        opens = re.fullmatch(r"[\[({$£€#“‘@]", token) or (token == '"' and not quoted)
        inside = token in ("/", "-" if hyphens else "/") and text[-1:].isalnum() and after[:1].isalnum()
        quoted ^= token == '"'
        text += "" if glued or closes or inside else " "
        places.append((len(text), len(text) + len(token)))
        text += token
        clitic = token in ("'", "’") and after in ("s", "S", "t", "m", "d", "ll", "re", "ve")
        glued = bool(opens or inside or clitic)
    return text, places


def scores(
    model: LaclForTokenClassification, examples: Sequence[tuple[str, Iterable[Span]]]
) -> dict[str, float]:
    """Return the micro-F1 of each way, in percent, with the types of the examples as label names."""
    labels = sorted({name for _, spans in examples for _, _, name in spans})
    own = model.with_labels({label: label for label in labels})
    expected = {(number, *span) for number, (_, spans) in enumerate(examples) for span in spans}
    found: dict[str, float] = {}
    for way, split, kind in [
        *((way, split, Predictor) for way, split in WAYS.items()),
        (BORDERS, WAYS["apostrophes join"], _WholeStrings),
    ]:
        texts = [Text(text, np.array(split(text), dtype=np.int64).reshape(-1, 2)) for text, _ in examples]
        entities: Any = enumerate(kind.build(own).entities(texts, threshold=0.0))
        spans = {(n, one["start"], one["end"], one["entity_group"]) for n, part in entities for one in part}
        found[way] = micro_f1(len(spans & expected), len(spans), len(expected))
    return found


if __name__ == "__main__":
    main()
