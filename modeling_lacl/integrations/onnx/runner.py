"""Exported models, run with ONNX Runtime."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from ...model.configuration_lacl import LaclConfig, whole_number
from ...model.encoder_lacl import LaclOutput
from ...model.prediction_lacl import predict
from ...model.saving_lacl import CONFIG_FILE
from ...optional import require

GRAPH_FILE = "model.onnx"


def output_name(model: Any) -> str:
    """Return the name of a graph's output: the scores of tokens or, for a model of spans, of their roles."""
    return "role_logits" if model.config.max_span_words else "logits"


class LaclOnnxModel:
    """An exported model, with the same predictions as the model that it was exported from.

    Label names and support are constants in the graph, which therefore finds only the entity types that it
    was exported with. [`prediction_lacl.predict`] does the rest, as for every model.

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

    device = torch.device("cpu")
    training = False

    def __init__(
        self,
        folder: Path,
        session: Any,
        config: Any,
        tokenizer: PreTrainedTokenizerBase,
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
            ModuleNotFoundError: ONNX Runtime is not installed.
            ValueError: A file is missing from the folder, or `num_threads` is below 1.
        """
        if num_threads is not None:
            num_threads = whole_number("num_threads", num_threads, 1)
        runtime = require("onnxruntime", "onnx")
        for name in (GRAPH_FILE, CONFIG_FILE):
            if not (Path(folder) / name).is_file():
                raise ValueError(
                    f"{os.fspath(folder)!r} has no {name}: give a folder that `lacl export` wrote"
                )
        options = runtime.SessionOptions()
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        session = runtime.InferenceSession(
            str(Path(folder) / GRAPH_FILE),
            options,
            providers=["CPUExecutionProvider"],
            # The fused kernel is several times slower than separate sum and layer norm.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
        config = LaclConfig.from_pretrained(folder)
        # Code that the folder carries is refused; otherwise transformers would ask on standard input.
        tokenizer = AutoTokenizer.from_pretrained(folder, config=config, trust_remote_code=False)
        return cls(Path(folder), session, config, tokenizer, num_threads)

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
        return int(self.config.max_text_length)

    @property
    def has_support(self) -> bool:
        """Whether the graph contains support representations."""
        return bool(self.config.support_size)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, return_dict: bool = True) -> LaclOutput:
        """Score every token against every label.

        Args:
            input_ids, attention_mask: Tokenised text, `(B, L)` long, L at most `config.max_text_length`.
            return_dict: Ignored; the result is always a [`LaclOutput`].

        Returns:
            A [`LaclOutput`] with only `logits`, `(B, L, K)` fp32, and `role_logits` for a model of spans.
        """
        feed = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        name = output_name(self)
        scores = torch.from_numpy(self.session.run([name], feed)[0])
        if name == "logits":
            return LaclOutput(logits=scores)
        return LaclOutput(logits=scores[:, :, -1].log_softmax(-1), role_logits=scores)

    def predict(self, inputs: Any, **kwargs: Any) -> Any:
        """Find the entities in texts; see [`prediction_lacl.predict`]. Refuses `labels` and `support`."""
        if kwargs.get("support") is not None:
            self.with_labels()
        return predict(self, inputs, **kwargs)

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
