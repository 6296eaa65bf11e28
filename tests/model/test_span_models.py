"""Tests of a model of spans as a whole: forward, losses, support, prediction, checkpoint and export."""

from collections import defaultdict

import pytest
import torch
from transformers import AutoTokenizer

from modeling_lacl import LaclConfig, LaclForTokenClassification, LaclPipeline, add_types, remove_types
from modeling_lacl import adapt as adapt_model
from modeling_lacl.data.support import MOST_SPAN_WORDS, with_support
from modeling_lacl.hub.bundled import embedded_encoder
from modeling_lacl.model.decoding_lacl import span_logits
from modeling_lacl.model.losses_lacl import context_context_loss
from modeling_lacl.model.prediction_lacl import Predictor, SpanPredictor
from modeling_lacl.model.spans_lacl import (
    batch_entities,
    by_role,
    role_labels,
    room_in_text,
    span_label_loss,
)

TEXTS = ["Ana Ruiz lives in Quito.", "University of Oslo opened."]
NESTED = [
    {
        "tokens": "Ana Ruiz lives in Quito .".split(),
        "entities": [{"start": 0, "end": 2, "label": "person"}, {"start": 4, "end": 5, "label": "city"}],
    },
    {
        "tokens": "University of Oslo opened".split(),
        "entities": [{"start": 0, "end": 3, "label": "school"}, {"start": 2, "end": 3, "label": "city"}],
    },
]


@pytest.fixture
def spans(make_tiny_model):
    """A fresh random model of spans of up to four words."""
    model = make_tiny_model(max_span_words=4)
    model.set_labels(["person", "city", "school"])
    return model


@pytest.fixture
def adapted(spans):
    return adapt_model(spans, NESTED, steps=0)


def _batch(model, sentences=(3, 2)):
    batch = model.tokenizer(["Ana left Oslo", "Tom stayed"], return_tensors="pt", padding=True)
    labels = torch.full_like(batch["input_ids"], -100)
    for row, (words, number) in enumerate(zip(([1, 0, 2], [1, 0]), sentences, strict=True)):
        labels[row, 1 : number + 1] = torch.tensor(words)
    return dict(batch), labels


def test_the_losses_are_those_of_roles_and_spans(spans):
    batch, labels = _batch(spans)
    entities = torch.tensor([[[0, 1, 1], [1, 2, 2]], [[0, 0, 1], [-1, -1, -1]]])
    output = spans(**batch, labels=labels, entities=entities)
    valid = labels >= 0
    counts = valid.sum(1)
    found = batch_entities(labels[valid], counts, entities)
    mean, variance = by_role((output.mean[valid], output.variance[valid]))
    expected = torch.stack(
        [
            context_context_loss(
                spans.similarity(pair, pair), of_role, class_weight_power=spans.config.class_weight_power
            )
            for of_role, pair in zip(role_labels(found, 5), zip(mean, variance, strict=True), strict=True)
        ]
    ).mean()
    assert output.context_context_loss.item() == pytest.approx(expected.item(), rel=1e-5)
    logits = span_logits(output.role_logits[valid], room_in_text(counts), 4, torch)
    of_spans = span_label_loss(logits, found, room_in_text(counts), torch.ones(5, 4, dtype=torch.bool))
    assert output.context_label_loss.item() == pytest.approx(of_spans.item(), rel=1e-5)
    alpha = spans.config.alpha
    assert output.loss.item() == pytest.approx((alpha * expected + (1 - alpha) * of_spans).item(), rel=1e-5)
    # Without entities, each run of one label is one.
    runs = torch.tensor([[[0, 0, 1], [2, 2, 2]], [[0, 0, 1], [-1, -1, -1]]])
    same = spans(**batch, labels=labels).loss
    assert same.item() == pytest.approx(spans(**batch, labels=labels, entities=runs).loss.item(), rel=1e-6)


def test_the_logit_of_outside_is_zero_and_no_label_changes_that_of_another(spans):
    batch, _ = _batch(spans)
    output = spans(**batch)
    assert output.role_logits.shape == (*batch["input_ids"].shape, 3, 4)
    assert not output.role_logits[..., 0].any()
    assert torch.equal(output.logits, output.role_logits[:, :, 2].log_softmax(-1))
    # With names that do not attend to the text or each other's sum, a score is against outside alone.
    mean, variance = by_role((output.mean, output.variance))
    names = torch.randn(1, 2, 3 * spans.config.projection_size)
    two = by_role((names, torch.ones_like(names)))
    alone = spans.similarity((mean, variance), tuple(part[:, :, :1].expand(2, -1, -1, -1) for part in two))
    both = spans.similarity((mean, variance), tuple(part.expand(2, -1, -1, -1) for part in two))
    torch.testing.assert_close(alone, both[..., :1])


