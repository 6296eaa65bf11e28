"""Statistics, tables and files of a report."""

import json
import statistics

import pytest

from modeling_lacl.evaluation.episodes import EpisodeCounts, EpisodeResult
from modeling_lacl.evaluation.intervals import SOURCE_SEEDS
from modeling_lacl.evaluation.report import SeedsReport, TransferReport
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
    # Of two scores the t-interval is ± 12.7 / √2 deviations: all that there is.
    assert "| news | 1-shot | 2 | 37.5 | 17.7 | 0.0–100.0 | 37.5 | 18.8 | 25.0, 50.0 |" in text
    assert "t-interval of the mean over support sets" in text
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


def episodes(*counts: tuple[int, int, int]):
    """The result of episodes with these correct, found and gold entities."""
    correct, found, gold = (sum(column) for column in zip(*counts, strict=True))
    precision, recall = correct / found, correct / gold
    f1 = 2 * correct / (found + gold)
    each = [EpisodeCounts(number, ["person"], *one, 0.5) for number, one in enumerate(counts)]
    return EpisodeResult("wiki", "5-way 1~2-shot", precision, recall, f1, each)


@pytest.fixture
def of_seeds():
    """Three source models with two support sets each, zero-shot, and two episodes."""
    scores = [(0.2, 0.3, 0.1), (0.3, 0.5, 0.3), (0.4, 0.4, 0.2)]
    hits = [(1, 3), (2, 2), (2, 4)]
    reports = [
        TransferReport(
            checkpoint=f"outputs/source-{seed}",
            seed=1,
            adapt={"steps": None},
            results=[
                result("news", "1-shot", first),
                result("news", "1-shot", second, "1.txt", {} if seed else None),
                result("news", "zero-shot", alone, None),
            ],
            episodes=[episodes(*((hit, 4, 4) for hit in hits[seed]))],
            seconds=2.0,
            command="lacl evaluate recipe.yaml",
            machine=describe_machine("cpu"),
        )
        for seed, (first, second, alone) in enumerate(scores)
    ]
    return SeedsReport(reports=reports, command="lacl evaluate recipe.yaml", machine=describe_machine("cpu"))


def test_over_source_models_each_counts_once_by_its_own_mean(of_seeds):
    one_shot, zero_shot, wiki = of_seeds.summary()
    for row, values in (
        (one_shot, [0.25, 0.4, 0.4]),  # means over support sets, not the six scores
        (zero_shot, [0.1, 0.3, 0.2]),
        (wiki, [4 / 8, 4 / 8, 6 / 8]),  # F1 over the entities of all episodes
    ):
        f1 = row["f1"]
        assert (f1["count"], f1["over"]) == (3, SOURCE_SEEDS)
        assert f1["of_each"] == row["f1_of_each_seed"] == pytest.approx(values)
        assert f1["mean"] == pytest.approx(statistics.mean(values))
        half = 4.302653 * statistics.stdev(values) / 3**0.5  # of two degrees of freedom, from a table
        assert f1["low"] == pytest.approx(max(0, f1["mean"] - half), abs=1e-6)
        assert f1["high"] == pytest.approx(min(1, f1["mean"] + half), abs=1e-6)
    assert one_shot["recall"] == pytest.approx(statistics.mean([0.125, 0.2, 0.2]))
    # Of the second and the third model one support set has no person, found or not.
    assert one_shot["per_type_f1"] == {"person": pytest.approx((0.25 + 0.15 + 0.2) / 3)}


def test_the_report_says_what_its_intervals_are_over(of_seeds, tmp_path):
    text = of_seeds.to_markdown()
    assert "| news | 1-shot | 3 | 35.0 | 8.7 | 13.5–56.5 |" in text and "25.0, 40.0, 40.0 |" in text
    assert "95 % t-interval of the mean over source models." in text
    assert all(f"`outputs/source-{seed}`" in text for seed in range(3)) and "6 s" in text
    of_seeds.save(tmp_path)
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert values["summary"] == of_seeds.summary() and values["seconds"] == 6
    assert [one["checkpoint"] for one in values["reports"]] == [f"outputs/source-{seed}" for seed in range(3)]
    del of_seeds.reports[1:]  # of a single one, the intervals are over its support sets
    assert of_seeds.summary() == of_seeds.reports[0].summary()
    assert of_seeds.to_markdown() == of_seeds.reports[0].to_markdown()
