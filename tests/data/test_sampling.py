"""FEW-NERD's greedy N-way K~2K-shot rule, checked against a direct statement of it."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.sampling import (
    EpisodeBatchSampler,
    count_entities,
    greedy_sample,
    sample_episode,
    sample_support,
    sample_support_from_counts,
)

sentences = st.lists(
    st.lists(st.integers(-1, 4).map(lambda label: -100 if label < 0 else label), max_size=12), max_size=30
)


def make_sequences(rows=300, types=6, seed=0):
    generator = np.random.default_rng(seed)
    return [
        np.where(generator.random(length) < 0.6, 0, generator.integers(0, types + 1, length)).tolist()
        for length in generator.integers(2, 9, rows).tolist()
    ]


@given(sentences)
def test_count_entities_against_a_loop(sequences):
    expected = np.zeros((len(sequences), 5), dtype=int)
    for row, labels in enumerate(sequences):
        for label, _ in groupby(label for label in labels if label >= 0):
            if label:
                expected[row, label] += 1
    assert np.array_equal(count_entities(sequences, 5), expected)


def check_sample(counts, types, k, rows, allow_other_types=False):
    """Assert that rows follow the greedy rule, stated directly."""
    assert len(set(rows)) == len(rows)
    total = {label: 0 for label in types}
    for row in rows:
        assert any(counts[row, label] and total[label] < k for label in types), (
            "a sentence has an entity of a type below K"
        )
        for label in types:
            total[label] += counts[row, label]
    assert all(k <= number <= 2 * k for number in total.values())
    if not allow_other_types:
        others = [label for label in range(counts.shape[1]) if label not in types]
        assert not counts[rows][:, others].any()


@given(
    sentences, st.sets(st.integers(1, 4), min_size=1), st.integers(1, 3), st.booleans(), st.integers(0, 99)
)
def test_greedy_sample_keeps_the_rule(sequences, types, k, allow_other_types, seed):
    counts = count_entities(sequences, 5)
    types = sorted(types)
    rows = greedy_sample(counts, types, k, np.random.default_rng(seed), allow_other_types=allow_other_types)
    if rows is not None:
        check_sample(counts, types, k, rows, allow_other_types)


def test_a_sentence_with_too_many_entities_is_skipped():
    counts = np.array([[0, 3], [0, 1]])
    for seed in range(10):
        assert greedy_sample(counts, [1], 1, np.random.default_rng(seed)) == [1]
    assert greedy_sample(counts[:1], [1], 1, np.random.default_rng(0)) is None
    assert greedy_sample(counts, [1], 1, np.random.default_rng(0), exclude=[1]) is None


def test_every_sentence_has_its_chance():
    counts = np.array([[0, 1]] * 20)
    sampled = [greedy_sample(counts, [1], 1, np.random.default_rng(seed)) or [] for seed in range(300)]
    assert {tuple(rows) for rows in sampled} == {(row,) for row in range(20)}


@pytest.mark.parametrize("seed", range(20))
def test_an_episode_is_two_disjoint_samples(seed):
    counts = count_entities(make_sequences(seed=seed), 7)
    episode = sample_episode(counts, 3, 2, 3, np.random.default_rng(seed))
    assert len(set(episode.types)) == 3 and 0 not in episode.types
    assert not set(episode.support) & set(episode.query)
    check_sample(counts, episode.types, 2, list(episode.support))
    check_sample(counts, episode.types, 3, list(episode.query))


def make_sampler(**options):
    settings = {"n_way": 2, "k_shot": 1, "q_shot": 2, "episodes": 5, "seed": 3}
    return EpisodeBatchSampler(make_sequences(), 7, **{**settings, **options})


def test_sampler_is_the_same_by_seed_and_other_by_epoch():
    sampler = make_sampler()
    first = list(sampler)
    assert first == list(sampler) == list(make_sampler()) and len(first) == len(sampler) == 5
    assert first != list(make_sampler(seed=4))
    sampler.set_epoch(1)
    assert first != list(sampler)
    sampler.set_epoch(0)
    episode = sampler.episode(3)
    assert first[3] == [*episode.support, *episode.query]
    assert len({tuple(batch) for batch in first}) == 5


def test_sampler_samples_every_type():
    sampler = make_sampler(episodes=60)
    assert {label for number in range(60) for label in sampler.episode(number).types} == set(range(1, 7))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_way": 7}, "n_way is 7, but only 6 types"),
        ({"k_shot": 0}, "k_shot is 0"),
        ({"q_shot": 10_000}, "lower n_way, k_shot or q_shot"),
    ],
)
def test_impossible_episodes(options, message):
    with pytest.raises(ValueError, match=message):
        next(iter(make_sampler(**options)))


def test_types_that_never_stand_alone_make_no_episode():
    counts = np.array([[0, 1, 1]] * 50)
    with pytest.raises(ValueError, match="found no 1-way episode of 1 \\+ 1 shots among 50 sentences"):
        sample_episode(counts, 1, 1, 1, np.random.default_rng(0))


def test_an_impossible_support_names_what_there_is():
    with pytest.raises(ValueError, match=r"2 to 4 entities.*\{'ship': 1\}"):
        sample_support_from_counts(
            np.array([[0, 1], [0, 0]]), [1], 2, np.random.default_rng(0), names=["ship"]
        )
    with pytest.raises(ValueError, match="k is 0"):
        sample_support_from_counts(np.array([[0, 1]]), [1], 0, np.random.default_rng(0))


def test_sample_support_of_a_dataset():
    dataset = read_dataset(
        [
            {"tokens": ["Ana", "flew"], "ner_tags": ["B-person", "O"]},
            {"tokens": ["Quito", "Ana"], "ner_tags": ["B-city", "B-person"]},
            {"tokens": ["Lima"], "ner_tags": ["B-city"]},
            {"tokens": ["Cessna"], "ner_tags": ["B-plane"]},
        ]
    )
    for seed in range(10):
        generator = np.random.default_rng(seed)
        rows = sample_support(dataset, ["city"], 1, generator)
        assert rows == [2]
        assert set(sample_support(dataset, ["city"], 1, generator, allow_other_types=True)) <= {1, 2}
        both = sample_support(dataset, ["person", "city"], 1, generator)
        assert 3 not in both
    with pytest.raises(ValueError, match=r"\{'plane': 1\}"):
        sample_support(dataset, ["plane"], 2, np.random.default_rng(0))
