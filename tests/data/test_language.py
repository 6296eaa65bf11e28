"""The warning of text in a language that the model was not trained on."""

import copy
import json

import pytest
from transformers import AutoTokenizer
from transformers.utils import logging

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.data import language
from modeling_lacl.hub.bundled import embedded_encoder
from modeling_lacl.model.words_lacl import tokenizer_lock

GERMAN = "Gestern besuchte die Ministerin das neue Werk des Konzerns in der Nähe von München."
FRENCH = "Le président du conseil a visité hier une école de la région parisienne avec ses ministres."
CHINESE = (
    "昨天国家主席在北京会见了来访的法国总统，并就贸易问题进行了长时间的会谈。"
    "双方签署了多项合作协议，希望扩大交流与投资。会谈结束后，他们一起参观了故宫博物院。"
)
ENGLISH = "Yesterday the minister visited the new plant of the company in the north of England."


@pytest.fixture
def model(tiny_model, monkeypatch):
    """A model of random weights with a real tokenizer, which alone is asked."""
    warned: list[str] = []
    monkeypatch.setattr(language.logger, "warning_once", warned.append)
    tiny_model.config.languages = ["en"]
    tiny_model.warned = warned
    return tiny_model


@pytest.fixture
def with_words(model, monkeypatch):
    real = AutoTokenizer.from_pretrained(embedded_encoder())
    return type("Model", (), {"config": model.config, "tokenizer": real, "warned": model.warned})


@pytest.mark.parametrize(("text", "code"), [(GERMAN, "de"), (FRENCH, "fr"), (CHINESE, "zh")])
def test_another_language_is_named(with_words, text, code):
    language.check_language(with_words, [text])
    (message,) = with_words.warned
    assert f"another language ({code}) than the model was trained on (en)" in message


@pytest.mark.parametrize("texts", [[ENGLISH], ["Quito"], [""], [], ["Grüße"], ["42 17.5 %"] * 60])
def test_no_warning_and_no_identifier_for_english_and_for_little_text(with_words, texts, monkeypatch):
    monkeypatch.setattr(language, "identify", lambda text: pytest.fail("the identifier is slow to load"))
    language.check_language(with_words, texts)
    assert with_words.warned == []


def test_a_model_that_knows_the_language_or_names_none(with_words):
    config = copy.copy(with_words.config)
    for known in (["de", "en"], None, []):
        config.languages = known
        with_words.config = config
        language.check_language(with_words, [GERMAN])
    assert with_words.warned == []


def test_predict_asks_once_a_call_and_the_languages_are_saved(model, tmp_path, monkeypatch):
    asked = []

    def german(text):
        asked.append(text)
        return "de", 0.99

    monkeypatch.setattr(language, "identify", german)
    stream = model.predict((text for text in ["ana flewww " * 9] * 70), labels=["person"], batch_size=1)
    assert len(list(stream)) == 70, "several buffers"
    assert len(asked) == 1 and len(model.warned) == 1
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["languages"] == ["en"]
    assert LaclForTokenClassification.from_pretrained(tmp_path).config.languages == ["en"]


def test_threads_use_the_tokenizer_in_turn(with_words):
    real, held = with_words.tokenizer, []

    def tokenizer(*given, **options):
        held.append(tokenizer_lock.locked())
        return real(*given, **options)

    with_words.tokenizer = staticmethod(tokenizer)
    language.check_language(with_words, [GERMAN])
    assert held == [True] and not tokenizer_lock.locked() and len(with_words.warned) == 1


def test_warnings_are_logged(with_words, caplog, monkeypatch):
    monkeypatch.undo()
    logging.enable_propagation()
    try:
        language.check_language(with_words, [GERMAN, "und noch ein Satz dazu"])
    finally:
        logging.disable_propagation()
    assert "do not rely on the entities" in caplog.text
