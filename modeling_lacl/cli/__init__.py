"""The command line `lacl`, one module per command.

Commands only parse arguments, read files, and call the library. torch and transformers are imported inside
the commands, so that `lacl --help` responds at once.
"""

# Importing a module registers its command; `lacl --help` lists the commands in this order.
from . import (  # noqa: F401, I001
    demo,
    adapt,
    predict,
    view,
    render,
    evaluate,
    suggest,
    convert,
    export,
    push,
    train,
    plot,
)
from .app import app, main

__all__ = ["app", "main"]
