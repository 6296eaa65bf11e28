"""`lacl predict --engine ray`: blocks of the input go to actors of Ray Data, which tag and write them.

Ray hands out the blocks, no more than an actor has room for, and hands out again those of a worker that died.
A block is read, tagged and written by the same actor, so that no texts travel and no part is written in half.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..integrations.ray import LaclTagger, connected, pool
from ..optional import require
from .app import USER_ERRORS, error_message, keep_input, no_short_bars, printable, saved
from .blocks import Block, Reading
from .output import job_key
from .parts import Parts
from .tagging import OTHER_LABELS, Request

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

# Ray tries for ever; a block that ends its worker this often (for want of memory, say) is an error.
_TRIES = 4


@dataclass(frozen=True)
class Job:
    """What an actor is to do with its blocks.

    Args:
        checkpoint: Folder or name of the model.
        options: Arguments of `predict`.
        reading: How the input is read.
        parts: Where the results go.
        run: A token of this run, in which tries are counted.
    """

    checkpoint: str
    options: dict[str, Any]
    reading: Reading
    parts: Parts
    run: str


class BlockTagger:
    """Tags blocks, for `map_batches`; what the user has to hear of comes back as a row.

    Args:
        job: What is to be done.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.failure = self.notice = ""
        try:
            self._load()
        except USER_ERRORS as error:
            self.failure = error_message(error)

    def _load(self) -> None:
        from ..integrations.predictors import own_labels_notice

        no_short_bars()
        self.job.parts.check()
        words = self.job.reading.words
        self.tagger = LaclTagger(self.job.checkpoint, is_split_into_words=words, **self.job.options)
        self.tagger.entities([])  # options that the model does not take are no fault of a block
        if self.job.options["labels"] is None:
            self.notice = own_labels_notice(self.tagger.model, OTHER_LABELS) or ""

    def __call__(self, batch: pa.Table) -> dict[str, list[Any]]:
        """Tag a block.

        Args:
            batch: One row: the fields of a `Block`.

        Returns:
            One row: the number of bytes that were replaced, a notice and an error, both "" if there is none.
        """
        (row,) = batch.to_pylist()
        replaced, failure = 0, self.failure
        if not failure:
            block = Block(**row)
            try:
                replaced = self._tag(block)
            except USER_ERRORS as error:
                failure = error_message(error)
                failure = failure if block.path in failure else f"{block.place}: {failure}"
        return {"replaced": [replaced], "notice": [self.notice], "failure": [failure]}

    def _tag(self, block: Block) -> int:
        """Write the part of a block; return the number of bytes that were replaced."""
        parts = self.job.parts
        if parts.tries(block.number, self.job.run) > _TRIES:
            raise ValueError(
                f"{_TRIES} workers died over these texts, perhaps for want of memory: give fewer --workers "
                "or a smaller --batch-size"
            )
        content = self.job.reading.read(block)
        parts.write(block.number, content, self.tagger.entities(content.texts))
        return content.replaced


def tag_with_ray(request: Request, *, column: str, address: str | None, workers: int | None) -> None:
    """Find entities as requested, by a cluster of Ray, and report where they were written.

    Args:
        request: The arguments of the command; `file` can be a folder or a pattern, too.
        column: Column of texts, in JSON Lines and Parquet.
        address: Address of a running cluster; None starts one on this machine.
        workers: Number of actors; by default one per GPU or, without GPUs, per CPU.

    Raises:
        ValueError: The input cannot be read, the model cannot be used, or workers died again and again.
    """
    require("ray", "ray")
    assert request.output is not None
    reading = Reading(column, request.encoding, request.words)
    files = reading.files(request.file)
    for file in files:
        keep_input(file, "--output", request.output)
    blocks = reading.cut(files)
    cuts = [(block.start, block.stop) for block in blocks]
    key = job_key(request.checkpoint, files, **request.settings, column=column, cuts=cuts)
    parts = Parts(request.output.resolve(), key)
    checkpoint = request.checkpoint
    if (Path(checkpoint) / "config.json").is_file():
        checkpoint = str(Path(checkpoint).absolute())  # actors run in a folder of their own
    options = {name: getattr(request, name) for name in ("labels", "threshold", "overlap", "batch_size")}
    job = Job(checkpoint, options, reading, parts, secrets.token_hex(4))
    with parts.held():
        left = [block for block in blocks if not parts.part(block.number).is_file()]
        if len(left) < len(blocks):
            print(f"Resuming: {len(blocks) - len(left)} of {len(blocks)} blocks are done", file=sys.stderr)
        if left:
            with connected(address, workers):
                _tag(job, left, len(blocks), workers)
        parts.merge(len(blocks))
    saved(request.output)


def _tag(job: Job, blocks: list[Block], number: int, workers: int | None) -> None:
    """Tag blocks, with a progress bar over all `number` of them, and tell what their actors have to say."""
    from tqdm import tqdm

    replaced, told = 0, set()
    done = number - len(blocks)
    for row in tqdm(_rows(job, blocks, workers), unit=" blocks", total=number, initial=done, disable=None):
        if row["failure"]:
            raise ValueError(row["failure"])
        replaced += row["replaced"]
        if row["notice"] and row["notice"] not in told:
            told.add(row["notice"])
            print(printable(row["notice"]), file=sys.stderr)
    if replaced:
        print(
            f"{replaced} bytes that are not {job.reading.encoding.upper()} were replaced by U+FFFD; another "
            "--encoding can be given",
            file=sys.stderr,
        )


def _rows(job: Job, blocks: list[Block], workers: int | None) -> Iterator[dict[str, Any]]:
    """Yield what `BlockTagger` returns for each block, as they are done."""
    ray = require("ray", "ray")
    size, gpus = pool(job.checkpoint, workers)
    dataset = ray.data.from_items(list(map(asdict, blocks)), override_num_blocks=len(blocks)).map_batches(
        BlockTagger,
        fn_constructor_args=(job,),
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(size, len(blocks))),
        num_cpus=1,
        num_gpus=gpus,
    )
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.RayActorError as error:
        raise ValueError(f"{str(error).splitlines()[0]} The same command goes on.") from error
