"""The command `lacl`. Thin: it reads arguments and files, and calls the library.

torch and transformers load inside the commands, so that `lacl --help` answers at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TypeAlias

import typer

from . import __version__

if TYPE_CHECKING:
    from .modeling_lacl import LaclForTokenClassification

Result: TypeAlias = tuple[str, list[dict[str, Any]]]
"""A text and its entities."""

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, FloatingPointError)
"""What wrong input, files and settings raise. Any other is a fault of ours and shows its traceback."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

Checkpoint = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="Folder of a LACL model, or its name on the Hub.")
]


def main() -> None:
    """Runs the command; a user's error ends it with a short message and exit code 2."""
    try:
        app()
    except USER_ERRORS as error:
        if os.environ.get("LACL_DEBUG"):
            raise
        print(f"lacl: {_message(error)}\nlacl --debug … shows where this comes from.", file=sys.stderr)
        sys.exit(2)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool, typer.Option("--debug", envvar="LACL_DEBUG", help="Show the whole traceback of an error.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and stop."),
    ] = False,
) -> None:
    """Finds entities of your own types in text, from their names and a handful of labelled sentences.

    \b
    [bold]Examples[/bold]
    lacl demo                                        see it work
    lacl adapt CHECKPOINT support.txt --output ner   teach it your types
    lacl predict ner texts.txt                       find entities
    """
    if debug:
        os.environ["LACL_DEBUG"] = "1"


@app.command(
    no_args_is_help=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True}
)
def train(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RECIPE.yaml|--KEY VALUE",
            help="A recipe, and arguments that go before its own.",
            show_default=False,
        ),
    ] = None,
    list_arguments: Annotated[
        bool, typer.Option("--arguments", help="List every argument that a recipe can have, and stop.")
    ] = False,
) -> None:
    """Train a source model, which `lacl adapt` then takes to your entity types.

    Needs a large labelled corpus with many types. A recipe is a YAML file with one `argument: value` a line.

    \b
    [bold]Examples[/bold]
    lacl train recipe.yaml
    lacl train recipe.yaml --train_file corpus.txt --output_dir outputs/source
    lacl train recipe.yaml --max_steps 500 --learning_rate 3e-5
    """
    from .arguments import ARGUMENT_CLASSES, parse_arguments

    if list_arguments:
        from transformers import HfArgumentParser

        HfArgumentParser(ARGUMENT_CLASSES, prog="lacl train").print_help()
        return
    from .source import train_source

    model_arguments, data_arguments, training_arguments = parse_arguments(arguments or [])
    train_source(model_arguments, data_arguments, training_arguments)
    _next(f"lacl adapt {training_arguments.output_dir} SUPPORT --output DIR")


