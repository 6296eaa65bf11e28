"""The Hugging Face pipelines: the same entities as `model.predict`, however they are made."""

import json
import re
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor
from transformers import BertConfig, BertForTokenClassification, BertModel, PreTrainedTokenizerFast
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset
from transformers.pipelines.token_classification import AggregationStrategy, TokenClassificationPipeline

import modeling_lacl
from modeling_lacl import LaclForTokenClassification, read_dataset
from modeling_lacl.model.pipeline_lacl import (
    STRATEGIES,
    TASK,
    LaclPipeline,
    LaclTokenClassificationPipeline,
)
from modeling_lacl.model.words_lacl import split_words
from modeling_lacl.registration import register_pipelines as register

pipeline: Any = transformers.pipeline  # its type knows the built-in tasks alone
TEXT = "Ana Ruiz flew to Quito on a Cessna 172."


@pytest.fixture
def tagger(tiny_model):
    return LaclPipeline(tiny_model, device="cpu")


def test_same_as_predict_for_every_kind_of_input(tagger, tiny_model):
    words = TEXT.split()
    assert tagger(TEXT) == tiny_model.predict(TEXT) != []
    assert tagger([TEXT, ""]) == tiny_model.predict([TEXT, ""])
    assert tagger([]) == []
    assert list(tagger(Dataset.from_dict({"text": [TEXT, ""]})["text"])) == tiny_model.predict([TEXT, ""])
    rows: Any = Dataset.from_dict({"text": [TEXT, ""]})
    assert list(tagger(KeyDataset(rows, "text"))) == tiny_model.predict([TEXT, ""])
    assert list(tagger(iter([TEXT, ""]))) == tiny_model.predict([TEXT, ""])
    assert tagger(words, is_split_into_words=True) == tiny_model.predict(words, is_split_into_words=True)


def test_workers_are_taken_as_by_every_pipeline(tagger, standard):
    for pipe in (tagger, standard):
        assert pipe([TEXT, ""], num_workers=2, batch_size=1) == pipe([TEXT, ""], batch_size=1) != []
        with pytest.raises(TypeError, match="positional"):
            pipe(TEXT, TEXT)


def test_a_generator_streams(tagger):
    texts = iter([TEXT] * 100)
    found = tagger((text for text in texts), batch_size=1)
    next(found)
    assert len(list(texts)) > 0


def test_arguments_of_the_call_go_before_those_of_the_constructor(tiny_model):
    strict = LaclPipeline(tiny_model, device="cpu", threshold=1.0, labels=["place"], batch_size=2)
    assert strict(TEXT) == []
    assert strict(TEXT, threshold=0.0) == tiny_model.predict(TEXT, labels=["place"]) != []
    with pytest.raises(ValueError, match="batch_size is 0"):
        strict(TEXT, batch_size=0)


def test_none_is_as_if_not_given(tiny_model):
    nothing = dict.fromkeys(("is_split_into_words", "labels", "support", "threshold", "overlap", "stride"))
    text = "Ana Ruiz flew to Quito."
    tagger = pipeline("few-shot-ner", model=tiny_model, device="cpu", **nothing)
    assert tagger(text, **nothing) == tiny_model.predict(text)
    tagger = LaclPipeline(tiny_model, labels=["ship"])
    assert tagger(text, **nothing) == tiny_model.predict(text, labels=["ship"])


def test_unknown_arguments_are_named(tagger, tiny_model):
    with pytest.raises(TypeError, match="aggregation_strategy"):
        tagger(TEXT, aggregation_strategy="first")
    with pytest.raises(TypeError, match="aggregation_strategy"):
        LaclPipeline(tiny_model, aggregation_strategy="first")


def test_built_by_task_name_from_a_model_or_a_folder(tiny_model, tmp_path):
    register()
    expected = tiny_model.predict(TEXT)
    from_model = pipeline(TASK, model=tiny_model, device="cpu")
    assert type(from_model) is LaclPipeline and from_model(TEXT) == expected
    tiny_model.save_pretrained(tmp_path)
    from_folder = pipeline(TASK, model=str(tmp_path), device="cpu", threshold=0.0)
    assert type(from_folder) is LaclPipeline and from_folder(TEXT) == expected


