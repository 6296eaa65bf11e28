"""A model without dropout for a while, in whatever mode it is."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_lock = threading.Lock()
# How many uses each part in training mode is set aside for. Models on the same weights share their parts.
_users: Counter[nn.Module] = Counter()


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Dropout off inside; afterwards each part of the model is again in the mode in which it was.

    Threads can share the model: its parts go back to training mode with the last of those that are inside.
    What is no PyTorch module, an exported model, has no modes, and is left alone.
    """
    modules = model.modules() if isinstance(model, nn.Module) else ()
    with _lock:
        parts = [part for part in modules if part.training or part in _users]
        for part in parts:
            part.training = False
        _users.update(parts)
    try:
        yield
    finally:
        with _lock:
            for part in parts:
                _users[part] -= 1
                if not _users[part]:
                    del _users[part]
                    part.training = True
