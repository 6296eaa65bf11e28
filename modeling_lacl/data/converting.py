"""Write labelled data of any format in another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from datasets import Dataset

from .examples import LaclDataError
from .formats.brat import both_files
from .formats.labelled_text import LabelledText
from .formats.registry import FORMATS
from .reading import read_texts
from .spans import Nested, WordSpan

_OTHER_SUFFIXES = {".tsv": "conll", ".txt": "conll", ".bio": "conll", ".iob": "conll", ".ndjson": "jsonl"}


class Converted(NamedTuple):
    """What `convert` read and wrote.

    Attributes:
        source_format: Name of the format that was read.
        format: Key in `FORMATS` of the one that was written.
        texts: The texts.
    """

    source_format: str
    format: str
    texts: list[LabelledText]

    def summary(self) -> str:
        """Return what was read, in one line."""
        entities = [one for text in self.texts for one in text.entities]
        nested = sum(text.overlap() is not None for text in self.texts)
        types = len({name for *_, name in entities})
        return (
            f"{self.source_format}, {len(self.texts)} sentences, {len(entities)} entities of {types} types"
            + (f", {nested} sentences with nested ones" if nested else "")
        )


def convert(
    source: str | Path | Dataset | Iterable[Mapping[str, Any]],
    output: str | Path,
    to: str | None = None,
    *,
    nested: Nested = "keep",
    **options: Any,
) -> Converted:
    """Read labelled data of any format, and write them in another one.

    Args:
        source: Any source of `read_dataset`.
        output: The file or folder to write.
        to: A key of `FORMATS`; by default the one of the suffix of `output`.
        nested: What becomes of entities that share a word, as for `read_dataset`.
        **options: Further arguments of `read_texts`: how to read the source.

    Returns:
        What was read and written.

    Raises:
        ValueError: The format is unknown or cannot be told by the suffix, or `output` is the source.
        LaclDataError: The source cannot be read, or the format cannot hold it; the message gives the place.

    Example:
        >>> examples = [("Ana left Oslo", {"entities": [(0, 3, "person"), (9, 13, "city")]})]
        >>> convert(examples, "out.conll").summary()
        "spaCy's tuples, 1 sentences, 2 entities of 2 types"
        >>> Path("out.conll").read_text().split()
        ['Ana', 'B-person', 'left', 'O', 'Oslo', 'B-city']
    """
    path = Path(output)
    name = format_for(path, to)
    if isinstance(source, str | Path):
        _check_output(Path(source), FORMATS[name].files(path))
    texts, source_format = read_texts(source, nested=nested, **options)
    if not FORMATS[name].nested:
        _check_flat(texts, name, source)
    FORMATS[name].write(texts, path)
    return Converted(source_format, name, texts)


def _check_output(source: Path, written: Sequence[Path]) -> None:
    """Check that no file of the source is written; brat's documents are two files each."""
    read = [source]
    if source.suffix.lower() in (".ann", ".txt") and all(one.is_file() for one in both_files(source)):
        read = both_files(source)
    elif source.is_dir():
        read += source.iterdir()
    for path in written:
        if path.exists() and any(one.exists() and path.samefile(one) for one in read):
            raise ValueError(f"{path}: is what is read; name another file for the output")


def format_for(path: Path, to: str | None = None) -> str:
    """Return the key of the format to write: the one given, or that of a suffix.

    Raises:
        ValueError: It is unknown, or the suffix tells none.
    """
    if to is not None:
        if to not in FORMATS:
            raise ValueError(f"no format {to!r} to write; there are {', '.join(FORMATS)}")
        return to
    suffixes = {one.suffix: name for name, one in FORMATS.items() if one.suffix} | _OTHER_SUFFIXES
    name = suffixes.get(path.suffix.lower())
    if name is None:
        raise ValueError(
            f"{path}: its suffix tells no format; name one by --to, in Python to=…: {', '.join(FORMATS)}"
        )
    return name


def _check_flat(texts: Sequence[LabelledText], name: str, source: Any) -> None:
    for one in texts:
        pair = one.overlap()
        if pair is not None:
            where = f"{source}: " if isinstance(source, str | Path) else ""
            shown = " and ".join(_shown(one, span) for span in pair)
            able = ", ".join(key for key, other in FORMATS.items() if other.nested)
            raise LaclDataError(
                f"{where}in the sentence {one.id!r} the entities {shown} overlap, which "
                f"{FORMATS[name].title} cannot hold; keep one of them by --nested outermost or innermost, or "
                f"write {able}"
            )


def _shown(one: LabelledText, span: WordSpan) -> str:
    first, stop, name = span
    return f"{one.text[one.offsets[first][0] : one.offsets[stop - 1][1]]!r} ({name})"
