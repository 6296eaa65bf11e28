"""How often adapting goes over the support set: one reading, one tokenising, one Dataset of each."""

from contextlib import contextmanager
from unittest.mock import patch

import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from modeling_lacl import adapt, add_types, read_dataset
from modeling_lacl.data import building

SUPPORT = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "the cessna in York".split(), "ner_tags": "O B-plane O B-town".split()},
]
SENTENCES = [" ".join(example["tokens"]) for example in SUPPORT]


@contextmanager
def counted():
    """Counts tokenizer calls by what they are given, and Datasets that are built."""
    texts: list[list[str]] = []
    datasets: list[str] = []
    call, from_dict, build = PreTrainedTokenizerFast.__call__, Dataset.from_dict, building.build

    def counting_call(self, text, *args, **kwargs):
        texts.append([text] if isinstance(text, str) else list(text))
        return call(self, text, *args, **kwargs)

    def counting_from_dict(*args, **kwargs):
        datasets.append("from_dict")
        return from_dict(*args, **kwargs)

    def counting_build(*args, **kwargs):
        datasets.append("build")
        return build(*args, **kwargs)

    with (
        patch.object(PreTrainedTokenizerFast, "__call__", counting_call),
        patch.object(Dataset, "from_dict", counting_from_dict),
        patch("modeling_lacl.data.reading.build", counting_build),
    ):
        yield texts, datasets


@pytest.mark.parametrize("steps", [0, 2])
def test_adapting_reads_and_tokenises_once(tiny_model, steps):
    with counted() as (texts, datasets):
        adapt(tiny_model, SUPPORT, steps=steps)
    names = ["none", "pilot", "town", "plane"]
    # The names once for the model and, where it trains, once for the collator.
    assert [sorted(one.strip() for one in given) for given in texts if given != SENTENCES] == [
        sorted(names)
    ] * (2 if steps else 1)
    assert texts.count(SENTENCES) == 1
    assert datasets == ["build", "from_dict"]  # the sentences as read, and as model input


def test_what_is_read_already_is_not_read_again(tiny_model):
    dataset = read_dataset(SUPPORT)
    with counted() as (texts, datasets):
        adapt(tiny_model, dataset, steps=0)
    assert texts.count(SENTENCES) == 1 and datasets == ["from_dict"]
    with counted() as (_, datasets):
        assert read_dataset(dataset).to_list() == dataset.to_list()
    assert datasets == []


def test_adding_types_reads_and_tokenises_once(tiny_model):
    ner = adapt(tiny_model, SUPPORT, steps=0)
    with counted() as (texts, datasets):
        add_types(ner, [{"tokens": ["a", "play"], "ner_tags": ["O", "B-work"]}])
    assert texts.count(["a play"]) == 1 and len(texts) == 2 and datasets == ["build", "from_dict"]


def test_a_call_with_support_reads_and_tokenises_once(tiny_model):
    with counted() as (texts, datasets):
        tiny_model.predict("Ana flew home.", support=SUPPORT)
    assert texts.count(SENTENCES) == 1 and len(texts) == 3 and datasets == ["build", "from_dict"]


def test_prompts_are_made_once_for_a_label_set(tiny_model):
    with patch("modeling_lacl.model.labels_lacl.build_prompt", side_effect=AssertionError("made again")):
        with pytest.raises(AssertionError, match="made again"):
            tiny_model.predict("Ana flew home.")
    prompts = tiny_model.label_prompts
    with patch("modeling_lacl.model.labels_lacl.build_prompt", side_effect=AssertionError("made again")):
        tiny_model.predict(["Ana flew home.", "Quito"] * 40)
    assert tiny_model.label_prompts is prompts
    tiny_model.set_labels(["ship"])
    assert tiny_model.label_prompts is not prompts
