"""The root command: its options, the reporting of user errors, and helpers shared by the commands."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..optional import remedy
from ..version import __version__

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, FloatingPointError)
"""Exceptions raised by wrong input, files, or settings. Any other is a bug and shows its traceback."""


# click's, which newer versions of typer bring along under a name of their own.
_USAGE_ERROR: Any = typer.BadParameter.__base__


class _Group(TyperGroup):
    """The command whose messages about wrong usage do not drive the terminal."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        with _visible_usage():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        with _visible_usage():
            return super().invoke(ctx)


@contextmanager
def _visible_usage() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        error.message = printable(error.message)
        raise


class _VisibleLines(logging.Formatter):
    """Formats log messages, which may quote files and labels, without what would drive the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).split("\n"))


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; a user error ends it with a short message and exit code 2."""
    _look_less_for_garbage()
    if logging.lastResort is not None:  # what shows warnings where no handler was set up
        logging.lastResort.setFormatter(_VisibleLines())
    try:
        app()
    except USER_ERRORS as error:
        if os.environ.get("LACL_DEBUG"):
            raise
        print(
            f"lacl: {printable(error_message(error))}\nRun lacl --debug … for the full traceback.",
            file=sys.stderr,
        )
        sys.exit(2)


def _look_less_for_garbage() -> None:
    """Look for unreachable objects less often than Python does by default, and not once more at the end.

    Of the million objects that torch and transformers make when they load, none is garbage: looking through
    them, again and again, took a quarter of the time of a short command.
    """
    gc.set_threshold(10_000)
    atexit.register(gc.freeze)


def printable(text: str) -> str:
    """Return a text with all made visible that would drive the terminal; the length is unchanged."""
    from ..viz.marks import visible

    return visible(text)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="LACL_DEBUG", help="Show the full traceback of an error.")
    ] = False,
    show_version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Find entities of your own types in text, from label names and a few labelled sentences.

    \b
    [bold]Examples[/bold]
    lacl demo                                        see how it works
    lacl adapt CHECKPOINT support.txt --output ner   teach a model your types
    lacl predict ner texts.txt                       find entities
    """
    if debug:
        os.environ["LACL_DEBUG"] = "1"
    if context.invoked_subcommand != "push":  # an upload takes long
        no_short_bars()


@contextmanager
def messages_of(logger: logging.Logger) -> Iterator[None]:
    """Show on stderr, inside the context, what a module logs at level INFO."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_VisibleLines())
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def no_short_bars() -> None:
    """Hide the progress bars of short operations: loading and saving models, reading and tokenising data.

    The libraries read these settings when they load, which many commands do late or never. What the user has
    set stays: with 0 the bars are shown.
    """
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers goes by it as well
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def keep_input(file: str | Path, option: str, output: Path | None) -> None:
    """Check that a command does not overwrite its input.

    Args:
        file: The input file.
        option: Name of the option that gave `output`.
        output: The output file, if any.

    Raises:
        typer.BadParameter: `output` and `file` are the same file.
    """
    if output is not None and output.is_file() and os.path.exists(file) and output.samefile(file):
        raise typer.BadParameter(f"{option} is the input file: {output}")


def check_target(file: str | Path | None, option: str, target: Path | None) -> None:
    """Check before all the work that a file can be written.

    Args:
        file: The input file, if any.
        option: Name of the option that gave `target`.
        target: The output file, if any.

    Raises:
        typer.BadParameter: `target` is the input file, a folder, or in a folder that does not exist.
    """
    if target is None:
        return
    if file is not None:
        keep_input(file, option, target)
    if target.is_dir() or not target.parent.is_dir():
        problem = "is a folder" if target.is_dir() else "is in a folder that does not exist"
        raise typer.BadParameter(f"{target} {problem}; name a file", param_hint=option)


def saved(file: Path, what: str | None = None) -> None:
    """Report which file was written, and what it is."""
    print(f"Saved to {printable(str(file))}" + (f": {what}" if what else ""), file=sys.stderr)


def next_step(command: str) -> None:
    """Suggest the next command."""
    print(f"Next: {printable(command)}", file=sys.stderr)


def error_message(error: BaseException) -> str:
    """Return the message of an error in a line or two, without the errno."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror[0].lower()}{error.strerror[1:]}"
    if isinstance(error, ModuleNotFoundError):
        return remedy(error)
    return str(error).strip() or type(error).__name__
