"""The label set of a batch: sampled, shuffled and named in the prompt, and the labels renumbered by it."""

import pickle

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from modeling_lacl.data.sampling import sample_label_set
from modeling_lacl.training.collator import LaclDataCollator, remap_labels

NAMES = ["none", "person", "location", "creative work", "ship", "plane", "game"]
COARSE = {"ship": "product", "plane": "product", "game": "product", "person": "person"}


def read(tokenizer, ids):
    return tokenizer.decode(ids).replace(" ##", "")


def make_features(seed=0, rows=6, types=6):
    generator = np.random.default_rng(seed)
    lengths = generator.integers(3, 9, rows)
    return [
        {
            "input_ids": generator.integers(5, 60, length).tolist(),
            "attention_mask": [1] * length,
            "labels": [-100, *generator.integers(-1, types + 1, length - 2).clip(-100).tolist(), -100],
            "tokens": ["dropped"],
        }
        for length in lengths.tolist()
    ]


@given(
    number=st.integers(1, 12),
    size=st.one_of(st.none(), st.integers(1, 14)),
    share=st.floats(0, 1),
    probability=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 2**32),
    data=st.data(),
)
def test_a_sampled_label_set_is_sound(number, size, share, probability, seed, data):
    names = ["none", *(f"type {i}" for i in range(number))]
    groups = data.draw(st.dictionaries(st.sampled_from(names[1:]), st.sampled_from(["a", "b", "c"])))
    present = data.draw(st.sets(st.integers(1, number)))
    sampled = sample_label_set(
        names,
        present,
        np.random.default_rng(seed),
        size=size,
        present_share=share,
        coarse_names=groups,
        coarse_probability=probability,
    )
    assert sampled.names[0] == "none" and len(set(sampled.names)) == len(sampled.names)
    assert sorted(sampled.order) == list(range(len(sampled.names)))
    assert sampled.lookup[0] == 0
    for label, new in enumerate(sampled.lookup.tolist()):
        if new:
            assert sampled.names[new] in (names[label], groups.get(names[label]))
    # Types in one label share a group, and a label without a type does not exist.
    assert set(sampled.lookup.tolist()) == set(range(len(sampled.names)))
    if probability == 0:
        wanted = number if size is None else min(size, number)
        assert len(sampled.names) == wanted + 1
        found = sum(1 for label in present if sampled.lookup[label])
        assert found >= min(len(present), round(share * wanted))
    if probability == 1:
        assert not set(groups) & set(sampled.names)


def test_present_types_fill_their_share_and_the_rest_is_sampled_from_all():
    names = ["none", *(f"type {i}" for i in range(1, 41))]
    present = {1, 2, 3, 4, 5, 6, 7, 8}
    counts = []
    for seed in range(200):
        sampled = sample_label_set(names, present, np.random.default_rng(seed), size=10, present_share=0.5)
        counts.append(sum(1 for label in present if sampled.lookup[label]))
    # 5 for certain, and of the other 5 slots, sampled among 35 types, 3 in 35.
    assert min(counts) == 5
    assert np.mean(counts) == pytest.approx(5 + 5 * 3 / 35, abs=0.15)


def test_every_type_and_every_position_in_the_prompt_is_sampled():
    label_sets = [sample_label_set(NAMES, [], np.random.default_rng(seed), size=2) for seed in range(200)]
    assert {name for sampled in label_sets for name in sampled.names} == set(NAMES)
    assert {sampled.order.index(0) for sampled in label_sets} == {0, 1, 2}


def test_a_coin_for_each_group():
    both = set()
    for seed in range(64):
        sampled = sample_label_set(
            ["none", "a", "b", "c", "d"],
            [],
            np.random.default_rng(seed),
            size=None,
            coarse_names={"a": "x", "b": "x", "c": "y", "d": "y"},
            coarse_probability=0.5,
        )
        both.add((int(sampled.lookup[1] == sampled.lookup[2]), int(sampled.lookup[3] == sampled.lookup[4])))
    assert both == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_remap_labels_against_a_loop():
    lookup = torch.tensor([0, 3, 0, 1, 2])
    labels = torch.tensor([[-100, 0, 1, 2, 3, 4, -1], [4, 4, -100, 2, 1, 0, 0]])
    expected = [[label if label < 0 else lookup[label].item() for label in row] for row in labels.tolist()]
    assert remap_labels(labels, lookup).tolist() == expected


