"""Damaged files beside the labelled data: each is read, or gets the documented error.

`LACL_FUZZ` sets how many files of each format (see tests/data/test_fuzz.py, which has the labelled data).
"""

import json
import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modeling_lacl.cli.texts import read_texts
from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.label_names import load_label_names
from modeling_lacl.hub.loading import load_model
from modeling_lacl.training.arguments import parse_arguments

FILES = int(os.environ.get("LACL_FUZZ", "60"))
many = settings(
    max_examples=FILES,
    deadline=timedelta(seconds=30),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
YAML = b"person: human being\nGPE: 'country or city'\n# a comment\nship: [a, b]\nwork: !!str 3\n"
RECIPE = b"train_file: data.txt\noutput_dir: out\nlearning_rate: 5e-5\nmax_steps: 3\nheld_out_types: [a, b]\n"
INSERTS = [
    b":",
    b"- ",
    b"\n",
    b"\t",
    b"!!python/name:os.system",
    b"&a *a",
    b"{",
    b"\xff",
    b"\x00",
    b"'",
    b"1e999",
    b"~",
]


@st.composite
def mutated(draw, original):
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 5))):
        position = draw(st.integers(0, len(content)))
        stop = min(len(content), position + draw(st.integers(0, 8)))
        content[position:stop] = draw(st.sampled_from(INSERTS) | st.binary(max_size=6) | st.just(b""))
    return bytes(content)


@many
@given(content=mutated(YAML))
def test_label_names(tmp_path, content):
    (tmp_path / "names.yaml").write_bytes(content)
    try:
        names = load_label_names(tmp_path / "names.yaml")
    except LaclDataError as error:
        assert "names.yaml" in str(error)
    else:
        assert all(isinstance(label, str) and name.strip() for label, name in names.items())


@many
@given(content=mutated(RECIPE))
def test_recipes(tmp_path, content):
    (tmp_path / "recipe.yaml").write_bytes(content)
    try:
        parse_arguments([str(tmp_path / "recipe.yaml")])
    except ValueError as error:
        assert len(str(error)) > 20


@many
@given(lines=st.lists(st.binary(max_size=12), max_size=6))
def test_texts_of_any_bytes(lines):
    content = b"\n".join(lines)
    try:
        texts = list(read_texts(content.splitlines(keepends=True), "texts.txt"))
    except ValueError as error:
        assert "this is" in str(error)
    else:
        "".join(texts).encode()  # no half characters are left


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, make_tiny_model):
    folder = tmp_path_factory.mktemp("fuzz") / "model"
    make_tiny_model().save_pretrained(folder)
    return folder, json.loads((folder / "config.json").read_text())


ODD = st.sampled_from([None, -1, 0, 1, 7, 0.5, True, "", "x", [], [1], {}, {"a": 1}, float("nan"), "\ud800"])


@settings(many, max_examples=min(FILES, 1000) // 2)
@given(data=st.data())
def test_configurations(checkpoint, data):
    folder, values = checkpoint
    values = json.loads(json.dumps(values))
    for _ in range(data.draw(st.integers(1, 2))):
        inner = values["encoder_config"] if data.draw(st.booleans()) else values
        if not isinstance(inner, dict) or not inner:
            continue
        key = data.draw(st.sampled_from(sorted(inner)))
        if data.draw(st.booleans()):
            del inner[key]
            if "encoder_config" not in values:
                break
        else:
            inner[key] = data.draw(ODD)
    (folder / "config.json").write_text(json.dumps(values))
    try:
        model = load_model(folder)
    except ValueError as error:
        assert str(folder) in str(error) and len(str(error)) > len(str(folder)) + 20
        return
    try:
        model.predict("ana flew to quito")
    except ValueError as error:
        assert len(str(error)) > 20