def test_saved_with_its_model_and_tokenizer(tagger, tmp_path):
    register()
    tagger.save_pretrained(tmp_path)
    again = pipeline(TASK, model=str(tmp_path), device="cpu", trust_remote_code=True)
    assert again(TEXT) == tagger(TEXT)


def test_registering_twice_is_silent(caplog):
    register()
    register()
    assert PIPELINE_REGISTRY.check_task(TASK)[1]["impl"] is LaclPipeline
    assert not caplog.records


def test_a_model_without_a_tokenizer_says_so(tiny_model):
    tiny_model._tokenizer = None
    with pytest.raises(ValueError, match="no tokenizer"):
        LaclPipeline(tiny_model)


SAMPLE = Path(modeling_lacl.__file__).with_name("samples") / "wnut17_test.txt"


@pytest.fixture(scope="module")
def sentences():
    """Real sentences, with all that people write in them."""
    return [" ".join(words) for words in read_dataset(SAMPLE)["tokens"]][:150]


@pytest.fixture(scope="module")
def model(make_tiny_model):
    return make_tiny_model()


@pytest.fixture(scope="module")
def standard(model):
    return LaclTokenClassificationPipeline(model, device="cpu")


@pytest.fixture(scope="module")
def of_bytes():
    """A pipeline with a tokenizer of the RoBERTa and GPT-2 kind."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<pad>", "<s>", "</s>"]
    backend = Tokenizer(models.BPE({token: index for index, token in enumerate([*special, *alphabet])}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="<pad>", cls_token="<s>", sep_token="</s>"
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        initializer_range=0.5,
    )
    encoder = BertModel(config, add_pooling_layer=False)
    model = LaclForTokenClassification.from_encoder(encoder, tokenizer, ["ship", "big-city"])
    return LaclTokenClassificationPipeline(model, device="cpu")


def logits_of(pipeline, text):
    """(T, K) probabilities of a text's tokens, special ones too, and their offsets."""
    encoded = pipeline.tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
    offsets = encoded.pop("offset_mapping")[0].tolist()
    with torch.inference_mode():
        logits = pipeline.model(encoded["input_ids"], encoded["attention_mask"]).logits[0]
    return logits.softmax(dim=-1), offsets


def without(entities, *keys):
    return [{key: value for key, value in one.items() if key not in keys} for one in entities]


