"""What several tests of prediction share: texts, transitions, and how to compare the entities found."""

import pytest
from hypothesis import HealthCheck, settings

TEXT = "Ana Ruiz flew to Quito on a Cessna 172, said the play 'New York'."
TEXTS = [
    TEXT,
    "",
    "Quito!",
    "a play of the person in York " * 6,
    " \n\t ",
    "don't",
    "東京タワーに行った",
    "the " * 40,
]
TRANSITIONS = {
    "start": {"O": 0.8, "I": 0.2},
    "O": {"O": 0.9, "I": 0.1},
    "I": {"O": 0.5, "same": 0.4, "other": 0.1},
}
many = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert {**a, "score": 0} == {**b, "score": 0}
        assert a["score"] == pytest.approx(b["score"], abs=1e-5)
