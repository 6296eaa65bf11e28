"""Input files of many texts, cut into blocks: each is read, tagged and written as a whole, by any machine.

The cuts depend on the files alone, so that a run that goes on finds the blocks of the one before.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .texts import LINES_LOOKED_AT, check_first_line, decode_line, in_utf8, newline_of, tell_labelled

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

# Bytes of a block: some seconds of work, unless there would be too few blocks to share, or too many to count.
_SMALLEST, _USUAL, _FEW, _MANY = 2**12, 2**18, 64, 20_000

# A block of Parquet is read from the start of its row group, so that a row group has a limited number.
_BLOCKS_OF_ROW_GROUP = 64

TEXT, JSONL, PARQUET = "one text per line", "JSON Lines", "Parquet"


@dataclass(frozen=True)
class Block:
    """A part of an input file.

    Args:
        number: Its place among all blocks.
        path: The file.
        start, stop: From which byte up to which; of Parquet, from which row of the row group up to which.
        row_group: The row group of Parquet; 0 for other files.
    """

    number: int
    path: str
    start: int
    stop: int
    row_group: int = 0

    @property
    def place(self) -> str:
        """The block as messages name it."""
        if kind_of(self.path) == PARQUET:
            return f"{self.path}: rows {self.start} to {self.stop} of row group {self.row_group}"
        return f"{self.path}: bytes {self.start} to {self.stop}"


@dataclass(frozen=True)
class Content:
    """What is in a block.

    Args:
        texts: The texts, as their results contain them.
        others: The other columns: a table of Parquet, or a dict for each text; None for lines of text.
        replaced: Number of bytes that are not in the encoding, each U+FFFD in a text.
    """

    texts: list[str]
    others: pa.Table | list[dict[str, Any]] | None = None
    replaced: int = 0


@dataclass(frozen=True)
class Reading:
    """How input files are read.

    Args:
        column: Column of texts, in JSON Lines and Parquet.
        encoding: Encoding of text and JSON Lines.
        words: Whether texts are words separated by white space, which become single spaces.
    """

    column: str = "text"
    encoding: str = "utf-8"
    words: bool = False

    def files(self, given: str) -> list[Path]:
        """Return the input files, checked, in the order of their names.

        Args:
            given: A file, a folder, or a pattern such as `corpus/*.parquet`.

        Raises:
            OSError: There is no such file, or it cannot be read.
            ValueError: A file cannot be read in blocks, or the files are of several kinds.
        """
        if "://" in given:
            raise ValueError(
                f"{given}: give files in a folder that all machines see. For other storage, map_batches with "
                "modeling_lacl.integrations.ray.LaclTagger reads and writes what Ray Data does"
            )
        if os.path.isdir(given):
            found = [path for path in Path(given).iterdir() if path.is_file() and path.name[0] not in "._"]
        elif os.path.exists(given):
            found = [Path(given)]
        else:
            found = [Path(name) for name in glob(given, recursive=True) if os.path.isfile(name)]
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), given)
        found = sorted(path.absolute() for path in found)
        kinds = {kind_of(path): path for path in found}
        if len(kinds) > 1:
            named = ", ".join(f"{path} is {kind}" for kind, path in kinds.items())
            raise ValueError(f"{given}: give files of one kind; {named}")
        for path in found:
            self._check(path)
        return found

    def cut(self, files: Sequence[Path], size: int | None = None) -> list[Block]:
        """Return the blocks of files of one kind, in order.

        Args:
            files: The files, which `files` has checked.
            size: Bytes of a block, about; by default as many as suit the files.
        """
        if size is None:
            total = sum(path.stat().st_size for path in files)
            size = max(_SMALLEST, min(_USUAL, total // _FEW), total // _MANY)
        blocks: list[Block] = []
        for path in files:
            cuts = _cut_rows(path, size) if kind_of(path) == PARQUET else _cut_lines(path, size)
            for row_group, start, stop in cuts:
                blocks.append(Block(len(blocks), str(path), start, stop, row_group))
        return blocks

    def read(self, block: Block) -> Content:
        """Read a block.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not as it was when the run began, or a row has no text.
        """
        kind = kind_of(block.path)
        if kind == PARQUET:
            content = self._rows(block)
        else:
            with open(block.path, "rb") as file:
                file.seek(block.start)
                read = file.read(block.stop - block.start)
            if len(read) < block.stop - block.start:
                raise ValueError(f"{block.path}: shorter than when the run began; start again with this file")
            content = (self._lines if kind == TEXT else self._objects)(block, io.BytesIO(read))
        if self.words:
            texts = [" ".join(text.split()) for text in content.texts]
            content = Content(texts, content.others, content.replaced)
        return content

    def _check(self, path: Path) -> None:
        """Raise an error for a file that cannot be read in blocks; tell if it looks like labelled data."""
        if not path.is_file():
            raise ValueError(f"{path}: give a file; a pipe can be read without --engine ray")
        if kind_of(path) == PARQUET:
            self._check_column(path)
            return
        with open(path, "rb") as stream:
            head = list(islice(in_utf8(stream, str(path), self.encoding), LINES_LOOKED_AT))
        is_text = kind_of(path) == TEXT
        if head:
            check_first_line(head[0], str(path), is_text)
        if is_text:
            tell_labelled([decode_line(line)[0] for line in head], str(path))
        if "a\n".encode(self.encoding).removeprefix(codecs.BOM_UTF8) != b"a\n":
            raise ValueError(
                f"{path}: {self.encoding} cannot be read in blocks: save the file as UTF-8, as by iconv"
            )

    def _check_column(self, path: Path) -> None:
        import pyarrow as pa

        schema = parquet_file(path).schema_arrow
        if self.column not in schema.names:
            columns = ", ".join(schema.names)
            raise ValueError(f"{path}: no column {self.column!r}; --column takes one of {columns}")
        kind = schema.field(self.column).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ValueError(f"{path}: the column {self.column!r} is {kind}, not text")
        if problem := self._in_the_way(schema.names):
            raise ValueError(f"{path}: {problem}")

    def _in_the_way(self, names: Iterable[str]) -> str:
        """Return what is wrong where a column has the name of one of the results; "" if none has."""
        for name in {"text", "entities"} - {self.column}:
            if name in names:
                return f"a column {name!r} beside {self.column!r}, where the results go: rename it"
        return ""

    def _lines(self, block: Block, read: io.BytesIO) -> Content:
        lines = in_utf8(read, block.path, self.encoding, _newline(Path(block.path)))
        texts, counts = zip(*map(decode_line, lines), strict=True)
        if block.start == 0:
            texts = (texts[0].removeprefix("\ufeff"), *texts[1:])
        return Content(list(texts), None, sum(counts))

    def _objects(self, block: Block, read: io.BytesIO) -> Content:
        texts: list[str] = []
        others: list[dict[str, Any]] = []
        replaced = 0
        lines = in_utf8(read, block.path, self.encoding, _newline(Path(block.path)))
        for index, line in enumerate(lines):
            decoded, count = decode_line(line)
            replaced += count
            decoded = decoded.removeprefix("\ufeff")
            if not decoded.strip():
                continue
            row, problem = self._object(decoded)
            if problem:
                raise ValueError(f"{block.path}:{_lines_before(block) + index + 1}: {problem}")
            texts.append(row.pop(self.column))
            others.append(row)
        return Content(texts, others, replaced)

    def _object(self, line: str) -> tuple[dict[str, Any], str]:
        """Return the object in a line of JSON, and what is wrong with it, "" if nothing is."""
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {}, f"not JSON ({error})"
        if not isinstance(row, dict):
            return {}, "not an object of JSON"
        if not isinstance(row.get(self.column), str):
            return {}, f"no text in {self.column!r}; --column takes one of {', '.join(row)}"
        return row, self._in_the_way(row)

    def _rows(self, block: Block) -> Content:
        import pyarrow as pa

        pieces, first = [], 0
        for batch in parquet_file(Path(block.path)).iter_batches(row_groups=[block.row_group]):
            start, stop = max(block.start - first, 0), min(block.stop - first, len(batch))
            if start < stop:
                pieces.append(batch.slice(start, stop - start))
            first += len(batch)
            if first >= block.stop:
                break
        table = pa.Table.from_batches(pieces)
        texts = table[self.column].to_pylist()
        for index, text in enumerate(texts):
            if not isinstance(text, str):
                row = block.start + index
                raise ValueError(f"{block.path}: row {row} of row group {block.row_group} has no text")
        return Content(texts, table.drop([self.column]))


def kind_of(path: Path | str) -> str:
    """Return the kind of a file, by its name."""
    kinds = {".parquet": PARQUET, ".jsonl": JSONL, ".ndjson": JSONL}
    return kinds.get(Path(path).suffix.lower(), TEXT)


def parquet_file(path: Path) -> Any:
    """Open a Parquet file.

    Raises:
        ValueError: It is none.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        return pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not Parquet ({error})") from error


