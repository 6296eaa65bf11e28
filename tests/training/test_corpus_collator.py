"""Prompts of batches from many corpora: each group has the labels of its corpus, in an order of its own."""

import pickle

import numpy as np
import pytest
import torch

from modeling_lacl.data.entity_lines import EntitySentence
from modeling_lacl.data.entity_sequences import sequences_of
from modeling_lacl.data.type_names import TypeName
from modeling_lacl.training.corpora import TrainingCorpus
from modeling_lacl.training.corpus_collator import CorpusDataCollator

SIZE = 4
WIDE = TypeName("place", "place", ("spot",))
TYPES = {
    "news": [
        TypeName("person", "person", ("human", "who it is")),
        TypeName("city", "city", (), (WIDE,)),
        TypeName("land", "land", (), (WIDE,)),
        TypeName("sea", "sea", (), (WIDE,)),
        TypeName("org", "club"),
    ],
    "chat": [TypeName("person", "human", ("person",)), TypeName("dish", "dish"), TypeName("price", "price")],
}
FOREIGN = {"news": [], "chat": [TypeName("gene", "gene"), TypeName("cell", "cell"), TypeName("city", "city")]}


def corpus(name):
    return TrainingCorpus(name, "", "", "", 9, 1.0, TYPES[name], FOREIGN[name], np.array([5]))


@pytest.fixture
def collator(tiny_tokenizer):
    def make(**options):
        settings = {"group_size": SIZE, "labels_per_prompt": 3, "variant_probability": 0.0, **options}
        return CorpusDataCollator(tiny_tokenizer, [corpus(name) for name in TYPES], **settings)

    return make


@pytest.fixture
def rows(tiny_tokenizer):
    """A group of random sentences, most of whose entities are nested in others or overlap them."""

    def make(name, seed=0):
        generator = np.random.default_rng(seed)
        sentences = []
        for length in generator.integers(2, 9, SIZE).tolist():
            words = generator.choice(["ana", "of", "quito", "ruiz", "7"], length).tolist()
            spans = np.sort(generator.integers(0, length + 1, (4, 2)), axis=1)
            kinds = generator.integers(0, len(TYPES[name]), 4)
            entities = [
                (int(first), int(stop), TYPES[name][kind].name)
                for (first, stop), kind in zip(spans, kinds, strict=True)
                if first < stop
            ]
            sentences.append(EntitySentence(words, entities, "here"))
        ids = {one.name: number for number, one in enumerate(TYPES[name], start=1)}
        return sequences_of(sentences, name, ids, tiny_tokenizer, 32)

    return make


def prompts(tokenizer, batch):
    """For each row the names in the order of its prompt, and the label id of each."""
    found = []
    for ids, labels in zip(batch["prompt_ids"], batch["prompt_labels"], strict=True):
        names: dict[int, list[int]] = {}
        for token, label in zip(ids.tolist(), labels.tolist(), strict=True):
            if label >= 0:
                names.setdefault(label, []).append(token)
            else:
                assert token == {-1: tokenizer.sep_token_id, -2: tokenizer.pad_token_id}[label]
        padding = (labels == -2).long()
        assert torch.equal(padding, padding.cummax(0).values)  # at the end alone
        assert int((labels == -1).sum()) == len(names)
        found.append({tokenizer.decode(tokens).replace(" ##", ""): label for label, tokens in names.items()})
    return found


def test_each_row_has_the_labels_of_its_corpus_alone(collator, rows, tiny_tokenizer):
    own = {name: {one.name for one in types} for name, types in TYPES.items()}
    foreign_seen, sizes = set(), set()
    for seed in range(30):
        batch = collator()([*rows("news", seed), *rows("chat", seed), *rows("news", seed + 99)])
        found = prompts(tiny_tokenizer, batch)
        for first, name in ((0, "news"), (SIZE, "chat"), (2 * SIZE, "news")):
            group = found[first : first + SIZE]
            assert all(list(one.items()) == list(group[0].items()) for one in group)
            names = set(group[0]) - {"none"}
            assert group[0]["none"] == 0
            allowed = {one.name for one in FOREIGN[name]}
            assert names <= own[name] | allowed
            assert len(names & own[name]) == 3
            foreign_seen |= names - own[name] if name == "chat" else set()
            sizes.add(len(names - own[name]))
        # A name is one class in all groups, and so are two names of one class.
        classes: dict[str, int] = {}
        for one in found:
            for text, label in one.items():
                key = "person" if text == "human" else text
                assert classes.setdefault(key, label) == label
        assert sorted(classes.values()) == list(range(len(classes)))
    assert foreign_seen == {"gene", "cell", "city"} and sizes == {0, 1, 2, 3}