def test_overlap_and_threshold_choose_among_the_same_spans(adapted):
    every = adapted.predict(TEXTS, threshold=0.0, overlap="any")
    nested = adapted.predict(TEXTS, threshold=0.0, overlap="nested")
    flat = adapted.predict(TEXTS, threshold=0.0)
    for text, *found in zip(TEXTS, every, nested, flat, strict=True):
        keys = [{(one["start"], one["end"], one["entity_group"]) for one in entities} for entities in found]
        assert keys[2] <= keys[0] and keys[1] <= keys[0]
        for entities in found:
            assert all(text[one["start"] : one["end"]] == one["word"] for one in entities)
            assert all(0 <= one["score"] <= 1 for one in entities)
        ends = [0, *(one["end"] for one in found[2])]
        assert all(one["start"] >= end for one, end in zip(found[2], ends, strict=False))
    least = sorted(one["score"] for entities in flat for one in entities)[-2]
    best = adapted.predict(TEXTS, threshold=least)
    assert best == [[one for one in entities if one["score"] >= least] for entities in flat]
    with pytest.raises(ValueError, match="overlap is 'some': give one of flat, nested, any"):
        adapted.predict(TEXTS, overlap="some")


def test_the_default_threshold_is_a_half_and_calibration_moves_scores_alone(adapted):
    flat = adapted.predict(TEXTS, threshold=0.0)
    assert adapted.predict(TEXTS) == [[one for one in found if one["score"] >= 0.5] for found in flat]
    adapted.config.calibration = {"names": [1.0, 0.0], "support": [0.5, -1.0]}
    moved = adapted.predict(TEXTS, threshold=0.0)
    for one, other in zip(sum(flat, []), sum(moved, []), strict=True):
        logit = torch.logit(torch.tensor(one["score"], dtype=torch.float64), eps=1e-12)
        assert other["score"] == pytest.approx(torch.sigmoid(0.5 * logit - 1).item(), abs=1e-4)
        assert {**one, "score": 0} == {**other, "score": 0}


def test_words_without_tokens_and_windows_do_not_cut_entities(adapted):
    words = TEXTS[0].rstrip(".").split()
    split = [words[0], "\u200b", *words[1:]]
    plain = adapted.predict([words], is_split_into_words=True, threshold=0.0)[0]
    gaps = adapted.predict([split], is_split_into_words=True, threshold=0.0)[0]
    assert [one["score"] for one in plain] == pytest.approx([one["score"] for one in gaps], abs=1e-6)
    assert [one["word"].replace("\u200b ", "") for one in gaps] == [one["word"] for one in plain]
    adapted.config.max_text_length = 12
    long = " ".join(TEXTS * 5)
    found = adapted.predict(long, threshold=0.0, stride=4)
    assert found and all(long[one["start"] : one["end"]] == one["word"] for one in found)


def test_support_tokens_are_kept_by_role_and_types_come_and_go(adapted):
    labels, words = adapted.support_labels, adapted.config.support_words
    assert labels.shape[1] == 3 and len(words) == len(labels)
    rows = {(word, *label) for word, label in zip(words, labels.tolist(), strict=True) if word}
    person, city, school = (adapted.config.label2id[name] for name in ("person", "city", "school"))
    assert rows == {
        ("Ana Ruiz", person, -1, person),
        ("Ana Ruiz", -1, person, person),
        ("Quito", city, city, city),
        ("University of Oslo", school, -1, school),
        ("University of Oslo", -1, -1, school),
        ("University of Oslo", -1, school, school),
        ("Oslo", city, city, city),
    }
    outside = labels[[not word for word in words]]
    assert set(outside.unique().tolist()) == {-1, 0}
    more = add_types(adapted, [{"tokens": ["The", "Vasa", "sank"], "ner_tags": ["O", "ship", "O"]}])
    assert more.entity_types == ["person", "city", "school", "ship"]
    fewer = remove_types(more, ["school"])
    assert fewer.entity_types == ["person", "city", "ship"]
    assert not any("University" in word for word in fewer.config.support_words)
    assert fewer.predict(TEXTS[0], threshold=0.0)


def _by_word_and_role(model):
    """The labels, by number, of each Gaussian in each role."""
    found = defaultdict(set)
    for mean, labels in zip(model.support_mean.tolist(), model.support_labels.tolist(), strict=True):
        for role, label in enumerate(labels):
            if label >= 0:
                found[tuple(mean), role].add(model.config.id2label[label])
    return found