def _cut_lines(path: Path, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (0, first byte, end) for parts of about `size` bytes that end where lines do."""
    newline = _newline(path).encode()
    with open(path, "rb") as file:
        end, start = file.seek(0, os.SEEK_END), 0
        while start < end:
            file.seek(min(start + size, end) - 1)
            while piece := file.read(2**12):
                if found := piece.find(newline) + 1:
                    file.seek(found - len(piece), os.SEEK_CUR)
                    break
            yield 0, start, file.tell()
            start = file.tell()


def _newline(path: Path) -> str:
    """Return how the lines of a file end."""
    with open(path, "rb") as file:
        return newline_of(file, "utf-8")  # encodings that can be read in blocks have line ends as ASCII has


def _cut_rows(path: Path, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield (row group, first row, end) for parts of about `size` bytes."""
    metadata = parquet_file(path).metadata
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        rows = group.num_rows
        pieces = max(1, min(rows, -(-group.total_byte_size // size), _BLOCKS_OF_ROW_GROUP))
        for piece in range(pieces if rows else 0):
            yield index, rows * piece // pieces, rows * (piece + 1) // pieces


def _lines_before(block: Block) -> int:
    """Count the lines of a file before a block, for a message."""
    lines, newline = 0, _newline(Path(block.path)).encode()
    with open(block.path, "rb") as file:
        while left := block.start - file.tell():
            lines += file.read(min(left, 2**20)).count(newline)
    return lines
