"""Tag schemes: every scheme comes back to the same entities, and errors say what is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.tag_schemes import bio_tags, io_to_bio, normalize, sentence_starts, to_bio

TYPES = ["person", "product-ship", "event-attack/battle/war/militaryconflict", "Ü b"]


@st.composite
def sentences(draw):
    """(length, [(start, stop, type), …]) of a few sentences; entities may touch."""
    result = []
    for _ in range(draw(st.integers(1, 4))):
        position, spans = 0, []
        for gap, size, name in draw(
            st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.sampled_from(TYPES)), max_size=5)
        ):
            spans.append((position + gap, position + gap + size, name))
            position += gap + size
        result.append((position + draw(st.integers(0, 3)), spans))
    return result


def encode(length, spans, scheme):
    """Reference encoder, one span after the other."""
    tags = ["O"] * length
    for start, stop, name in spans:
        touches = start > 0 and tags[start - 1].endswith(name)
        for position in range(start, stop):
            first, last = position == start, position == stop - 1
            prefix = {
                "IO": "",
                "IOB1": "B-" if first and touches else "I-",
                "BIO": "B-" if first else "I-",
                "BIOES": "S-" if first and last else "B-" if first else "E-" if last else "I-",
                "BILOU": "U-" if first and last else "B-" if first else "L-" if last else "I-",
            }[scheme]
            tags[position] = prefix + name
    return tags


def merge_touching(spans):
    merged: list[tuple[int, int, str]] = []
    for start, stop, name in spans:
        if merged and merged[-1][1] == start and merged[-1][2] == name:
            start = merged.pop()[0]
        merged.append((start, stop, name))
    return merged


@pytest.mark.parametrize("scheme", ["IOB1", "BIO", "BIOES", "BILOU", "IO"])
@pytest.mark.parametrize("explicit", [False, True])
@settings(max_examples=50, deadline=None)
@given(data=sentences())
def test_every_scheme_keeps_the_entities(scheme, explicit, data):
    written = [encode(length, spans, scheme) for length, spans in data]
    expected = [(n, merge_touching(spans) if scheme == "IO" else spans) for n, spans in data]
    assert to_bio(written, scheme if explicit else None) == [encode(n, spans, "BIO") for n, spans in expected]


@given(st.lists(st.lists(st.sampled_from(["O", *(p + t for p in ("B-", "I-", "E-", "S-") for t in "xy")]))))
def test_ill_formed_tags_are_read_as_conlleval_reads_them(sequences):
    """seqeval follows conlleval, the reference reading of sequences that break their scheme."""
    for before, after in zip(sequences, to_bio(sequences, "BIOES"), strict=True):
        assert get_entities(after) == get_entities(before)


@given(st.lists(st.lists(st.integers(0, 3))))
def test_io_ids_become_one_entity_a_run(label_ids):
    bio = io_to_bio(label_ids, ["x", "y", "z"])
    io = [[("O", "I-x", "I-y", "I-z")[label] for label in sentence] for sentence in label_ids]
    assert [get_entities(sentence) for sentence in bio] == [get_entities(sentence) for sentence in io]
    assert [[tag[0] == "B" for tag in s] for s in bio] == [
        [label > 0 and (i == 0 or s[i - 1] != label) for i, label in enumerate(s)] for s in label_ids
    ]


@pytest.mark.parametrize("label_ids", [[[0, 4]], [[-1]], [[-100, 0]]])
def test_io_ids_out_of_range(label_ids):
    with pytest.raises(ValueError, match="0 to 3"):
        io_to_bio(label_ids, ["x", "y", "z"])


def detected(sequences):
    flat = [tag for sequence in sequences for tag in sequence]
    tags = sorted(set(flat))
    ids = np.array([tags.index(tag) for tag in flat])
    return normalize(tags, ids, sentence_starts([len(s) for s in sequences]))


@pytest.mark.parametrize(
    ("sequences", "scheme", "repaired"),
    [
        ([["person", "O", "art-film"]], "IO", []),
        ([["I-x", "O", "I-x"]], "IO", []),
        ([["I-x", "B-x", "I-x"], ["I-y"]], "IOB1", []),
        ([["B-x", "I-x", "O"], ["I-x", "B-y"]], "BIO", [3]),
        ([["B-x", "I-y", "I-y"]], "BIO", [1]),
        ([["B-x", "E-x", "S-y"]], "BIOES", []),
        ([["B-x", "E-x", "I-x", "I-x"]], "BIOES", [2]),
        ([["B-x", "L-x", "U-y"]], "BILOU", []),
        ([["U-y"]], "BILOU", []),
        ([["O", "O"]], "IO", []),
        ([["E-mail", "person", "S-bahn"]], "IO", []),
    ],
)
def test_detection_and_repairs(sequences, scheme, repaired):
    found = detected(sequences)
    assert (found.scheme, found.repaired.tolist()) == (scheme, repaired)


def test_types_that_look_prefixed():
    assert to_bio([["B-cell", "T-cell", "O"]], "IO") == [["B-B-cell", "B-T-cell", "O"]]
    assert to_bio([["E-mail", "E-mail", "name"]]) == [["B-E-mail", "I-E-mail", "B-name"]]
    assert to_bio([["I-x", "I-x", "O", "I-y"]], "IO") == [["B-x", "I-x", "O", "B-y"]]
    assert to_bio([["B-I-95", "I-I-95"]]) == [["B-I-95", "I-I-95"]]


@pytest.mark.parametrize(
    ("tags", "scheme", "expected"),
    [
        ("b-x i-x o b-y", None, "B-x I-x O B-y"),
        ("B_x I_x O B_y", None, "B-x I-x O B-y"),
        ("b_x e_x s_y O", None, "B-x I-x B-y O"),
        ("b-x O b-y", None, "B-x O B-y"),
        ("b-x O b-x", "BIO", "B-x O B-x"),
        ("b-x O b-x", "IO", "B-b-x O B-b-x"),
        # Types with a hyphen, which only look like prefixed ones.
        ("e-mail i-phone i-phone O", None, "B-e-mail B-i-phone I-i-phone O"),
        ("b-cell i-phone person O", None, "B-b-cell B-i-phone B-person O"),
        ("i-phone O i-phone", None, "B-i-phone O B-i-phone"),
        ("b-cell O b-cell", None, "B-b-cell O B-b-cell"),
        ("B_cell T_cell", None, "B-B_cell B-T_cell"),
        ("B-i-phone I-i-phone", None, "B-i-phone I-i-phone"),
    ],
)
def test_prefixes_in_another_spelling(tags, scheme, expected):
    assert to_bio([tags.split()], scheme) == [expected.split()]


@pytest.mark.parametrize(
    ("tags", "scheme", "message"),
    [
        (["b-x", "i-x", "person"], None, "'person' has no scheme prefix"),
        (["B-x", "i-x"], None, "'i-x' has no scheme prefix"),
        (["B_x", "I_x", "L_x", "S_x"], None, "'L_x' does not belong"),
        (["B-x", "person"], None, "'person' has no scheme prefix.*scheme IO"),
        (["B", "I", "O"], None, "'B' names no entity type"),
        (["B-x", "I-"], None, "'I-' names no entity type"),
        (["S-x", "L-x"], None, "'L-x' does not belong"),
        (["B-x", "E-x"], "BIO", "'E-x' does not belong to BIO"),
        (["person"], "BIO", "'person' has no scheme prefix"),
        (["B-O"], None, "type 'O'"),
    ],
)
def test_impossible_tags(tags, scheme, message):
    with pytest.raises(LaclDataError, match=message):
        to_bio([tags], scheme)


def test_unknown_scheme():
    with pytest.raises(ValueError, match="scheme must be one of IO, IOB1, BIO"):
        to_bio([["O"]], "IOBES")


def test_empty_sequences_stay():
    assert to_bio([[], ["B-x"], [], ["I-x"], []]) == [[], ["B-x"], [], ["B-x"], []]
    assert to_bio([]) == [] == io_to_bio([], ["x"])
    assert bio_tags(["x", "y"]) == ["O", "B-x", "I-x", "B-y", "I-y"]
