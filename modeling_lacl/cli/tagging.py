"""`lacl predict`: from where the texts are to where their entities go."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .app import keep_input, no_short_bars, printable, saved
from .output import LineFile, Result, Shard, job_key, write_lines
from .texts import read_texts

if TYPE_CHECKING:
    from ..integrations.onnx.runner import LaclOnnxModel
    from ..model.modeling_lacl import LaclForTokenClassification


@dataclass(frozen=True)
class Request:
    """What one call of the command asks for.

    Attributes:
        checkpoint: Folder or name of the model.
        file: The texts; `-` for standard input.
        text: Texts in the place of `file`.
        labels: Other types than the model's, as `predict` takes them.
        threshold, batch_size: As `predict` takes them.
        words: Texts are words with white space between them.
        view: Coloured text in the terminal, or JSON Lines; None leaves it to where standard output goes.
        output: File for the JSON Lines.
        resume: Go on with what `output` holds.
        svg: File for a picture.
        rank, world: Number of this process, and of all.
    """

    checkpoint: str
    file: str
    text: list[str] | None
    labels: list[str] | dict[str, str] | None
    threshold: float
    batch_size: int
    words: bool
    view: bool | None
    output: Path | None
    resume: bool
    svg: Path | None
    rank: int
    world: int

    def as_written(self, text: str) -> str:
        """Return a text as its result has it."""
        return " ".join(text.split()) if self.words else text


def tag(request: Request) -> None:
    """Find entities as asked, and tell where they were written."""
    # Files first: a wrong name is told before the model loads.
    target = line_file(request)
    shard = None if target is None else target.shard
    # Finished by a run that was broken off before it had all of them.
    if shard is not None and shard.finished(request.rank).exists():
        return shard.finish()
    with opened_texts(request) as texts, nullcontext() if target is None else target.held():
        if target is not None:
            texts = target.texts(texts, request.as_written)
        from ..integrations.predictors import load_predictor, own_labels_notice

        no_short_bars()
        model = load_predictor(request.checkpoint)
        notice = own_labels_notice(model, "to find others, give --labels, as in --labels person,city")
        if notice and request.labels is None and request.rank == 0:
            print(printable(notice), file=sys.stderr)
        one_by_one = request.text is None and request.file == "-" and sys.stdin.isatty()
        if one_by_one:
            print("One text a line; Ctrl-D ends.", file=sys.stderr)
        results = predict_texts(
            model,
            texts,
            words=request.words,
            one_by_one=one_by_one,
            labels=request.labels,
            threshold=request.threshold,
            batch_size=request.batch_size,
        )
        put_out(results, request, target, list(request.labels or model.entity_types))
    if shard is not None:
        shard.finish()
    written = request.output or request.svg
    if written is not None and request.rank == 0:
        saved(written)


@contextmanager
def opened_texts(request: Request) -> Iterator[Iterable[str]]:
    """Open the texts that are asked for.

    Raises:
        OSError: The file cannot be read.
        typer.BadParameter: The file is to be written as well.
    """
    if request.text is not None:
        yield list(read_texts(map(os.fsencode, request.text), "--text"))
    elif request.file == "-":
        yield read_texts(sys.stdin.buffer, "standard input")
    else:
        with open(request.file, "rb") as stream:
            keep_input(request.file, "--output", request.output)
            keep_input(request.file, "--svg", request.svg)
            yield read_texts(stream, request.file, tell=request.rank == 0)


def line_file(request: Request) -> LineFile | None:
    """Return the file of JSON Lines that this process writes, if one is asked for."""
    if request.output is None:
        return None
    settings = {"labels": request.labels, "threshold": request.threshold, "words": request.words}
    if request.world == 1:
        return LineFile(request.output, request.resume, job=job_key(request.checkpoint, None, **settings))
    job = job_key(request.checkpoint, Path(request.file), **settings)
    shard = Shard(request.output, job, request.rank, request.world)
    return LineFile(shard.part, True, shard)


def put_out(
    results: Iterable[Result], request: Request, target: LineFile | None, labels: Sequence[str]
) -> None:
    """Write results where they are asked for: a picture, a file, the terminal or standard output.

    Args:
        results: As they come.
        request: Says where.
        target: The file for JSON Lines, if it is that.
        labels: Types in the order in which they take their colours.
    """
    if request.svg is not None:
        from ..viz.terminal import save_svg

        save_svg(request.svg, results, labels=labels)
    elif target is not None:
        with target.open() as file:
            write_lines(file, results, bar=request.rank == 0)
    elif request.view or (request.view is None and sys.stdout.isatty()):
        _show(results, labels)
    else:
        write_lines(None, results)


def predict_texts(
    model: LaclForTokenClassification | LaclOnnxModel,
    texts: Iterable[str],
    *,
    words: bool = False,
    one_by_one: bool = False,
    **arguments: Any,
) -> Iterator[Result]:
    """Give each text with its entities, in order and in bounded memory.

    Args:
        model: Predicts.
        texts: May be endless.
        words: Split texts at white space and keep the words; the text given back has single spaces.
        one_by_one: Answer each text before the next is read, as for someone who types.
        **arguments: Of `model.predict`.
    """
    waiting: deque[str] = deque()

    def inputs(some: Iterable[str]) -> Iterator[str | list[str]]:
        for text in some:
            parts = text.split()
            waiting.append(" ".join(parts) if words else text)
            yield parts if words else text

    for batch in ([text] for text in texts) if one_by_one else [texts]:
        for entities in model.predict(inputs(batch), is_split_into_words=words, **arguments):
            yield waiting.popleft(), entities


def _show(results: Iterable[Result], labels: Sequence[str]) -> None:
    from rich.console import Console

    from ..viz.terminal import EntityView

    view = EntityView(Console(highlight=False), labels)
    for text, entities in results:
        view.show(text, entities)
    view.console.print()
    view.legend()
