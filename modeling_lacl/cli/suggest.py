"""`lacl suggest`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..files import write_atomically
from .app import app, check_target, printable, saved
from .options import BatchSize, Checkpoint, Labels, Overlap, TextEncoding, parse_labels, read_labelled
from .output import json_line, write_lines
from .predict import TextFile
from .texts import in_utf8, read_texts


@app.command(no_args_is_help=True)
def suggest(
    checkpoint: Checkpoint,
    file: TextFile = "-",
    number: Annotated[
        int, typer.Option("--number", "-n", min=1, help="Number of sentences to suggest.")
    ] = 20,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the sentences to a file, as JSON Lines."),
    ] = None,
    exclude: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Labelled sentences to leave out, in any format that lacl adapt reads; can be repeated.",
        ),
    ] = None,
    exclude_encoding: Annotated[
        str, typer.Option("--exclude-encoding", help="Encoding of the labelled sentences to leave out.")
    ] = "utf-8",
    labels: Labels = None,
    overlap: Overlap = "flat",
    encoding: TextEncoding = "utf-8",
    batch_size: BatchSize = 32,
    seed: Annotated[
        int, typer.Option(min=0, help="Random seed. The same seed gives the same sentences.")
    ] = 0,
) -> None:
    """Suggest which sentences to label next, with the entities that the model finds in them.

    It chooses those of which the model is unsure, of every type, and unlike each other. It writes one JSON
    object per sentence, the first to be labelled first, as lacl adapt reads them: correct and adapt again.

    \b
    [bold]Examples[/bold]
    lacl suggest outputs/ner texts.txt --number 20 --output to-correct.jsonl
    lacl suggest outputs/ner texts.txt --exclude support.jsonl --output to-correct.jsonl
    lacl suggest lacl-minilm-wide texts.txt --labels person,city > to-correct.jsonl
    """
    check_target(file, "--output", output)
    wanted = parse_labels(labels)
    labelled = [words for one in exclude or () for words in _words_of(one, exclude_encoding)]
    if file == "-":
        name = "standard input"
        texts = list(read_texts(in_utf8(sys.stdin.buffer, name, encoding), name))
    else:
        with open(file, "rb") as stream:
            texts = list(read_texts(in_utf8(stream, file, encoding), file))
    from ..evaluation.suggesting import suggest_sentences
    from ..hub.loading import load_model
    from ..integrations.predictors import own_labels_notice

    model = load_model(checkpoint)
    notice = own_labels_notice(model, "to find others, give --labels, as in --labels person,city")
    if notice and wanted is None:
        print(printable(notice), file=sys.stderr)
    suggested = suggest_sentences(
        model,
        texts,
        number,
        labels=wanted,
        exclude=labelled,
        overlap=overlap,
        batch_size=batch_size,
        seed=seed,
    )
    if len(suggested) < number:
        print(
            f"only {len(suggested)} of {len(texts)} texts are left without those that are empty, repeated or "
            "excluded",
            file=sys.stderr,
        )
    results = [(example["text"], example["entities"]) for example in suggested]
    if output is None:
        write_lines(None, results)
    else:
        write_atomically(output, "".join(map(json_line, results)))
        saved(output)


def _words_of(file: Path, encoding: str) -> list[list[str]]:
    try:
        words: list[list[str]] = read_labelled(file, None, None, None, None, encoding, "keep")["tokens"][:]
    except ValueError as error:  # here the option of this name is that of the texts
        raise ValueError(str(error).replace(" --encoding", " --exclude-encoding")) from error
    return words
