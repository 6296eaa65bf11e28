"""The results of many machines: parts that are written whole, and put together in order at the end."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname
from typing import TYPE_CHECKING, Any

from ..files import sha256
from .blocks import Content
from .output import lock

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

_SHARED = "give an output in a folder that all machines see"


@dataclass(frozen=True)
class Parts:
    """The folder `OUTPUT.KEY.parts` beside an output file, with a part for each finished block.

    A part that is written again is the same, so that a block can be done more than once and counts once.

    Args:
        output: The output file: Parquet if it is so named, else JSON Lines.
        job: What the results depend on. The key is made from it: parts of another job are never used.
    """

    output: Path
    job: str

    @property
    def folder(self) -> Path:
        """The folder of the parts."""
        return self.output.with_name(f"{self.output.name}.{sha256(self.job)[:12]}.parts")

    @property
    def is_parquet(self) -> bool:
        """Whether the output is Parquet."""
        return self.output.suffix.lower() == ".parquet"

    def part(self, number: int) -> Path:
        """Return the path of the part of a block."""
        return self.folder / f"{number:06}{'.parquet' if self.is_parquet else '.jsonl'}"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep it for this run; it goes at its end, unless an error leaves parts in it.

        Raises:
            OSError: The folder cannot be made.
            ValueError: The output is no file, or another run writes it.
        """
        if self.output.exists() and not self.output.is_file():
            raise ValueError(f"{self.output}: give --output a file")
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "lock", "ab") as file:
            lock(file, self.output)
            try:
                yield
            except BaseException:
                if not any(self.folder.glob("[0-9]*")):
                    shutil.rmtree(self.folder)
                raise
            shutil.rmtree(self.folder)

    def check(self) -> None:
        """Check that this machine sees the folder.

        Raises:
            ValueError: It does not.
        """
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is not there on {gethostname()}: {_SHARED}")

    def tries(self, number: int, run: str) -> int:
        """Count a try at a block in a run, and return how many there were with it."""
        with open(self.folder / f".{number}.{run}.tries", "ab") as file:
            file.write(b".")
            return file.tell()

    def write(self, number: int, content: Content, entities: list[list[dict[str, Any]]]) -> None:
        """Write the part of a block, whole or not at all.

        Args:
            number: Number of the block.
            content: What is in the block.
            entities: The entities of each text.

        Raises:
            OSError: It cannot be written.
            ValueError: A value of another column cannot be.
        """
        unfinished = self.folder / f".{number}.{secrets.token_hex(4)}"
        try:
            if self.is_parquet:
                import pyarrow.parquet as pq  # type: ignore[import-untyped]

                pq.write_table(_table(content, entities), unfinished)
            else:
                unfinished.write_bytes(_lines(content, entities))
            os.replace(unfinished, self.part(number))
        finally:
            unfinished.unlink(missing_ok=True)

    def merge(self, number: int) -> None:
        """Put the parts together in the output file, which then replaces what was there.

        Args:
            number: Number of the blocks.

        Raises:
            ValueError: A part is missing, or parts of Parquet do not fit together.
        """
        parts = list(map(self.part, range(number)))
        for part in parts:
            if not part.is_file():
                raise ValueError(f"{part} is missing, though it was written: {_SHARED}")
        merged = self.folder / "merged"
        if self.is_parquet:
            self._merge_tables(parts, merged)
        else:
            with open(merged, "wb") as target:
                for part in parts:
                    with open(part, "rb") as source:
                        shutil.copyfileobj(source, target)
        if self.output.exists():
            shutil.copymode(self.output, merged)
        os.replace(merged, self.output)

    def _merge_tables(self, parts: list[Path], merged: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        empty = _table(Content([]), [])
        try:
            schemas = [pq.read_schema(part) for part in parts] or [empty.schema]
            schema = pa.unify_schemas(schemas, promote_options="permissive")
        except pa.ArrowTypeError as error:
            raise ValueError(
                f"a column has values of several kinds ({error}): name the output .jsonl, which holds any"
            ) from error
        with pq.ParquetWriter(merged, schema) as writer:
            for part in parts:
                table = pq.read_table(part)
                for name in set(schema.names) - set(table.column_names):
                    table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
                writer.write_table(table.select(schema.names).cast(schema))


def _lines(content: Content, entities: list[list[dict[str, Any]]]) -> bytes:
    """Return JSON Lines as one process writes them, with the other columns behind."""
    others = content.others
    if others is None:
        others = [{}] * len(content.texts)
    elif not isinstance(others, list):
        others = others.to_pylist()
    try:
        return b"".join(
            json.dumps({"text": text, "entities": found, **other}, ensure_ascii=False).encode() + b"\n"
            for text, found, other in zip(content.texts, entities, others, strict=True)
        )
    except TypeError as error:  # a date, or bytes
        raise ValueError(f"another column does not fit JSON ({error}): name the output .parquet") from error


def _table(content: Content, entities: list[list[dict[str, Any]]]) -> pa.Table:
    """Return a table with the same columns."""
    import pyarrow as pa

    from ..integrations.ray import entities_type

    others = content.others
    columns: dict[str, Any] = {
        "text": pa.array(content.texts, type=pa.string()),
        "entities": pa.array(entities, type=entities_type()),
    }
    if isinstance(others, list):
        try:
            for name in dict.fromkeys(name for row in others for name in row):
                columns[name] = pa.array([row.get(name) for row in others])
        except pa.ArrowException as error:
            raise ValueError(
                f"the column {name!r} does not fit Parquet ({error}): name the output .jsonl, which holds any"
            ) from error
    elif others is not None:
        columns |= dict(zip(others.column_names, others.columns, strict=True))
    return pa.table(columns)
