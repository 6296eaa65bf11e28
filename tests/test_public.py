"""The public names: all in `dir()` before the first use, each with a docstring whose example runs."""

import doctest
import subprocess
import sys
from importlib.util import find_spec
from inspect import Parameter, signature
from operator import attrgetter

import pytest

import modeling_lacl
from modeling_lacl.hub.bundled import EMBEDDED_PACKAGE

NAMES = [name for name in modeling_lacl.__all__ if name != "__version__"]
METHODS = [f"LaclForTokenClassification.{name}" for name in ("predict", "set_labels", "with_labels")]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_all_names_are_shown_before_they_are_used():
    program = "import modeling_lacl; print(set(modeling_lacl.__all__) <= set(dir(modeling_lacl)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_what_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = modeling_lacl.nothing


@pytest.mark.skipif(find_spec(EMBEDDED_PACKAGE) is None, reason="needs the extra demo")
@pytest.mark.parametrize("name", [*NAMES, *METHODS])
def test_the_example_runs(name, tmp_path, monkeypatch):
    """Of the docstring of each name; in a folder that it may write to."""
    monkeypatch.chdir(tmp_path)
    text = attrgetter(name)(modeling_lacl).__doc__ or ""
    assert "Example:" in text
    test = doctest.DocTestParser().get_doctest(text, {}, name, name, 0)
    assert test.examples
    output: list[str] = []
    failed, _ = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=output.append)
    assert not failed, "".join(output)


def test_predict_shows_its_arguments():
    """To `help` and editors, the same for both kinds of model, and keywords only behind the inputs."""
    shown = signature(modeling_lacl.LaclForTokenClassification.predict)
    assert shown == signature(modeling_lacl.LaclOnnxModel.predict)
    options = dict(list(shown.parameters.items())[2:])
    assert {one.kind for one in options.values()} == {Parameter.KEYWORD_ONLY}
    assert {name: one.default for name, one in options.items()} == {
        "is_split_into_words": False,
        "labels": None,
        "support": None,
        "threshold": None,
        "overlap": "flat",
        "batch_size": 32,
        "stride": 32,
    }


def test_predict_knows_no_other_arguments():
    with pytest.raises(TypeError, match="unexpected keyword argument 'thresold'"):
        modeling_lacl.LaclForTokenClassification.predict(None, "a text", thresold=0.5)  # type: ignore[arg-type, call-arg]
