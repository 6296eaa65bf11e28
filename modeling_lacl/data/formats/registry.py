"""The formats that `lacl convert` writes: their names, suffixes and writers, and what each can hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...files import write_atomically
from .argilla import write_argilla
from .brat import both_files, write_brat
from .conll import write_conll
from .conllu import write_conllu
from .json_tools import write_doccano, write_gliner, write_own, write_pair, write_prodigy
from .label_studio import write_min, write_task
from .labelled_text import LabelledText
from .spacy_docs import write_docbin
from .tables import write_csv, write_folder, write_parquet

Writer = Callable[[Sequence[LabelledText], Path], None]


@dataclass(frozen=True)
class Format:
    """A format that is written, and read.

    Attributes:
        title: Its name in messages and in docs/formats.md.
        write: Its writer.
        suffix: Files with this suffix have it unless another is named; None if it must be named.
        text, words: Whether it has the text to the character, and whether it has the words.
        nested: Whether it has entities that share a word.
        ids: Whether it has the ids of texts.
        files: Returns the files that a document of this name consists of.
    """

    title: str
    write: Writer
    suffix: str | None = None
    text: bool = True
    words: bool = True
    nested: bool = True
    ids: bool = True
    files: Callable[[Path], list[Path]] = lambda path: [path]


def _write_lines(example: Callable[[LabelledText], Any], texts: Sequence[LabelledText], path: Path) -> None:
    lines = (json.dumps(example(one), ensure_ascii=False) + "\n" for one in texts)
    write_atomically(path, "".join(lines))


def _write_array(example: Callable[[LabelledText], Any], texts: Sequence[LabelledText], path: Path) -> None:
    lines = ",\n".join(json.dumps(example(one), ensure_ascii=False) for one in texts)
    write_atomically(path, f"[\n{lines}\n]\n")


FORMATS: dict[str, Format] = {
    "jsonl": Format("JSON Lines", partial(_write_lines, write_own), ".jsonl"),
    "conll": Format("CoNLL columns", write_conll, ".conll", text=False, nested=False),
    "conllu": Format("CoNLL-U", write_conllu, ".conllu", text=False),
    "csv": Format("CSV", write_csv, ".csv", text=False),
    "parquet": Format("Parquet", write_parquet, ".parquet", text=False),
    "dataset": Format("folder of a datasets.Dataset", write_folder, text=False),
    "doccano": Format("doccano", partial(_write_lines, write_doccano), words=False),
    "label-studio": Format("Label Studio JSON", partial(_write_array, write_task), words=False),
    "label-studio-min": Format("Label Studio JSON-MIN", partial(_write_array, write_min), words=False),
    "prodigy": Format("Prodigy", partial(_write_lines, write_prodigy)),
    "argilla": Format("Argilla records", partial(_write_array, write_argilla), words=False),
    "spacy": Format("spaCy DocBin", write_docbin, ".spacy"),
    "spacy-json": Format("spaCy training tuples", partial(_write_array, write_pair), words=False, ids=False),
    "gliner": Format("GLiNER", partial(_write_array, write_gliner), text=False),
    "brat": Format("brat", write_brat, ".ann", text=False, words=False, ids=False, files=both_files),
}
