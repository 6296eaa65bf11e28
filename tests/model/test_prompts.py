"""Label names, prompts and packing, against plain lists."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modeling_lacl.model.encoder_lacl import label_means, pack
from modeling_lacl.model.labels_lacl import (
    PADDING_LABEL,
    SEPARATOR_LABEL,
    build_prompt,
    default_label_name,
    split_prompt,
)

SEPARATOR = 99
PAD = 7


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("person", "person"),
        ("PER", "person"),
        ("prod", "product"),
        ("LOC-city", "location city"),
        ("MISC", "miscellaneous"),
        ("GPE", "country or city"),
        ("location-GPE", "location country or city"),
        ("product-ship", "product ship"),
        ("creative_work", "creative work"),
        ("U-boat", "u boat"),
        ("E-mail", "e mail"),
        ("cost_per_unit", "cost per unit"),
        ("COST_PER_UNIT", "cost per unit"),
        ("event-attack/battle/war/militaryconflict", "event attack battle war militaryconflict"),
        ("WorkOfArt", "work of art"),
        ("work.of.art", "work of art"),
        ("  DATE ", "date"),
        ("film-noir", "film noir"),
        ("b-", "b"),
        ("Straße", "straße"),
        ("人物", "人物"),
        ("--", "--"),
    ],
)
def test_default_label_name(label, name):
    assert default_label_name(label) == name


@given(st.text(min_size=1))
def test_every_label_has_a_name(label):
    assert default_label_name(label)


def test_build_prompt():
    ids, labels = build_prompt([[10], [20, 21], [30]], SEPARATOR)
    assert ids.tolist() == [10, SEPARATOR, 20, 21, SEPARATOR, 30, SEPARATOR]
    assert labels.tolist() == [0, -1, 1, 1, -1, 2, -1]
    assert ids.dtype == labels.dtype == torch.long


def test_build_prompt_of_a_subset_in_its_own_order():
    ids, labels = build_prompt([[10], [20, 21], [30]], SEPARATOR, [2, 0])
    assert ids.tolist() == [30, SEPARATOR, 10, SEPARATOR]
    assert labels.tolist() == [2, SEPARATOR_LABEL, 0, SEPARATOR_LABEL]


@st.composite
def names_and_limits(draw):
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=40))
    shortest = lengths[0] + 1 + max((length + 1 for length in lengths[1:]), default=0)
    return [[1] * length for length in lengths], draw(st.integers(shortest, shortest + 60))


@settings(max_examples=300, deadline=None)
@given(names_and_limits())
def test_split_prompt(case):
    names, limit = case
    groups = split_prompt(names, limit)
    assert all(len(build_prompt(names, SEPARATOR, group)[0]) <= limit for group in groups)
    assert all(group[0] == 0 for group in groups), "outside is first in each"
    assert [label for group in groups for label in group[1:]] == list(range(1, len(names))), "each label once"
    if sum(len(name) + 1 for name in names) <= limit:
        assert len(groups) == 1
    elif len(names) > 1:
        assert all(len(group) > 1 for group in groups), "no prompt without a type"


def test_split_prompt_makes_groups_of_about_equal_length():
    groups = split_prompt([[1]] * 25, 2 + 2 * 20)
    assert [len(group) - 1 for group in groups] == [12, 12]


@pytest.mark.parametrize(
    ("lengths", "limit", "message"),
    [
        ([1, 3, 8, 2], 10, "label 2 has a name of 8 tokens.*room for 7.*max_prompt_length"),
        ([1, 1], 3, "label 1 has a name of 1 tokens.*room for 0"),
        ([1, 1], 2, "label 1"),
        ([9, 1], 9, "outside has 9 tokens.*at most 9|outside has 9 tokens.*prompt of 9"),
    ],
)
def test_split_prompt_with_a_name_too_long(lengths, limit, message):
    with pytest.raises(ValueError, match=message):
        split_prompt([[1] * length for length in lengths], limit)


def test_split_prompt_of_outside_alone():
    assert split_prompt([[1, 1]], 3) == [[0]]


@st.composite
def padded_sequences(draw):
    """Texts and prompts as lists, and as tensors with padding on either side of each text."""
    token = st.integers(100, 200)
    rows = draw(
        st.lists(
            st.tuples(
                st.lists(token, max_size=5), st.integers(0, 3), st.integers(0, 3), st.lists(token, max_size=4)
            ),
            min_size=1,
            max_size=4,
        )
    )
    length = max(left + len(text) + right for text, left, right, _ in rows)
    prompt_length = max(len(prompt) for *_, prompt in rows)
    input_ids = torch.full((len(rows), length), PAD)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    prompt_ids = torch.full((len(rows), prompt_length), PAD)
    prompt_labels = torch.full((len(rows), prompt_length), PADDING_LABEL)
    for i, (text, left, _, prompt) in enumerate(rows):
        input_ids[i, left : left + len(text)] = torch.tensor(text, dtype=torch.long)
        mask[i, left : left + len(text)] = 1
        prompt_ids[i, : len(prompt)] = torch.tensor(prompt, dtype=torch.long)
        prompt_labels[i, : len(prompt)] = 0
    return rows, input_ids, mask, prompt_ids, prompt_labels


@settings(max_examples=200, deadline=None)
@given(padded_sequences())
def test_pack_against_lists(case):
    rows, input_ids, mask, prompt_ids, prompt_labels = case
    packed = pack(input_ids, mask, prompt_ids, prompt_labels, PAD)
    width = input_ids.shape[1] + prompt_ids.shape[1]
    assert packed.input_ids.shape == packed.attention_mask.shape == (len(rows), width)
    for i, (text, left, _, prompt) in enumerate(rows):
        together = text + prompt
        assert packed.input_ids[i].tolist() == together + [PAD] * (width - len(together))
        assert packed.attention_mask[i].tolist() == [1] * len(together) + [0] * (width - len(together))
        places = packed.text_index[i].tolist()
        assert places[left : left + len(text)] == list(range(len(text)))
        places = packed.prompt_index[i].tolist()
        assert places[: len(prompt)] == list(range(len(text), len(together)))
    assert (packed.text_index[mask == 0] == 0).all()
    assert (packed.prompt_index[prompt_labels == PADDING_LABEL] == 0).all()


def test_pack_closes_gaps_inside_a_text():
    packed = pack(
        torch.tensor([[1, 2, 3, 4]]),
        torch.tensor([[1, 0, 1, 1]]),
        torch.tensor([[9]]),
        torch.tensor([[0]]),
        PAD,
    )
    assert packed.input_ids.tolist() == [[1, 3, 4, 9, PAD]]
    assert packed.text_index[0, [0, 2, 3]].tolist() == [0, 1, 2]


def test_pack_without_a_prompt():
    nothing = torch.zeros(1, 0, dtype=torch.long)
    packed = pack(torch.tensor([[PAD, 2, 3]]), torch.tensor([[False, True, True]]), nothing, nothing, PAD)
    assert packed.input_ids.tolist() == [[2, 3, PAD]]
    assert packed.attention_mask.tolist() == [[True, True, False]]
    assert packed.prompt_index.shape == (1, 0)


def test_label_means():
    hidden = torch.randn(2, 6, 4)
    labels = torch.tensor([[0, -1, 2, 2, 2, -1], [2, -1, 0, 0, -1, -2]])
    means, present = label_means(hidden, labels, 4)
    assert present.tolist() == [[True, False, True, False]] * 2
    torch.testing.assert_close(means[0, 2], hidden[0, 2:5].mean(0))
    torch.testing.assert_close(means[1, 0], hidden[1, 2:4].mean(0))
    torch.testing.assert_close(means[0, 0], hidden[0, 0])
    assert means[:, [1, 3]].eq(0).all()
