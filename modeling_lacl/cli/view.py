"""`lacl view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, check_target, saved
from .options import Checkpoint, GivenTexts, Labels, Overlap, Page, TextEncoding, Threshold, parse_labels
from .texts import in_utf8, read_texts


@app.command(no_args_is_help=True)
def view(
    checkpoint: Checkpoint,
    output: Page,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="File with one text per line.", show_default=False),
    ] = None,
    text: GivenTexts = None,
    labels: Labels = None,
    threshold: Threshold = None,
    overlap: Overlap = "flat",
    encoding: TextEncoding = "utf-8",
) -> None:
    """Show the entities of texts on a web page, each with its nearest example.

    The page is a single file that loads nothing from the network. [b]lacl render[/b] makes the page from the
    output of [b]lacl predict[/b].

    \b
    [bold]Examples[/bold]
    lacl view outputs/ner texts.txt --output entities.html
    lacl view outputs/ner --text "Ana Ruiz flew to Quito." --output entities.html
    """
    if (text is None) == (file is None):
        raise typer.BadParameter("give either FILE or --text")
    check_target(file, "--output", output)
    wanted = parse_labels(labels)
    if file is not None:
        with open(file, "rb") as stream:
            text = list(read_texts(in_utf8(stream, str(file), encoding), str(file), True, encoding))
    from ..integrations.predictors import load_predictor
    from ..model.modeling_lacl import LaclForTokenClassification
    from ..viz.html import save_html
    from ..viz.nearest import nearest_examples

    model = load_predictor(checkpoint)
    texts = text or []
    found = model.predict(texts, labels=wanted, threshold=threshold, overlap=overlap)
    about = f"Entities found by {checkpoint}."
    # Examples exist only for the model's own types; an exported model cannot compare with them.
    if wanted is None and isinstance(model, LaclForTokenClassification) and model.config.support_words:
        for entities, examples in zip(found, nearest_examples(model, texts, found), strict=True):
            for entity, example in zip(entities, examples, strict=True):
                entity["nearest_example"] = example
        about += " After ≈ is the nearest example in its support set."
    shown = list(wanted) if wanted else model.entity_types
    title = "Entities" if file is None else f"Entities in {file.name}"
    save_html(output, zip(texts, found, strict=True), labels=shown, title=title, about=about)
    saved(output)
