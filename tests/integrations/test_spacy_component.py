"""The component in real spaCy pipelines, against the labels of words that the model gives."""

import configparser
import os
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import pytest
import spacy
from spacy import ty
from spacy.tokens import Doc, Span
from spacy.training import Example

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.integrations.spacy_component import make_lacl
from modeling_lacl.training.word_labels import predict_words

TEXTS = [
    "Ana Ruiz flew to Quito, didn't she?",
    "",
    "  \n",
    "ana  ruiz\n\nflew\tto quito on a cessna. (York-Quito)",
    "東京 👍 quito",
]

TEXT = TEXTS[0]


@pytest.fixture(scope="module")
def checkpoint(make_tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("spacy") / "ner"
    make_tiny_model(encoder={"max_position_embeddings": 512}).save_pretrained(folder)
    return folder


@pytest.fixture
def build(checkpoint):
    """A blank English pipeline with the component, whose settings may be given."""

    def make(**settings):
        nlp = spacy.blank("en")
        nlp.add_pipe("lacl", config={"model": str(checkpoint), **settings})
        return nlp

    return make


def expected(model, doc, labels=None):
    """(first token, one past the last, type) of runs of one label, tokens of white space left out."""
    tokens = [token.i for token in doc if not token.is_space]
    ids = predict_words(model, [[doc[i].text for i in tokens]], labels=labels)[0]
    names = model.config.id2label if labels is None else ["O", *labels]
    runs = [
        (list(run), label) for label, run in groupby(zip(tokens, ids, strict=True), key=lambda pair: pair[1])
    ]
    return [(run[0][0], run[-1][0] + 1, names[label]) for run, label in runs if label]


def triples(spans):
    return [(span.start, span.end, span.label_) for span in spans]


def test_entities_are_runs_of_tokens(build, checkpoint):
    model = LaclForTokenClassification.from_pretrained(checkpoint)
    nlp = build()
    docs = list(nlp.pipe(TEXTS))
    assert [doc.text for doc in docs] == TEXTS
    for doc in docs:
        assert triples(doc.ents) == expected(model, doc)
        assert triples(doc.spans["lacl"]) == expected(model, doc)
    assert any(doc.ents for doc in docs)


def test_scores_and_types(build, checkpoint):
    model = LaclForTokenClassification.from_pretrained(checkpoint)
    nlp = build()
    doc = nlp(TEXTS[0])
    entities = model.predict([token.text for token in doc], is_split_into_words=True)
    assert list(doc.spans["lacl"].attrs["scores"]) == pytest.approx([entity["score"] for entity in entities])
    assert nlp.pipe_labels["lacl"] == ["person", "location", "creative-work"]


def test_one_by_one_and_in_a_stream_are_the_same(build):
    nlp = build()
    one_by_one = [triples(nlp(text).ents) for text in TEXTS]
    assert [triples(doc.ents) for doc in nlp.pipe((text for text in TEXTS), batch_size=2)] == one_by_one


@pytest.mark.parametrize("labels", [["city", "play"], {"city": "york", "creative-work": "play"}])
def test_other_labels(build, checkpoint, labels):
    model = LaclForTokenClassification.from_pretrained(checkpoint)
    nlp = build(labels=labels)
    doc = nlp(TEXTS[3])
    assert triples(doc.ents) == expected(model, doc, labels)
    assert nlp.pipe_labels["lacl"] == list(labels)


def test_threshold_and_no_spans(build):
    everything = build()(TEXTS[3]).spans["lacl"]
    scores = sorted(everything.attrs["scores"])
    middle = float(scores[len(scores) // 2])
    doc = build(threshold=middle - 1e-6, spans_key=None)(TEXTS[3])
    assert 0 < len(doc.ents) < len(everything)
    assert "lacl" not in doc.spans


@pytest.mark.parametrize("overwrite", [False, True])
def test_entities_of_earlier_components(build, overwrite):
    nlp = build(overwrite_ents=overwrite)
    plain = build()(TEXTS[0])
    first = plain.ents[0]
    doc = Doc(nlp.vocab, words=[token.text for token in plain], spaces=[bool(t.whitespace_) for t in plain])
    doc.ents = [Span(doc, first.start, first.start + 1, label="EARLIER")]
    doc = nlp.get_pipe("lacl")(doc)
    others = [one for one in triples(plain.ents) if one != triples([first])[0]]
    kept = triples([first])[0] if overwrite else (first.start, first.start + 1, "EARLIER")
    assert triples(doc.ents) == sorted([kept, *others])
    assert triples(doc.spans["lacl"]) == triples(plain.ents)


def test_a_saved_pipeline_holds_its_model(build, checkpoint, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(checkpoint, elsewhere)
    nlp = build(model=str(elsewhere), threshold=0.4)
    before = [triples(doc.ents) for doc in nlp.pipe(TEXTS)]
    nlp.to_disk(tmp_path / "pipeline")
    shutil.rmtree(elsewhere)
    loaded = spacy.load(tmp_path / "pipeline")
    assert [triples(doc.ents) for doc in loaded.pipe(TEXTS)] == before
    assert loaded.get_pipe_config("lacl")["threshold"] == 0.4


def test_docs_can_be_stored(build):
    doc = build()(TEXTS[0])
    again = Doc(doc.vocab).from_bytes(doc.to_bytes())
    assert triples(again.ents) == triples(doc.ents)
    assert list(again.spans["lacl"].attrs["scores"]) == list(doc.spans["lacl"].attrs["scores"])


def test_mistakes(build, tmp_path):
    with pytest.raises(ValueError, match="threshold is 2.0"):
        build(threshold=2.0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        build(batch_size=0)
    with pytest.raises(ValueError, match="cannot load the checkpoint"):
        build(model=str(tmp_path / "none"))(TEXTS[0])


@pytest.mark.parametrize(
    "protocol", [ty.TrainableComponent, ty.ListenedToComponent, ty.InitializableComponent]
)
def test_no_question_of_spacy_loads_the_model(protocol):
    """By a protocol spaCy asks for its attributes in any order."""
    component = spacy.blank("en").add_pipe("lacl", config={"model": "no/such/model/at/all"})
    for name in [*getattr(protocol, "__annotations__", ()), *vars(protocol)]:
        hasattr(component, name)
    assert not isinstance(component, protocol)


def test_spacy_finds_it_by_its_entry_point(tmp_path):
    """In a process that imports spaCy alone, from the metadata that the build writes of setup.cfg."""
    root = Path(__file__).parents[2]
    settings = configparser.ConfigParser()
    settings.read(root / "setup.cfg")
    metadata = tmp_path / "lacl-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: lacl\nVersion: 0.1.0\n")
    points = settings["options.entry_points"]["spacy_factories"]
    (metadata / "entry_points.txt").write_text(f"[spacy_factories]{points}\n")
    program = (
        "import spacy, sys\n"
        "nlp = spacy.blank('en')\n"
        "assert 'transformers' not in sys.modules\n"
        "nlp.add_pipe('lacl', config={'model': 'somewhere'})\n"
        "print(type(nlp.get_pipe('lacl')).__module__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == make_lacl.__module__


def test_bytes_hold_the_model(build, checkpoint):
    """As `nlp.to_bytes` gives them to another process."""
    nlp = build()
    content = nlp.to_bytes()
    other = spacy.blank("en")
    other.add_pipe("lacl", config={"model": "no such model"})
    other.from_bytes(content)
    assert triples(other(TEXT).ents) == triples(nlp(TEXT).ents) != []
    assert other.to_bytes()


def test_evaluation_has_scores_of_entities(build):
    nlp = build()
    spans = [(span.start_char, span.end_char, span.label_) for span in nlp(TEXT).ents]
    gold = [Example.from_dict(nlp.make_doc(TEXT), {"entities": spans})]
    scores = nlp.evaluate(gold)
    assert scores["ents_f"] == scores["ents_p"] == 1 and scores["ents_per_type"]


def test_types_that_nobody_gave_are_told(build, caplog):
    with caplog.at_level("WARNING"):
        build(labels=["city"])(TEXT)
        assert "no labels given" not in caplog.text
        build()(TEXT)
    assert "the 3 types of the model are used (person" in caplog.text and "add_pipe" in caplog.text
