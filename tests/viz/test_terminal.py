import io
import re
import xml.etree.ElementTree as ElementTree

import pytest
from rich.console import Console

from modeling_lacl.viz.marks import PALETTE, Colours, visible
from modeling_lacl.viz.terminal import EntityView, save_svg

TEXT = "Ana Ruiz flew to Quito."
ENTITIES = [
    {"entity_group": "person", "score": 0.934, "word": "Ana Ruiz", "start": 0, "end": 8},
    {"entity_group": "location", "score": 0.5, "word": "Quito", "start": 17, "end": 22},
]


def console(**settings):
    return Console(file=io.StringIO(), width=100, highlight=False, **settings)


def colour_console():
    return console(force_terminal=True, color_system="truecolor", no_color=False)


def test_brackets_where_there_are_no_colours():
    assert EntityView(console()).render(TEXT, ENTITIES).plain == (
        "[Ana Ruiz | person 0.93] flew to [Quito | location 0.50]."
    )


def test_every_character_of_an_entity_is_coloured_and_no_other():
    rendered = EntityView(colour_console()).render(TEXT, ENTITIES)
    coloured = {rendered.plain[span.start : span.end] for span in rendered.spans if "on #" in str(span.style)}
    assert coloured == {"Ana Ruiz", " person 0.93", "Quito", " location 0.50"}
    assert rendered.plain == "Ana Ruiz person 0.93 flew to Quito location 0.50."


def test_entities_in_any_order():
    view = EntityView(console())
    assert view.render(TEXT, ENTITIES[::-1]).plain == view.render(TEXT, ENTITIES).plain


def test_a_type_keeps_its_colour_whatever_comes_first():
    view = EntityView(colour_console(), ["location", "person"])
    rendered = view.render(TEXT, ENTITIES)
    found = [str(span.style).split(" on ")[1] for span in rendered.spans]
    colours = Colours(["person", "location"])
    assert found == [colours["person"].light] * 2 + [colours["location"].light] * 2


def test_more_types_than_colours():
    view = EntityView(colour_console(), [f"type-{number}" for number in range(3 * len(PALETTE))])
    assert view.render(TEXT, ENTITIES).plain


@pytest.mark.parametrize("colours", ["standard", "256", "truecolor"])
def test_types_differ_in_terminals_of_few_colours(colours):
    labels = [f"type-{number}" for number in range(len(PALETTE))]
    entities = [
        {"entity_group": label, "score": 1.0, "start": place, "end": place + 1}
        for place, label in enumerate(labels)
    ]
    output = console(force_terminal=True, color_system=colours, no_color=False)
    EntityView(output, labels).show("x" * len(labels), entities)
    # Codes from 40 to 47, from 100 to 107, or behind "48;".
    backgrounds = set(re.findall(r"\x1b\[(?:[\d;]*;)?(4[0-7]|10[0-7]|48;[\d;]+)mx", output.file.getvalue()))
    assert len(backgrounds) == len(labels)
    assert ("\x1b[1;" in output.file.getvalue()) == (colours != "standard")


def test_legend_counts_types():
    output = console()
    view = EntityView(output)
    view.show(TEXT, ENTITIES)
    view.show(TEXT, ENTITIES[:1])
    view.legend()
    assert output.file.getvalue().splitlines()[-1] == "person 2  location 1"


def test_legend_without_entities():
    output = console()
    view = EntityView(output)
    view.show("nothing here", [])
    view.legend()
    assert output.file.getvalue() == "nothing here\nno entities\n"


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x07", "\r", "\x9b31m", "\x7f", "\u202e"])
def test_text_cannot_drive_the_terminal(evil):
    text = f"a{evil}b"
    assert len(visible(text)) == len(text)
    output = console()
    EntityView(output).show(text, [])
    assert not set(output.file.getvalue()) & set("\x1b\x07\r\x9b\x7f\u202e")


def test_markup_in_text_and_labels_is_shown_as_it_is():
    output = console()
    view = EntityView(output)
    view.show("[bold]x[/bold]", [{"entity_group": "[red]", "score": 1.0, "word": "x", "start": 6, "end": 7}])
    view.legend()
    assert output.file.getvalue() == "[bold][x | [red] 1.00][/bold]\n[red] 1\n"


def test_long_text_is_not_cut_when_it_goes_to_a_file():
    output = console()
    EntityView(output).show("word " * 100 + "end", [])
    assert output.file.getvalue() == "word " * 100 + "end\n"


def test_svg_is_well_formed_and_fetches_nothing(tmp_path):
    save_svg(tmp_path / "x.svg", [(TEXT, ENTITIES), ("a < b & c", [])], labels=["person"], title="a & b")
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    shown = "".join(ElementTree.fromstring(svg).itertext()).replace("\xa0", " ")
    for part in ("Ana Ruiz", "person 0.93", "location 0.50", "a < b & c", "a & b"):
        assert part in shown
    assert "@font-face" not in svg
    assert "url(http" not in svg


def test_svg_is_the_same_every_time(tmp_path):
    save_svg(tmp_path / "1.svg", [(TEXT, ENTITIES)])
    save_svg(tmp_path / "2.svg", [(TEXT, ENTITIES)])
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()
