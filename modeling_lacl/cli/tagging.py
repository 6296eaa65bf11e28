"""`lacl predict`: reading texts, finding their entities, and writing the results."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .app import keep_input, printable, saved
from .output import LineFile, Result, job_key, write_lines
from .texts import in_utf8, read_texts

if TYPE_CHECKING:
    from ..integrations.onnx.runner import LaclOnnxModel
    from ..model.modeling_lacl import LaclForTokenClassification


OTHER_LABELS = "to find others, give --labels, as in --labels person,city"
"""How the command is given other labels than those of the model."""


@dataclass(frozen=True)
class Request:
    """The arguments of one call of the command.

    Attributes:
        checkpoint: Folder or name of the model.
        file: File of texts; `-` for standard input.
        text: Texts to tag instead of `file`.
        labels: Labels instead of the model's own, as for `predict`.
        threshold, overlap, batch_size: As for `predict`.
        words: Whether texts are already split into words, separated by white space.
        encoding: Encoding of the file.
        view: Whether to show coloured text rather than JSON Lines; None means if standard output is a
            terminal.
        output: JSON Lines file to write.
        resume: Whether to resume the run that wrote `output`.
        svg: SVG image to write.
    """

    checkpoint: str
    file: str
    text: list[str] | None
    labels: list[str] | dict[str, str] | None
    threshold: float | None
    overlap: str
    batch_size: int
    words: bool
    encoding: str
    view: bool | None
    output: Path | None
    resume: bool
    svg: Path | None

    @property
    def settings(self) -> dict[str, Any]:
        """What the results depend on, beside model and input."""
        names = ("labels", "threshold", "overlap", "words", "encoding")
        return {name: getattr(self, name) for name in names}

    def as_written(self, text: str) -> str:
        """Return a text in the form that its result contains."""
        return " ".join(text.split()) if self.words else text


def tag(request: Request) -> None:
    """Find entities as requested, and report where they were written."""
    # Files first: a wrong file name is reported before the model is loaded.
    target = line_file(request)
    with opened_texts(request) as texts, nullcontext() if target is None else target.held():
        if target is not None:
            texts = target.texts(texts, request.as_written)
        from ..integrations.predictors import load_predictor, own_labels_notice

        model = load_predictor(request.checkpoint)
        notice = own_labels_notice(model, OTHER_LABELS)
        if notice and request.labels is None:
            print(printable(notice), file=sys.stderr)
        one_by_one = request.text is None and request.file == "-" and sys.stdin.isatty()
        if one_by_one:
            print("Enter one text per line; end with Ctrl-D.", file=sys.stderr)
        results = predict_texts(
            model,
            texts,
            words=request.words,
            one_by_one=one_by_one,
            labels=request.labels,
            threshold=request.threshold,
            overlap=request.overlap,
            batch_size=request.batch_size,
        )
        put_out(results, request, target, list(request.labels or model.entity_types))
    written = request.output or request.svg
    if written is not None:
        saved(written)


@contextmanager
def opened_texts(request: Request) -> Iterator[Iterable[str]]:
    """Open the requested texts.

    Yields:
        The texts.

    Raises:
        OSError: The file cannot be read.
        typer.BadParameter: The file is also the output file.
    """
    if request.text is not None:
        yield list(read_texts(map(os.fsencode, request.text), "--text"))
    elif request.file == "-":
        name = "standard input"
        yield read_texts(in_utf8(sys.stdin.buffer, name, request.encoding), name, True, request.encoding)
    else:
        with open(request.file, "rb") as stream:
            keep_input(request.file, "--output", request.output)
            lines = in_utf8(stream, request.file, request.encoding)
            yield read_texts(lines, request.file, True, request.encoding)


def line_file(request: Request) -> LineFile | None:
    """Return the JSON Lines file that this process writes, or None without `--output`."""
    if request.output is None:
        return None
    return LineFile(request.output, request.resume, job_key(request.checkpoint, **request.settings))


def put_out(
    results: Iterable[Result], request: Request, target: LineFile | None, labels: Sequence[str]
) -> None:
    """Write results to the requested place: an image, a file, the terminal, or standard output.

    Args:
        results: Texts with their entities, consumed as they are found.
        request: The arguments of the command.
        target: The JSON Lines file to write, if any.
        labels: Labels in the order in which colours are assigned to them.
    """
    if request.svg is not None:
        from ..viz.terminal import save_svg

        save_svg(request.svg, results, labels=labels)
    elif target is not None:
        with target.open() as file:
            try:
                write_lines(file, results)
            except KeyboardInterrupt:
                if file.seekable():
                    with open(target.path, "rb") as written:
                        done = sum(1 for _ in written)
                    print(f"{target.path}: {done} texts are done; --resume goes on", file=sys.stderr)
                raise
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
    """Find the entities of each text, in order and in bounded memory.

    Args:
        model: The model.
        texts: The texts; may be an infinite stream.
        words: Split texts into words at white space; the texts returned then have single spaces.
        one_by_one: Tag each text before the next is read, for interactive input.
        **arguments: Further arguments of `model.predict`.

    Yields:
        Each text with its entities.
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
