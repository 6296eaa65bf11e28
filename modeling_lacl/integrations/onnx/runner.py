"""Exported models, run with ONNX Runtime: without torch and transformers."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...model.decoding_lacl import log_softmax
from ...model.prediction_lacl import PredictMixin, whole_number
from ...optional import require
from .exported import CONFIG_FILE, TOKENIZER_FILE, ExportedConfig, ExportedTokenizer

GRAPH_FILE = "model.onnx"
_TOKENS_AT_ONCE = 1024
"""Most tokens, with padding, that go through the graph at once: more take memory, and no less time."""


def output_name(model: Any) -> str:
    """Return the name of a graph's output: the scores of tokens or, for a model of spans, of their roles."""
    return "role_logits" if model.config.max_span_words else "logits"


class OnnxOutput(NamedTuple):
    """Output of a [`LaclOnnxModel`].

    Attributes:
        logits: `(B, L, K)` float32, log-scores of tokens; of a model of spans, those of being inside.
        role_logits: `(B, L, 3, K)` float32, for a model of spans.
    """

    logits: NDArray[np.float32]
    role_logits: NDArray[np.float32] | None = None


class LaclOnnxModel(PredictMixin):
    """An exported model, with the same predictions as the model that it was exported from.

    Label names and support are constants in the graph, which therefore finds only the entity types that it
    was exported with: `predict` refuses `labels` and `support`, and is else as for every model.

    Example:
        >>> from modeling_lacl import LaclForTokenClassification, LaclOnnxModel
        >>> from modeling_lacl.integrations.onnx import export_onnx
        >>> model = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
        >>> model.set_labels(["person", "city"])
        >>> export_onnx(model, "outputs/onnx")
        >>> entities = LaclOnnxModel.from_pretrained("outputs/onnx").predict("Ana Ruiz lives in Quito.")
        >>> [entity["word"] for entity in entities]
        ['Ana Ruiz', 'Quito']
    """

    def __init__(
        self,
        folder: Path,
        session: Any,
        config: ExportedConfig,
        tokenizer: ExportedTokenizer,
        num_threads: int | None = None,
    ) -> None:
        self.folder = folder
        self.num_threads = num_threads
        self.session = session
        self.config = config
        self.tokenizer = tokenizer

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, num_threads: int | None = None
    ) -> LaclOnnxModel:
        """Load a model that `export_onnx` wrote.

        Args:
            folder: The folder.
            num_threads: Number of threads that work on one batch; by default one per core.

        Raises:
            ModuleNotFoundError: ONNX Runtime or tokenizers is not installed.
            ValueError: A file is missing from the folder or damaged, or `num_threads` is below 1.
        """
        if num_threads is not None:
            num_threads = whole_number("num_threads", num_threads, 1)
        runtime = require("onnxruntime", "runtime")
        place = Path(folder)
        for name in (GRAPH_FILE, CONFIG_FILE, TOKENIZER_FILE):
            if not (place / name).is_file():
                raise ValueError(
                    f"{os.fspath(folder)!r} has no {name}: give a folder that `lacl export` wrote"
                )
        config, tokenizer = ExportedConfig.read(place / CONFIG_FILE), ExportedTokenizer.read(place)
        options = runtime.SessionOptions()
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        session = runtime.InferenceSession(
            str(place / GRAPH_FILE),
            options,
            providers=["CPUExecutionProvider"],
            # The fused kernel is several times slower than separate sum and layer norm.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        return cls(place, session, config, tokenizer, num_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle and copy by the folder: the session itself cannot be."""
        return partial(type(self).from_pretrained, num_threads=self.num_threads), (
            str(self.folder.resolve()),
        )

    @property
    def entity_types(self) -> list[str]:
        """The entity types that the graph finds, in the order of their label ids."""
        return [self.config.id2label[label] for label in range(1, len(self.config.id2label))]

    @property
    def max_sequence_length(self) -> int:
        """Maximum text length in tokens, with special tokens; label names are already accounted for."""
        return self.config.max_text_length

    @property
    def has_support(self) -> bool:
        """Whether the graph contains support representations."""
        return bool(self.config.support_size)

    def __call__(self, input_ids: ArrayLike, attention_mask: ArrayLike) -> OnnxOutput:
        """Score every token against every label.

        Args:
            input_ids, attention_mask: Tokenised text, `(B, L)` integers, L at most `config.max_text_length`.
        """
        ids, mask = np.asarray(input_ids, dtype=np.int64), np.asarray(attention_mask, dtype=np.int64)
        rows = max(1, _TOKENS_AT_ONCE // max(1, ids.shape[1]))
        name = output_name(self)
        scores = np.concatenate(
            [
                self.session.run(
                    [name],
                    {"input_ids": ids[first : first + rows], "attention_mask": mask[first : first + rows]},
                )[0]
                for first in range(0, max(1, len(ids)), rows)
            ]
        )
        if name == "logits":
            return OnnxOutput(scores)
        return OnnxOutput(log_softmax(scores[:, :, -1]), scores)

    def read_tokens(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        rows: NDArray[np.int64],
        tokens: NDArray[np.int64],
        values: str = "logits",
    ) -> NDArray[np.float32]:
        """Return an output at some tokens, as [`LaclForTokenClassification.read_tokens`]."""
        read = getattr(self(input_ids, attention_mask), values)[rows, tokens]
        return np.asarray(read.reshape(len(rows), -1))

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Copy the folder that the model was loaded from."""
        shutil.copytree(self.folder, save_directory, dirs_exist_ok=True)

    def with_labels(self, *arguments: Any) -> NoReturn:
        """Raise an error, since the labels of an exported model cannot be changed.

        Raises:
            ValueError: Always.
        """
        types = ", ".join(self.entity_types)
        raise ValueError(
            f"an exported model finds the types that it was exported with ({types}) and takes no others: "
            "use the original checkpoint with these labels, or export it again with them"
        )

    with_support = with_labels
