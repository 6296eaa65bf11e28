"""Web pages, read back by Python's HTML parser."""

import re
from html.parser import HTMLParser

VOID = {"br", "meta"}


class Page(HTMLParser):
    """Text of a page, of its marks with their colours, and a check that what opens is closed.

    The text of a mark has that of the marks inside it. `shown` are the texts with entities, without the
    types and notes.
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
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "p":
            self.shown.append("")
        if tag == "mark":
            self.inside.append(len(self.marks))
            self.marks.append("")
            self.colours += re.findall("background: ([^;]+);", dict(attrs)["style"] or "")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "mark":
            self.inside.pop()

    def handle_data(self, data):
        self.text += data
        if "p" in self.open and "small" not in self.open:
            self.shown[-1] += data
        for mark in self.inside:
            self.marks[mark] += data


def words(text):
    return " ".join(text.split())
