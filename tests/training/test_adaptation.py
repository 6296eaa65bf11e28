"""Adapting to a support set: what it learns, what it leaves alone, what it refuses."""

import copy
import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, List, Value
from transformers import TrainerCallback, set_seed

from modeling_lacl import LaclForTokenClassification, adapt, add_types, remove_types
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.support import encode_support
from modeling_lacl.training import adaptation

SUPPORT = [
    {"tokens": "Ana Ruiz flew to Quito .".split(), "ner_tags": "B-pilot I-pilot O O B-town O".split()},
    {"tokens": "the cessna in York".split(), "ner_tags": "O B-plane O B-town".split()},
    {"tokens": "a play of Ana".split(), "ner_tags": "O O O B-pilot".split()},
]
NAMES = {"pilot": "someone who flies"}
TEXTS = ["Ana flew the cessna to York", "Quito", ""]


# Random weights that can learn: narrow, and without dropout.
LEARNER = {"initializer_range": 0.1, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_adapted_model_finds_its_own_types_and_the_source_stays(make_tiny_model, tiny_tokenizer):
    tiny_model = make_tiny_model(encoder=LEARNER)
    before, config = state(tiny_model), copy.deepcopy(tiny_model.config.to_dict())
    ner = adapt(tiny_model, SUPPORT, steps=60, learning_rate=1e-3)
    assert same(before, state(tiny_model)) and tiny_model.config.to_dict() == config
    assert ner.config.id2label == {0: "O", 1: "pilot", 2: "town", 3: "plane"}
    found = ner.predict("Ana Ruiz flew to Quito .")
    assert [(one["entity_group"], one["word"]) for one in found] == [("pilot", "Ana Ruiz"), ("town", "Quito")]
    assert not ner.training


def test_the_tokenizer_is_the_models_own_and_is_not_copied(make_tiny_model):
    model = make_tiny_model()
    adapted = adapt(model, SUPPORT, steps=0)
    assert adapted.tokenizer is model.tokenizer
    assert adapted.config.transitions is None, "what is None stays so"


def test_the_old_order_of_arguments_still_works(make_tiny_model, tiny_tokenizer):
    expected = adapt(make_tiny_model(), SUPPORT, NAMES, steps=0)
    old: Any = adapt
    for arguments, named in (
        ((tiny_tokenizer, SUPPORT, NAMES), {}),
        ((tiny_tokenizer, SUPPORT), {"label_names": NAMES}),
        ((), {"tokenizer": tiny_tokenizer, "support": SUPPORT, "label_names": NAMES}),
    ):
        with pytest.warns(FutureWarning, match="adapt takes no tokenizer any more: the model has its own"):
            found = old(make_tiny_model(), *arguments, steps=0, **named)
        assert same(state(found), state(expected)) and found.config.label_names == expected.config.label_names


def test_no_steps_only_encode(tiny_model, tiny_tokenizer):
    ner = adapt(tiny_model, SUPPORT, steps=0)
    weights = {name: tensor for name, tensor in state(ner).items() if not name.startswith("support_")}
    assert same(weights, {name: state(tiny_model)[name] for name in weights})
    assert ner.support_labels.tolist() == [1, 1, 0, 0, 2, 0, 0, 3, 0, 2, 0, 0, 0, 1]
    assert ner.support_mean.shape == ner.support_variance.shape == (14, tiny_model.config.projection_size)


def test_the_seed_decides_and_the_callers_random_numbers_go_on(tiny_model, tiny_tokenizer):
    def draws():
        return [random.random(), np.random.rand(), torch.rand(()).item()]

    set_seed(5)
    expected = draws()
    set_seed(5)
    one = adapt(tiny_model, SUPPORT, steps=3, seed=1)
    assert draws() == expected
    again = adapt(tiny_model, SUPPORT, steps=3, seed=1)
    other = adapt(tiny_model, SUPPORT, steps=3, seed=2)
    assert same(state(one), state(again))
    assert not same(state(one), state(other))


@pytest.mark.parametrize("support_method", ["neighbors", "prototypes"])
def test_saved_and_loaded_it_predicts_the_same_to_the_bit(
    make_tiny_model, tiny_tokenizer, tmp_path, support_method
):
    ner = adapt(make_tiny_model(support_method=support_method), SUPPORT, steps=2)
    ner.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    assert same(state(ner), state(loaded))
    assert loaded.predict(TEXTS) == ner.predict(TEXTS)


def test_without_prompts(make_tiny_model, tiny_tokenizer):
    ner = adapt(
        make_tiny_model(encoder=LEARNER, use_prompts=False),
        SUPPORT,
        steps=60,
        learning_rate=1e-3,
    )
    assert [one["word"] for one in ner.predict("Ana Ruiz flew to Quito .")] == ["Ana Ruiz", "Quito"]


def test_more_labels_than_a_prompt_holds(make_tiny_model, tiny_tokenizer):
    support = [{"tokens": ["x", name], "ner_tags": ["O", f"B-{name}"]} for name in "abcdefghijklmnop"]
    ner = adapt(make_tiny_model(max_prompt_length=12), support, steps=2)
    assert len(ner.config.id2label) == 17 and torch.isfinite(ner.support_mean).all()
    assert isinstance(ner.predict("x a"), list)


def test_long_and_short_names_that_fill_several_prompts(make_tiny_model, tiny_tokenizer):
    """Prompts of the model mix lengths; a prompt of fine-tuning may draw the long names alone."""
    names = {
        letter: letter if number % 2 else f"{letter} a in to" for number, letter in enumerate("ghijklmn")
    }
    support = [{"tokens": ["x", label], "ner_tags": ["O", f"B-{label}"]} for label in names]
    source = make_tiny_model(max_prompt_length=14)
    ner = adapt(source, support, names, steps=2)
    assert ner.label_prompts and len(ner.label_prompts.groups) > 1 and ner.entity_types == list(names)


def test_as_many_labels_in_a_prompt_as_always_fit(make_tiny_model, tiny_tokenizer, monkeypatch):
    seen = []
    monkeypatch.setattr(
        adaptation.LaclTrainer, "train", lambda self: seen.append(self.args.labels_per_prompt)
    )
    support = [{"tokens": ["x", name], "ner_tags": ["O", f"B-{name}"]} for name in "ghij"]

    def number(length, long_names):
        names = {name: f"{name} a" if name in long_names else name for name in "ghij"}
        adapt(make_tiny_model(max_prompt_length=length), support, names, steps=1)
        return seen.pop()

    # Each name with its separator has 2 tokens, or 3 if it is long; so has outside 2.
    assert [number(10, ""), number(9, ""), number(8, "gh")] == [4, 2, 2]
    assert number(7, "gi") == 1, "two short names fit, two long ones do not"


def test_a_long_support_sentence_leaves_room_for_the_prompt(make_tiny_model, tiny_tokenizer):
    support = [{"tokens": ["a"] * 300 + ["York"], "ner_tags": ["O"] * 300 + ["B-town"]}]
    model = make_tiny_model(encoder={"max_position_embeddings": 64}, max_text_length=128)
    ner = adapt(model, support, steps=1)
    assert len(ner.support_labels) == 301 and ner.support_labels.sum() == 1


def test_support_is_encoded_the_same_in_any_batch_size(tiny_model, tiny_tokenizer):
    dataset = read_dataset(SUPPORT)
    tiny_model.set_labels(["pilot", "town", "plane"])
    tiny_model.train()
    whole = encode_support(tiny_model, dataset)
    single = encode_support(tiny_model, dataset, batch_size=1)
    for one, other in zip(whole, single, strict=True):
        if isinstance(one, list):  # the words
            assert one == other
        else:
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert tiny_model.training


def dataset_of(tags, names):
    features = Features({"tokens": List(Value("string")), "ner_tags": List(ClassLabel(names=names))})
    return Dataset.from_list([{"tokens": ["w"] * len(tags), "ner_tags": tags}], features=features)


@pytest.mark.parametrize(
    ("support", "label_names", "message"),
    [
        ([], None, "no sentence"),
        ([{"tokens": ["a"], "ner_tags": ["O"]}], None, "no entity"),
        (dataset_of(["B-x"], ["O", "B-x", "I-x", "B-y", "I-y"]), None, "no example of y"),
        (SUPPORT, {"pilot": "town"}, "share the name 'town'"),
        (SUPPORT, {"pilot": "one", "ship": "ship"}, "name for ship"),
    ],
)
def test_refuses(tiny_model, tiny_tokenizer, support, label_names, message):
    with pytest.raises(ValueError, match=message):
        adapt(tiny_model, support, label_names, steps=0)


def test_names_the_file(tiny_model, tiny_tokenizer, tmp_path):
    path = tmp_path / "support.txt"
    path.write_text("a O\nb O\n")
    with pytest.raises(LaclDataError, match="support.txt: has no entity"):
        adapt(tiny_model, path)


@pytest.fixture
def trained(monkeypatch):
    """The trainers that adapting made, in order."""
    trainers = []
    train = adaptation.LaclTrainer.train

    def recording(trainer):
        trainers.append(trainer)
        return train(trainer)

    monkeypatch.setattr(adaptation.LaclTrainer, "train", recording)
    return trainers


def test_it_stops_when_the_types_are_recognised_from_label_names(make_tiny_model, tiny_tokenizer, trained):
    adapt(make_tiny_model(encoder=LEARNER), SUPPORT, learning_rate=1e-3)
    losses = [
        row["context_label_loss"] for row in trained[0].state.log_history if "context_label_loss" in row
    ]
    assert 1 < len(losses) == trained[0].state.global_step < adaptation.MAX_STEPS
    assert losses[-1] < adaptation.LOSS_THRESHOLD <= min(losses[:-1])


def test_large_support_sets_are_seen_whole_before_it_ends(make_tiny_model, tiny_tokenizer, trained):
    adapt(
        make_tiny_model(encoder=LEARNER),
        SUPPORT * 40,
        learning_rate=1e-3,
        batch_size=8,
    )
    losses = [
        row["context_label_loss"] for row in trained[0].state.log_history if "context_label_loss" in row
    ]
    assert len(losses) >= 15 and sum(losses[-15:]) / 15 < adaptation.LOSS_THRESHOLD


@pytest.mark.parametrize(("size", "steps"), [(3, 40), (60, 40), (700, 66)])
def test_it_ends_at_the_latest(tiny_model, tiny_tokenizer, monkeypatch, size, steps):
    taken = []
    monkeypatch.setattr(adaptation.LaclTrainer, "train", lambda trainer: taken.append(trainer.args.max_steps))
    adapt(tiny_model, (SUPPORT * size)[:size])
    assert taken == [steps]


def test_a_number_of_steps_is_kept(make_tiny_model, tiny_tokenizer, trained):
    adapt(make_tiny_model(encoder=LEARNER), SUPPORT, steps=30, learning_rate=1e-3)
    assert trained[0].state.global_step == 30


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"steps": -1}, ValueError, "steps is -1"),
        ({"steps": "3"}, TypeError, "steps is '3': give a whole number"),
        ({"steps": 3.0}, TypeError, "steps is 3.0"),
        ({"learning_rate": "1e-4"}, TypeError, "learning_rate is '1e-4': give a number"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate is nan"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay is -0.1: give a number, 0 or more"),
        ({"batch_size": 0}, ValueError, "batch_size is 0: give a whole number, 1 or more"),
        ({"seed": "a"}, TypeError, "seed is 'a'"),
        ({"seed": -1}, ValueError, "seed is -1: give a whole number, from 0 to 4294967295"),
        ({"model": "lacl-minilm-fewnerd"}, TypeError, "model is of type str: give a model"),
        ({"label_names": ["pilot"]}, TypeError, r"label_names is \['pilot'\]: give a mapping"),
        ({"label_names": {"pilot": None}}, LaclDataError, "label_names: 'pilot': None is not text"),
        ({"support": SUPPORT[0]}, TypeError, r"support must be .*got dict; put an example into a list"),
        ({"support": None}, TypeError, "support must be .*got NoneType"),
    ],
)
def test_arguments_of_another_kind_are_named(tiny_model, tiny_tokenizer, arguments, error, message):
    usual = {"model": tiny_model, "support": SUPPORT, "label_names": None}
    with pytest.raises(error, match=message):
        adapt(**{**usual, **arguments})


