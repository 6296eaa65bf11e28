"""Results as JSON Lines: reading, writing complete lines, and resuming."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from operator import index
from pathlib import Path
from typing import Any, TypeAlias

from ..files import cut_half_line, sha256

# What JSON leaves in strings and a terminal obeys: DEL, C1, marks and overrides of direction.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Result: TypeAlias = tuple[str, list[dict[str, Any]]]
"""A text and its entities."""


def read_results(lines: Iterable[str], name: str) -> Iterator[Result]:
    """Read the output of `lacl predict`: each text and its entities. Blank lines are skipped.

    Args:
        lines: The lines of the file.
        name: Name of the file in error messages.

    Yields:
        Each text with its entities, sorted by their start.

    Raises:
        ValueError: A line is not such a result, or an entity lies outside its text; the message
            names the line.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
            text, entities = result["text"], sorted(result["entities"], key=lambda entity: entity["start"])
            _check_result(text, entities)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(
                f"{name}:{number}: not a result of `lacl predict` ({type(error).__name__}: {error}); give "
                "JSON Lines with 'text' and 'entities', each with 'entity_group', 'score', 'start' and 'end'"
            ) from error
        yield text, entities


def _check_result(text: Any, entities: list[dict[str, Any]]) -> None:
    """Raise an error for a wrong type, a missing key, or wrong offsets."""
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r}")
    for entity in entities:
        start, end = index(entity["start"]), index(entity["end"])
        words = entity["entity_group"], entity.get("nearest_example") or ""
        if not all(isinstance(one, str) for one in words) or not isinstance(entity["score"], int | float):
            raise TypeError(f"the type or the score of {entity!r}")
        if not 0 <= entity["score"] <= 1:
            raise ValueError(f"a score is from 0 to 1, and this one is {str(entity['score'])[:20]}")
        if not 0 <= start < end <= len(text):
            raise ValueError(f"the offsets {start} to {end} lie outside the text")


def json_line(result: Result) -> str:
    """Return a text with its entities as a line of JSON."""
    text, entities = result
    return json.dumps({"text": text, "entities": entities}, ensure_ascii=False) + "\n"


def write_lines(file: FileIO | None, results: Iterable[Result], bar: bool = True) -> None:
    """Write results as JSON Lines to `file` or, if it is None, to standard output.

    Each line is one unbuffered write, so that an interrupted program leaves only complete lines in a file.
    With `bar`, a terminal shows a progress bar.
    """
    from tqdm import tqdm

    seen = file is None and sys.stdout.isatty()
    for result in tqdm(results, unit=" texts", disable=True if file is None or not bar else None):
        written = json_line(result)
        # The same value, in characters that no terminal obeys.
        written = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", written) if seen else written
        line = written.encode()
        if file is None:
            sys.stdout.buffer.write(line)
            continue
        if not file.seekable():  # a pipe takes a part of a line at a time
            while line:
                line = line[file.write(line) :]
            continue
        end = file.tell()
        if file.write(line) < len(line):
            file.truncate(end)
            raise OSError(f"{file.name}: the disk is full; the file holds only complete lines, up to here")


def job_key(checkpoint: str, files: Sequence[Path] = (), **settings: Any) -> str:
    """Return a key that identifies a run: model, input files and settings.

    Args:
        checkpoint: Folder or name of the model; for a folder, size and modification time of its
            `config.json` are included.
        files: The input files; their sizes and modification times are included.
        **settings: Everything else that the results depend on, as values that JSON can represent.
    """
    config = Path(checkpoint) / "config.json"
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in (*files, config) if path.is_file()]
    return json.dumps([checkpoint, [str(file.resolve()) for file in files], stamps, settings])


def texts_left(
    path: Path, texts: Iterable[str], as_written: Callable[[str], str] = lambda text: text
) -> Iterator[str]:
    """Return the texts whose results an interrupted run has not written yet.

    An incomplete last line is cut from the file at once. The finished texts are skipped lazily, when the
    first remaining text is requested.

    Args:
        path: JSON Lines with a `text` in each line, as far as the run got; may be missing.
        texts: All texts of the run, from the first.
        as_written: Converts a text to the form that the file contains.

    Raises:
        ValueError: The file contains other texts than these.
    """
    cut_half_line(path)
    return _rest(path, iter(texts), as_written)


def _rest(path: Path, texts: Iterator[str], as_written: Callable[[str], str]) -> Iterator[str]:
    if path.exists():
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                text = next(texts, None)
                if text is None or _text_of(line) != as_written(text):
                    raise ValueError(
                        f"{path}:{number}: this is not the result of text {number} of the input: to resume, "
                        "give the same input; to start again, remove the file"
                    )
    yield from texts


def lock(file: BufferedWriter, path: Path) -> None:
    """Lock a file until it is closed; where the system has no such locks, do nothing.

    Args:
        file: The file, open for writing.
        path: The file in the message of the error.

    Raises:
        ValueError: Another process has locked it.
    """
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError(f"{path}: another run is writing this file: wait for it, or name another") from None
    except OSError:
        return  # a file system without locks


def _text_of(line: bytes) -> Any:
    try:
        return json.loads(line)["text"]
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True)
class LineFile:
    """The JSON Lines file that a run writes.

    Args:
        path: The file.
        goes_on: Whether to resume: keep what an interrupted run wrote, and skip its texts.
        job: What the lines depend on.
    """

    path: Path
    goes_on: bool
    job: str = ""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the file for this run: no other writes to it inside of the context.

        While a run is unfinished, `.NAME.job` beside the file tells what its lines depend on.

        Raises:
            ValueError: Another run writes to the file, one of another job began the lines to go on with, or
                an unfinished one has lines there that are not to be gone on with.
        """
        if self.path.exists() and not self.path.is_file():  # a pipe or a device
            yield
            return
        with open(self.path, "ab") as file:  # or it fails now; what it holds stays until there is a model
            lock(file, self.path)
            if self.job and self._note.is_file() and self.path.stat().st_size:
                if not self.goes_on:
                    raise ValueError(
                        f"{self.path} has the results of an unfinished run: --resume goes on with it; to "
                        "begin again, remove the file"
                    )
                if self._note.read_text(encoding="utf-8") != sha256(self.job):
                    raise ValueError(
                        f"{self.path} was begun with another model, other labels or another threshold: to go "
                        "on, give the same; to begin again, remove the file"
                    )
            yield
            self._note.unlink(missing_ok=True)

    @property
    def _note(self) -> Path:
        return self.path.with_name(f".{self.path.name}.job")

    def texts(self, texts: Iterable[str], as_written: Callable[[str], str]) -> Iterable[str]:
        """Pick from all texts those whose results are still to be written; see `texts_left`."""
        if self.goes_on and (self.path.is_file() or not self.path.exists()):
            texts = texts_left(self.path, texts, as_written)
        return texts

    def open(self) -> FileIO:
        """Open the file for [`write_lines`]; its content is discarded unless the run is resumed."""
        if self.job and self.path.is_file() and not (self.goes_on and self.path.stat().st_size):
            self._note.write_text(sha256(self.job), encoding="utf-8")
        return open(self.path, "ab" if self.goes_on else "wb", buffering=0)
