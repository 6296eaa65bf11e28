"""The table of docs/formats.md says what the registry says."""

import re
from pathlib import Path

import modeling_lacl
from modeling_lacl.data.converting import format_for
from modeling_lacl.data.formats.registry import FORMATS
from modeling_lacl.data.sources import FORMATS as READ

DOCS = (Path(__file__).parents[3] / "docs" / "formats.md").read_text(encoding="utf-8")


def test_the_table_of_the_documentation():
    rows = re.findall(
        r"^\| `([\w-]+)` \| (.*?) \| (.*?) ?\| (\w+) \| (\w+) \| (\w+) \| (\w+) \|$", DOCS, re.M
    )
    assert [name for name, *_ in rows] == list(FORMATS)
    for name, what, suffixes, *holds in rows:
        one = FORMATS[name]
        assert what.startswith(one.title)
        assert [value == "yes" for value in holds] == [one.text, one.words, one.nested, one.ids]
        suffix, *others = re.findall(r"`(\.\w+)`", suffixes) or [None]
        assert suffix == one.suffix
        assert all(format_for(Path(f"a{other}")) == name for other in others)


def test_ways_to_read_are_named_where_they_are_asked_for():
    for place in ("cli/options.py", "cli/convert.py", "training/arguments.py", "data/reading.py"):
        text = (Path(modeling_lacl.__file__).parent / place).read_text(encoding="utf-8")
        assert all(re.search(rf"\b{name}\b", text) for name in READ)