def test_a_batch(tiny_tokenizer):
    features = make_features()
    collator = LaclDataCollator(tiny_tokenizer, NAMES, labels_per_prompt=4)
    batch = collator(features)
    assert set(batch) == {"input_ids", "attention_mask", "labels", "prompt_ids", "prompt_labels"}
    sampled = collator.sample_label_set(
        features, torch.tensor([label for row in features for label in row["labels"]])
    )
    length = max(len(row["input_ids"]) for row in features)
    for i, row in enumerate(features):
        size = len(row["input_ids"])
        assert batch["input_ids"][i].tolist() == row["input_ids"] + [tiny_tokenizer.pad_token_id] * (
            length - size
        )
        assert batch["attention_mask"][i].tolist() == [1] * size + [0] * (length - size)
        expected = [label if label < 0 else int(sampled.lookup[label]) for label in row["labels"]]
        assert batch["labels"][i].tolist() == expected + [-100] * (length - size)
    assert all(tensor.dtype == torch.long for tensor in batch.values())

    ids, labels = batch["prompt_ids"][0].tolist(), batch["prompt_labels"][0].tolist()
    assert (batch["prompt_ids"] == batch["prompt_ids"][0]).all() and len(batch["prompt_ids"]) == len(features)
    assert [label == -1 for label in labels] == [token == tiny_tokenizer.sep_token_id for token in ids]
    names = [
        read(tiny_tokenizer, [token for token, its in zip(ids, labels, strict=True) if its == label])
        for label in range(5)
    ]
    assert names == list(sampled.names)
    text = "".join(f"{names[label]} [SEP] " for label in sampled.order)
    assert read(tiny_tokenizer, ids) == text.strip()


def test_label_names_have_the_tokens_that_the_model_gives_them(tiny_tokenizer, tiny_model):
    names = list(tiny_model.config.label_names.values())
    collator = LaclDataCollator(tiny_tokenizer, names)
    assert [collator.name_ids[name] for name in names] == tiny_model.config.label_token_ids


def test_the_model_learns_from_a_batch(tiny_tokenizer, tiny_model):
    output = tiny_model(**LaclDataCollator(tiny_tokenizer, NAMES, labels_per_prompt=3)(make_features()))
    assert torch.isfinite(output.loss) and output.logits.shape[-1] == 4


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_the_label_set_depends_on_the_seed_and_the_batch_alone(tiny_tokenizer):
    features = make_features()
    collator = LaclDataCollator(tiny_tokenizer, NAMES, labels_per_prompt=3, seed=7)
    first = collator(features)
    collator(make_features(seed=1))
    np.random.seed(3)
    torch.manual_seed(3)
    assert same(first, collator(features))
    assert same(first, pickle.loads(pickle.dumps(collator))(features))
    sampled = {tuple(collator(make_features(seed=i))["prompt_ids"][0].tolist()) for i in range(8)}
    assert len(sampled) > 4
    by_seed = {
        tuple(
            LaclDataCollator(tiny_tokenizer, NAMES, labels_per_prompt=3, seed=i)(features)["prompt_ids"][
                0
            ].tolist()
        )
        for i in range(8)
    }
    assert len(by_seed) > 4


def test_batches_are_the_same_in_worker_processes(tiny_tokenizer):
    dataset = Dataset.from_list(make_features(rows=8))
    collator = LaclDataCollator(tiny_tokenizer, NAMES, labels_per_prompt=3)
    alone, with_workers = (
        list(DataLoader(dataset, batch_size=4, collate_fn=collator, num_workers=workers))
        for workers in (0, 1)
    )
    assert all(same(a, b) for a, b in zip(alone, with_workers, strict=True))