def test_a_learning_rate_that_is_far_too_high_is_reported(tiny_model, tiny_tokenizer):
    with pytest.raises(FloatingPointError, match="try again with a lower learning_rate than 1e[+]30$"):
        adapt(tiny_model, SUPPORT, steps=9, learning_rate=1e30)


def test_numbers_of_numpy_and_torch_are_numbers(tiny_model, tiny_tokenizer):
    ner = adapt(
        tiny_model,
        SUPPORT,
        steps=np.int64(1),
        batch_size=np.int16(2),
        learning_rate=np.float32(1e-3),
        callbacks=None,
    )
    options: dict[str, Any] = {"threshold": torch.tensor(0.0), "stride": np.int32(1)}
    assert ner.predict(TEXTS, **options) == ner.predict(TEXTS)


def test_corrected_predictions_are_examples(make_tiny_model, tiny_tokenizer):
    ner = adapt(make_tiny_model(encoder=LEARNER), SUPPORT, steps=60, learning_rate=1e-3)
    text = "Ana Ruiz flew to Quito"
    found = ner.predict(text)
    found[0]["entity_group"] = "captain"
    again = adapt(ner, [{"text": text, "entities": found}], steps=0)
    assert again.config.label2id == {"O": 0, "captain": 1, "town": 2}
    assert again.support_labels.tolist() == [1, 1, 0, 0, 2]


