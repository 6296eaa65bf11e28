"""Entity scores against a set-of-spans computation of our own, and against seqeval's report."""

import math
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score, precision_score, recall_score

from modeling_lacl.metrics import entity_scores, length_scores
from modeling_lacl.seqeval_metric import SeqevalMetric

TAGS = ["O", "B-person", "I-person", "B-creative-work", "I-creative-work", "B-location", "I-location"]


def spans(tags):
    """(type, start, end) by walking the words: one is open while I- of its type follows."""
    found = set()
    start = 0
    while start < len(tags):
        if tags[start] == "O":
            start += 1
            continue
        kind = tags[start][2:]
        end = start + 1
        while end < len(tags) and tags[end] == f"I-{kind}":
            end += 1
        found.add((kind, start, end))
        start = end
    return found


def brute_force(references, predictions):
    gold = {(i, *span) for i, tags in enumerate(references) for span in spans(tags)}
    found = {(i, *span) for i, tags in enumerate(predictions) for span in spans(tags)}

    def score(kinds):
        g = [span for span in gold if span[1] in kinds]
        f = [span for span in found if span[1] in kinds]
        both = [span for span in g if span in f]
        p = len(both) / len(f) if f else 0.0
        r = len(both) / len(g) if g else 0.0
        return {"precision": p, "recall": r, "f1": 2 * p * r / (p + r) if p + r else 0.0, "number": len(g)}

    kinds = {span[1] for span in gold | found}
    return {**score(kinds), "per_type": {kind: score({kind}) for kind in kinds}}


def close(left, right):
    return left.keys() == right.keys() and all(
        close(left[key], right[key])
        if isinstance(left[key], dict)
        else math.isclose(left[key], right[key], abs_tol=1e-12)
        for key in left
    )


words = st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=8)


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=5))
@example([[("B-person", "B-person"), ("I-person", "B-person")]])  # one entity, predicted as two
@example([[("B-person", "B-person")], [("I-person", "I-person")]])  # entities end with their sentence
def test_equals_sets_of_spans(sentences):
    references = [[gold for gold, _ in sentence] for sentence in sentences]
    predictions = [[found for _, found in sentence] for sentence in sentences]
    assert close(entity_scores(references, predictions), brute_force(references, predictions))


@settings(max_examples=100, deadline=None)
@given(st.lists(words, min_size=1, max_size=5))
def test_equals_seqeval(sentences):
    references = [[gold for gold, _ in sentence] for sentence in sentences]
    predictions = [[found for _, found in sentence] for sentence in sentences]
    scores = entity_scores(references, predictions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isclose(scores["precision"], precision_score(references, predictions))
        assert math.isclose(scores["recall"], recall_score(references, predictions))
        assert math.isclose(scores["f1"], f1_score(references, predictions))
        if scores["per_type"]:
            report = classification_report(references, predictions, output_dict=True)
            for name, one in scores["per_type"].items():
                expected = (report[name]["precision"], report[name]["recall"], report[name]["f1-score"])
                assert (one["precision"], one["recall"], one["f1"]) == pytest.approx(expected)
                assert one["number"] == report[name]["support"]


def only(tags, lengths):
    """The tags of entities of these lengths; all other words are outside."""
    kept = ["O"] * len(tags)
    for kind, start, end in spans(tags):
        if end - start in lengths:
            kept[start:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - start - 1)]
    return kept


