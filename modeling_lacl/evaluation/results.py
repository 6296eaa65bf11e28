"""The result of one support set, a line of `results.jsonl`, and the digest of a source model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..files import read_json_lines, row_of
from ..metrics import TypeScores
from ..model.modeling_lacl import LaclForTokenClassification


@dataclass(kw_only=True)
class TransferResult:
    """Scores with one support set on a whole test set.

    Args:
        target: Name of the target.
        shots: `1-shot`, …; `zero-shot` without a support set.
        support: Name of the support set, usually its file as named in the recipe; None for zero-shot.
        precision, recall, f1: Micro scores in [0, 1].
        number: Number of entities in the test set.
        unreachable: Number of entities in the test set whose type is missing from `labels`.
        per_type: Scores of each type.
        labels: Entity types that the model could predict.
        predictions_sha256: Digest of the predicted tags, for checking that two runs agree.
        seconds: Wall time of adapting and predicting.
        settings: Everything that the result depends on; a finished result is reused only if this is equal.
    """

    target: str
    shots: str
    support: str | None
    precision: float
    recall: float
    f1: float
    number: int
    unreachable: int
    per_type: dict[str, TypeScores]
    labels: list[str]
    predictions_sha256: str
    seconds: float
    settings: dict[str, Any]

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Identifier of the result: target, shots and support set."""
        return self.target, self.shots, self.support


def read_results(path: Path) -> list[TransferResult]:
    """Return all results in a file; none if the file does not exist.

    Raises:
        ValueError: A line is not a result; the message names file and line.
    """
    lines = enumerate(read_json_lines(path), 1)
    return [row_of(TransferResult, values, f"{path}:{number}") for number, values in lines]


# Configuration keys that are set on loading.
_NOT_OF_THE_MODEL = {"_name_or_path", "architectures", "dtype", "transformers_version"}


def model_digest(model: LaclForTokenClassification) -> str:
    """Return a digest of weights and configuration, equal for a model and its copy loaded from disk."""
    config = _without(model.config.to_dict(), _NOT_OF_THE_MODEL)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _without(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """Return a nested mapping without these keys, at any depth."""
    return {
        key: _without(value, keys) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in keys
    }
