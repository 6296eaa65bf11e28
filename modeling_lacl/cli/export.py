"""`lacl export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .app import app, next_step
from .options import Checkpoint, Labels, parse_labels


@app.command(no_args_is_help=True)
def export(
    checkpoint: Checkpoint,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the ONNX model.", show_default=False)
    ],
    labels: Labels = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="8-bit weights: smaller and faster, slightly less accurate.")
    ] = False,
) -> None:
    """Export a model to ONNX, for ONNX Runtime and other programs. Needs the extra `onnx`.

    The exported model finds only the entity types that it was exported with.

    \b
    [bold]Examples[/bold]
    lacl export outputs/ner outputs/ner-onnx
    lacl export outputs/ner outputs/ner-int8 --int8
    """
    wanted = parse_labels(labels)
    from ..hub.loading import load_model
    from ..integrations.onnx.export import export_onnx

    model = load_model(checkpoint)
    if wanted is not None:
        model.set_labels(wanted)
    export_onnx(model, folder, quantize="int8" if int8 else None)
    typer.echo(f"Saved to {folder}: {', '.join(model.entity_types)}", err=True)
    next_step(f"lacl predict {folder} FILE")
