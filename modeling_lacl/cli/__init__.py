"""The command `lacl`, a module for each command. Thin: they read arguments and files, and call the library.

torch and transformers load inside the commands, so that `lacl --help` answers at once.
"""

# Importing a module adds its command; `lacl --help` lists them in this order.
from . import (  # noqa: F401, I001
    train,
    adapt,
    predict,
    view,
    render,
    plot,
    export,
    evaluate,
    push,
    demo,
)
from .app import app, main

__all__ = ["app", "main"]
