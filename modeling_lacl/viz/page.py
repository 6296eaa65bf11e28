"""The frame of web pages that stand alone: title, filters, style, script, and what they may do."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence
from functools import cache
from importlib import resources
from string import Template
from typing import NamedTuple

from .marks import PALETTE, visible

_PAGE = Template("""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="$policy">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="about">$about</p>
</header>
<aside aria-label="filters">
$filters
</aside>
<main>
$content
</main>
<script>$script</script>
</body>
</html>
""")

_TOOLS = Template("""\
<div class="tools" hidden>
<label class="tool">Search\
<input type="search" name="search" placeholder="words in a $unit" autocomplete="off"></label>
$slider<label class="toggle"><input type="checkbox" name="marked"> Only ${unit}s with an entity shown</label>
</div>
<p class="status" role="status" data-unit="$unit">$status</p>""")

_SLIDER = """\
<div class="tool"><label for="score">Score at least</label><output for="score">0.00</output>\
<input type="range" id="score" name="score" min="0" max="1" step="0.01" value="0"></div>
"""


class Choice(NamedTuple):
    """A value by which the marks of a page can be shown and hidden.

    Attributes:
        name: Its name.
        number: Number of entities that have it, as it is shown.
        style: Class of its button: the name of a shade, or `wrong`.
    """

    name: str
    number: str
    style: str = ""


class Facet(NamedTuple):
    """What marks differ in.

    Attributes:
        attribute: The `data-` attribute of marks that has the number of a choice.
        heading: Heading of the choices.
        choices: The choices; without any, the facet is left out.
        numbers: What the numbers of the choices are.
    """

    attribute: str
    heading: str
    choices: Sequence[Choice]
    numbers: str = ""


def render_page(
    title: str,
    content: str,
    *,
    about: str = "",
    facets: Sequence[Facet] = (),
    unit: str = "text",
    numbers: tuple[int, int] = (0, 0),
    scored: bool = True,
) -> str:
    """Return a page that loads nothing from anywhere: a file with its own style and script.

    Without JavaScript everything is shown, and nothing can be filtered.

    Args:
        title: The title.
        content: HTML: elements of the class `sentence`, each with a `.text` to search in and with parts
            that have `data-type`, `data-score` and so on.
        about: A line below the title.
        facets: What marks can be shown by.
        unit: What an element of the content is, in the singular.
        numbers: How many of them there are, and how many entities.
        scored: Whether any entity has a score.

    Returns:
        The page. Title, `about` and the names of choices are escaped.
    """
    style, script = _asset("page.css") + _shades(), _asset("page.js")
    filters = "\n".join(map(_filter, facets))
    tools = _TOOLS.substitute(
        unit=unit,
        slider=_SLIDER * scored,
        status=f"{_counted(numbers[0], unit)} · {_counted(numbers[1], 'entity', 'entities')}",
    )
    return _PAGE.substitute(
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
        title=escaped(title),
        about=escaped(about),
        filters=f"{tools}\n{filters}",
        style=style,
        script=script,
        content=content,
    )


def escaped(text: str) -> str:
    """Return a text, such as a type, as HTML that shows it."""
    return html.escape(visible(text))


def _filter(facet: Facet) -> str:
    """Return buttons, which the script enables; without it, they are the legend."""
    if not facet.choices:
        return ""
    name = facet.attribute
    buttons = "\n".join(
        f'<button type="button" class="choice {choice.style}" data-facet="{name}" data-value="{value}" '
        'aria-pressed="true" disabled>'
        f"<span>{escaped(choice.name)}</span> <small>{choice.number}</small></button>"
        for value, choice in enumerate(facet.choices)
    )
    return f"""\
<section class="filter">
<h2>{facet.heading} <small>{facet.numbers}</small><span class="every" hidden>\
<button type="button" data-every="{name}" aria-label="show all: {facet.heading}">all</button>
<button type="button" data-none="{name}" aria-label="show none: {facet.heading}">none</button></span></h2>
<div class="choices" role="group" aria-label="{facet.heading}">
{buttons}
</div>
</section>"""


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def _shades() -> str:
    return "".join(
        f".{shade.name} {{ --light: {shade.light}; --deep: {shade.deep}; }}\n" for shade in PALETTE
    )


def _digest(content: str) -> str:
    """Return what a Content-Security-Policy calls an inline style or script by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
