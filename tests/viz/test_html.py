"""Web pages of tagged text, read back by Python's HTML parser."""

import json
import sys

import pytest
from web_page import Page, words  # type: ignore[import-not-found]  # in the folder above

from modeling_lacl import adapt, cli
from modeling_lacl.viz.html import render_html
from modeling_lacl.viz.marks import BACKGROUNDS

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
    page = Page(render_html([(TEXT, ENTITIES[::-1]), ("nothing here", [])], title="Texts"))
    assert [words(mark) for mark in page.marks] == [
        "Ana Ruizperson 0.93 · nearest example: Tom",
        "Quitolocation 0.50",
    ]
    assert "nothing here" in page.text
    assert words(page.text).startswith("Texts")


def test_a_type_keeps_its_colour():
    page = Page(render_html([(TEXT, ENTITIES), (TEXT, ENTITIES)], labels=["location"]))
    assert page.colours == [BACKGROUNDS[1], BACKGROUNDS[0]] * 2


def test_the_page_stands_alone():
    page = Page(render_html([(TEXT, ENTITIES)]))
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe"}
    assert not any("src" in attrs or "href" in attrs for _, attrs in page.tags)
    assert ("meta", {"charset": "utf-8"}) in page.tags
    assert "url(" not in render_html([(TEXT, ENTITIES)])


EVIL = "<script>alert('1')</script> & {0} \" \x07 \u202e"


def test_nothing_in_text_labels_and_examples_is_markup():
    entity = {"entity_group": EVIL, "score": 1.0, "start": 0, "end": len(EVIL), "nearest_example": EVIL}
    page = render_html([(EVIL, [entity]), (EVIL, [])], title=EVIL, labels=[EVIL])
    read = Page(page)
    assert "script" not in {tag for tag, _ in read.tags}
    shown = EVIL.replace("\x07", "\u2407").replace("\u202e", "\ufffd")
    assert words(read.marks[0]) == words(f"{shown}{shown} 1.00 · nearest example: {shown}")
    assert not set(page) & {"\x07", "\u202e"}


def test_a_legend_counts_the_types_and_texts_have_numbers():
    page = Page(render_html([(TEXT, ENTITIES), (TEXT, ENTITIES[:1])], labels=["ship", "location"]))
    assert "location 1\nperson 2" in page.text and "ship" not in page.text
    assert [tag for tag, _ in page.tags if tag in ("ol", "p")] == ["ol", "p", "p"]
    assert "no entities" in Page(render_html([(TEXT, [])])).text


def test_the_page_fits_phones_and_dark_rooms():
    page = render_html([(TEXT, ENTITIES)])
    viewport = {"name": "viewport", "content": "width=device-width, initial-scale=1"}
    assert ("meta", viewport) in Page(page).tags and "prefers-color-scheme: dark" in page
    assert Page(page).shown == [TEXT] and ".text { white-space: pre-wrap" in page


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
    assert page.marks
    assert all("nearest example: " in mark for mark in page.marks)
    # Types that are found by their names have no examples.
    arguments = ("--text", "ana flew to quito", "--labels", "city", "-o", tmp_path / "other.html")
    assert lacl("view", checkpoint, *arguments) == 0
    assert "nearest example" not in (tmp_path / "other.html").read_text(encoding="utf-8")
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
    assert [words(mark) for mark in rendered.marks] == [words(mark.split(" · ")[0]) for mark in viewed.marks]
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
    assert "script" not in {tag for tag, _ in page.tags}
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
