"""From a model to a folder with its ONNX graph, configuration and tokenizer."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...model.modeling_lacl import LaclForTokenClassification
from ...model.saving_lacl import CONFIG_FILE
from ...optional import require
from .runner import GRAPH_FILE, LaclOnnxModel

TOLERANCE = 1e-2
"""Largest difference between a probability of the graph and of the model: rounding makes far less."""
LARGEST_FILE = 2**31 - 2**24
"""Bytes of weights that a graph holds itself, with room for the rest: Protocol Buffers end at 2 GiB."""


def export_onnx(
    model: LaclForTokenClassification, folder: str | os.PathLike[str], quantize: str | None = None
) -> None:
    """Write a model as an ONNX graph, with what `LaclOnnxModel` needs beside it.

    The graph takes `input_ids` and `attention_mask`, `(batch, length)` int64, and gives `logits`
    `(batch, length, K)` float32: log-scores of the labels, by the label names and the support that the model
    holds now. Batch and length are free, the length up to `max_text_length` of the `config.json` beside it.

    Args:
        model: A model with a label set; it is left as it was.
        folder: Where the files go; made if it is not there.
        quantize: `"int8"` for 8-bit weights of the encoder, with activations quantised as they come: smaller
            and faster, and a little less exact. None keeps 32-bit floats.

    Raises:
        ModuleNotFoundError: The extra `onnx` is not installed.
        ValueError: An unknown `quantize`, a model without labels or room for text, a folder that holds a
            checkpoint, or an encoder whose graph does not do what the model does.
    """
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize is {quantize!r}: give 'int8' or None")
    target = Path(folder)
    if any(target.glob("*.safetensors")):
        raise ValueError(f"{target} holds a checkpoint, whose config.json would be lost: name another folder")
    for package in ("onnx", "onnxruntime", "onnxscript"):
        require(package, "onnx")
    model = _prepared(model)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".exporting-") as name:
        unfinished = Path(name)
        _write_graph(model, unfinished / GRAPH_FILE)
        model.config.save_pretrained(unfinished)
        model.tokenizer.save_pretrained(unfinished)
        _compare(model, unfinished)
        if quantize:
            _quantize(unfinished / GRAPH_FILE)
        # Without the configuration nothing loads the folder: it goes last.
        for file in sorted(unfinished.iterdir(), key=lambda file: file.name == CONFIG_FILE):
            file.replace(target / file.name)


class _Logits(nn.Module):
    """A model as the graph has it: two tensors in, one out."""

    def __init__(self, model: LaclForTokenClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids, attention_mask, return_dict=True).logits
        return logits


def _prepared(model: LaclForTokenClassification) -> LaclForTokenClassification:
    """Copy for export: fp32, on the CPU, with the longest text that its label names leave room for."""
    config = model.config
    if not (config.label_token_ids if config.use_prompts else model.has_support):
        raise ValueError("the model has no labels: call set_labels, or adapt it to examples first")
    longest = model.max_sequence_length
    if longest <= model.tokenizer.num_special_tokens_to_add():
        raise ValueError("the label names leave no room for text: give shorter names in label_names")
    copied: Any = copy.deepcopy(model)
    copied.config.max_text_length = longest
    return cast(LaclForTokenClassification, copied.to("cpu", torch.float32).eval())


def _example(model: LaclForTokenClassification, rows: int, length: int) -> tuple[Tensor, Tensor]:
    """Return random text with padding, `(rows, length)` both; the same at every call."""
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(len(model.tokenizer), (rows, length), generator=generator)
    attention_mask = torch.ones_like(input_ids)
    attention_mask[0, length // 2 + 1 :] = 0
    return input_ids, attention_mask


def _write_graph(model: LaclForTokenClassification, file: Path) -> None:
    batch = torch.export.Dim("batch")
    length = torch.export.Dim("length", max=model.config.max_text_length)
    with _quiet(), torch.no_grad():
        program: Any = torch.onnx.export(
            _Logits(model).eval(),
            _example(model, 2, min(8, model.config.max_text_length)),
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            dynamo=True,
            verbose=False,
        )
    size = sum(weight.nbytes for weight in model.state_dict().values())
    program.save(str(file), external_data=size > LARGEST_FILE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Spare the user what exporter and quantiser say of their own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", None)]  # the quantiser's is the root
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _compare(model: LaclForTokenClassification, folder: Path) -> None:
    """Run graph and model on rows of another shape than the graph was made with."""
    input_ids, attention_mask = _example(model, 3, min(11, model.config.max_text_length))
    found: Any = LaclOnnxModel.from_pretrained(folder)(input_ids, attention_mask).logits
    with torch.inference_mode():
        expected: Any = model(input_ids, attention_mask, return_dict=True).logits
    different = (found.softmax(-1) - expected.softmax(-1))[attention_mask.bool()].abs()
    if not bool((different <= TOLERANCE).all()):  # nor if one is not a number
        raise ValueError(
            f"the graph of this {model.config.encoder_config.model_type} encoder gives other scores than the "
            "model: this version of torch does not export it faithfully"
        )


def _quantize(file: Path) -> None:
    """Replace a graph by one with 8-bit weights in the encoder's linear layers."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(file, load_external_data=False).graph
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    # Projection and similarity decide between labels: they stay in fp32, as they do in training.
    exact = [node.name for node in products if not _in_encoder(node)]
    if len(exact) == len(products):
        raise ValueError(
            "this version of torch does not say which nodes are the encoder's: export without int8"
        )
    quantized = file.with_name("quantized.onnx")
    with _quiet():
        quantize_dynamic(
            file,
            quantized,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=exact,
            per_channel=True,
            reduce_range=True,  # 7 bits: processors without VNNI add products of 8 bits up with saturation
            weight_type=QuantType.QInt8,
        )
    for old in file.parent.glob(f"{file.name}*"):
        old.unlink()
    quantized.replace(file)


def _in_encoder(node: Any) -> bool:
    """Return whether the exporter made this node of a part of the encoder."""
    return any("model.lacl.encoder" in entry.value for entry in node.metadata_props)
