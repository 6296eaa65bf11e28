"""The page of errors, read back: gold beside predicted, nested entities, and nothing that is markup."""

import re

from web_page import Page, assert_stands_alone, words  # type: ignore[import-not-found]  # in the folder above

from modeling_lacl.viz.error_page import render_error_page, save_error_page
from modeling_lacl.viz.marks import Colours

TEXT = "the Bank of Oslo fell"


def entity(start, end, label, **more):
    return {"entity_group": label, "start": start, "end": end, "word": TEXT[start:end], **more}


def test_gold_stands_beside_predicted():
    gold = [entity(4, 16, "bank")]
    predicted = [
        entity(12, 16, "city", score=0.934, error="wrong type and border", nearest_example="Quito"),
        entity(0, 3, "bank", score=0.5, error="spurious"),
    ]
    page = Page(
        render_error_page(
            [(7, TEXT, gold, predicted)],
            tables={
                "Confusions": [["gold", "predicted", "number"], ["bank", "city", "1"]],
                "Scores": [["type", "F1"], ["bank", "50.0"]],
                "More": [["type"], ["bank"]],
            },
            labels=["city"],
            title="Errors on test",
            about="ner errs",
        )
    )
    assert [words(mark) for mark in page.marks] == [
        "Bank of Oslobank",
        "thebank 0.50 spurious",
        "Oslocity 0.93 wrong type and border",
    ]
    assert [words(one) for one in page.examples] == ["Oslo ≈ Quito"]
    colours = Colours(["bank", "city"])
    assert page.colours == [colours["bank"].name, colours["bank"].name, colours["city"].name]
    assert [words(choice) for choice in page.choices] == [
        *("correct 1", "spurious 1", "wrong type and border 1"),
        *("bank 1 / 1", "city 0 / 1"),
    ]
    kinds = [attrs["data-kind"] for tag, attrs in page.tags if tag == "mark"]
    assert kinds == ["0", "1", "2"]
    text = words(page.text[page.text.index("Confusions") :])
    order = ["Confusions", "bank", "Scores", "7", "gold", "Bank of Oslo", "predicted", "Oslo"]
    assert re.search(".*".join(order), text) and words(page.text).count("ner errs") == 1
    assert [len(attrs) for tag, attrs in page.tags if tag == "details"] == [1, 1, 0]  # two are open
    numbers = [tag for tag, attrs in page.tags if tag in ("td", "th") and attrs.get("class") == "number"]
    assert numbers == ["th", "td"] * 2
    assert sum(attrs.get("class") == "side" for _, attrs in page.tags) == 2


def test_entities_inside_of_others_and_across_them():
    gold = [entity(12, 16, "city"), entity(4, 16, "bank"), entity(4, 16, "company"), entity(8, 21, "event")]
    page = Page(render_error_page([(1, TEXT, gold, [])]))
    shown = [words(mark) for mark in page.marks]
    # The event begins inside of the others, and goes on behind them.
    assert [mark.replace(" ", "") for mark in shown] == [
        "BankofOslocityevent…companybank",
        "BankofOslocityevent…company",
        "ofOslocityevent…",
        "Oslocity",
        "fell…event",
    ]
    assert page.shown == [TEXT] * 2


EVIL = "<script>alert('1')</script> & {0} $title \" onload=x \x07 \u202e"


def test_nothing_is_markup_and_the_page_stands_alone(tmp_path):
    evil = {"entity_group": EVIL, "start": 0, "end": len(EVIL), "error": EVIL, "nearest_example": EVIL}
    save_error_page(
        tmp_path / "x.html",
        [(1, EVIL, [evil], [{**evil, "score": 1.0}])],
        tables={EVIL: [[EVIL], [EVIL]]},
        labels=[EVIL],
        title=EVIL,
        about=EVIL,
    )
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    read = Page(page)
    assert_stands_alone(page)
    assert not set(page) & {"\x07", "\u202e"}
    shown = words(EVIL.replace("\x07", "\u2407").replace("\u202e", "\ufffd"))
    # Titles, choices, table, and on each side the text, its type, its error and an example of two words.
    assert words(read.text).count(shown) == 3 + 2 + 3 + 2 * (1 + 1 + 1 + 2)
