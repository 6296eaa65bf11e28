"""brat's standoff format: a text (.txt), and in a file beside it (.ann) its entities in characters."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...files import new_folder, write_atomically
from ..documents import line_ranges
from ..examples import LaclDataError, Sentence, sentence_of_text
from ..lines import read_lines
from .conll import tell_empty
from .labelled_text import LabelledText

logger = logging.getLogger(__name__)

_SPACE = re.compile(r"\s")
_ENTITY = re.compile(r"(T\d+)\t(\S+) (\d+ \d+(?:;\d+ \d+)*)\t(.*)")


def annotation_files(path: Path) -> list[Path]:
    """Return the .ann files of a path: those of a folder, or the one of a name."""
    if path.is_dir():
        return sorted(path.glob("*.ann"))
    return [path.with_suffix(".ann")]


def both_files(path: Path) -> list[Path]:
    """Return the files of a document that is named by one of them: its annotations and its text."""
    annotations = path if path.suffix.lower() == ".ann" else path.with_suffix(".ann")
    return [annotations, path.with_suffix(".txt")]


def read_brat(path: Path, encoding: str, places: list[str]) -> Iterator[Sentence]:
    """Read the lines of brat's documents as sentences; lines that share an entity are one.

    Relations, events, attributes and notes are no entities, and are not read.

    Args:
        path: The .ann file, the .txt file, or a folder of them.
        encoding: Encoding of the files.
        places: Gets the place of each sentence, whose number is its index there.

    Yields:
        The sentences; the id of a document is its name.

    Raises:
        LaclDataError: One of the two files is missing, or an entity is invalid or not in one piece; the
            message gives file and line.
    """
    for file in annotation_files(path):
        text_file = file.with_suffix(".txt")
        for one in (file, text_file):
            if not one.is_file():
                raise LaclDataError(
                    f"{one}: no such file; brat has a text in .txt and its entities in .ann, of the same name"
                )
        next(read_lines(text_file, encoding, tell=False), None)  # an error if it is no text
        # Offsets count the characters of the file, its line endings among them.
        text = text_file.read_bytes().decode(encoding, "replace").removeprefix("\ufeff")
        spans = list(_spans(file, text, encoding))
        number = 1
        for start, stop in line_ranges(text, [(first, end) for first, end, _ in spans]):
            if text[start:stop].strip():
                inside = [(a - start, b - start, name) for a, b, name in spans if start <= a < stop]
                places.append(f"{text_file}:{number}")
                line = text[start:stop].removesuffix("\n").removesuffix("\r")
                yield sentence_of_text(line, inside, len(places) - 1, places[-1], document_id=file.stem)
            number += text.count("\n", start, stop)


def _spans(file: Path, text: str, encoding: str) -> Iterator[tuple[int, int, str]]:
    for number, line in read_lines(file, encoding):
        if not line.startswith("T"):
            continue
        place = f"{file}:{number}"
        match = _ENTITY.fullmatch(line)
        if match is None:
            raise LaclDataError(f"{place}: {line!r} is no entity of brat: 'T1<TAB>TYPE START END<TAB>TEXT'")
        name, label, places, own = match.groups()
        pieces = [tuple(map(int, piece.split())) for piece in places.split(";")]
        start, end = pieces[0][0], pieces[-1][1]
        if not 0 <= start < end <= len(text):
            raise LaclDataError(
                f"{place}: the span {start}–{end} ({label!r}) is not inside the text of {len(text)} "
                "characters"
            )
        if any(text[before[1] : after[0]].strip() for before, after in zip(pieces, pieces[1:], strict=False)):
            raise LaclDataError(
                f"{place}: the entity {name} ({label!r}) is not in one piece ({places}), which no model here "
                "can learn; make it one span, or remove the line"
            )
        if "".join(own.split()) != "".join(text[start:end].split()):
            raise LaclDataError(
                f"{place}: {name} is {own!r}, but the text has {text[start:end]!r} at {start}–{end}; correct "
                "the offsets, which count characters from 0"
            )
        yield start, end, label


def write_brat(texts: Sequence[LabelledText], path: Path) -> None:
    """Write texts as brat's documents, each text a line; line breaks inside of one become spaces.

    Args:
        texts: The texts.
        path: A name that ends with .ann, for one document; or a new folder, for one of each document id.

    Texts without a word are left out, and white space in types becomes an underscore; both with a warning.

    Raises:
        FileExistsError: The text of the document is a file that has no annotations, and so is another one;
            or the folder is not empty.
    """
    tell_empty(texts, path)
    spaced = sorted({name for one in texts for *_, name in one.entities if _SPACE.search(name)})
    if spaced:
        logger.warning(
            "%s: types of brat have no white space, and an underscore stands for it in %s",
            *(path, ", ".join(map(repr, spaced))),
        )
    if path.suffix.lower() == ".ann":
        annotations, text = both_files(path)
        if text.exists() and not annotations.exists():
            raise FileExistsError(
                f"{text}: would be replaced, and without {annotations.name} beside it it is no document of "
                "brat's; give the output another name"
            )
        _write_document(texts, path)
        return
    documents: dict[str, list[LabelledText]] = {}
    for one in texts:
        if one.tokens:
            documents.setdefault(one.document_id, []).append(one)
    names = _file_names(documents)
    with new_folder(path) as folder:
        for document, group in documents.items():
            _write_document(group, folder / f"{names[document]}.ann")


def _file_names(documents: Iterable[str]) -> dict[str, str]:
    """Return a name for the files of each document: its id, as far as it is one, and no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for document in documents:
        stem = name = re.sub(r"[^\w.-]", "_", document)[:60] or "_"
        number = 1
        while name.casefold() in taken:  # some file systems do not tell capitals
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        names[document] = name
    return names


def _write_document(texts: Sequence[LabelledText], path: Path) -> None:
    lines: list[str] = []
    entities: list[str] = []
    start = 0
    for one in texts:
        if not one.tokens:
            continue
        line = re.sub(r"[\r\n]", " ", one.text)
        if not lines and line.startswith("\ufeff"):  # no character there, but the mark of a file
            line = " " + line[1:]
        for first, end, name in one.spans:
            name = _SPACE.sub("_", name)
            entities.append(
                f"T{len(entities) + 1}\t{name} {start + first} {start + end}\t{line[first:end]}\n"
            )
        lines.append(line + "\n")
        start += len(line) + 1
    write_atomically(path.with_suffix(".txt"), "".join(lines))
    write_atomically(path, "".join(entities))
