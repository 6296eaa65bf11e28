"""`lacl predict`."""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from .app import Checkpoint, app, keep_input, no_short_bars, saved
from .labels import Labels, parse_labels
from .output import Shard, job_key, processes, texts_left
from .texts import read_texts

if TYPE_CHECKING:
    from ..integrations.onnx.runner import LaclOnnxModel
    from ..model.modeling_lacl import LaclForTokenClassification


Result: TypeAlias = tuple[str, list[dict[str, Any]]]
"""A text and its entities."""


@app.command(no_args_is_help=True)
def predict(
    checkpoint: Checkpoint,
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="One text a line, UTF-8; - or nothing: standard input."),
    ] = "-",
    text: Annotated[
        list[str] | None, typer.Option("--text", "-t", help="A text instead of FILE; can be repeated.")
    ] = None,
    labels: Labels = None,
    threshold: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave out entities with a lower score.")
    ] = 0.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts at once.")] = 32,
    words: Annotated[
        bool,
        typer.Option("--words", help="Lines are words separated by white space, to be kept as they are."),
    ] = False,
    view: Annotated[
        bool | None,
        typer.Option(
            "--view/--jsonl",
            help="Coloured text, or a JSON object a line; by default coloured in a terminal.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write JSON Lines to a file.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the --output that a run of the same command has begun."),
    ] = False,
    svg: Annotated[
        Path | None,
        typer.Option("--svg", metavar="FILE", help="Draw the coloured text as an SVG picture (few texts)."),
    ] = None,
) -> None:
    """Find entities in text.

    Writes one JSON object for each line: the text, and its entities with type, score, and place in the text.
    Takes files of any size.

    \b
    [bold]Examples[/bold]
    lacl predict outputs/ner texts.txt --output entities.jsonl
    lacl predict outputs/ner --text "Ana Ruiz flew to Quito."
    lacl predict lacl-minilm-fewnerd --text "Ana Ruiz flew to Quito." --labels person,city
    cat texts.txt | lacl predict outputs/ner > entities.jsonl

    Started by [b]accelerate launch[/b] or [b]torchrun[/b], each process tags a share of FILE; the merged
    --output has every text in order. The same command again goes on where a broken-off run ended.

    \b
    accelerate launch --multi_gpu --num_processes 2 --no_python \\
      lacl predict outputs/ner texts.txt --output entities.jsonl
    """
    if sum((output is not None, svg is not None, view is True)) > 1:
        raise typer.BadParameter("give one of --output, --svg and --view")
    if text is not None and file != "-":
        raise typer.BadParameter("give FILE or --text, not both")
    rank, world = processes()
    if world > 1 and (output is None or not os.path.isfile(file)):
        raise typer.BadParameter(f"{world} processes need a FILE and an --output")
    if resume and output is None:
        raise typer.BadParameter("--resume needs --output")
    wanted = None if labels is None else parse_labels(labels)
    with ExitStack() as stack:
        # Files first: a wrong name is told before the model loads.
        texts: Iterable[str]
        if text is not None:
            texts = list(read_texts(map(os.fsencode, text), "--text"))
        elif file == "-":
            texts = read_texts(sys.stdin.buffer, "standard input")
        else:
            texts = read_texts(stack.enter_context(open(file, "rb")), file, tell=rank == 0)
        if file != "-":
            keep_input(file, "--output", output)
            keep_input(file, "--svg", svg)
        shard, place, again = None, output, resume
        if output is not None and world > 1:
            job = job_key(checkpoint, Path(file), labels=wanted, threshold=threshold, words=words)
            shard = Shard(output, job, rank, world)
            if shard.finished(rank).exists():  # by a run that was broken off before it had all of them
                return shard.finish()
            texts, place, again = shard.texts(texts), shard.part, True
        if place is not None:
            if again:
                texts = texts_left(place, texts, lambda text: " ".join(text.split()) if words else text)
            if not place.exists() or place.is_file():
                open(place, "ab").close()  # or it fails now; what it holds stays until there is a model

        from ..integrations.predictors import load_predictor

        no_short_bars()
        model = load_predictor(checkpoint)
        shown = list(wanted) if wanted else model.entity_types
        one_by_one = text is None and file == "-" and sys.stdin.isatty()
        if one_by_one:
            print("One text a line; Ctrl-D ends.", file=sys.stderr)
        target = None
        if place is not None:
            target = stack.enter_context(open(place, "ab" if again else "wb", buffering=0))
        results = predict_texts(
            model,
            texts,
            words=words,
            one_by_one=one_by_one,
            labels=wanted,
            threshold=threshold,
            batch_size=batch_size,
        )
        if svg is not None:
            from ..viz.terminal import save_svg

            save_svg(svg, results, labels=shown)
        elif view or (view is None and target is None and sys.stdout.isatty()):
            _show(results, shown)
        else:
            write_lines(target, results, bar=rank == 0)
    if shard is not None:
        shard.finish()
    written = output or svg
    if written is not None and rank == 0:
        saved(written)


def predict_texts(
    model: LaclForTokenClassification | LaclOnnxModel,
    texts: Iterable[str],
    *,
    words: bool = False,
    one_by_one: bool = False,
    **arguments: Any,
) -> Iterator[Result]:
    """Each text with its entities, in order and in bounded memory.

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


def write_lines(file: FileIO | None, results: Iterable[Result], bar: bool = True) -> None:
    """Writes results as JSON Lines to `file` or, if it is None, to standard output.

    A file holds whole lines only, whenever the program is stopped: each is one unbuffered write. With `bar`,
    a terminal shows the progress.
    """
    from tqdm import tqdm

    for text, entities in tqdm(results, unit=" texts", disable=True if file is None or not bar else None):
        line = json.dumps({"text": text, "entities": entities}, ensure_ascii=False).encode() + b"\n"
        if file is None:
            sys.stdout.buffer.write(line)
            continue
        end = file.tell()
        if file.write(line) < len(line):
            file.truncate(end)
            raise OSError(f"{file.name}: the disk is full; the file holds whole lines up to here")


def _show(results: Iterable[Result], labels: Sequence[str]) -> None:
    from rich.console import Console

    from ..viz.terminal import EntityView

    view = EntityView(Console(highlight=False), labels)
    for text, entities in results:
        view.show(text, entities)
    view.console.print()
    view.legend()