class TestTokenClassification:
    @pytest.mark.parametrize("viterbi", [False, True])
    def test_by_first_it_gives_what_few_shot_ner_gives(self, make_tiny_model, sentences, viterbi):
        transitions = {
            "start": {"O": 0.9, "I": 0.1},
            "O": {"O": 0.9, "I": 0.1},
            "I": {"O": 0.3, "same": 0.6, "other": 0.1},
        }
        model = make_tiny_model(viterbi=viterbi, transitions=transitions)
        standard = LaclTokenClassificationPipeline(model, device="cpu", aggregation_strategy="first")
        found = standard(sentences)
        assert found == LaclPipeline(model, device="cpu")(sentences)
        assert {entity["entity_group"] for text in found for entity in text} == {
            "person",
            "location",
            "creative-work",
        }

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_labels_are_whole_words_are_of_the_text_and_numbers_are_plain(
        self, standard, sentences, strategy
    ):
        found = standard(sentences, aggregation_strategy=strategy)
        assert json.loads(json.dumps(found)) == found
        label = "entity" if strategy == "none" else "entity_group"
        seen = set()
        for text, entities in zip(sentences, found, strict=True):
            end = 0
            for entity in entities:
                keys = {label, "score", "word", "start", "end"} | ({"index"} if strategy == "none" else set())
                assert entity.keys() == keys
                assert end <= entity["start"] < entity["end"] and type(entity["score"]) is float
                assert text[entity["start"] : entity["end"]] == entity["word"] == entity["word"].strip()
                end = entity["end"]
                seen.add(entity[label])
        assert seen == {"person", "location", "creative-work"}

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_as_the_standard_pipeline_where_that_can_tell_words(self, make_tiny_model, sentences, strategy):
        """Its words are those between spaces, and its labels have no hyphen."""
        # In double precision: two labels that are equal in single precision could go either way.
        model = make_tiny_model(("person", "location", "work")).double()
        words = [re.findall("[A-Za-z]+", text) for text in sentences]
        texts = [" ".join(one)[:90].strip() for one in words if one]
        of_transformers = TokenClassificationPipeline(model=model, tokenizer=model.tokenizer, device="cpu")
        expected: Any = of_transformers(texts, aggregation_strategy=strategy)
        found = LaclTokenClassificationPipeline(model, device="cpu")(texts, aggregation_strategy=strategy)
        for ours, theirs in zip(found, expected, strict=True):
            assert without(ours, "score", "word") == without(theirs, "score", "word")
            scores = [one["score"] for one in theirs]
            assert [one["score"] for one in ours] == pytest.approx(scores, abs=1e-5)
        assert sum(map(len, found)) > 200

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_a_long_text_is_read_to_its_end(self, standard, sentences, strategy):
        text = " ".join(sentences[:25])
        found = standard(text, aggregation_strategy=strategy, ignore_labels=[])
        covered = np.zeros(len(text), dtype=int)
        for entity in found:
            covered[entity["start"] : entity["end"]] += 1
        visible = np.array([not letter.isspace() for letter in text])
        assert (covered[visible] == 1).all() and len(text) > 1000
        entity = "entity" if strategy == "none" else "entity_group"
        inside = standard(text, aggregation_strategy=strategy)
        assert inside == [one for one in found if one[entity] != "O"] != []
        if strategy == "none":
            tokens = standard.tokenizer(text, verbose=False)["input_ids"]
            assert [one["index"] for one in found] == list(range(1, len(tokens) - 1))

    def test_takes_every_kind_of_input_that_the_standard_pipeline_takes(self, standard, sentences):
        texts = sentences[:12]
        dataset = Dataset.from_dict({"text": texts})
        expected = standard(texts)
        assert without(standard(texts[0]), "score") == without(expected[0], "score")
        assert standard(tuple(texts)) == expected
        for stream in (
            (text for text in texts),
            KeyDataset(dataset, "text"),
            dataset["text"],
            (row["text"] for row in dataset.to_iterable_dataset()),
        ):
            found = standard(stream)
            assert not isinstance(found, list) and list(found) == expected
        # Batches of other sizes round otherwise.
        for batch_size in (1, 5):
            close = standard(texts, batch_size=batch_size, num_workers=1)
            for ours, theirs in zip(close, expected, strict=True):
                assert without(ours, "score") == without(theirs, "score")
        rest = iter(texts * 20)
        next(standard((text for text in rest), batch_size=1))
        assert len(list(rest)) > 100
        with pytest.raises(TypeError, match=r"inputs\[0\] has the keys \['text'\]: give one column"):
            list(standard(dataset))

    @pytest.mark.parametrize("strategy", STRATEGIES)
    @settings(max_examples=40, deadline=None)
    @given(text=st.text(max_size=60))
    @example(text="서울 空港 é")  # several tokens a letter, of different types
    def test_any_text_with_a_tokenizer_of_bytes(self, of_bytes, strategy, text):
        """Where a letter may have several tokens, and a space belongs to the next word's first."""
        found = of_bytes(text, aggregation_strategy=strategy, ignore_labels=[])
        places = [(one["start"], one["end"]) for one in found]
        assert all(text[one["start"] : one["end"]] == one["word"] for one in found)
        assert all(one["word"] == one["word"].strip(" \n\t\u00a0") for one in found)
        assert all(start < end for start, end in places) and places == sorted(places)
        covered = {place for start, end in places for place in range(start, end)}
        if strategy in ("none", "simple"):  # the others have words, and none of what is not seen
            assert covered >= {place for place, letter in enumerate(text) if not letter.isspace()}
        else:
            assert covered >= {place for start, end in split_words(text) for place in range(start, end)}
        if strategy != "none":
            assert all(before[1] <= after[0] for before, after in pairwise(places))
        if strategy == "none" and text.split() == [text]:
            assert [one["index"] for one in found] == list(range(1, len(text.encode()) + 1))

    @settings(max_examples=40, deadline=None)
    @given(text=st.text(st.sampled_from("aé €東𝄞x."), min_size=1, max_size=12))
    def test_each_byte_has_its_own_scores(self, of_bytes, text):
        """By the model's logits; bytes of one character share their offsets."""
        probabilities, offsets = logits_of(of_bytes, text)
        names = of_bytes.model.config.id2label
        tokens = [place for place, (start, end) in enumerate(offsets) if text[start:end].strip()]
        by_token = of_bytes(text, ignore_labels=[])
        assert [one["index"] for one in by_token] == tokens
        assert [one["entity"] for one in by_token] == [
            names[int(probabilities[at].argmax())] for at in tokens
        ]
        scores = [float(probabilities[at].max()) for at in tokens]
        assert [one["score"] for one in by_token] == pytest.approx(scores, abs=1e-5)

        # The bytes of a character have the label of the first.
        letters = {offsets[at][0]: names[int(probabilities[at].argmax())] for at in reversed(tokens)}
        simple = of_bytes(text, aggregation_strategy="simple", ignore_labels=[])
        places = [place for one in simple for place in range(one["start"], one["end"]) if place in letters]
        assert places == sorted(letters)
        assert [one["entity_group"] for one in simple] == [
            label for label, _ in groupby(letters[place] for place in places)
        ]

        of_words: dict[str, list[tuple[str, float]]] = {"max": [], "average": []}
        for start, end in split_words(text):
            own = probabilities[[at for at in tokens if offsets[at][0] < end and start < offsets[at][1]]]
            best = own[int(own.max(dim=1).values.argmax())]
            for strategy, row in (("max", best), ("average", own.mean(dim=0))):
                of_words[strategy].append((names[int(row.argmax())], float(row.max())))
        for strategy, words in of_words.items():
            runs = [(label, list(group)) for label, group in groupby(words, key=lambda word: word[0])]
            found = of_bytes(text, aggregation_strategy=strategy, ignore_labels=[])
            assert [one["entity_group"] for one in found] == [label for label, _ in runs]
            scores = [sum(score for _, score in group) / len(group) for _, group in runs]
            assert [one["score"] for one in found] == pytest.approx(scores, abs=1e-5)

    def test_each_byte_of_a_long_text_is_read_in_a_window_that_goes_well_beyond_it(self, of_bytes):
        text = "é €東 👍x. " * 10
        tokenizer, stride = of_bytes.tokenizer, 8
        whole = tokenizer(text, return_offsets_mapping=True)
        found = of_bytes(text, ignore_labels=[], stride=stride)
        visible = [at for at, (start, end) in enumerate(whole["offset_mapping"]) if text[start:end].strip()]
        assert [one["index"] for one in found] == visible
        length = of_bytes.model.max_sequence_length
        content, room = whole["input_ids"][1:-1], length - 2
        assert len(content) > 3 * room
        candidates: dict[int, list[tuple[int, Tensor]]] = {}
        for start in range(0, len(content), room - stride):
            part = content[start : start + room]
            with torch.inference_mode():
                logits = of_bytes.model(torch.tensor([[1, *part, 2]])).logits[0].softmax(dim=-1)
            for place in range(len(part)):
                before = place if start else len(content)
                after = len(part) - 1 - place if start + room < len(content) else len(content)
                candidates.setdefault(start + place + 1, []).append((min(before, after), logits[place + 1]))
            if start + room >= len(content):
                break
        for one in found:
            row = max(candidates[one["index"]], key=lambda candidate: candidate[0])[1]
            assert one["entity"] == of_bytes.model.config.id2label[int(row.argmax())]
            assert one["score"] == pytest.approx(float(row.max()), abs=1e-5)

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_words_that_are_given_as_a_list(self, standard, strategy):
        words = TEXT.split()
        found = standard(words, is_split_into_words=True, aggregation_strategy=strategy)
        assert found and all(TEXT[one["start"] : one["end"]] == one["word"] for one in found)
        assert standard([words], is_split_into_words=True, aggregation_strategy=strategy) == [found]
        joined = "".join(words)
        close = standard(
            words, is_split_into_words=True, delimiter="", aggregation_strategy=strategy, ignore_labels=[]
        )
        assert all(joined[one["start"] : one["end"]] == one["word"] for one in close)
        if strategy in ("first", "average", "max"):
            borders = set(np.cumsum([0, *map(len, words)]).tolist())
            assert {one["start"] for one in close} | {one["end"] for one in close} <= borders

    def test_other_types_and_a_threshold(self, standard, model):
        found = standard(TEXT, labels=["place"], threshold=0.6, aggregation_strategy="first")
        assert found == model.predict(TEXT, labels=["place"], threshold=0.6)
        tokens = standard(TEXT, threshold=0.6)
        assert tokens == [one for one in standard(TEXT) if one["score"] >= 0.6]

    def test_strategies_by_any_of_their_names(self, model, standard):
        expected = standard(TEXT, aggregation_strategy="max")
        assert standard(TEXT, aggregation_strategy=AggregationStrategy.MAX) == expected
        assert LaclTokenClassificationPipeline(model, aggregation_strategy="MAX")(TEXT) == expected
        with pytest.raises(ValueError, match="aggregation_strategy is 'last': give one of none, simple"):
            standard(TEXT, aggregation_strategy="last")
        with pytest.raises(TypeError, match="no argument offset_mapping"):
            standard(TEXT, offset_mapping=[(0, 1)])


