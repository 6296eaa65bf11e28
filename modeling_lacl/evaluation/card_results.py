"""Results of an evaluation in the model card of the evaluated checkpoint."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..hub.card_facts import Measured, fingerprint
from ..hub.loading import load_model
from ..hub.model_card import facts_of, write_card
from ..reporting import ZERO_SHOT
from .report import TransferReport
from .results import model_digest


def add_results(folder: str | Path, report: TransferReport | str | Path) -> None:
    """Add the results of an evaluation to the model card of the evaluated checkpoint.

    Args:
        folder: Folder of the checkpoint.
        report: The report that `evaluate_transfer` returned, or the `report.json` that it or `lacl evaluate`
            wrote.

    Raises:
        ValueError: The file is not a report of one source model, or its results are not those of this model
            and its options.
    """
    values = report.to_dict() if isinstance(report, TransferReport) else _read_report(Path(report))
    place = "the report" if isinstance(report, TransferReport) else str(report)
    model = load_model(folder)
    digest = model_digest(model)
    if {one["settings"]["model"] for one in values["results"]} != {digest}:
        raise ValueError(
            f"{place} is not about the model in {folder} as it is now: evaluate it with "
            f"`lacl evaluate RECIPE --checkpoint {folder}`"
        )
    measured = [
        Measured(
            dataset=row["target"],
            shots=row["shots"],
            sets=row["f1"]["count"],
            f1=row["f1"].get("pooled", row["f1"]["mean"]),
            precision=row["precision"],
            recall=row["recall"],
            deviation=row["f1"]["deviation"],
            per_type_f1=row["per_type_f1"],
            how="whole test set" if row["shots"] == ZERO_SHOT else f"adapted with seed {values['seed']}",
        )
        for row in values["summary"]
    ]
    facts = facts_of(model)
    new = {(one.dataset, one.shots) for one in measured}
    kept = [one for one in facts.results if (one.dataset, one.shots) not in new]
    facts = replace(facts, results=kept + measured, fingerprint=fingerprint(model))
    write_card(Path(folder), model.config, facts)


def _read_report(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(values, dict) and "reports" in values:
        raise ValueError(
            f"{path} is about several source models: give the report.json of one, in a folder beside it"
        )
    if not isinstance(values, dict) or not {"results", "summary", "seed"} <= values.keys():
        raise ValueError(f"{path} is not a report: give a report.json that `lacl evaluate` wrote")
    return values
