"""Export of a model to a folder with ONNX graph, configuration and tokenizer."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...model.modeling_lacl import LaclForTokenClassification
from ...model.saving_lacl import CONFIG_FILE
from ...optional import require
from .runner import GRAPH_FILE, LaclOnnxModel, output_name

TOLERANCE = 1e-2
"""Maximum difference between the probabilities of graph and model; rounding errors are far smaller."""
LARGEST_FILE = 2**31 - 2**24
"""Maximum size in bytes of weights inside the graph file, since Protocol Buffers are limited to 2 GiB."""


def export_onnx(
    model: LaclForTokenClassification, folder: str | os.PathLike[str], quantize: str | None = None
) -> None:
    """Write a model as an ONNX graph, with the other files that `LaclOnnxModel` needs.

    The graph has the inputs `input_ids` and `attention_mask`, `(batch, length)` int64, and the output
    `logits`, `(batch, length, K)` float32: log-scores of the labels, with the current label names and support
    of the model. For a model of spans the output is `role_logits`, `(batch, length, 3, K)`. Batch and length
    are dynamic; the maximum length is `max_text_length` in the exported `config.json`.

    Args:
        model: A model with a label set; it is not modified.
        folder: Folder to write; created if it does not exist.
        quantize: `"int8"` for 8-bit weights of the encoder, with dynamic quantisation of activations: smaller
            and faster, slightly less accurate. None keeps 32-bit floats.

    Raises:
        ModuleNotFoundError: The extra `onnx` is not installed.
        ValueError: `quantize` is unknown, the model has no labels or no room for text, the folder contains a
            checkpoint, or the outputs of the exported graph differ from those of the model.
    """
    if quantize not in (None, "int8"):
        raise ValueError(f"quantize is {quantize!r}: give 'int8' or None")
    target = Path(folder)
    if any(target.glob("*.safetensors")):
        raise ValueError(f"{target} holds a checkpoint, whose config.json would be lost: give another folder")
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
        # The configuration is moved last: without it, an incomplete folder cannot be loaded.
        for file in sorted(unfinished.iterdir(), key=lambda file: file.name == CONFIG_FILE):
            file.replace(target / file.name)


class _Logits(nn.Module):
    """The model with the interface of the graph: two input tensors, one output tensor."""

    def __init__(self, model: LaclForTokenClassification) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.model(input_ids, attention_mask, return_dict=True)[output_name(self.model)]
        return logits


def _prepared(model: LaclForTokenClassification) -> LaclForTokenClassification:
    """Return an fp32 copy on the CPU, with the maximum text length that its label names leave room for."""
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
    """Return random token ids with padding, and their mask, `(rows, length)` both; the same in every call."""
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
            output_names=[output_name(model)],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            dynamo=True,
            verbose=False,
        )
    size = sum(weight.nbytes for weight in model.state_dict().values())
    program.save(str(file), external_data=size > LARGEST_FILE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the warnings and log messages of exporter and quantiser."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", None)]  # the quantiser uses the root logger
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
    """Check that graph and model agree, on inputs of another shape than the graph was traced with.

    Raises:
        ValueError: They differ by more than `TOLERANCE`.
    """
    input_ids, attention_mask = _example(model, 3, min(11, model.config.max_text_length))
    name = output_name(model)
    # Logits of roles are 0 for outside: their probabilities against it are compared.
    as_probability = torch.sigmoid if name == "role_logits" else partial(torch.softmax, dim=-1)
    output = LaclOnnxModel.from_pretrained(folder)(input_ids, attention_mask)
    found = torch.from_numpy(getattr(output, name))
    with torch.inference_mode():
        expected: Any = model(input_ids, attention_mask, return_dict=True)[name]
    different = (as_probability(found) - as_probability(expected))[attention_mask.bool()].abs()
    if not bool((different <= TOLERANCE).all()):  # also false for NaN
        raise ValueError(
            f"the graph of this {model.config.encoder_config.model_type} encoder gives other scores than the "
            "model: this version of torch does not export it faithfully"
        )


def _quantize(file: Path) -> None:
    """Replace a graph file by one with 8-bit weights in the encoder's linear layers.

    Raises:
        ValueError: The nodes of the encoder cannot be identified in the graph.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(file, load_external_data=False).graph
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    # Projection and similarity need the precision to separate labels: they stay in fp32, as in training.
    exact = [node.name for node in products if not _in_encoder(node)]
    if len(exact) == len(products):
        raise ValueError(
            "this version of torch does not mark the nodes of the encoder in the graph: export without int8"
        )
    quantized = file.with_name("quantized.onnx")
    with _quiet():
        quantize_dynamic(
            file,
            quantized,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=exact,
            per_channel=True,
            reduce_range=True,  # 7 bits: sums of 8-bit products saturate on processors without VNNI
            weight_type=QuantType.QInt8,
        )
    for old in file.parent.glob(f"{file.name}*"):
        old.unlink()
    quantized.replace(file)


def _in_encoder(node: Any) -> bool:
    """Return whether this node was exported from a module of the encoder."""
    return any("model.lacl.encoder" in entry.value for entry in node.metadata_props)
