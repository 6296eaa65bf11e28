"""Web pages of tagged text, read back by Python's HTML parser."""

import json
import sys

import pytest
from web_page import Page, assert_stands_alone, words  # type: ignore[import-not-found]  # in the folder above

from modeling_lacl import adapt, cli
from modeling_lacl.viz.html import render_html
from modeling_lacl.viz.marks import Colours

TEXT = "Ana Ruiz flew\nto Quito."
ENTITIES = [
    {
        "entity_group": "person",
        "score": 0.934,
        "word": "Ana Ruiz",
        "start": 0,
        "end": 8,
        "nearest_example": "Tom",
    },
    {"entity_group": "location", "score": 0.5, "word": "Quito", "start": 17, "end": 22},
]


def test_each_entity_has_its_type_score_and_example():
    page = Page(render_html([(TEXT, ENTITIES[::-1]), ("nothing here", [])], title="Texts", about="by ner"))
    assert [words(mark) for mark in page.marks] == ["Ana Ruizperson 0.93", "Quitolocation 0.50"]
    assert [words(one) for one in page.examples] == ["Ana Ruiz ≈ Tom"]
    assert page.shown == [TEXT, "nothing here"]
    assert words(page.text).startswith("Texts Texts by ner")
    titles = [attrs["title"] for tag, attrs in page.tags if tag == "mark"]
    assert titles == ["person, score 0.934, nearest example: Tom", "location, score 0.500"]


def test_what_the_script_filters_by():
    other = [{"entity_group": "ship", "start": 0, "end": 3}]
    page = Page(render_html([(TEXT, ENTITIES), (TEXT, ENTITIES[1:]), (TEXT, other)]))
    numbers = [attrs["data-type"] for tag, attrs in page.tags if tag == "mark"]
    names = [choice.split()[0] for choice in page.choices]
    assert [names[int(number)] for number in numbers] == ["person", "location", "location", "ship"]
    scores = [attrs.get("data-score") for tag, attrs in page.tags if tag == "mark"]
    assert scores == ["0.934", "0.5", "0.5", None]
    # An example goes with its entity.
    [example] = [attrs for tag, attrs in page.tags if tag == "li" and "data-type" in attrs]
    assert example == {"data-type": numbers[0], "data-score": "0.934"}
    # Without scores there is no slider.
    assert [attrs["type"] for tag, attrs in page.tags if tag == "input"] == ["search", "range", "checkbox"]
    unscored = Page(render_html([(TEXT, other)]))
    assert "range" not in [attrs.get("type") for _, attrs in unscored.tags]


def test_a_type_keeps_its_colour():
    page = Page(render_html([(TEXT, ENTITIES), (TEXT, ENTITIES)], labels=["location"]))
    colours = Colours(["location", "person"])
    assert page.colours == [colours["person"].name, colours["location"].name] * 2
    assert Page(render_html([(TEXT, ENTITIES[::-1])])).colours == page.colours[:2]


def test_the_page_stands_alone():
    assert_stands_alone(render_html([(TEXT, ENTITIES)]))


EVIL = "<script>alert('1')</script> & {0} $title \" onload=x \x07 \u202e"


def test_nothing_in_text_labels_and_examples_is_markup():
    entity = {"entity_group": EVIL, "score": 1.0, "start": 0, "end": len(EVIL), "nearest_example": EVIL}
    page = render_html([(EVIL, [entity]), (EVIL, [])], title=EVIL, about=EVIL, labels=[EVIL])
    assert_stands_alone(page)
    read = Page(page)
    shown = words(EVIL.replace("\x07", "\u2407").replace("\u202e", "\ufffd"))
    assert words(read.marks[0]) == f"{shown}{shown} 1.00" and words(read.examples[0]) == f"{shown} ≈ {shown}"
    assert words(read.text).count(shown) == 3 + 1 + 2 + 2 + 1  # titles, choice, mark, example, text
    assert not set(page) & {"\x07", "\u202e"}


