"""Runs that are resumed after their last complete line, and the keys that tell runs apart."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_lacl.cli.output import job_key, texts_left

few = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def line(text):
    return json.dumps({"text": text, "entities": []}).encode() + b"\n"


@few
@given(done=st.integers(0, 6), half=st.integers(0, 40))
def test_an_interrupted_run_resumes_after_its_last_complete_line(tmp_path, done, half):
    texts = [f"text {index} é" for index in range(6)]
    path = tmp_path / "out.jsonl"
    whole = b"".join(map(line, texts[:done]))
    path.write_bytes(whole + line("the next")[: min(half, len(line("the next")) - 1)])
    assert list(texts_left(path, texts)) == texts[done:]
    assert path.read_bytes() == whole


def test_a_very_long_half_line_is_cut(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line("a") + b'{"text": "' + b"x" * 200_000)
    assert list(texts_left(path, ["a", "b"])) == ["b"]
    assert path.read_bytes() == line("a")


def test_a_run_over_other_texts_is_refused(tmp_path):
    path = tmp_path / "out.jsonl"
    path.write_bytes(line("a") + line("b"))
    for texts in (["a", "c", "d"], ["a"]):
        with pytest.raises(ValueError, match=r"out\.jsonl:2: this is not the result of text 2"):
            list(texts_left(path, texts))
    path.write_bytes(b"no JSON\n")
    with pytest.raises(ValueError, match=r"out\.jsonl:1"):
        list(texts_left(path, ["a"]))


def test_jobs_are_distinguished(tmp_path):
    file, model = tmp_path / "texts.txt", tmp_path / "model"
    file.write_text("a\n")
    model.mkdir()
    (model / "config.json").write_text("{}")

    def key(checkpoint=str(model), files=(file,), **settings):
        return job_key(checkpoint, files, **settings)

    keys = [key(), key(labels="x"), key(labels="y"), key("released"), key(files=())]
    assert keys[0] == key()
    file.write_text("a\nb\n")
    keys.append(key())
    (model / "config.json").write_text('{"alpha": 0}')
    keys.append(key())
    assert len(set(keys)) == len(keys)
