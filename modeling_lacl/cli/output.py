"""Results as JSON Lines: read, written whole, gone on with, and merged in the order of texts."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from itertools import islice
from operator import index
from pathlib import Path
from typing import Any, TypeAlias

from ..files import cut_half_line, sha256

_POLL_SECONDS = 0.2

# What JSON leaves in strings and a terminal obeys: DEL, C1, marks and overrides of direction.
_OBEYED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

Result: TypeAlias = tuple[str, list[dict[str, Any]]]
"""A text and its entities."""


def read_results(lines: Iterable[str], name: str) -> Iterator[Result]:
    """Read what `lacl predict` wrote: each text and its entities; blank lines are passed over.

    Args:
        lines: The lines of the file.
        name: What to call the file in errors.

    Raises:
        ValueError: A line is no such result, or its entities have no place in its text or share one; names
            the line.
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
                f"{name}:{number}: no result of `lacl predict` ({type(error).__name__}: {error}); give JSON "
                "Lines with 'text' and 'entities', each with 'entity_group', 'score', 'start' and 'end'"
            ) from error
        yield text, entities


def _check_result(text: Any, entities: list[dict[str, Any]]) -> None:
    """Raise what a wrong type, a missing key or a wrong place raises."""
    if not isinstance(text, str):
        raise TypeError(f"text is {text!r}")
    position = 0
    for entity in entities:
        start, end = index(entity["start"]), index(entity["end"])
        words = entity["entity_group"], entity.get("nearest_example") or ""
        if not all(isinstance(one, str) for one in words) or not isinstance(entity["score"], int | float):
            raise TypeError(f"the type or the score of {entity!r}")
        if not position <= start < end <= len(text):
            raise ValueError(f"{start} to {end} is no place in the text, or that of two entities")
        position = end


def write_lines(file: FileIO | None, results: Iterable[Result], bar: bool = True) -> None:
    """Write results as JSON Lines to `file` or, if it is None, to standard output.

    A file holds whole lines only, whenever the program is stopped: each is one unbuffered write. With `bar`,
    a terminal shows the progress.
    """
    from tqdm import tqdm

    seen = file is None and sys.stdout.isatty()
    for text, entities in tqdm(results, unit=" texts", disable=True if file is None or not bar else None):
        written = json.dumps({"text": text, "entities": entities}, ensure_ascii=False)
        # The same value, in characters that no terminal obeys.
        written = _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", written) if seen else written
        line = written.encode() + b"\n"
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
            raise OSError(f"{file.name}: the disk is full; the file holds whole lines up to here")


def processes() -> tuple[int, int]:
    """Return the numbers of this process and of all, as `accelerate launch` and `torchrun` tell them.

    Returns:
        From 0, and from 1: (0, 1) alone.

    Raises:
        ValueError: The environment holds no such numbers.
    """
    given = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    try:
        rank, world = map(int, given)
    except ValueError:
        rank = world = -1
    if not 0 <= rank < world:
        raise ValueError(
            f"RANK={given[0]} and WORLD_SIZE={given[1]} are no number of a process and of all: unset them, "
            "or start by `accelerate launch`"
        )
    return rank, world


@dataclass(frozen=True)
class Shard:
    """The share of one process in an output file: every `world`-th text, from the one numbered `rank`.

    It is written as `OUTPUT.KEY.RANK-of-WORLD.part`, and loses the `.part` when it is whole. Process 0 waits
    for all shards, merges them into `OUTPUT` and removes them.

    Args:
        output: The file that all processes together write.
        job: What the results depend on; a shard of another job is never gone on with.
        rank, world: Number of this process, and of all.
    """

    output: Path
    job: str
    rank: int
    world: int

    def finished(self, rank: int) -> Path:
        """Return the whole shard of a process."""
        key = sha256(self.job)[:12]
        return self.output.with_name(f"{self.output.name}.{key}.{rank}-of-{self.world}")

    @property
    def part(self) -> Path:
        """The file that this process writes to."""
        whole = self.finished(self.rank)
        return whole.with_name(whole.name + ".part")

    def texts(self, texts: Iterable[str]) -> Iterator[str]:
        """Pick the texts of this process from all."""
        return islice(texts, self.rank, None, self.world)

    def finish(self) -> None:
        """Mark the shard of this process as whole, and merge all of them if this is process 0."""
        if self.part.exists():
            self.part.replace(self.finished(self.rank))
        if self.rank:
            return
        shards = [self.finished(rank) for rank in range(self.world)]
        while not all(shard.is_file() for shard in shards):
            time.sleep(_POLL_SECONDS)
        merged = self.output.with_name(f"{shards[0].name}.merged")
        with open(merged, "wb") as target:
            target.writelines(_in_turn(shards))
        merged.replace(self.output)
        for shard in shards:
            shard.unlink()