def test_a_shipped_map_may_name_more_types(tiny_model, tiny_tokenizer):
    support = [{"tokens": ["York"], "ner_tags": ["B-location-GPE"]}]
    ner = adapt(tiny_model, support, "few_nerd", steps=0)
    assert ner.config.label_names["location-GPE"] != "location-GPE"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_every_dtype_take_the_steps_of_fp32(make_tiny_model, dtype):
    """Steps in fp16 moved weights by 7, and led to NaN."""
    cast = make_tiny_model().to(dtype)
    dtypes = {name: tensor.dtype for name, tensor in cast.named_parameters()}
    expected = adapt(make_tiny_model(), SUPPORT, steps=20)
    found = adapt(cast, SUPPORT, steps=20)
    assert {name: tensor.dtype for name, tensor in found.named_parameters()} == dtypes
    for (name, one), (_, other) in zip(found.named_parameters(), expected.named_parameters(), strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=0.02, rtol=0.02, msg=name)
        assert one.grad is None or one.grad.dtype == dtype
    assert torch.isfinite(found.support_mean).all() and isinstance(found.predict(TEXTS[0]), list)


def test_half_precision_is_left_as_it_was_if_training_fails(make_tiny_model):
    model = make_tiny_model().to(torch.float16)
    with pytest.raises(RuntimeError, match="stop"), adaptation.in_full_precision(model):
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        raise RuntimeError("stop")
    assert {weight.dtype for weight in model.parameters()} == {torch.float16}


