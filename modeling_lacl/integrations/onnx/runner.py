"""An exported model, run by ONNX Runtime."""

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


class LaclOnnxModel:
    """Predicts as the model that it was exported from does.

    The graph holds the label names and the support as constants: it finds the types that it was exported
    with, and no others. [`prediction_lacl.predict`] does the rest, as for every model.

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
        """Load what `export_onnx` wrote.

        Args:
            folder: The folder.
            num_threads: Threads that work on one batch; by default one for each core.

        Raises:
            ModuleNotFoundError: ONNX Runtime is not installed.
            ValueError: The folder is not whole, or `num_threads` is below 1.
        """
        if num_threads is not None:
            num_threads = whole_number("num_threads", num_threads, 1)
        runtime = require("onnxruntime", "onnx")
        for name in (GRAPH_FILE, CONFIG_FILE):
            if not (Path(folder) / name).is_file():
                raise ValueError(
                    f"{os.fspath(folder)!r} has no {name}: name a folder that `lacl export` wrote"
                )
        options = runtime.SessionOptions()
        if num_threads is not None:
            options.intra_op_num_threads = num_threads
        session = runtime.InferenceSession(
            str(Path(folder) / GRAPH_FILE),
            options,
            providers=["CPUExecutionProvider"],
            # Its fused kernel is several times slower than a sum and a layer norm by themselves.
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
        """The types that the graph finds, in the order of their label ids."""
        return [self.config.id2label[label] for label in range(1, len(self.config.id2label))]

    @property
    def max_sequence_length(self) -> int:
        """Longest text in tokens, with the special ones: the label names have had their share already."""
        return int(self.config.max_text_length)

    @property
    def has_support(self) -> bool:
        """Whether the graph holds support representations."""
        return bool(self.config.support_size)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, return_dict: bool = True) -> LaclOutput:
        """Score every token against every label.

        Args:
            input_ids, attention_mask: `(B, L)` long, ordinary tokenised text, L at most
                `config.max_text_length`.
            return_dict: Always true.

        Returns:
            [`LaclOutput`] with `logits` `(B, L, K)` fp32 alone.
        """
        feed = {"input_ids": input_ids.numpy(), "attention_mask": attention_mask.numpy()}
        return LaclOutput(logits=torch.from_numpy(self.session.run(["logits"], feed)[0]))

    def predict(self, inputs: Any, **kwargs: Any) -> Any:
        """Find the entities in text; as in [`prediction_lacl.predict`], without `labels` and `support`."""
        if kwargs.get("support") is not None:
            self.with_labels()
        return predict(self, inputs, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Copy the folder that it was loaded from."""
        shutil.copytree(self.folder, save_directory, dirs_exist_ok=True)

    def with_labels(self, *arguments: Any) -> NoReturn:
        """Refuse: there are no labels but the graph's own.

        Raises:
            ValueError: Always.
        """
        types = ", ".join(self.entity_types)
        raise ValueError(
            f"an exported model finds the types that it was exported with ({types}) and takes no others: "
            "give labels to the checkpoint that it was made from, or export that with other labels"
        )