def _in_turn(shards: list[Path]) -> Iterator[bytes]:
    """Read a line of each shard in turn; they were dealt in this way, so all end at one place.

    Raises:
        ValueError: A shard ends before it should.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(open(shard, "rb")) for shard in shards]
        while True:
            lines = [file.readline() for file in files]
            ended = lines.index(b"") if b"" in lines else len(lines)
            if any(lines[ended:]):
                raise ValueError(f"{shards[ended]} lacks lines: remove it and run again")
            yield from lines[:ended]
            if ended < len(lines):
                return


def job_key(checkpoint: str, file: Path | None, **settings: Any) -> str:
    """Tell a run over a file from every other: model, file and settings.

    Args:
        checkpoint: Folder or name of the model; a folder counts with the time of its `config.json`.
        file: The texts; count with the file's size and time, unless it is None.
        **settings: Whatever the results depend on, as JSON takes it.
    """
    config = Path(checkpoint) / "config.json"
    files = [path for path in (file, config) if path is not None and path.is_file()]
    stamps = [(path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return json.dumps([checkpoint, file and str(file.resolve()), stamps, settings])


def texts_left(
    path: Path, texts: Iterable[str], as_written: Callable[[str], str] = lambda text: text
) -> Iterator[str]:
    """Return the texts whose results a broken-off run has not written yet.

    Cuts half a line off the end of the file before it returns; reads the texts that are done when the first
    one is asked for.

    Args:
        path: JSON Lines with a `text` in each, as far as the run came; need not be there.
        texts: All texts of the run, from the first.
        as_written: A text as the file has it.

    Raises:
        ValueError: The file holds other texts than these.
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
                        f"{path}:{number}: this is not the result of text {number} of the input: to go on, "
                        "give the same input; to begin again, remove the file"
                    )
    yield from texts


def _lock(file: BufferedWriter, path: Path) -> None:
    """Lock a file until it is closed; where the system has no such locks, do nothing."""
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
    """The JSON Lines that this process writes: the whole output, or its shard of it.

    Args:
        path: The file.
        goes_on: What a broken-off run wrote stays, and its texts are passed over.
        shard: The shard that `path` is, if there are several processes.
        job: What the lines depend on, if the name of the file does not tell.
    """

    path: Path
    goes_on: bool
    shard: Shard | None = None
    job: str = ""

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the file for this run: no other writes to it inside of the context.

        While a run is unfinished, `.NAME.job` beside the file tells what its lines depend on.

        Raises:
            ValueError: Another run writes to the file, or one of another job began the lines to go on with.
        """
        if self.path.exists() and not self.path.is_file():  # a pipe or a device
            yield
            return
        note = self.path.with_name(f".{self.path.name}.job")
        with open(self.path, "ab") as file:  # or it fails now; what it holds stays until there is a model
            _lock(file, self.path)
            if self.goes_on and self.job and note.is_file() and self.path.stat().st_size:
                if note.read_text(encoding="utf-8") != sha256(self.job):
                    raise ValueError(
                        f"{self.path} was begun with another model, other labels or another threshold: to go "
                        "on, give the same; to begin again, remove the file or leave out --resume"
                    )
            if self.job and (not self.goes_on or not self.path.stat().st_size):
                note.write_text(sha256(self.job), encoding="utf-8")
            yield
            note.unlink(missing_ok=True)

    def texts(self, texts: Iterable[str], as_written: Callable[[str], str]) -> Iterable[str]:
        """Pick from all texts those whose results are still to be written; see `texts_left`."""
        if self.shard is not None:
            texts = self.shard.texts(texts)
        if self.goes_on and (self.path.is_file() or not self.path.exists()):
            texts = texts_left(self.path, texts, as_written)
        return texts

    def open(self) -> FileIO:
        """Open the file for [`write_lines`]; what is in it is lost, unless the run goes on."""
        return open(self.path, "ab" if self.goes_on else "wb", buffering=0)
