"""Spans that say what their text is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset

TEXT = "In Oslo, Mira Vask flew to Zürich"
LETTERS = st.sampled_from([(start, end) for start in range(len(TEXT)) for end in range(start + 1, len(TEXT))])


def read(start, end, **more):
    return read_dataset([{"text": TEXT, "entities": [{"start": start, "end": end, "label": "x", **more}]}])


@given(LETTERS, LETTERS)
def test_a_text_that_is_not_there_is_an_error(own, other):
    text = TEXT[slice(*other)]
    if not TEXT[slice(*own)].strip():
        return
    if text.split() == TEXT[slice(*own)].split():
        assert read(*own, text=text)
    elif "".join(text.split()) != "".join(TEXT[slice(*own)].split()):
        with pytest.raises(LaclDataError) as caught:
            read(*own, text=text)
        assert repr(text) in str(caught.value) and repr(TEXT[slice(*own)]) in str(caught.value)


def test_word_of_a_prediction():
    for word in ("Zürich", "zurich", "zu rich"):
        assert read(27, 33, word=word)
    with pytest.raises(LaclDataError, match="has the word 'Oslo', but the text has 'Mira' there; correct"):
        read(9, 13, entity_group="x", word="Oslo")
