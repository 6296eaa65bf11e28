"""Marks of any nested and crossing entities: well formed, and around a text that stays what it was."""

import io
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from web_page import Page  # type: ignore[import-not-found]  # in the folder above

from modeling_lacl.viz.error_page import render_error_page
from modeling_lacl.viz.html import render_html
from modeling_lacl.viz.marks import PALETTE, Closing, Colours, Opening, marked, visible
from modeling_lacl.viz.terminal import EntityView

LABELS = ["org", "<city>", "a & b"]


@st.composite
def texts_with_entities(draw):
    text = draw(st.text(st.sampled_from("ab \n\t\x07&<é\u202e東"), min_size=1, max_size=12))
    borders = st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True).map(sorted)
    entities = [
        {"entity_group": label, "score": 0.5, "start": start, "end": end}
        for (start, end), label in draw(st.lists(st.tuples(borders, st.sampled_from(LABELS)), max_size=6))
    ]
    return text, entities


@given(texts_with_entities())
def test_each_character_is_marked_by_the_entities_that_have_it(case):
    text, entities = case
    opened: list[tuple[Any, int]] = []
    seen: list[tuple[str, list[int]]] = []
    parts: list[tuple[bool, bool]] = []
    for part in marked(text, entities):
        if isinstance(part, Opening):
            opened.append((part.entity, len(seen)))
        elif isinstance(part, Closing):
            entity, start = opened.pop()
            assert entity is part.entity and start < len(seen)  # no mark is empty
            assert part.begun == (start > entity["start"]) and part.goes_on == (len(seen) < entity["end"])
            parts.append((part.begun, part.goes_on))
        else:
            seen += [(one, sorted(id(entity) for entity, _ in opened)) for one in part]
    assert not opened
    assert seen == [
        (one, sorted(id(entity) for entity in entities if entity["start"] <= place < entity["end"]))
        for place, one in enumerate(visible(text))
    ]
    # Each entity begins once and ends once, and only entities that cross others have several marks.
    assert sum(not begun for begun, _ in parts) == sum(not on for _, on in parts) == len(entities)
    crossing = any(
        one["start"] < other["start"] < one["end"] < other["end"] for one in entities for other in entities
    )
    assert (len(parts) > len(entities)) == crossing


@given(texts_with_entities())
@settings(max_examples=50)
def test_pages_and_terminals_show_the_text_once(case):
    text, entities = case
    assert Page(render_html([case, (text, [])])).shown == [visible(text)] * 2
    assert Page(render_error_page([(1, text, entities, entities[:1])])).shown == [visible(text)] * 2
    plain = EntityView(Console(file=io.StringIO())).render(text, entities).plain
    assert re.sub(r"\[| \| (… )?(org|<city>|a & b)( …)? 0\.50\]", "", plain) == visible(text)


@given(st.lists(st.text(max_size=3), unique=True, max_size=15), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_a_type_has_its_colour_whatever_the_order(labels, order):
    shades = [Colours(labels)[label] for label in labels]
    shuffled = Colours(order.sample(labels, len(labels)))
    assert [shuffled[label] for label in labels] == shades
    assert len(set(shades)) == min(len(labels), len(PALETTE))  # none is shared before all are used


def test_colours_of_common_types_stay_what_they_are():
    """Pages, pictures and terminals of other versions show them in the same colours."""
    names = {label: Colours()[label].name for label in ("person", "location", "organization", "PER", "LOC")}
    assert names == {
        "person": "green",
        "location": "pink",
        "organization": "teal",
        "PER": "pink",
        "LOC": "blue",
    }
    # Others change nothing but for a type that wants the same.
    assert all(
        Colours(["person", "location", "aircraft"])[label].name == names[label] for label in list(names)[:2]
    )


def luminance(colour):
    """Relative luminance by WCAG 2."""
    values = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lower, higher = sorted((luminance(one), luminance(other)))
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("shade", PALETTE, ids=lambda shade: shade.name)
def test_text_is_legible_on_every_colour(shade):
    assert contrast("#000000", shade.light) >= 7
    assert contrast("#ffffff", shade.deep) >= 4.5  # also a dot of it on white


TEXT = "University of Oslo opened"
ORG = {"entity_group": "org", "score": 1.0, "start": 0, "end": 18}
CITY = {"entity_group": "city", "score": 1.0, "start": 14, "end": 18}
EVENT = {"entity_group": "event", "score": 0.8, "start": 11, "end": 25}


def test_nested_and_crossing_entities_in_a_terminal():
    view = EntityView(Console(file=io.StringIO()))
    nested = "[University of [Oslo | city 1.00] | org 1.00] opened"
    assert view.render(TEXT, [CITY, ORG]).plain == nested
    assert view.render(TEXT, [ORG, EVENT]).plain == (
        "[University [of Oslo | event … 0.80] | org 1.00][ opened | … event 0.80]"
    )
    assert view.counts == {"org": 2, "city": 1, "event": 1}


def test_the_innermost_entity_colours_its_words():
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", no_color=False)
    rendered = EntityView(console).render(TEXT, [ORG, CITY])
    colours = {
        rendered.plain[span.start : span.end]: str(span.style).split(" on ")[1] for span in rendered.spans
    }
    org, city = (Colours(["org", "city"])[label].light for label in ("org", "city"))
    assert colours == {"University of ": org, "Oslo": city, " city 1.00": city, " org 1.00": org}
    assert rendered.plain == "University of Oslo city 1.00 org 1.00 opened"


@pytest.mark.parametrize(("start", "end"), [(-1, 3), (2, 2), (3, 1), (0, 26)])
def test_offsets_that_are_no_part_of_the_text(start, end):
    with pytest.raises(ValueError, match=f"the offsets {start} to {end} lie outside the text"):
        list(marked(TEXT, [{"start": start, "end": end}]))
