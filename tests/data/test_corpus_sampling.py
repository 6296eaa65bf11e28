"""Batches from many corpora: one corpus a group, by weight, and each row once a pass."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from modeling_lacl.data.corpus_sampling import CorpusBatchSampler

SIZES = (100, 23, 8)


def make(weights=(4, 2, 1), batches=50, **options):
    generator = np.random.default_rng(0)
    lengths = [generator.integers(3, 100, size) for size in SIZES]
    settings = {"size": 8, "group_size": 4, "seed": 1, **options}
    return CorpusBatchSampler(lengths, weights, batches=batches, **settings), np.concatenate(lengths)


def groups_of(batches):
    return [batch[first : first + 4] for batch in batches for first in range(0, len(batch), 4)]


def corpus_of(row):
    return int(np.searchsorted(np.cumsum(SIZES), row, side="right"))


def test_a_group_is_of_one_corpus_drawn_by_weight():
    sampler, _ = make(batches=2000)
    groups = groups_of(sampler)
    assert len(groups) == 4000
    corpora = [{corpus_of(row) for row in group} for group in groups]
    assert all(len(one) == 1 for one in corpora)
    counts = Counter(one.pop() for one in corpora)
    observed = [counts[corpus] for corpus in range(3)]
    assert chisquare(observed, [4000 * share / 7 for share in (4, 2, 1)]).pvalue > 0.001
    # The other way round it fails: the test can tell weights apart.
    assert chisquare(observed, [4000 * share / 7 for share in (4, 1, 2)]).pvalue < 1e-6


def test_a_pass_has_every_row_once_but_for_what_is_left_over():
    sampler, _ = make(batches=200)
    for corpus, size in enumerate(SIZES):
        rows = [row for group in groups_of(sampler) if corpus_of(group[0]) == corpus for row in group]
        whole = size - size % 4
        passes = [rows[first : first + whole] for first in range(0, len(rows) - whole + 1, whole)]
        assert len(passes) > 1
        assert all(len(set(one)) == whole for one in passes)
        assert passes[0] != passes[1]
    left_over = set(range(100, 123)) - set(passes[0])
    assert left_over  # of the corpus of 23 rows, another three in each pass


def test_sentences_of_a_group_are_of_similar_length():
    sampler, lengths = make(weights=(1, 1e-9, 1e-9))
    spans = [np.ptp(lengths[group]) for group in groups_of(sampler)]
    assert np.mean(spans) < 8  # of four random rows it would be about 58


def test_batches_depend_on_seed_epoch_and_number_alone():
    sampler, _ = make()
    first = list(sampler)
    assert first == list(sampler) == list(make()[0])
    assert [sampler.batch(number) for number in (49, 7, 0)] == [first[number] for number in (49, 7, 0)]
    sampler.set_epoch(3)
    later = list(sampler)
    resumed, _ = make()
    resumed.set_epoch(3)
    assert resumed.batch(20) == later[20] and later != first
    assert list(make(seed=2)[0]) != first


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 10}, "a batch of 10 sentences has no whole number of groups of 4; .*group_size"),
        ({"weights": (1, 0, 1)}, "weights above 0"),
        ({"weights": (1, 1)}, "3 corpora need as many weights"),
        ({"size": 18, "group_size": 9}, "only 8 sequences, fewer than group_size 9"),
    ],
)
def test_bad_numbers(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