def test_left_padding(make_tiny_model, tiny_tokenizer):
    left = pickle.loads(pickle.dumps(tiny_tokenizer))
    left.padding_side = "left"
    features = make_features()
    right_batch = LaclDataCollator(tiny_tokenizer, NAMES)(features)
    left_batch = LaclDataCollator(left, NAMES)(features)
    mask_left, mask_right = left_batch["attention_mask"].bool(), right_batch["attention_mask"].bool()
    assert torch.equal(left_batch["labels"][mask_left], right_batch["labels"][mask_right])
    assert not mask_left[:, 0].all() and mask_left[:, -1].all()
    assert (left_batch["labels"][~mask_left] == -100).all()


def test_an_episode_names_its_own_types(tiny_tokenizer):
    features = make_features(types=3)
    for row in features:
        row["labels"] = [0 if label == 2 else label for label in row["labels"]]
    collator = LaclDataCollator(tiny_tokenizer, NAMES, episodic=True, labels_per_prompt=1)
    names = set(read(tiny_tokenizer, collator(features)["prompt_ids"][0]).split(" [SEP]"))
    assert {name.strip() for name in names} - {""} == {"none", "person", "creative work"}


def test_types_within_others_occur_in_the_batch(tiny_tokenizer):
    """A plane within a person: the label of the word is that of the longer entity."""
    row = {"input_ids": [2, 5, 6, 3], "attention_mask": [1] * 4, "labels": [-100, 1, 1, -100]}
    collator = LaclDataCollator(tiny_tokenizer, NAMES, labels_per_prompt=2, present_share=1.0)
    batch = collator([{**row, "entities": [[0, 1, 1], [0, 0, 5]]}])
    assert (batch["entities"] > -1).all() and batch["prompt_labels"].max() == 2
    names = read(tiny_tokenizer, batch["prompt_ids"][0])
    assert "person" in names and "plane" in names


def test_a_batch_without_entities_names_outside(tiny_tokenizer):
    features = [{"input_ids": [5, 6], "attention_mask": [1, 1], "labels": [0, -100]}]
    batch = LaclDataCollator(tiny_tokenizer, NAMES, episodic=True)(features)
    assert batch["prompt_labels"].unique().tolist() == [-1, 0]
    assert batch["labels"].tolist() == [[0, -100]]


def test_coarse_names_become_one_label(tiny_tokenizer):
    collator = LaclDataCollator(
        tiny_tokenizer, NAMES, labels_per_prompt=None, coarse_names=COARSE, coarse_probability=1.0
    )
    features = [{"input_ids": [5, 6, 7, 8], "attention_mask": [1] * 4, "labels": [4, 5, 6, 1]}]
    labels = collator(features)["labels"][0].tolist()
    assert labels[0] == labels[1] == labels[2] != labels[3]
    text = read(tiny_tokenizer, collator(features)["prompt_ids"][0])
    assert "product" in text and "ship" not in text and text.count("person") == 1


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["none", "person", "Person"], {}, "labels 1 and 2 share the label name 'Person'"),
        (["none", "a", "b"], {"labels_per_prompt": 0}, "labels_per_prompt is 0"),
        (["none", "a", "b"], {"coarse_probability": 1.5}, "coarse_probability is 1.5"),
        (["none", "a", "b"], {"present_share": -0.1}, "present_share is -0.1"),
        (
            ["none", "a", "b"],
            {"coarse_names": {"a": "b"}},
            "coarse name 'b' of 'a' is also the name of label 2",
        ),
        (["none", "a", "b"], {"coarse_names": {"a": "none"}}, "is also the name of label 0"),
        (["none", "a", "b"], {"max_prompt_length": 5}, "a prompt of 3 labels may have 6 tokens"),
        (
            ["none", "a b c", "d e f"],
            {"labels_per_prompt": 1, "max_prompt_length": 5},
            "a prompt of 2 labels may have 6 tokens",  # outside, 2, and one of the others, 4
        ),
    ],
)
def test_bad_arguments(tiny_tokenizer, names, options, message):
    with pytest.raises(ValueError, match=message):
        LaclDataCollator(tiny_tokenizer, names, **options)