@app.command(no_args_is_help=True)
def adapt(
    checkpoint: Checkpoint,
    support: Annotated[
        Path,
        typer.Argument(
            metavar="SUPPORT",
            help="Labelled sentences: CoNLL-style columns or JSON Lines.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the adapted model.")
    ],
    label_names: Annotated[
        str | None,
        typer.Option(
            metavar="YAML",
            help="What your types are called in plain words, one [b]type: name[/b] a line. "
            "By default a rule: [b]B-creative-work[/b] is 'creative work'.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=0, help="Training steps on the support set; 0 only looks at it. By default a tested number."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate of those steps. By default a tested one.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same model.")] = 0,
    data_format: Annotated[
        str | None,
        typer.Option("--format", metavar="columns|jsonl", help="Format of SUPPORT; found out by default."),
    ] = None,
) -> None:
    """Teach a model your entity types with a few labelled sentences.

    About five examples a type make a good start. The model that you start from is left as it is.

    \b
    [bold]Examples[/bold]
    lacl adapt lacl-minilm-fewnerd support.txt --output outputs/ner
    lacl adapt lacl-minilm-fewnerd support.jsonl --output outputs/ner --label-names names.yaml
    """
    # Before the training, not after it.
    output.mkdir(parents=True, exist_ok=True)
    from .adaptation import adapt as adapt_model
    from .data import read_dataset
    from .loading import load_model

    _no_short_bars()
    examples = support if data_format is None else read_dataset(support, format=data_format)
    given: dict[str, Any] = {"steps": steps, "learning_rate": learning_rate}
    model = load_model(checkpoint)
    adapted = adapt_model(
        model,
        model.tokenizer,
        examples,
        label_names,
        seed=seed,
        **{key: value for key, value in given.items() if value is not None},
    )
    adapted.save_pretrained(output)
    print(f"Saved to {output}: {', '.join(_types(adapted))}", file=sys.stderr)
    _next(f"lacl predict {output} FILE")


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
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Look for these types instead of the model's, by name alone: [b]person,ship[/b], or "
            "[b]GPE=country or city[/b].",
        ),
    ] = None,
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
    """
    if sum((output is not None, svg is not None, view is True)) > 1:
        raise typer.BadParameter("give one of --output, --svg and --view")
    if text is not None and file != "-":
        raise typer.BadParameter("give FILE or --text, not both")
    wanted = None if labels is None else parse_labels(labels)
    with ExitStack() as stack:
        # Files first: a wrong name is told before the model loads.
        texts: Iterable[str]
        if text is not None:
            texts = [os.fsencode(item).decode("utf-8", "replace") for item in text]
        else:
            texts = read_texts(sys.stdin.buffer if file == "-" else stack.enter_context(open(file, "rb")))
        if output is not None and file != "-" and output.exists() and output.samefile(file):
            raise typer.BadParameter(f"--output is the file that is read: {output}")
        target = None if output is None else stack.enter_context(open(output, "wb", buffering=0))

        from .loading import load_model

        _no_short_bars()
        model = load_model(checkpoint)
        shown = list(wanted) if wanted else _types(model)
        one_by_one = text is None and file == "-" and sys.stdin.isatty()
        if one_by_one:
            print("One text a line; Ctrl-D ends.", file=sys.stderr)
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
            from .render import save_svg

            save_svg(svg, results, labels=shown)
        elif view or (view is None and target is None and sys.stdout.isatty()):
            _show(results, shown)
        else:
            write_lines(target, results)


@app.command(no_args_is_help=True)
def evaluate(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE.yaml", help="The test sets and support sets.", show_default=False),
    ],
    checkpoint: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="Source model, instead of the recipe's.")
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option("--data-root", "--data_root", metavar="DIR", help="Folder of the data files."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of the results; an interrupted run goes on from there."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Support sets for each target and number of shots.")
    ] = None,
) -> None:
    """Measure a source model: adapt it on support sets, tag whole test sets, print the F1 scores.

    \b
    [bold]Examples[/bold]
    lacl evaluate recipe.yaml
    lacl evaluate recipe.yaml --checkpoint outputs/source --limit 1
    """
    from .evaluation import evaluate_recipe

    report = evaluate_recipe(recipe, checkpoint=checkpoint, data_root=data_root, output=output, limit=limit)
    print(report.to_markdown())


@app.command()
def demo(
    text: Annotated[
        str | None,
        typer.Argument(metavar="TEXT", help="A text of yours to tag at the end.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Keep the adapted model in a folder.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Draw the tagged text as an SVG picture.")
    ] = None,
) -> None:
    """See it work, in a few minutes and with no download: train, adapt on a few sentences, tag text.

    Uses the small encoder that the extra `demo` installs, and small real samples: news and encyclopedia
    sentences (FEW-NERD) to train on, posts from the web (WNUT-17) as the new domain.

    \b
    [bold]Examples[/bold]
    lacl demo
    lacl demo "Ana Ruiz posted a trailer of Blue Harbor from Quito."
    """
    from .demo import run_demo

    _no_short_bars()
    run_demo(text, output=output, svg=svg)


def read_texts(stream: BinaryIO) -> Iterator[str]:
    """The lines of a UTF-8 stream without their ends, as they come; what is not UTF-8 becomes U+FFFD."""
    for number, line in enumerate(stream):
        text = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
        yield text if number else text.removeprefix("\ufeff")


def parse_labels(labels: str) -> list[str] | dict[str, str]:
    """`"person,ship"` or `"GPE=country or city,person"` as `predict` takes labels."""
    pairs = [item.partition("=") for item in labels.split(",") if item.strip()]
    if not any(equals for _, equals, _ in pairs):
        return [label.strip() for label, _, _ in pairs]
    from .prompts import natural_label_name

    return {label.strip(): name.strip() or natural_label_name(label.strip()) for label, _, name in pairs}


def predict_texts(
    model: LaclForTokenClassification,
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


def write_lines(file: FileIO | None, results: Iterable[Result]) -> None:
    """Writes results as JSON Lines to `file` or, if it is None, to standard output.

    A file holds whole lines only, whenever the program is stopped: each is one unbuffered write.
    """
    from tqdm import tqdm

    for text, entities in tqdm(results, unit=" texts", disable=True if file is None else None):
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

    from .render import EntityView

    view = EntityView(Console(highlight=False), labels)
    for text, entities in results:
        view.show(text, entities)
    view.console.print()
    view.legend()


def _types(model: LaclForTokenClassification) -> list[str]:
    """The model's entity types, without outside."""
    labels: dict[int, str] = model.config.id2label
    return [labels[index] for index in range(1, len(labels))]


def _no_short_bars() -> None:
    """No progress bars for what takes a moment: reading and writing model files, tokenising a support set."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def _next(command: str) -> None:
    print(f"Next: {command}", file=sys.stderr)


def _message(error: BaseException) -> str:
    """What went wrong in a line or two, without Python's numbers."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    return str(error).strip() or type(error).__name__
