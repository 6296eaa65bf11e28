"""The Hugging Face pipeline: the same entities as `model.predict`, however it is made."""

from typing import Any

import pytest
import transformers
from transformers.pipelines import PIPELINE_REGISTRY

from modeling_lacl.pipeline_lacl import TASK, LaclPipeline, register

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
    assert list(tagger(iter([TEXT, ""]))) == tiny_model.predict([TEXT, ""])
    assert tagger(words, is_split_into_words=True) == tiny_model.predict(words, is_split_into_words=True)


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


def test_unknown_arguments_are_named(tagger, tiny_model):
    with pytest.raises(TypeError, match="aggregation_strategy"):
        tagger(TEXT, aggregation_strategy="first")
    with pytest.raises(TypeError, match="aggregation_strategy"):
        LaclPipeline(tiny_model, aggregation_strategy="first")
    with pytest.raises(TypeError, match="num_workers"):
        tagger(TEXT, num_workers=2)


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