def test_a_legend_counts_the_types_and_texts_have_numbers():
    page = Page(render_html([(TEXT, ENTITIES), (TEXT, ENTITIES[:1])], labels=["ship", "location"]))
    assert [words(choice) for choice in page.choices] == ["person 2", "location 1"]
    assert "2 texts · 3 entities" in page.text
    assert [attrs["id"] for tag, attrs in page.tags if attrs.get("class") == "sentence"] == ["s1", "s2"]
    empty = Page(render_html([(TEXT, [])]))
    assert "1 text · 0 entities" in empty.text and not empty.choices


def test_the_page_fits_phones_and_dark_rooms():
    page = render_html([(TEXT, ENTITIES)])
    viewport = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    assert ("meta", viewport) in Page(page).tags and "prefers-color-scheme: dark" in page
    assert Page(page).shown == [TEXT] and ".text { white-space: pre-wrap" in page


def test_marks_around_others_are_higher():
    spans = [(0, 22), (0, 13), (0, 8), (0, 3), (4, 8)]
    entities = [{"entity_group": "x", "start": start, "end": end} for start, end in spans]
    page = Page(render_html([(TEXT, entities), (TEXT, entities[:2]), (TEXT, entities[:1])]))
    classes = [(attrs.get("class") or "").split()[1:] for tag, attrs in page.tags if tag == "mark"]
    assert classes == [["around-3"], ["around-2"], ["around-1"], [], [], ["around-1"], [], []]
    texts = [attrs["class"] for tag, attrs in page.tags if "text" in (attrs.get("class") or "").split()]
    assert texts == ["text high-3", "text high-1", "text"]


@pytest.fixture
def checkpoint(make_tiny_model, tmp_path):
    model = make_tiny_model(encoder={"max_position_embeddings": 512})
    support = [{"tokens": ["ana", "flew", "to", "quito"], "ner_tags": ["B-person", "O", "O", "B-location"]}]
    adapt(model, support, steps=0).save_pretrained(tmp_path / "ner")
    return tmp_path / "ner"