@settings(max_examples=100, deadline=None)
@given(st.lists(words, min_size=1, max_size=5), st.integers(1, 4))
def test_lengths_equal_seqeval_on_the_entities_of_each(sentences, longest):
    references = [[gold for gold, _ in sentence] for sentence in sentences]
    predictions = [[found for _, found in sentence] for sentence in sentences]
    scores = length_scores(references, predictions, longest)
    groups = {str(length): range(length, length + 1) for length in range(1, longest)}
    groups[f"{longest}+"] = range(longest, 99)
    expected = {}
    for name, lengths in groups.items():
        gold, found = (
            [only(tags, lengths) for tags in references],
            [only(tags, lengths) for tags in predictions],
        )
        if any(map(spans, gold + found)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected[name] = {
                    "precision": precision_score(gold, found),
                    "recall": recall_score(gold, found),
                    "f1": f1_score(gold, found),
                    "number": sum(len(spans(tags)) for tags in gold),
                }
    assert list(scores) == list(expected)
    assert close(scores, expected)


def test_lengths_of_a_known_case():
    references = [["B-person", "I-person", "O", "B-location"], ["B-group"]]
    predictions = [["B-person", "I-person", "O", "B-person"], ["O"]]
    assert length_scores(references, predictions) == {
        "1": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "number": 2},
        "2": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "number": 1},
    }
    with pytest.raises(ValueError, match="longest is 0"):
        length_scores(references, predictions, 0)
    with pytest.raises(ValueError, match="1 reference sentences but 0"):
        length_scores([["O"]], [])


def test_known_case():
    scores = entity_scores(
        [["B-person", "I-person", "O", "B-location"], ["O"]],
        [["B-person", "O", "O", "B-location"], ["B-person"]],
    )
    assert (scores["precision"], scores["recall"], scores["f1"], scores["number"]) == pytest.approx(
        (1 / 3, 1 / 2, 0.4, 2)
    )
    assert scores["per_type"]["location"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "number": 1}
    assert scores["per_type"]["person"]["f1"] == 0


def test_nothing_gives_zeros():
    assert entity_scores([], []) == {"precision": 0, "recall": 0, "f1": 0, "number": 0, "per_type": {}}


def test_mismatches_are_refused():
    with pytest.raises(ValueError, match="2 reference sentences but 1"):
        entity_scores([["O"], ["O"]], [["O"]])
    with pytest.raises(ValueError, match="sentence 1 has 1 reference tags but 2"):
        entity_scores([["O"], ["O"]], [["O"], ["O", "O"]])


@pytest.mark.parametrize("tag", ["person", "B-", "X-person", ""])
def test_tags_that_are_not_bio_are_refused(tag):
    with pytest.raises(ValueError, match="is not a BIO tag"):
        entity_scores([["O"]], [[tag]])


REFERENCES = [["B-person", "I-person", "O"], ["B-location"]]
PREDICTIONS = [["B-person", "I-person", "O"], ["B-person"]]


def test_metric_has_the_keys_of_the_hub_metric():
    result = SeqevalMetric().compute(references=REFERENCES, predictions=PREDICTIONS)
    assert result == {
        "location": {"precision": 0.0, "recall": 0.0, "f1": 0.0, "number": 1},
        "person": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "number": 1},
        "overall_precision": 0.5,
        "overall_recall": 0.5,
        "overall_f1": 0.5,
        "overall_number": 2,
    }


def test_metric_by_length():
    metric = SeqevalMetric()
    plain = metric.compute(references=REFERENCES, predictions=PREDICTIONS)
    result = metric.compute(references=REFERENCES, predictions=PREDICTIONS, per_length=True)
    assert result.pop("per_length") == length_scores(REFERENCES, PREDICTIONS)
    assert result == plain


def test_metric_in_batches_and_again():
    metric = SeqevalMetric()
    for reference, prediction in zip(REFERENCES, PREDICTIONS, strict=True):
        metric.add_batch(references=[reference], predictions=[prediction])
    assert metric.compute() == SeqevalMetric().compute(references=REFERENCES, predictions=PREDICTIONS)
    assert metric.compute(references=[["B-x"]], predictions=[["B-x"]])["overall_number"] == 1


def test_metric_makes_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path / "cache")
    SeqevalMetric().compute(references=REFERENCES, predictions=PREDICTIONS)
    assert list(tmp_path.iterdir()) == []


def test_metric_on_disk_when_asked(tmp_path):
    metric = SeqevalMetric(keep_in_memory=False, cache_dir=str(tmp_path))
    assert metric.compute(references=REFERENCES, predictions=PREDICTIONS)["overall_f1"] == 0.5
    assert any(tmp_path.iterdir())