class TestStandardTask:
    """`pipeline("token-classification")` once the package is imported."""

    @pytest.mark.parametrize("task", ["token-classification", "ner"])
    def test_is_of_lacl_for_its_models_and_asks_for_no_trust(self, tiny_model, tmp_path, caplog, task):
        tiny_model.save_pretrained(tmp_path)
        expected = tiny_model.predict(TEXT)
        for model in ({"model": str(tmp_path)}, {"model": tiny_model, "tokenizer": tiny_model.tokenizer}):
            built = pipeline(task, **model, device="cpu", aggregation_strategy="first")
            assert type(built) is LaclTokenClassificationPipeline
            assert built(TEXT) == expected
        assert not [one for one in caplog.records if one.levelname in ("WARNING", "ERROR")]
        built.save_pretrained(tmp_path / "again")
        again = pipeline(task, model=str(tmp_path / "again"), device="cpu", aggregation_strategy="first")
        assert again(TEXT) == expected

    def test_is_what_it_was_for_every_other_model(self, tiny_tokenizer):
        register()
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(tiny_tokenizer),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
        )
        model = BertForTokenClassification(config).eval()
        built = pipeline("ner", model=model, tokenizer=tiny_tokenizer, device="cpu", ignore_labels=[])
        assert type(built) is TokenClassificationPipeline
        direct: Any = TokenClassificationPipeline(model=model, tokenizer=tiny_tokenizer, device="cpu")
        assert built(TEXT) == direct(TEXT, ignore_labels=[]) != []
        entry = PIPELINE_REGISTRY.check_task("ner")[1]
        assert entry["default"]["model"] and issubclass(entry["impl"], TokenClassificationPipeline)

    def test_a_saved_configuration_still_names_the_checkpoints_own_code(self, tiny_model, tmp_path):
        tiny_model.save_pretrained(tmp_path)
        loaded: Any = transformers.AutoConfig.from_pretrained(tmp_path)
        assert not loaded.custom_pipelines
        loaded.save_pretrained(tmp_path / "again")
        for folder in (tmp_path, tmp_path / "again"):
            saved = json.loads((folder / "config.json").read_text())["custom_pipelines"]
            assert saved.keys() == {"few-shot-ner", "token-classification", "ner"}