@pytest.fixture
def lacl(monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lacl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0

    return run


def read_page(path):
    return Page(path.read_text(encoding="utf-8"))


def test_view(lacl, checkpoint, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("ana flew to quito\n\nyork <b>\n", encoding="utf-8")
    assert lacl("view", checkpoint, tmp_path / "texts.txt", "-o", tmp_path / "page.html") == 0
    page = read_page(tmp_path / "page.html")
    assert "ana" in page.text and "york" in page.text
    assert page.marks and "≈" in page.text
    assert sum(one.count("≈") for one in page.examples) == len(page.marks)
    assert words(page.text).startswith("Entities in texts.txt")
    # Types that are found by their names have no examples.
    arguments = ("--text", "ana flew to quito", "--labels", "city", "-o", tmp_path / "other.html")
    assert lacl("view", checkpoint, *arguments) == 0
    assert not read_page(tmp_path / "other.html").examples
    assert lacl("view", checkpoint, "-o", tmp_path / "page.html") == 2
    assert "FILE or --text" in capsys.readouterr().err


def test_render_shows_what_predict_wrote(lacl, checkpoint, tmp_path):
    (tmp_path / "texts.txt").write_text("ana flew to quito\n\n<b>york</b> \u2028 &amp;\n", encoding="utf-8")
    assert lacl("predict", checkpoint, tmp_path / "texts.txt", "-o", tmp_path / "found.jsonl") == 0
    assert lacl("view", checkpoint, tmp_path / "texts.txt", "-o", tmp_path / "page.html") == 0
    for place in tmp_path.glob("ner/*"):  # no model is needed
        place.unlink()
    assert lacl("render", tmp_path / "found.jsonl", "-o", tmp_path / "found.html") == 0
    rendered, viewed = read_page(tmp_path / "found.html"), read_page(tmp_path / "page.html")
    assert rendered.marks and words(rendered.text).startswith("found")
    assert [words(mark) for mark in rendered.marks] == [words(mark) for mark in viewed.marks]
    assert rendered.colours == viewed.colours
    assert "b" not in {tag for tag, _ in rendered.tags}


def test_overlapping_entities_are_viewed_and_rendered(lacl, make_tiny_model, tmp_path):
    support = [{"tokens": ["ana", "flew", "to", "quito"], "ner_tags": ["B-person", "O", "O", "B-location"]}]
    model = adapt(make_tiny_model(max_span_words=3), support, steps=0)
    model.config.calibration = {"names": [0.01, 0.0], "support": [0.01, 0.0]}  # no score is near 0
    model.save_pretrained(tmp_path / "ner")
    arguments = (tmp_path / "ner", "--text", "ana flew to quito", "--threshold", 0, "--overlap", "any")
    assert lacl("view", *arguments, "-o", tmp_path / "page.html") == 0
    assert lacl("predict", *arguments, "-o", tmp_path / "found.jsonl") == 0
    assert lacl("render", tmp_path / "found.jsonl", "-o", tmp_path / "found.html") == 0
    found = json.loads((tmp_path / "found.jsonl").read_text())["entities"]
    assert any(one["start"] < other["start"] < one["end"] < other["end"] for one in found for other in found)
    for page in (read_page(tmp_path / "page.html"), read_page(tmp_path / "found.html")):
        assert page.shown == ["ana flew to quito"] and len(page.marks) > len(found)


def row(**changes):
    return json.dumps({"text": TEXT, "entities": [{**ENTITIES[0], **changes}]})


def test_render_escapes_and_takes_entities_in_any_order(lacl, tmp_path):
    line = json.dumps({"text": EVIL + TEXT, "entities": []})
    both = json.dumps({"text": TEXT, "entities": [ENTITIES[1], {**ENTITIES[0], "entity_group": EVIL}]})
    (tmp_path / "found.jsonl").write_text(f"\ufeff{line}\r\n\r\n{both}\r\n", encoding="utf-8")
    assert lacl("render", tmp_path / "found.jsonl", "-o", tmp_path / "page.html") == 0
    page = read_page(tmp_path / "page.html")
    assert_stands_alone((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.text.count("<script>alert('1')</script>") == 3  # text, legend and mark
    assert [words(mark).partition(" ")[0] for mark in page.marks] == ["Ana", "Quitolocation"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[]", "TypeError"),
        ("{", "JSONDecodeError"),
        ('[{"entity_group": "person"}]', "TypeError"),
        ('{"entities": []}', "KeyError: 'text'"),
        ('{"text": 3, "entities": []}', "text is 3"),
        ('{"tokens": ["Ana"], "ner_tags": ["person"]}', "KeyError"),
        ('{"text": "Ana", "entities": [{"start": 0, "end": 3, "label": "person"}]}', "KeyError"),
        (row(end=99), "the offsets 0 to 99 lie outside the text"),
        (row(start=-1), "the offsets -1 to 8 lie outside the text"),
        (row(start=0.5), "TypeError"),
        (row(score="high"), "the type or the score"),
        (row(score=10**400), "a score is from 0 to 1, and this one is 10000000"),
        (row(score=float("nan")), "a score is from 0 to 1, and this one is nan"),
        (row(entity_group=None), "the type or the score"),
        (row(nearest_example=3), "the type or the score"),
    ],
)
def test_what_predict_did_not_write_is_named_by_its_line(lacl, tmp_path, capsys, line, problem):
    (tmp_path / "found.jsonl").write_text(f"{row()}\n{line}\n")
    (tmp_path / "page.html").write_text("as it was")
    assert lacl("render", tmp_path / "found.jsonl", "-o", tmp_path / "page.html") == 2
    message = capsys.readouterr().err
    assert "found.jsonl:2: not a result of `lacl predict`" in message and problem in message
    assert (tmp_path / "page.html").read_text() == "as it was"


def test_render_does_not_write_over_what_it_reads(lacl, tmp_path, capsys):
    (tmp_path / "found.jsonl").write_text(f"{row()}\n")
    assert lacl("render", tmp_path / "found.jsonl", "-o", tmp_path / "found.jsonl") == 2
    assert "is the input file" in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert (tmp_path / "found.jsonl").read_text() == f"{row()}\n"
