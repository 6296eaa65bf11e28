"""The class for `map_batches`, called as Ray calls it; against `predict`."""

import doctest
from importlib.util import find_spec

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest

from modeling_lacl import LaclForTokenClassification
from modeling_lacl.hub.bundled import EMBEDDED_PACKAGE
from modeling_lacl.integrations import ray as ray_integration
from modeling_lacl.integrations.ray import LaclTagger, pool

TEXTS = ["ana ruiz flew to quito", "", "a  play of   york"]


@pytest.fixture(scope="module")
def place(make_tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tagger") / "ner"
    make_tiny_model(encoder={"max_position_embeddings": 512}).save_pretrained(folder)
    return str(folder)


def test_batches_get_a_column(place):
    model = LaclForTokenClassification.from_pretrained(place)
    tagger = LaclTagger(place, text_column="body", labels=["city", "play"])
    expected = model.predict(TEXTS, labels=["city", "play"])
    assert any(expected)
    batch = {"id": np.arange(3), "body": np.array(TEXTS)}
    found = tagger(batch)
    assert list(found) == ["id", "body", "entities"] and found["id"] is batch["id"]
    assert found["entities"].to_pylist() == expected
    table = pa.table({"body": TEXTS, "id": [1, 2, 3]})
    found = tagger(table)
    assert found.drop(["entities"]) == table and found["entities"].to_pylist() == expected
    # A batch without entities has the type of the others.
    assert tagger(table.slice(1, 1)).schema == found.schema == tagger(table.slice(0, 0)).schema


@pytest.mark.skipif(find_spec(EMBEDDED_PACKAGE) is None, reason="needs the extra demo")
def test_the_example_runs():
    finder = doctest.DocTestFinder(recurse=False)
    (example,) = finder.find(LaclTagger, globs={})
    told: list[str] = []
    assert not doctest.DocTestRunner().run(example, out=told.append).failed, "".join(told)


def test_words_keep_together(place):
    model = LaclForTokenClassification.from_pretrained(place)
    tagger = LaclTagger(place, is_split_into_words=True)
    words = [text.split() for text in TEXTS]
    assert tagger.entities(TEXTS) == model.predict(words, is_split_into_words=True)


@pytest.mark.parametrize(
    ("batch", "message"),
    [({"body": []}, "a column 'text' and none named 'entities'; this one has 'body'"),
     ({"text": [], "entities": []}, "none named 'entities'"),
     ({"text": ["a", None]}, "row 1 of the column 'text' is NoneType")],
)  # fmt: skip
def test_what_cannot_be_tagged_is_named(place, batch, message):
    tagger = LaclTagger(place)
    with pytest.raises(ValueError, match=message):
        tagger(batch)
    with pytest.raises(ValueError, match=message):
        tagger(pa.table(batch))


@pytest.mark.parametrize(
    ("gpus", "workers", "exported", "expected"),
    [(0, None, False, (8, 0)), (0, 3, False, (3, 0)), (2, None, False, (2, 1)), (2, 4, False, (4, 1 / 2)),
     (2, 5, False, (5, 1 / 3)), (4, 2, False, (2, 1)), (2, None, True, (8, 0))],
)  # fmt: skip
def test_how_many_actors_there_are(monkeypatch, tmp_path, gpus, workers, exported, expected):
    resources = {"CPU": 8, "GPU": gpus}

    class Ray:
        cluster_resources = staticmethod(lambda: resources)

    monkeypatch.setattr(ray_integration, "require", lambda *names: Ray)
    if exported:
        (tmp_path / "model.onnx").touch()
    assert pool(str(tmp_path), workers) == expected
    resources["CPU"] = 0
    with pytest.raises(ValueError, match="has no CPUs"):
        pool(str(tmp_path), workers)


@pytest.mark.parametrize(("actor", "gpus", "taken"), [(None, [], True), ("a", [], False), ("a", ["0"], True)])
def test_an_actor_without_a_gpu_of_its_own_takes_none(monkeypatch, place, actor, gpus, taken):
    class Ray:
        is_initialized = staticmethod(lambda: True)
        get_runtime_context = staticmethod(lambda: Ray)
        get_actor_id = staticmethod(lambda: actor)
        get_accelerator_ids = staticmethod(lambda: {"GPU": gpus})

    monkeypatch.setitem(ray_integration.sys.modules, "ray", Ray)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "")
    LaclTagger(place)
    assert (ray_integration.os.environ["ACCELERATE_USE_CPU"] == "") is taken
