"""Pages in a real browser: filters, phones, the dark, keys, no script, and nothing asked of anyone.

With LACL_PICTURES=1 in the environment, the pictures of pages in docs/images/ are taken anew.
"""

import ast
import json
import os
import re
from pathlib import Path

import pytest
from browser import start  # type: ignore[import-not-found]  # in the folder above
from typer.testing import CliRunner

from modeling_lacl import LaclForTokenClassification, adapt, cli
from modeling_lacl.viz.error_page import save_error_page
from modeling_lacl.viz.html import save_html

ROOT = Path(__file__).parents[2]
EVIL = '<script>window.evil = 1</script><img src="https://example.org/x.png" onerror="window.evil = 1">'
LONG = "Donaudampfschifffahrtsgesellschaft" * 12


def entity(text, words, label, score, **more):
    begin = text.index(words)
    return {"entity_group": label, "score": score, "start": begin, "end": begin + len(words), **more}


def texts_with_entities():
    bank = "The Bank of England in London\tand  the Bank of Oslo."
    yield (
        bank,
        [
            entity(bank, "Bank of England", "org", 0.91, nearest_example="Bank of Oslo"),
            entity(bank, "England", "country", 0.4),
            entity(bank, "London", "city", 0.75, nearest_example="Quito"),
        ],
    )
    yield "Nobody was there.", []
    yield EVIL, [entity(EVIL, EVIL, EVIL, 0.6, nearest_example=EVIL)]
    yield LONG, [entity(LONG, LONG, "a type of many words " * 5, 0.2)]
    rtl = "نورة سافرت إلى القاهرة"
    yield rtl, [entity(rtl, "القاهرة", "city", 0.3)]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    browser = start(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(running):
    """The browser; fails if a page complains, or asks for anything but itself."""
    yield running
    assert running.complaints() == []
    assert {address for address in running.requests() if not address.startswith("file:///")} == set()
    assert running.run("return window.evil") is None


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("pages") / "page.html"
    save_html(file, texts_with_entities(), title=EVIL)
    return file


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    text = "Ana Ruiz flew to Quito and on to " + "Lima " * 30
    gold = [entity(text, "Ana Ruiz", "person", 1.0), entity(text, "Quito", "city", 1.0, error="wrong type")]
    gold = [{key: value for key, value in one.items() if key != "score"} for one in gold]
    predicted = [
        entity(text, "Ana Ruiz", "person", 0.9, nearest_example="Tom Hale"),
        entity(text, "Quito", "person", 0.5, error="wrong type"),
    ]
    spurious = [entity(text, "Lima", "city", 0.8, error="spurious")]
    tables = {"Scores": [["type", *"abcdefghijkl"], ["person", *["100.0"] * 12]], "Errors": [["kind"], ["x"]]}
    file = tmp_path_factory.mktemp("pages") / "errors.html"
    save_error_page(file, [(3, text, gold, predicted), (12, text, [], spurious)], tables=tables)
    return file


def shown(browser):
    """The words of each mark that is shown, without its type, and the numbers of sentences."""
    return browser.run("""
        const own = (node) => [...node.childNodes].map((one) =>
          one.nodeName === "SMALL" ? "" : one.nodeName === "MARK" ? own(one) : one.nodeValue).join("");
        const visible = (one) => one.checkVisibility();
        return [
          [...document.querySelectorAll("mark:not(.off)")].filter(visible).map(own),
          [...document.querySelectorAll("a.number")].filter(visible).map((one) => one.textContent),
        ];""")


def put(browser, name, value):
    browser.run(
        "const one = document.querySelector(`[name=${given[0]}]`); one.value = given[1];"
        "one.dispatchEvent(new Event('input'));",
        name,
        value,
    )


def press(browser, words):
    [button] = [one for one in browser.find("css selector", "button") if one.text.split("\n")[0] == words]
    button.click()


def status(browser):
    return browser.run("return document.querySelector('.status').textContent")


def test_types_scores_and_words_choose_what_is_shown(browser, page):
    browser.open(page)
    assert shown(browser) == [
        ["Bank of England", "England", "London", EVIL, LONG, "القاهرة"],
        ["1", "2", "3", "4", "5"],
    ]
    press(browser, "city")
    assert shown(browser)[0] == ["Bank of England", "England", EVIL, LONG]
    assert status(browser) == "5 texts · 4 of 6 entities"
    # What is hidden is plain text, without its type; its example is gone, too.
    plain = "const mark = document.querySelector('mark.off'); return [getComputedStyle(mark).backgroundColor,"
    assert browser.run(plain + "mark.innerText]") == ["rgba(0, 0, 0, 0)", "London"]
    visible = "return [...document.querySelectorAll('.examples li')].map((one) => one.checkVisibility())"
    assert browser.run(visible) == [True, False, True]
    put(browser, "score", "0.6")
    assert shown(browser)[0] == ["Bank of England", EVIL]
    browser.run("document.querySelector('[name=marked]').click()")
    assert shown(browser)[1] == ["1", "3"]
    put(browser, "score", "0")
    press(browser, "none")
    assert shown(browser) == [[], []] and status(browser) == "0 of 5 texts · 0 of 6 entities"
    press(browser, "all")
    browser.run("document.querySelector('[name=marked]').click()")
    # Words across the border of a mark, in any case, and none of a type.
    for words, numbers in (
        ("ENGLAND in Lond", ["1"]),
        ("country", []),
        ("القاهرة", ["5"]),
        ("", list("12345")),
    ):
        put(browser, "search", words)
        assert shown(browser)[1] == numbers
    assert status(browser) == "5 texts · 6 entities"


def test_kinds_of_error_are_filtered(browser, errors):
    browser.open(errors)
    assert shown(browser) == [["Ana Ruiz", "Quito", "Ana Ruiz", "Quito", "Lima"], ["3", "12"]]
    press(browser, "correct")
    press(browser, "wrong type")
    browser.run("document.querySelector('[name=marked]').click()")
    assert shown(browser) == [["Lima"], ["12"]]
    # Gold stands beside predicted, and on a phone above it.
    place = "return [...document.querySelectorAll('#s12 .side')].map((one) => one.getBoundingClientRect().{})"
    assert len(set(browser.run(place.format("top")))) == 1
    browser.open(errors, 375)
    assert len(set(browser.run(place.format("left")))) == 1


def test_keys_alone_are_enough(browser, page):
    browser.open(page)
    keys = browser.driver.switch_to.active_element
    keys.send_keys("\ue004")  # Tab
    browser.driver.switch_to.active_element.send_keys("bank")
    assert shown(browser)[1] == ["1"]
    browser.driver.switch_to.active_element.send_keys("\ue003" * 4 + "\ue004")  # Backspace, Tab
    browser.driver.switch_to.active_element.send_keys("\ue00e" * 6)  # Page Up
    assert "Score at least 0.60" in browser.run("return document.querySelector('.tools').innerText").replace(
        "\n", " "
    )
    assert shown(browser)[0] == ["Bank of England", "London", EVIL]
    browser.driver.switch_to.active_element.send_keys("\ue004")
    browser.driver.switch_to.active_element.send_keys(" ")
    assert shown(browser)[1] == ["1", "3"]


def test_every_control_has_a_name(browser, errors):
    browser.open(errors)
    nodes = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    found: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            found.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", "").strip())
    assert found["searchbox"] == ["Search"] and found["slider"] == ["Score at least"]
    assert found["checkbox"] == ["Only sentences with an entity shown"]
    assert {"correct 1", "wrong type 1", "city 1 / 1", "show none: Types"} <= set(found["button"])
    assert all(found["button"]) and all(found["link"])
    assert {"main", "complementary", "banner", "status"} <= set(found)


@pytest.mark.parametrize("width", [320, 375, 900])
def test_nothing_is_wider_than_the_screen(browser, page, errors, width):
    for one in (page, errors):
        browser.open(one, width, 700)
        browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
        assert browser.run("return document.documentElement.scrollWidth") == width


def test_the_dark_is_dark(browser, page, errors):
    for one in (page, errors):
        seen = []
        for dark in (False, True):
            browser.open(one, dark=dark)
            colour = browser.run("return getComputedStyle(document.body).backgroundColor")
            seen.append(sum(map(int, re.findall(r"\d+", colour))))
        assert seen[0] > 3 * 200 and seen[1] < 3 * 50


def test_without_a_script_everything_is_shown(browser, page):
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(page)
        texts = [one.text for one in browser.find("css selector", ".text")]
        assert len(texts) == 5 and texts[1] == "Nobody was there." and "org 0.91" in texts[0]
        assert not browser.find("css selector", ".tools")[0].is_displayed()
        choices = browser.find("css selector", ".choice")
        assert choices and all(one.is_displayed() and not one.is_enabled() for one in choices)
        assert browser.find("css selector", ".status")[0].text == "5 texts · 6 entities"
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_large_page_changes_only_what_must_change(browser, tmp_path):
    texts = [f"Sentence {number} of Quito." for number in range(10_000)]
    results = [(text, [entity(text, "Quito", "city", index / 10_000)]) for index, text in enumerate(texts)]
    save_html(tmp_path / "large.html", results)
    browser.open(tmp_path / "large.html")
    browser.run("""
        window.changed = 0;
        new MutationObserver((all) => { window.changed += all.length; })
          .observe(document.querySelector("main"), { attributes: true, childList: true, subtree: true });""")

    def changes(name, value):
        put(browser, name, value)
        return browser.run("const found = window.changed; window.changed = 0; return found")

    while changes("search", ""):  # the page is still being set up
        pass
    assert changes("search", "sentence") == 0
    assert changes("search", "sentence 77") == 10_000 - 111
    assert status(browser) == "111 of 10,000 texts · 111 of 10,000 entities"
    assert changes("search", "sentence 777") == 111 - 11
    assert changes("search", "") == 10_000 - 11
    assert changes("score", "0.5") == 5_000
    assert changes("score", "0.51") == 100
    # What is not on the screen is neither styled nor laid out.
    style = "return getComputedStyle(document.querySelector('.sentence')).contentVisibility"
    assert browser.run(style) == "auto"


# What the pictures show: sentences with their entities, as a reader labels them.
LABELLED = """
[Ana Ruiz|person] flew to [Quito|location] on a [Cessna 172|aircraft].
In May, [Sofia Marin|person] took the night train from [Madrid|location] to [Lisbon|location].
Two [Airbus A350s|aircraft] of the line were grounded in [Frankfurt|location].
The hangar in [Tampere|location] holds a [Douglas DC-3|aircraft] that [Eino Laine|person] restored.
Nobody saw it.
When she was nine, her father flew her across the Øresund in a [Tiger Moth|aircraft].
Captain [Amadou Diallo|person] brought the [Boeing 787|aircraft] safely back to [Dakar|location].
[Ivy Chen|person], his first officer, later flew the [ATR 72|aircraft] to [Praia|location].
From [Oslo|location] it is an hour to [Bergen|location] in a [Saab 340|aircraft].
The old [Fokker|aircraft] of the mission lies in the bush near [Wamena|location].
[Kofi Mensah|person] sold his [Beechcraft Baron|aircraft] in [Accra|location].
Over [Lake Victoria|location] the engine failed, and [Grace Auma|person] glided to [Entebbe|location].
"""


def labelled(line):
    parts = re.split(r"\[([^|]+)\|(\w+)\]", line)
    text, entities = "", []
    for words, label, behind in zip(["", *parts[1::3]], ["", *parts[2::3]], parts[::3], strict=True):
        entities.append({"start": len(text), "end": len(text + words), "label": label})
        text += words + behind
    return {"text": text, "entities": entities[1:]}


@pytest.mark.skipif("LACL_PICTURES" not in os.environ, reason="LACL_PICTURES=1 draws docs/images/page_*.png")
def test_draw_the_pictures_of_the_documents(browser, tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"support = (\[.*?^\])", readme, flags=re.MULTILINE | re.DOTALL)
    assert found
    source = LaclForTokenClassification.from_pretrained("lacl-minilm-fewnerd")
    monkeypatch.chdir(tmp_path)
    adapt(source, ast.literal_eval(found[1])).save_pretrained("outputs/ner")
    rows = [labelled(line) for line in LABELLED.strip().splitlines()]
    Path("texts.txt").write_text("".join(row["text"] + "\n" for row in rows), encoding="utf-8")
    Path("test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for line in (
        "view outputs/ner texts.txt --output page.html",
        "evaluate outputs/ner test.jsonl --html errors.html",
    ):
        assert CliRunner().invoke(cli.app, line.split()).exit_code == 0
    for name, file, view in (
        ("view", "page.html", {"width": 1100, "height": 640}),
        ("errors", "errors.html", {"width": 1100, "height": 760}),
        ("phone", "page.html", {"width": 375, "height": 720, "dark": True}),
    ):
        target = ROOT / "docs" / "images" / f"page_{name}.png"
        browser.open(tmp_path / file, **view)
        browser.run("")
        browser.picture(target)
        with image.open(target) as picture:
            picture.convert("RGB").quantize(256, dither=image.Dither.NONE).save(target, optimize=True)
        assert target.stat().st_size < 150_000
