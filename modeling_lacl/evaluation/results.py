"""Results of single support sets in a JSON Lines file, one written as soon as it is known."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from ..metrics import TypeScores
from ..model.modeling_lacl import LaclForTokenClassification


@dataclass(kw_only=True)
class TransferResult:
    """Scores of one support set on a whole test set.

    Args:
        target: Name of the target.
        shots: `1-shot`, …; `zero-shot` for label similarity alone.
        support: File of the support set as the recipe names it; None for zero-shot.
        precision, recall, f1: Micro scores in [0, 1].
        number: Entities in the test set.
        unreachable: How many of them are of a type that the support set does not hold.
        per_type: Scores of each type.
        labels: Entity types that the model chose from.
        predictions_sha256: Digest of the predicted tags, to see that two runs agree.
        seconds: Wall time of adapting and predicting.
        settings: Everything that decides the result; a finished one is taken over only where this is equal.
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
        """What the result is of: target, shots and support set."""
        return self.target, self.shots, self.support


def append_result(path: Path, result: TransferResult) -> None:
    """Appends one line and waits until it is on disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_results(path: Path) -> list[TransferResult]:
    """All results of a file; none if there is no file.

    A last line without its end, as a killed run leaves it, is cut from the file.

    Raises:
        ValueError: if another line is no result; the message names file and line.
    """
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    names = {entry.name for entry in fields(TransferResult)}
    results = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict) or values.keys() != names:
            raise ValueError(
                f"{path}:{number}: not a result of this version; remove the file, or choose another output"
            )
        results.append(TransferResult(**values))
    return results


# Keys of a configuration that loading fills in.
_NOT_OF_THE_MODEL = {"_name_or_path", "architectures", "dtype", "transformers_version"}


def model_digest(model: LaclForTokenClassification) -> str:
    """Digest of weights and configuration: equal for a model and its copy loaded from disk."""
    config = _without(model.config.to_dict(), _NOT_OF_THE_MODEL)
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _without(values: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    """A nested mapping with these keys left out at every depth."""
    return {
        key: _without(value, keys) if isinstance(value, dict) else value
        for key, value in values.items()
        if key not in keys
    }
