"""Web pages, read back by Python's HTML parser."""

import base64
import hashlib
import re
from html.parser import HTMLParser

VOID = {"br", "input", "meta"}


class Page(HTMLParser):
    """Text of a page, of its marks with their colours, and a check that what opens is closed.

    The text of a mark has that of the marks inside it. `shown` are the texts with entities, without the
    types and notes; `examples` the lines below them. Of the style and the script nothing is text.
    """

    def __init__(self, page):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.marks: list[str] = []
        self.inside: list[int] = []  # of these marks
        self.colours: list[str] = []
        self.shown: list[str] = []
        self.examples: list[str] = []
        self.choices: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        classes = (dict(attrs).get("class") or "").split()
        if "text" in classes:
            self.shown.append("")
        if "examples" in classes:
            self.examples.append("")
        if "choice" in classes:
            self.choices.append("")
        if tag == "mark":
            self.inside.append(len(self.marks))
            self.marks.append("")
            self.colours.append(classes[0])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "mark":
            self.inside.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] in ("style", "script"):
            return
        self.text += data
        if self.shown and "p" in self.open and "li" in self.open and "small" not in self.open:
            self.shown[-1] += data
        if "ul" in self.open:
            self.examples[-1] += data
        if "button" in self.open and "section" in self.open and "h2" not in self.open:
            self.choices[-1] += data
        for mark in self.inside:
            self.marks[mark] += data


def words(text):
    return " ".join(text.split())


def assert_stands_alone(page):
    """Nothing but the page's own style and script, and links into it; its policy forbids all else."""
    read = Page(page)
    names = [tag for tag, _ in read.tags]
    assert (names.count("style"), names.count("script")) == (1, 1)
    assert not set(names) & {"link", "img", "iframe", "object", "base", "form"} and "url(" not in page
    assert not any(
        name == "src" or name == "style" or name.startswith("on") for _, attrs in read.tags for name in attrs
    )
    assert all((attrs.get("href") or "#s")[:2] == "#s" for _, attrs in read.tags)
    assert ("meta", {"charset": "utf-8"}) in read.tags
    policy = next(attrs["content"] or "" for _, attrs in read.tags if "http-equiv" in attrs)
    parts = dict(re.findall("([a-z-]+) ('[^']+')", policy))
    assert parts.pop("default-src") == "'none'"
    for name in ("style", "script"):
        content = re.findall(f"<{name}>(.*?)</{name}>", page, flags=re.DOTALL)[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert parts.pop(f"{name}-src") == f"'sha256-{digest}'"
    assert set(parts.values()) == {"'none'"}
