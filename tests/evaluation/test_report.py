"""Statistics, tables and files of a report."""

import json
import statistics

import numpy as np
import pytest
from scipy.stats import bootstrap

from modeling_lacl.evaluation.report import TransferReport, pooled_interval, spread
from modeling_lacl.evaluation.results import TransferResult
from modeling_lacl.reporting import describe_machine


def result(target, shots, f1, support="0.txt", per_type=None):
    if per_type is None:
        per_type = {"person": {"precision": f1, "recall": f1, "f1": f1, "number": 10}}
    return TransferResult(
        target=target,
        shots=shots,
        support=support,
        precision=f1,
        recall=f1 / 2,
        f1=f1,
        number=10,
        unreachable=0,
        per_type=per_type,
        labels=["person"],
        predictions_sha256="0",
        seconds=1.5,
        settings={"seed": 1},
    )


@pytest.fixture
def report():
    return TransferReport(
        checkpoint="source",
        seed=1,
        adapt={"steps": 20},
        results=[
            result("news", "1-shot", 0.25),
            result("news", "1-shot", 0.5, "1.txt", {}),
            result("news", "zero-shot", 0.125, None),
        ],
        seconds=4.5,
        command="lacl evaluate recipe.yaml",
        machine=describe_machine("cpu"),
    )


def test_spread_against_other_libraries():
    scores = [0.21, 0.34, 0.28, 0.40, 0.25, 0.31]
    found = spread(scores, seed=3)
    assert found.mean == pytest.approx(statistics.mean(scores))
    assert found.deviation == pytest.approx(statistics.stdev(scores))
    expected = bootstrap(
        (scores,), np.mean, method="percentile", n_resamples=10_000, rng=0
    ).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-3)
    assert found == spread(scores, seed=3)


def test_pooled_interval_against_another_library():
    counts = np.array([[3, 5, 6], [0, 2, 4], [7, 9, 8], [1, 1, 5], [4, 6, 4], [9, 10, 12]])

    def pooled(correct, found, gold, axis):
        return 2 * correct.sum(axis) / (found.sum(axis) + gold.sum(axis))

    expected = bootstrap(
        counts.T, pooled, paired=True, vectorized=True, method="percentile", n_resamples=10_000, rng=0
    ).confidence_interval
    low, high = pooled_interval(counts.tolist(), seed=1)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=2e-2)
    assert low < 2 * counts[:, 0].sum() / counts[:, 1:].sum() < high
    assert pooled_interval([(0, 0, 0), (0, 0, 0)]) == (1.0, 1.0)


def test_spread_of_one_and_of_none():
    one = spread([0.5])
    assert (one.mean, one.deviation, one.low, one.high, one.count) == (0.5, None, None, None, 1)
    with pytest.raises(ValueError, match="no scores"):
        spread([])


def test_summary(report):
    rows = report.summary()
    assert [(row["target"], row["shots"], row["f1"]["count"]) for row in rows] == [
        ("news", "1-shot", 2),
        ("news", "zero-shot", 1),
    ]
    assert rows[0]["f1"]["mean"] == 0.375
    assert rows[0]["recall"] == 0.1875
    assert rows[0]["f1_of_each_set"] == [0.25, 0.5]
    assert rows[0]["per_type_f1"] == {"person": 0.125}  # no person, found or not, counts as 0


def test_markdown(report):
    text = report.to_markdown()
    assert "| news | 1-shot | 2 | 37.5 | 17.7 | 25.0–50.0 | 37.5 | 18.8 | 25.0, 50.0 |" in text
    assert "| news | zero-shot | 1 | 12.5 | – | – | 12.5 | 6.2 | 12.5 |" in text
    for part in ("`lacl evaluate recipe.yaml`", "steps 20", "seed 1", "transformers", "CPU cores", "4 s"):
        assert part in text


def test_save(report, tmp_path):
    report.save(tmp_path / "new" / "folder")
    values = json.loads((tmp_path / "new" / "folder" / "report.json").read_text(encoding="utf-8"))
    assert values["summary"] == report.summary()
    assert values["results"][1]["f1"] == 0.5
    assert values["machine"]["torch"]
    assert (tmp_path / "new" / "folder" / "report.md").read_text(encoding="utf-8") == report.to_markdown()
