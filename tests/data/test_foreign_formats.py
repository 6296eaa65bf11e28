"""Text of other programs that would pass as columns is refused by its name."""

import pytest

from modeling_lacl.data.examples import LaclDataError
from modeling_lacl.data.reading import read_dataset

FORMATS = {
    "T1\tperson 0 4\tMira\nT2\tcity 9 13\tOslo\n": "brat's standoff format",
    "T1\tperson 0 4\tMira\nR1\tin Arg1:T1 Arg2:T2\nT2\tcity 9 11;12 13\tOs o\n#1\tNote T1\twhy\n": "brat's",
    '<?xml version="1.0"?><doc><s>Mira flew</s></doc>': "XML or HTML",
    "<doc><s><w tag='B-person'>Mira</w> <w tag='O'>flew</w></s></doc>\n": "XML or HTML",
    "<PER>Mira</PER> flew to\n<LOC>Oslo</LOC> and back\n": "XML or HTML",
    "<!DOCTYPE html>\n<p>Mira flew\n": "XML or HTML",
    "<s>\nMira\tB-person\n</s>\n": "XML or HTML",
}


@pytest.mark.parametrize(("content", "name"), FORMATS.items())
def test_named(tmp_path, content, name):
    path = tmp_path / "data.txt"
    path.write_text(content)
    with pytest.raises(LaclDataError, match=f"data.txt: is {name}.*JSON object a line"):
        read_dataset(path)


@pytest.mark.parametrize(
    "content", ["<s> O\nMira B-person\n", "<b>x</b>\tO\nMira\tB-x\n", "T1\tO\nT2\tB-x\n"]
)
def test_words_that_look_so_are_read(tmp_path, content):
    path = tmp_path / "data.txt"
    path.write_text(content)
    assert len(read_dataset(path)[0]["tokens"]) == 2
