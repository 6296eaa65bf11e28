"""Sentences encoded once: the same tags as by adapting and predicting anew, for every such baseline."""

from typing import Any

import pytest

from modeling_lacl import LaclForTokenClassification, adapt
from modeling_lacl.baselines.classifier import TokenClassifier
from modeling_lacl.baselines.prototypical import PrototypicalModel
from modeling_lacl.data.reading import read_dataset
from modeling_lacl.data.tag_schemes import io_to_bio
from modeling_lacl.evaluation.tagging import EncodedOnceTagger, Tagger, make_tagger
from modeling_lacl.training.transitions import estimate_transitions
from modeling_lacl.training.word_labels import predict_words

HIDDEN: dict[str, Any] = {
    "use_prompts": False,
    "projection": "hidden",
    "divergence": "euclidean",
    "similarity_temperature": 1.0,
}
KINDS = {
    "NNShot": (LaclForTokenClassification, HIDDEN),
    "StructShot": (LaclForTokenClassification, HIDDEN | {"viterbi": True}),
    "ProtoBERT": (PrototypicalModel, HIDDEN | {"support_method": "prototypes"}),
    "Gaussians": (
        LaclForTokenClassification,
        {"use_prompts": False, "projection_size": 16, "divergence": "jeffreys"},
    ),
}
LONG = [*("flew", "to") * 60, "Oslo"]  # several windows of the model's 64 tokens
SUPPORTS = [
    [
        {"tokens": ["Ana", "Ruiz", "flew", "\u0007"], "ner_tags": ["B-person", "I-person", "O", "O"]},
        {"tokens": ["Mona", "😀"], "ner_tags": ["B-person", "I-person"]},
        {"tokens": LONG, "ner_tags": ["O"] * 120 + ["B-location"]},
    ],
    [
        {
            "tokens": ["Mona", "Lisa", "is", "in", "Quito"],
            "ner_tags": ["B-ship", "I-ship", "O", "O", "B-city"],
        },
        {"tokens": ["Ana"], "ner_tags": ["B-person"]},
    ],
]
SENTENCES = [
    ["Leonardo", "flew", "to", "Oslo", "."],
    LONG,
    ["\u0007", "Lisa"],
    [],
    ["Ana", "Ruiz", "flew", "\u0007"],
    ["Mona", "😀"],
]


@pytest.fixture(params=KINDS)
def plain(request, model, tokenizer):
    """A model without prompts."""
    kind, options = KINDS[request.param]
    plain = kind.from_encoder(model.lacl.encoder, tokenizer, ["person"], max_text_length=64, **options)
    plain.config.transitions = estimate_transitions([[0, 0, 1, 1, 0], [0, 2, 0]])
    return plain


def tagger(model, steps=0, batch_size=3):
    return make_tagger("lacl", adapt, {"steps": steps, "seed": 0}, model, batch_size)


def test_the_same_tags_with_each_sentence_encoded_once(plain):
    lengths = []
    hook = plain.lacl.register_forward_pre_hook(lambda module, args: lengths.append(len(args[0])))
    once = tagger(plain)
    assert isinstance(once, EncodedOnceTagger)
    supports = [read_dataset(support) for support in SUPPORTS]
    names = [{"person": "human", "location": "place"}, {"ship": "boat", "city": "town", "person": "human"}]
    found = [once.tag(*pair, SENTENCES) for pair in zip(supports, names, strict=True)]
    encoded = sum(lengths)
    assert [once.tag(*pair, SENTENCES) for pair in zip(supports, names, strict=True)] == found
    windows = sum(one.windows for one in once.encoded.values())
    cut = sum(lengths) - encoded  # the long support sentence, which is cut where windows overlap
    assert encoded == windows + cut and cut == 3
    hook.remove()

    every = [tag for tags in found for sentence in tags for tag in sentence]
    assert {"O", "B-person"} < set(every)
    for support, given, tags in zip(SUPPORTS, names, found, strict=True):
        adapted = adapt(plain, support, given, steps=0)
        ids = predict_words(adapted, SENTENCES)
        assert tags == io_to_bio(ids, list(adapted.config.label2id)[1:])
        assert [len(sentence) for sentence in tags] == [len(sentence) for sentence in SENTENCES]


def test_the_source_model_is_left_as_it_was(plain):
    before = plain.config.to_dict()
    tagger(plain).tag(read_dataset(SUPPORTS[0]), {"person": "human"}, SENTENCES)
    assert plain.config.to_dict() == before and not plain.has_support


def test_only_where_no_support_set_changes_the_encoding(model, plain):
    assert type(tagger(plain, steps=1)) is Tagger
    assert type(tagger(plain, steps=None)) is Tagger
    assert type(tagger(model)) is Tagger  # with prompts a word depends on the label names
    container = make_tagger("container", adapt, {"steps": 0}, plain, 3)
    assert type(container) is Tagger
    hidden = make_tagger("lacl", adapt, {"steps": 0, "decoding": "unit_hidden"}, plain, 3)
    assert type(hidden) is Tagger
    classifier = TokenClassifier.from_encoder(model.lacl.encoder, model.tokenizer, ["person"], **HIDDEN)
    assert type(tagger(classifier)) is Tagger


def test_a_support_set_is_checked_as_in_adapting(plain):
    support = read_dataset(SUPPORTS[0], labels=["person", "location", "ship"])
    with pytest.raises(ValueError, match="no example of ship"):
        tagger(plain).tag(support, {}, SENTENCES)