def test_threads_with_one_seed_make_one_model(tiny_model):
    expected = state(adapt(tiny_model, SUPPORT, steps=2, seed=1))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: adapt(tiny_model, SUPPORT, steps=2, seed=1), range(4)))
    assert all(same(state(one), expected) for one in found)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_of_the_caller_without_gradients_do_not_matter(make_tiny_model, mode):
    expected = adapt(make_tiny_model(), SUPPORT, steps=2)
    ship = [{"tokens": ["The", "Vasa"], "ner_tags": ["O", "ship"]}]
    with mode():
        found = adapt(make_tiny_model(), SUPPORT, steps=2)  # its weights are of this mode, too
        others = [add_types(found, ship), remove_types(found, ["plane"])]
        assert torch.is_grad_enabled() is False
    assert same(state(found), state(expected))
    for model in (found, *others):  # and can be trained further
        assert not any(tensor.is_inference() for tensor in model.state_dict().values())
    adapt(others[0], SUPPORT, steps=1)


def test_adapting_logs_what_it_did(make_tiny_model, caplog):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 2

    with caplog.at_level("INFO", logger="modeling_lacl.training.adaptation"):
        adapt(make_tiny_model(), SUPPORT, steps=3)
        adapt(make_tiny_model(), SUPPORT, steps=3, callbacks=[Stop()])
        adapt(make_tiny_model(encoder=LEARNER), SUPPORT, learning_rate=1e-2)
    full, stopped, low = caplog.messages
    assert re.search(r"Adapted in [\d.]+ s: 3 steps, loss [\d.e+-]+ at the first .* all planned steps", full)
    assert "2 steps" in stopped and "a callback stopped it before step 3" in stopped
    assert "the loss of an epoch was below 0.2" in low


class _Rates(TrainerCallback):
    """Records the rates of the encoder and the head at each step."""

    def __init__(self):
        self.rates = []

    def on_step_begin(self, args, state, control, **kwargs):
        self.rates.append(sorted({group["lr"] for group in kwargs["optimizer"].param_groups}))


@pytest.mark.parametrize(
    ("known", "options", "factor"),
    [(False, {}, 10 / 3), (True, {}, 1), (False, {"learning_rate": 3e-5}, 1)],
    ids=["unknown", "known", "given"],
)
def test_unknown_types_are_learnt_at_a_higher_rate(make_tiny_model, monkeypatch, known, options, factor):
    monkeypatch.setattr(adaptation, "UNKNOWN_TYPES_LOSS", 1e9 if known else 0.0)
    recorded = _Rates()
    adapt(make_tiny_model(max_span_words=4), SUPPORT, callbacks=[recorded], **options)
    assert len(recorded.rates) == adaptation.SPAN_STEPS
    for step, rates in enumerate(recorded.rates):
        left = (1 - step / adaptation.SPAN_STEPS) * (factor if step else 1)
        assert rates == pytest.approx([3e-5 * left, 3e-4 * left])
