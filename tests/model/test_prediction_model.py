"""How predict uses the model: labels, support, Viterbi, training mode, and several threads at once."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from prediction_cases import (  # type: ignore[import-not-found]  # pytest finds it beside this file
    TEXT,
    TEXTS,
    TRANSITIONS,
    assert_same,
)

from modeling_lacl.model.decoding_lacl import expand_transitions, viterbi
from modeling_lacl.model.pipeline_lacl import STRATEGIES, LaclTokenClassificationPipeline
from modeling_lacl.training.word_labels import predict_words, word_scores


def test_own_labels_given_again_change_nothing(tiny_model):
    assert_same(
        tiny_model.predict(TEXT, labels=["person", "location", "creative-work"]), tiny_model.predict(TEXT)
    )


def test_call_labels_take_names_from_a_mapping(tiny_model):
    by_name = tiny_model.predict(TEXT, labels=["place", "work"])
    by_mapping = tiny_model.predict(TEXT, labels={"x": "place", "y": "work"})
    assert by_name
    renamed = {"x": "place", "y": "work"}
    assert_same([{**e, "entity_group": renamed[e["entity_group"]]} for e in by_mapping], by_name)


def test_call_labels_leave_the_support_out(make_tiny_model):
    labels = ["person", "location"]
    model = make_tiny_model(labels)
    zero_shot = model.predict(TEXT)
    torch.manual_seed(1)
    model.set_support(torch.randn(6, 16) * 3, torch.rand(6, 16) + 0.1, torch.tensor([0, 0, 1, 1, 2, 2]))
    assert model.predict(TEXT) != zero_shot
    assert_same(model.predict(TEXT, labels=labels), zero_shot)


def test_a_model_with_nothing_to_compare_with(make_tiny_model):
    model = make_tiny_model(use_prompts=False)
    with pytest.raises(ValueError, match="neither a support set nor label prompts"):
        model.predict(TEXT)
    with pytest.raises(ValueError, match="labels needs a model with label prompts"):
        model.predict(TEXT, labels=["person"])
    model.set_support(torch.randn(4, 16), torch.ones(4, 16), torch.tensor([0, 1, 2, 3]))
    assert isinstance(model.predict(TEXT), list)


def test_viterbi_runs_over_the_words_of_each_text(make_tiny_model, tiny_tokenizer):
    model = make_tiny_model(viterbi=True, transitions=TRANSITIONS, transition_power=0.5)
    sentences = [text.split() for text in TEXTS]
    start, matrix = expand_transitions(TRANSITIONS, 4, 0.5)
    expected = [
        viterbi(scores.numpy()[None], np.array([len(scores)]), start, matrix)[0].tolist()
        for scores in word_scores(model, sentences)
    ]
    found = predict_words(model, sentences)
    assert found == expected
    model.config.viterbi = False
    assert predict_words(model, sentences) != expected


def test_viterbi_needs_transitions(make_tiny_model):
    with pytest.raises(ValueError, match="config.transitions"):
        make_tiny_model(viterbi=True).predict(TEXT)


def test_training_mode_is_as_before(tiny_model):
    expected = tiny_model.predict(TEXT)
    tiny_model.train()
    assert tiny_model.predict(TEXT) == expected
    assert tiny_model.training and tiny_model.lacl.encoder.training
    tiny_model.eval()
    tiny_model.predict(TEXT)
    assert not tiny_model.training
    tiny_model.train()
    tiny_model.lacl.encoder.eval()  # as where it is frozen
    tiny_model.predict(TEXT)
    assert tiny_model.training and not any(part.training for part in tiny_model.lacl.encoder.modules())


def test_threads_can_share_a_model_in_training_mode(tiny_model):
    """The first that is done puts dropout back on only when none of the others is still reading."""
    long = [TEXT] * 12
    support = [{"tokens": ["The", "Vasa", "sank"], "ner_tags": ["O", "ship", "O"]}]
    calls: list[dict[str, Any]] = [{}, {"support": support}, {"labels": ["place"]}] * 4
    expected = [tiny_model.predict(long, batch_size=2, **call) for call in calls[:3]] * 4
    tiny_model.train()
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda call: tiny_model.predict(long, batch_size=2, **call), calls))
    for ours, theirs in zip(found, expected, strict=True):
        scores = [[entity["score"] for text in texts for entity in text] for texts in (ours, theirs)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-5)
        places = [
            [[{**entity, "score": None} for entity in text] for text in texts] for texts in (ours, theirs)
        ]
        assert places[0] == places[1]
    assert all(part.training for part in tiny_model.modules())


def test_threads_can_share_a_model(tiny_model):
    """Calls with windows of different sizes, which set the tokenizer differently."""
    label_sets = [None, ["place"], ["place", "work", "person", "thing"], {"a": "to", "b": "of"}]
    texts = [TEXT * 4, TEXT]
    expected = [tiny_model.predict(texts, labels=labels) for labels in label_sets]
    found: list[Any] = [None] * 16
    errors: list[Exception] = []

    def work(number):
        try:
            for _ in range(3):
                found[number] = tiny_model.predict(texts, labels=label_sets[number % 4])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for number, result in enumerate(found):
        for entities, reference in zip(result, expected[number % 4], strict=True):
            assert_same(entities, reference)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_default_dtype_of_the_caller_does_not_matter(make_tiny_model, dtype):
    """Another thread that loads a model in half precision changes it, too."""
    model = make_tiny_model(viterbi=True, transitions=TRANSITIONS)
    tagger = LaclTokenClassificationPipeline(make_tiny_model())
    support = [{"tokens": ["ana", "flew"], "ner_tags": ["pilot", "O"]}]

    def found():
        by_strategy = [tagger(TEXT, aggregation_strategy=strategy) for strategy in STRATEGIES]
        return [model.predict(TEXTS), model.predict(TEXT, support=support), by_strategy]

    expected = found()
    torch.set_default_dtype(dtype)
    try:
        assert found() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_default_device_of_the_caller_does_not_matter(make_tiny_model):
    model = make_tiny_model(viterbi=True, transitions=TRANSITIONS)
    support = [{"tokens": ["ana", "flew"], "ner_tags": ["pilot", "O"]}]
    expected = [model.predict(TEXTS), model.predict(TEXT, support=support)]
    with torch.device("meta"):  # which no value can be read from
        assert [model.predict(TEXTS), model.predict(TEXT, support=support)] == expected


@pytest.mark.filterwarnings("ignore")
def test_dynamic_quantisation(tiny_model):
    quantised = torch.ao.quantization.quantize_dynamic(tiny_model, {torch.nn.Linear}, dtype=torch.qint8)
    assert isinstance(quantised.predict(TEXT), list)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_predicts_while_threads_do(tiny_model):
    """A lock that a thread holds at the fork was never released in the child."""
    texts = [TEXT * 20] * 20
    done = threading.Event()

    def work():
        while not done.is_set():
            tiny_model.predict(texts)

    expected, found = tiny_model.predict(TEXT), []
    with ThreadPoolExecutor(2) as threads:
        workers = [threads.submit(work) for _ in range(2)]
        try:
            for _ in range(6):
                time.sleep(0.05)
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    torch.set_num_threads(1)  # OpenMP has threads of its own, which a fork does not copy
                    status = 1
                    try:
                        status = int(tiny_model.predict(TEXT) != expected)
                    finally:
                        os._exit(status)
                found.append(os.waitpid(child, 0)[1])
        finally:
            done.set()
        for worker in workers:
            worker.result()
    assert found == [0] * 6
