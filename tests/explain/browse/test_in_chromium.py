"""The page in a browser: nothing is asked of the network, nothing fails, and the keyboard does what a mouse does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from boxcam.explain.browse.card import Entry
from tests.chromium import Page, browser, find_chromium
from tests.explain.browse.made import NASTY, card, entry, many, written

SHOWN = "[...document.querySelectorAll('#boxes li')].filter((item) => !item.hidden)"
STATUS = "document.getElementById('shown').textContent"
FOCUS = "document.activeElement.textContent.replace(/ [↑↓]/, '')"
Show = Callable[[Sequence[Entry]], Page]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Page]:
    program = find_chromium()
    if program is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("this system has no Chromium: install it (on Debian: apt install chromium), or set BOXCAM_CHROMIUM")
    with browser(program) as page:
        yield page


@pytest.fixture
def show(chromium: Page, tmp_path: Path) -> Iterator[Show]:
    """Opens a page of entries; at the end it has asked for nothing but itself, and has not complained."""
    opened: list[str] = []

    def open_page(entries: Sequence[Entry]) -> Page:
        file = tmp_path / f"index-{len(opened)}.html"
        file.write_text(written(entries), encoding="utf-8")
        opened.append(file.as_uri())
        chromium.open(opened[-1])
        return chromium

    chromium.requests.clear()
    chromium.complaints.clear()
    yield open_page
    chromium.run("1")  # whatever it said before is heard by now
    assert chromium.requests == opened
    assert chromium.complaints == []


def column(page: Page, key: str) -> list[str]:
    found: list[str] = page.run(f"{SHOWN}.map((item) => item.dataset.{key})")
    return found


def press_sort(page: Page, key: str) -> None:
    page.run(f"document.querySelector('[data-sort={key}]').click()")


def choose(page: Page, value: str) -> None:
    page.run(f"document.getElementById('class').value = '{value}'")
    page.run("document.getElementById('class').dispatchEvent(new Event('change'))")


def test_it_sorts_by_score_and_by_share_both_ways(show: Show) -> None:
    page = show(many(100))
    for key, first in (("score", -1), ("inside", 1)):
        for way, word in ((first, "first"), (-first, "again")):
            press_sort(page, key)
            values = [float(value) for value in column(page, key) if value]
            assert values == sorted(values, reverse=way < 0), (key, word)
            assert page.run("document.querySelectorAll('[aria-pressed=true]').length") == 1
            assert page.run(f"document.querySelector('[aria-pressed=true]').dataset.sort === '{key}'")
            order = "highest" if way < 0 else "lowest"
            assert (
                page.run(STATUS) == f"100 of 100 shown, by {'share inside' if key == 'inside' else key}, {order} first"
            )
    assert column(page, "inside")[-5:] == [""] * 5  # boxes without a share are last, either way
    press_sort(page, "inside")
    assert column(page, "inside")[-5:] == [""] * 5


def test_it_sorts_by_class_and_by_image(show: Show) -> None:
    page = show(many(60))
    press_sort(page, "class")
    names = page.run(f"{SHOWN}.map((item) => item.querySelector('b').textContent)")
    assert names == sorted(names)
    press_sort(page, "class")
    assert page.run(f"{SHOWN}.map((item) => item.querySelector('b').textContent)") == sorted(names, reverse=True)
    press_sort(page, "image")
    assert column(page, "image") == [str(k // 10) for k in range(60)]
    press_sort(page, "image")
    assert column(page, "image") == [str(5 - k // 10) for k in range(60)]


def test_it_filters_by_class_and_by_words(show: Show) -> None:
    page = show(many(100))
    choose(page, "2")
    chosen = page.run("document.getElementById('class').selectedOptions[0].dataset.name")
    assert page.run(f"new Set({SHOWN}.map((item) => item.querySelector('b').textContent)).size") == 1
    assert page.run(f"{SHOWN}[0].querySelector('b').textContent") == chosen
    assert page.run(STATUS) == "20 of 100 shown, in the order of images"
    page.run("{ const t = document.getElementById('text'); t.focus(); }")
    for letter in "IMAGE-0003":
        page.press(letter)
    assert page.run(STATUS) == "2 of 100 shown, in the order of images"
    page.press("x")
    assert page.run(STATUS) == "0 of 100 shown, in the order of images"
    assert page.run("document.getElementById('none').checkVisibility()")
    page.run("document.getElementById('all').click()")
    assert page.run(STATUS) == "100 of 100 shown, in the order of images"
    assert not page.run("document.getElementById('none').checkVisibility()")


def test_the_keyboard_reaches_everything_in_the_order_of_the_page(show: Show) -> None:
    page = show(many(20))
    reached = []
    for _ in range(7):
        page.press("Tab")
        reached.append(page.run(f"document.activeElement.id || {FOCUS}"))
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", reached
    assert reached[:6] == ["Image", "Class", "Score", "Share inside", "class", "text"]
    assert reached[6].startswith("stop")


def test_keys_sort_and_arrows_go_from_box_to_box(show: Show) -> None:
    page = show(many(20))
    for _ in range(3):
        page.press("Tab")
    page.press("Enter")
    assert page.run(STATUS).endswith("by score, highest first")
    assert page.run(FOCUS) == "Score"  # focus stays where it was
    page.press(" ")
    assert page.run(STATUS).endswith("by score, lowest first")
    for _ in range(4):
        page.press("Tab")
    place = f"{SHOWN}.indexOf(document.activeElement.parentElement)"
    columns = page.run("getComputedStyle(document.getElementById('boxes')).gridTemplateColumns.split(' ').length")
    assert columns > 2
    expected = 0
    for key, step in (("ArrowRight", 1), ("ArrowDown", columns), ("ArrowLeft", -1), ("ArrowUp", -columns)):
        page.press(key)
        expected += step
        assert page.run(place) == expected, key
    page.press("End")
    assert page.run(place) == 19
    page.press("ArrowRight")
    assert page.run(place) == 19  # there is nothing after it
    page.press("Home")
    assert page.run(place) == 0


def test_names_do_nothing(show: Show) -> None:
    page = show([entry(f"{name}.jpg", card(name)) for name in NASTY] + [entry(name) for name in NASTY])
    assert page.run(f"{SHOWN}.length") == len(NASTY)
    assert page.run("document.scripts.length") == 1
    assert page.run(f"{SHOWN}.every((item) => item.children.length === 1)")
    assert page.run("[...document.links].every((a) => new URL('.', a.href).href === new URL('.', location).href)")
    for key in ("class", "score", "inside"):
        press_sort(page, key)
    values = page.run("[...document.getElementById('class').options].map((option) => option.value)")
    for value in values[1:]:
        choose(page, value)
        assert page.run(f"{SHOWN}.length") == 1


def test_a_script_that_is_not_the_pages_own_does_not_run(chromium: Page, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    page = written([entry("a.jpg", card())])
    file.write_text(page.replace("</body>", "<script>document.title = 'mine'</script></body>"), encoding="utf-8")
    chromium.open(file.as_uri())
    assert chromium.run("document.title").startswith("1 box in 1 image")
    assert any("Content Security Policy" in said for said in chromium.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_takes_the_scheme_of_the_system_and_can_be_read_in_it(chromium: Page, tmp_path: Path, scheme: str) -> None:
    file = tmp_path / "index.html"
    file.write_text(written(many(4)), encoding="utf-8")
    chromium.open(file.as_uri(), scheme=scheme)
    colors = {
        part: [int(v) for v in chromium.run(f"getComputedStyle({of})").split("(")[1].rstrip(")").split(",")]
        for part, of in {
            "paper": "document.documentElement).backgroundColor + (''",
            "ink": "document.body).color + (''",
            "muted": "document.querySelector('.more')).color + (''",
        }.items()
    }
    assert (sum(colors["paper"]) > 600) == (scheme == "light")
    assert contrast(colors["ink"], colors["paper"]) > 12
    assert contrast(colors["muted"], colors["paper"]) > 4.5  # WCAG 2.2, 1.4.3


def contrast(a: Sequence[int], b: Sequence[int]) -> float:
    """The contrast ratio of two colours, as WCAG 2.2 defines it."""

    def luminance(color: Sequence[int]) -> float:
        linear = [v / 255 / 12.92 if v <= 10 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in color[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_nothing_leaves_a_narrow_screen(chromium: Page, tmp_path: Path) -> None:
    file = tmp_path / "index.html"
    file.write_text(written([entry("x" * 200 + ".jpg", card("y" * 200)), *many(20)]), encoding="utf-8")
    for width in (320, 1280):
        chromium.open(file.as_uri(), width)
        assert chromium.run("document.documentElement.scrollWidth") <= width


def test_thousands_of_boxes_are_sorted(show: Show) -> None:
    page = show(many(3000))
    page.run("document.querySelector('[data-sort=score]').click()")
    assert page.run(STATUS) == "3000 of 3000 shown, by score, highest first"
    scores = column(page, "score")
    assert len(scores) == 3000
    assert scores == sorted(scores, reverse=True)
