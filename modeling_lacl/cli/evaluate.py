"""`lacl evaluate`: a model on labelled sentences, or a source model by a recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .app import app, check_target, printable, saved
from .options import (
    BatchSize,
    Encoding,
    Format,
    Labels,
    NestedOption,
    Overlap,
    Scheme,
    TagColumn,
    Threshold,
    TokenColumn,
    nested_for,
    parse_labels,
    read_labelled,
)

if TYPE_CHECKING:
    from ..evaluation.model_evaluation import ModelEvaluation

_OF_RECIPES = ("checkpoint", "data_root", "limit", "method", "target")
_OF_BOTH = ("given", "output")


@app.command(no_args_is_help=True)
def evaluate(
    context: typer.Context,
    given: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RECIPE.yaml",
            help="Folder of a LACL model, or its name on the Hub; or a recipe with test and support sets.",
            show_default=False,
        ),
    ],
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE",
            help="With a model: labelled sentences, in any format that lacl adapt reads.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="With a model: JSON file for the results. With a recipe: folder for the results; an "
            "interrupted run resumes from there.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Web page to write, of the sentences with an error.",
        ),
    ] = None,
    labels: Labels = None,
    threshold: Threshold = None,
    overlap: Overlap = "flat",
    batch_size: BatchSize = 32,
    data_format: Format = None,
    token_column: TokenColumn = None,
    tag_column: TagColumn = None,
    scheme: Scheme = None,
    encoding: Encoding = "utf-8",
    nested: NestedOption = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(metavar="CHECKPOINT", help="With a recipe: source model to use instead of its own."),
    ] = None,
    data_root: Annotated[
        str | None,
        typer.Option(
            "--data-root", "--data_root", metavar="DIR", help="With a recipe: folder with the data files."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="With a recipe: maximum number of support sets per target and number of shots."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With a recipe of several methods: method to evaluate; can be repeated.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="With a recipe: target or episodes to evaluate on, instead of all; can be repeated.",
        ),
    ] = None,
) -> None:
    """Evaluate a model on your labelled sentences, or a source model by a recipe.

    With a model, print precision, recall and F1 of each type, the kinds of error, the scores of entities that
    the model has seen as examples and of others, the pairs of types that are confused, and the scores at each
    threshold. With a recipe (.yaml), adapt a source model on support sets, tag whole test sets, and print F1.

    \b
    [bold]Examples[/bold]
    lacl evaluate outputs/ner test.jsonl
    lacl evaluate outputs/ner test.jsonl --html errors.html --output results.json
    lacl evaluate lacl-minilm-wide test.txt --labels person,city
    lacl evaluate recipe.yaml --checkpoint outputs/source --limit 1
    lacl evaluate training/recipes/compare_minilm.yaml --method LACL --method CONTaiNER
    """
    is_recipe = given.lower().endswith((".yaml", ".yml"))
    _check_options(context, is_recipe)
    if is_recipe:
        from ..evaluation.comparison import evaluate_recipe

        report = evaluate_recipe(
            given,
            methods=method,
            targets=target,
            checkpoint=checkpoint,
            data_root=data_root,
            output=None if output is None else str(output),
            limit=limit,
        )
        print(report.to_markdown())
        return
    if file is None:
        raise typer.BadParameter(
            "give the labelled sentences to evaluate the model on (a recipe ends in .yaml)", param_hint="FILE"
        )
    wanted = parse_labels(labels)
    for option, path in (("--output", output), ("--html", html)):
        check_target(file, option, path)
    from ..evaluation.model_evaluation import evaluate_model
    from ..integrations.predictors import load_predictor, own_labels_notice

    model = load_predictor(given)
    columns = (data_format, token_column, tag_column, scheme, encoding)
    dataset = read_labelled(file, *columns, nested_for(model, nested))
    notice = own_labels_notice(model, "to evaluate others, give --labels, as in --labels person,city")
    if notice and wanted is None:
        print(printable(notice), file=sys.stderr)
    evaluation = evaluate_model(
        model, dataset, labels=wanted, threshold=threshold, overlap=overlap, batch_size=batch_size
    )
    print(printable(evaluation.to_markdown()))
    if output is not None:
        from ..files import write_atomically

        results = {"model": given, "file": str(file), **evaluation.to_dict()}
        write_atomically(output, json.dumps(results, ensure_ascii=False, indent=2) + "\n")
        saved(output)
    if html is not None:
        _save_page(
            html, f"Errors on {file.name}", given, evaluation, model if wanted is None else None, batch_size
        )
        saved(html)


def _check_options(context: typer.Context, is_recipe: bool) -> None:
    """Check that only options of a model, or only those of a recipe, are given.

    Raises:
        typer.BadParameter: There is one of the other.
    """
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        is_given = source is not None and source.name != "DEFAULT"
        if is_given and name not in _OF_BOTH and (name in _OF_RECIPES) is not is_recipe:
            hint = "FILE" if name == "file" else parameter.opts[0]
            problem = "a recipe names its own data and settings" if is_recipe else "only for recipes"
            raise typer.BadParameter(problem, param_hint=hint)


def _save_page(
    page: Path, title: str, name: str, evaluation: ModelEvaluation, model: Any, batch_size: int
) -> None:
    """Write the sentences with an error to a web page, with the nearest examples of a model that has some."""
    from ..model.modeling_lacl import LaclForTokenClassification
    from ..viz.error_page import save_error_page
    from ..viz.nearest import nearest_examples

    wrong, every = f"{len(evaluation.wrong):,}", f"{evaluation.sentences:,}"
    about = f"{name} errs in {wrong} of {every} sentences, at threshold {evaluation.threshold:g}."
    predicted = [one.entities(predicted=True) for one in evaluation.wrong]
    if isinstance(model, LaclForTokenClassification) and model.config.support_words:
        words = [one.words for one in evaluation.wrong]
        examples = nearest_examples(model, words, predicted, batch_size, is_split_into_words=True)
        for entities, found in zip(predicted, examples, strict=True):
            for entity, example in zip(entities, found, strict=True):
                entity["nearest_example"] = example
        about += " After ≈ is the nearest example in the support set."
    sentences = [
        (one.number + 1, one.text, one.entities(predicted=False), found)
        for one, found in zip(evaluation.wrong, predicted, strict=True)
    ]
    tables = evaluation.tables()
    first = {name: tables[name] for name in ("Confusions",) if name in tables}
    labels = list(evaluation.scores["per_type"])
    save_error_page(page, sentences, tables={**first, **tables}, labels=labels, title=title, about=about)