def test_a_removed_type_leaves_the_entities_around_it(adapted):
    before, after = (_by_word_and_role(one) for one in (adapted, remove_types(adapted, ["city"])))
    # Within the school the city leaves nothing but a word that does not begin it; alone, it becomes outside.
    assert after == {place: (labels - {"city"}) or {"O"} for place, labels in before.items()}
    assert sum("city" in labels for labels in before.values()) == 6


@pytest.mark.parametrize("method", ["neighbors", "prototypes"])
def test_a_label_without_support_goes_by_its_name(spans, method):
    spans.config.support_method = method
    by_name = spans(**_batch(spans)[0]).role_logits
    mean = torch.randn(3, spans.config.gaussian_size)
    labels = torch.tensor([[0, 0, 0], [1, -1, 1], [-1, 1, 1]])
    spans.set_support(mean, torch.ones_like(mean), labels)
    spans.config.label_weight = 0.3
    both = spans(**_batch(spans)[0]).role_logits
    torch.testing.assert_close(both[..., 2:], by_name[..., 2:])
    assert (both[..., 1] != by_name[..., 1]).all()
    assert not both[..., 0].any()


def test_a_checkpoint_and_a_pipeline_give_the_same_entities(adapted, tmp_path):
    adapted.save_pretrained(tmp_path)
    loaded = LaclForTokenClassification.from_pretrained(tmp_path)
    expected = adapted.predict(TEXTS, threshold=0.2, overlap="nested")
    assert loaded.predict(TEXTS, threshold=0.2, overlap="nested") == expected
    assert LaclPipeline(loaded, threshold=0.2, overlap="nested")(TEXTS) == expected
    assert isinstance(Predictor.build(loaded), SpanPredictor)


def test_the_token_strategies_of_the_pipeline_work_on_a_model_of_spans(adapted):
    from modeling_lacl.model.pipeline_lacl import LaclTokenClassificationPipeline

    pipe = LaclTokenClassificationPipeline(adapted)
    for strategy in ("none", "simple", "average", "max"):
        assert isinstance(pipe(TEXTS[0], aggregation_strategy=strategy), list)
    first = pipe(TEXTS[0], aggregation_strategy="first", ignore_labels=[])
    assert "".join(one["word"] for one in first).replace(" ", "") == TEXTS[0].replace(" ", "")


def test_fine_tuning_a_real_encoder_learns_nested_entities():
    tokenizer = AutoTokenizer.from_pretrained(embedded_encoder())
    untrained = LaclForTokenClassification.from_encoder("minilm", tokenizer, ["person"], max_span_words=4)
    learnt = adapt_model(untrained, NESTED, steps=25, learning_rate=1e-4)
    found = learnt.predict(TEXTS[1], overlap="nested")
    assert [(one["entity_group"], one["word"]) for one in found] == [
        ("school", "University of Oslo"),
        ("city", "Oslo"),
    ]
    assert [one["word"] for one in learnt.predict(TEXTS[0])] == ["Ana Ruiz", "Quito"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_span_words": -1}, "max_span_words must be a whole number from 0"),
        ({"max_span_words": 4, "projection": "hidden"}, "max_span_words needs a gaussian projection"),
        ({"calibration": {"names": [1, 0]}}, "calibration must have"),
        ({"calibration": {"names": [1, 0], "support": [-1, 0]}}, "slope > 0"),
    ],
)
def test_unusable_options_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        LaclConfig(**settings)


def test_entities_may_be_as_long_as_the_examples(spans, caplog):
    words = "every plan to write tests before the code".split()
    examples = [{"tokens": words, "entities": [{"start": 0, "end": 8, "label": "rule"}]}]
    for ner in (
        adapt_model(spans, examples),
        with_support(spans, examples),
        add_types(adapt_model(spans, NESTED, steps=0), examples),
    ):
        assert ner.config.max_span_words == 8 and spans.config.max_span_words == 4
        found = ner.predict(" ".join(words), threshold=0.0, overlap="any")
        assert " ".join(words) in [one["word"] for one in found]
    assert "can be found" not in caplog.text
    long = [{"tokens": ["plan"] * 60, "entities": [{"start": 2, "end": 52, "label": "rule"}]}, *examples]
    assert adapt_model(spans, long, steps=0).config.max_span_words == MOST_SPAN_WORDS
    assert "has 50 words, and none of more than 40 can be found" in caplog.text
