"""The page of errors, read back: gold beside predicted, nested entities, and nothing that is markup."""

from web_page import Page, words  # type: ignore[import-not-found]  # in the folder above

from modeling_lacl.viz.error_page import render_error_page, save_error_page
from modeling_lacl.viz.marks import BACKGROUNDS

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
            [("sentence 7", TEXT, gold, predicted)],
            tables={"Confusions": [["gold", "predicted", "number"], ["bank", "city", "1"]]},
            labels=["city"],
            title="ner on test",
        )
    )
    assert [words(mark) for mark in page.marks] == [
        "Bank of Oslobank",
        "thebank 0.50 · spurious",
        "Oslocity 0.93 · wrong type and border · nearest example: Quito",
    ]
    assert page.colours == [BACKGROUNDS[1], BACKGROUNDS[1], BACKGROUNDS[0]]
    text = words(page.text)
    order = ["ner on test", "Confusions", "bank", "city", "sentence 7", "gold", "Bank of Oslo", "predicted"]
    places = [
        text.index(part, text.index("Confusions") if number else 0) for number, part in enumerate(order)
    ]
    assert places[0] < places[1] < places[4] and text.endswith("fell")
    # Two columns.
    assert [tag for tag, _ in page.tags].count("td") == 3 + 2


def test_entities_inside_of_others_and_across_them():
    gold = [entity(12, 16, "city"), entity(4, 16, "bank"), entity(4, 16, "company"), entity(8, 21, "event")]
    page = Page(render_error_page([("1", TEXT, gold, [])]))
    shown = [words(mark) for mark in page.marks]
    # The event begins inside of the others, and goes on behind them.
    assert [mark.replace(" ", "") for mark in shown] == [
        "BankofOslocityevent…companybank",
        "BankofOslocityevent…company",
        "ofOslocityevent…",
        "Oslocity",
        "fell…event",
    ]
    cells = words(page.text)
    assert cells.count("the") == 2 and cells.count("Bank") == 2  # here, and in the empty column


EVIL = "<script>alert('1')</script> & {0} \" \x07 \u202e"


def test_nothing_is_markup_and_the_page_stands_alone(tmp_path):
    evil = {"entity_group": EVIL, "start": 0, "end": len(EVIL), "error": EVIL, "nearest_example": EVIL}
    save_error_page(
        tmp_path / "x.html",
        [(EVIL, EVIL, [evil], [{**evil, "score": 1.0}])],
        tables={EVIL: [[EVIL], [EVIL]]},
        labels=[EVIL],
        title=EVIL,
    )
    page = (tmp_path / "x.html").read_text(encoding="utf-8")
    read = Page(page)
    assert not {tag for tag, _ in read.tags} & {"script", "link", "img", "iframe"}
    assert not any("src" in attrs or "href" in attrs for _, attrs in read.tags)
    assert ("meta", {"charset": "utf-8"}) in read.tags and "url(" not in page
    assert not set(page) & {"\x07", "\u202e"}
    shown = words(EVIL.replace("\x07", "\u2407").replace("\u202e", "\ufffd"))
    assert words(read.text).count(shown) == 2 + 3 + 1 + 4 + 4  # titles, table, caption, text and notes of two