def test_labels_and_entities_are_those_of_what_was_drawn(collator, rows):
    collate = collator()
    for seed in range(20):
        groups = [rows("news", seed), rows("chat", seed)]
        batch = collate([*groups[0], *groups[1]])
        assert batch["entities"].shape[::2] == (2 * SIZE, 3)
        ids = {"": 0}
        for number, group in enumerate(groups):
            drawn = collate.draw(group)
            for key in drawn.keys:
                ids.setdefault(key, len(ids))
            for position, sequence in enumerate(group):
                row = number * SIZE + position
                name = sequence["corpus"]
                kept = {
                    (first, last, ids[TYPES[name][label - 1].key])
                    for first, last, label in sequence["entities"]
                    if TYPES[name][label - 1].key in drawn.keys
                }
                found = [tuple(one) for one in batch["entities"][row].tolist() if one[0] >= 0]
                assert set(found) == kept and len(found) == len(kept)
                rest = batch["entities"][row][len(found) :]
                assert bool((rest == -1).all())
                labels = batch["labels"][row]
                words = labels[labels >= 0].tolist()
                assert len(words) == sum(label >= 0 for label in sequence["labels"])
                for word, label in enumerate(words):
                    around = [(last - first, one) for first, last, one in kept if first <= word <= last]
                    longest = max(around, default=(0, 0))[0]
                    assert label in ({one for size, one in around if size == longest} or {0})


def test_types_that_occur_come_first(collator, rows):
    collate = collator()
    for seed in range(20):
        group = rows("news", seed)
        occurring = {TYPES["news"][label - 1].key for row in group for *_, label in row["entities"]}
        drawn = set(collate.draw(group).keys) - {""}
        assert len(drawn & occurring) == min(3, len(occurring))


def test_the_number_of_labels_is_drawn(collator, rows):
    collate = collator(labels_per_prompt=5)
    numbers = {len(collate.draw(rows("news", seed)).keys) - 1 for seed in range(40)}
    assert numbers == {3, 4, 5}
    assert {len(collator(labels_per_prompt=2).draw(rows("news", seed)).keys) for seed in range(9)} == {3}


def test_other_wordings_are_drawn_for_each_group(collator, rows):
    drawn = [collator(variant_probability=0.5).draw(rows("news", seed)) for seed in range(60)]
    names = [name for one in drawn for key, name in zip(one.keys, one.names, strict=True) if key == "person"]
    assert set(names) == {"person", "human", "who it is"}
    assert 0.3 < names.count("person") / len(names) < 0.7


def test_a_coarser_name_merges_its_types(collator, rows):
    collate = collator(coarse_probability=1.0)
    for seed in range(10):
        drawn = collate.draw(rows("news", seed))
        assert not {"city", "land", "sea"} & set(drawn.keys)
        place = drawn.keys.index("place")  # one of three labels, of three
        assert {drawn.lookup[label] for label in (2, 3, 4)} == {place}


def test_a_prompt_is_not_too_long(collator, rows):
    # "none" and its separator, three names of at most 6 tokens, and what is left is too short for any.
    collate = collator(max_prompt_length=13, labels_per_prompt=5, foreign_labels=3, variant_probability=0.5)
    widths = {
        collate([*rows("news", seed), *rows("chat", seed)])["prompt_ids"].shape[1] for seed in range(20)
    }
    assert max(widths) <= 13 and len(widths) > 1
    with pytest.raises(ValueError, match="news: the name 'person' has .* too many for a prompt of 3"):
        collator(max_prompt_length=3)


def test_a_batch_depends_on_seed_and_content_alone(collator, rows):
    def same(one, other):
        return all(torch.equal(one[key], other[key]) for key in one)

    batch = [*rows("news"), *rows("chat")]
    collate = pickle.loads(pickle.dumps(collator(variant_probability=0.5)))
    first = collate(batch)
    collate([*rows("chat", 5), *rows("news", 6)])
    assert same(first, collate(batch)) and same(first, collator(variant_probability=0.5)(batch))
    others = [collator(variant_probability=0.5, seed=seed)(batch) for seed in range(1, 6)]
    assert not all(
        other["prompt_ids"].shape == first["prompt_ids"].shape and same(first, other) for other in others
    )


def test_a_model_of_words_gets_no_entities(collator, rows):
    batch = collator(entities=False)(rows("news"))
    assert set(batch) == {"input_ids", "attention_mask", "labels", "prompt_ids", "prompt_labels"}


def test_a_batch_without_any_entity(collator, tiny_tokenizer):
    bare = sequences_of([EntitySentence(["ana"], [], "here")] * SIZE, "chat", {}, tiny_tokenizer, 9)
    assert collator()(bare)["entities"].shape[0] == SIZE


def test_groups_that_are_none(collator, rows):
    with pytest.raises(ValueError, match="a group of 4 sequences is from chat and news"):
        collator()([*rows("news")[:2], *rows("chat")])


def test_names_with_the_same_tokens(tiny_tokenizer):
    twice = [TypeName("a", "City"), TypeName("b", "city")]
    bad = TrainingCorpus("web", "", "", "", 9, 1.0, twice, [], np.array([5]))
    with pytest.raises(ValueError, match="web: the types 'City' and 'city' have the same tokens"):
        CorpusDataCollator(tiny_tokenizer, [bad])
    outside = TrainingCorpus("web", "", "", "", 9, 1.0, [TypeName("none", "None")], [], np.array([5]))
    with pytest.raises(ValueError, match=r"the types 'none \(outside\)' and 'None'"):
        CorpusDataCollator(tiny_tokenizer, [outside])
