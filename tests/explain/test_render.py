"""Sheets: what is where, what is said, and that nothing covers the picture."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boxcam.explain import legend, lettering
from boxcam.explain import sheet as pages
from boxcam.explain.colors import paint
from boxcam.explain.panel import THINNEST, Panel
from boxcam.explain.render import brightest, class_color, heatmap
from boxcam.explain.sheet import Words, sheet
from tests.explain.panels import panel, shown


class Written:
    """Everything that was written on a sheet, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.texts: list[str] = []
        write = lettering.write

        def record(page: Any, text: str, *rest: Any) -> int:
            self.texts.append(text)
            return write(page, text, *rest)

        for module in (pages, legend):
            monkeypatch.setattr(module, "write", record)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return Written(monkeypatch).texts


GREY = np.full((100, 120, 3), 90, np.uint8)


def test_a_heatmap_is_the_positive_part_over_its_peak() -> None:
    assert heatmap(np.array([[-4, 0], [1, 2]], np.float32)).tolist() == [[0, 0], [0.5, 1]]
    assert heatmap(np.array([[-4, -1]], np.float32)).tolist() == [[0, 0]]
    assert heatmap(np.zeros((2, 2), np.float32)).tolist() == [[0, 0], [0, 0]]
    assert heatmap(np.array([[np.nan, np.inf, 3, 1.5]], np.float32)).tolist() == [[0, 0, 1, 0.5]]
    assert heatmap(np.array([[1e-45, 0]], np.float32)).tolist() == [[1, 0]]
    assert heatmap(np.array([[3e38, -3e38]], np.float32)).tolist() == [[1, 0]]
    assert heatmap(np.zeros((1, 1), np.float32)).dtype == np.float32


@given(st.lists(st.floats(width=32), min_size=1, max_size=9))
def test_a_heatmap_is_never_nan_and_always_within_0_and_1(values: list[float]) -> None:
    with np.errstate(all="raise", under="ignore"):
        heat = heatmap(np.array([values], np.float32))
    assert ((heat >= 0) & (heat <= 1)).all()


def test_class_colours_are_stable_and_differ() -> None:
    colours = [class_color(label) for label in range(40)]
    assert colours == [class_color(label) for label in range(40)]
    assert len(set(colours)) == 40
    for one, other in pairwise(colours):
        assert np.abs(np.subtract(one, other)).max() > 60
    assert all(type(value) is int and 0 <= value <= 255 for colour in colours for value in colour)


def test_everything_is_said(written: list[str]) -> None:
    panels = [
        panel((100, 120), peak=0.1234),
        panel((100, 120), peak=-3, name="no one", score=0.987, label=4),
        panel((100, 120), peak=4321.5, name="Füße", score=1),
    ]
    sheet(GREY, panels, Words("street.jpg", "gradcam of neck"))
    assert [text for text in written if not text.isdigit()] == [
        "street.jpg",
        "gradcam of neck",
        "3 boxes",
        "120 x 100 pixels",
        *("car", "0.50", "peak 0.123"),
        *("no one", "0.99", "empty map: no positive value"),
        *("Füße", "1.00", "peak 4.32e+03"),
        "100%: largest value of each map",
        *("0%", "25%", "50%", "75%", "100%"),
    ]
    assert [text for text in written if text.isdigit()] == ["3", "2", "1", "1", "2", "3"]


def test_a_box_that_does_not_depend_on_the_layer_says_so(written: list[str]) -> None:
    sheet(GREY, [panel((100, 120), peak=0, depends=False)], Words("street.jpg"))
    words = "does not depend on this layer"
    assert words in written
    assert not any("empty map" in text for text in written)
    assert lettering.text_width("99", 8) + 16 + lettering.text_width(words, 8) <= pages.NARROWEST


def test_a_class_whose_name_cannot_be_drawn_has_its_number(written: list[str]) -> None:
    sheet(GREY, [panel((100, 120), name="行人", label=7), panel((100, 120), name="Füße")], Words("street.jpg"))
    assert "class 7" in written
    assert "Füße" in written


def test_no_box(written: list[str]) -> None:
    page = sheet(GREY, [], Words("street.jpg", nothing="no box of score 0.3 or more"))
    assert written == ["street.jpg", "no box of score 0.3 or more", "120 x 100 pixels"]
    assert count(page, (90, 90, 90)) == 100 * 120 * 16  # enlarged four times, and untouched


def test_one_box_is_one_box(written: list[str]) -> None:
    sheet(GREY, [panel((100, 120))], Words("street.jpg"))
    assert "1 box" in written


def count(page: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((page == colour).all(axis=2).sum())


def pictures(page: np.ndarray, colour: tuple[int, int, int]) -> list[tuple[int, int, int, int]]:
    """Where rectangles of a colour lie: y1, x1, y2, x2, in reading order."""
    hit = (page == colour).all(axis=2)
    found = []
    for y, x in np.argwhere(hit & ~np.pad(hit, ((1, 0), (0, 0)))[:-1] & ~np.pad(hit, ((0, 0), (1, 0)))[:, :-1]):
        bottom = y + int(np.argmin(np.append(hit[y:, x], False)))
        right = x + int(np.argmin(np.append(hit[y, x:], False)))
        found.append((int(y), int(x), bottom, right))
    return found


def test_cold_panels_are_whole_pictures_and_nothing_covers_them() -> None:
    # The boxes are off the picture's edge pixels only at the corner.
    panels = [panel((100, 120), (0, 0, 0, 0), peak=0, name="x" * 200) for _ in range(3)]
    page = sheet(GREY, panels, Words("title", "subtitle"))
    covered = 100 * 120 * 16 - count(page, (90, 90, 90)) / 4
    assert 0 < covered < 400  # a mean of: the badges of the first picture, and a dot for each empty box


def test_panels_lie_on_a_grid() -> None:
    image = np.full((60, 60, 3), 77, np.uint8)
    page = sheet(image, [panel((60, 60), (500, 500, 600, 600), peak=0) for _ in range(8)], Words("t"))
    found = [place for place in pictures(page, (77, 77, 77)) if place[2] - place[0] > 400]
    assert len(found) == 9
    assert {(y2 - y1, x2 - x1) for y1, x1, y2, x2 in found[1:]} == {(480, 480)}
    tops, lefts = sorted({y for y, *_ in found}), sorted({x for _, x, *_ in found})
    assert len(tops) * len(lefts) >= 9
    assert set(np.diff(lefts)) == {480 + pages.GAP}
    assert set(np.diff(tops)) == {480 + pages.GAP + pages.CAPTION}


@pytest.mark.parametrize(("boxes", "spanned"), [(pages.CROWD - 1, False), (pages.CROWD, True), (24, True)])
def test_in_a_crowd_the_first_panel_is_larger(boxes: int, spanned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = pages._frame
    monkeypatch.setattr(pages, "_frame", lambda cell, picture: (sizes.append(cell.shape), original(cell, picture)))
    image = np.full((300, 300, 3), 77, np.uint8)
    sheet(image, [panel((300, 300), among=boxes) for _ in range(boxes)], Words("t"))
    assert len(sizes) == boxes + 1
    assert len(set(sizes[1:])) == 1
    assert (sizes[0][1] > 2 * sizes[1][1]) == spanned
    assert (sizes[0] == sizes[1]) != spanned


def test_the_peak_and_the_box_are_where_they_belong() -> None:
    shape = (400, 480)
    values = np.zeros(shape, np.float32)
    values[300, 100] = 1
    values[298:303, 98:103] = 1
    black = np.zeros((*shape, 3), np.uint8)
    page = sheet(black, [Panel((200, 50, 260, 90), 1, "car", 0.5, 1.0, shown(values))], Words("t"))
    # Two panels beside each other; on black, the box's colour and the heat are the only lights.
    x0, y0 = pages.MARGIN + 480 + pages.GAP, np.flatnonzero((page == 0).all(axis=2).sum(axis=1) > 600)[0]
    part = page[y0 : y0 + 400, x0 : x0 + 480]
    hits = np.argwhere((part == class_color(1)).all(axis=2))
    assert hits.min(axis=0).tolist() == [50, 200]
    assert hits.max(axis=0).tolist() == [89, 259]
    part[45:95, 195:265] = 0
    lit = np.argwhere(part.any(axis=2))
    assert (lit.min(axis=0).tolist(), lit.max(axis=0).tolist()) == ([298, 98], [302, 102])


def test_a_large_image_is_made_smaller_and_its_heat_with_it() -> None:
    values = np.zeros((1200, 2400), np.float32)
    values[600:, 1200:] = 3
    black = np.zeros((1200, 2400, 3), np.uint8)
    page = sheet(black, [Panel((0, 0, 1, 1), 1, "car", 0.5, 3.0, shown(values))], Words("t"))
    hot = paint(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1), np.float32))[0, 0]
    assert count(page, tuple(hot)) == pytest.approx(240 * 120, rel=0.03)


def test_text_that_is_too_long_ends_in_dots() -> None:
    assert lettering.shorten("short", 200, 9) == "short"
    cut = lettering.shorten("a very long class name that never ends", 100, 9)
    assert cut.startswith("a very")
    assert cut.endswith("...")
    assert lettering.text_width(cut, 9) <= 100
    assert lettering.wrap("one two three", 10_000, 9) == ["one two three"]
    lines = lettering.wrap("word " * 100, 200, 9)
    assert len(lines) == 3
    assert lines[2].endswith("...")
    assert all(lettering.text_width(line, 9) <= 200 for line in lines)
    assert lettering.wrap("", 100, 9) == []


def test_letters_that_opencv_has_not_are_question_marks() -> None:
    assert lettering._ascii("Füße\n猫 ok~") == "Fusse?? ok~"
    assert all(lettering.legible(text) for text in ("猫 ok", "é", "7"))
    assert not any(lettering.legible(text) for text in ("猫", "!?", ""))
    page = np.full((40, 200, 3), 255, np.uint8)
    other = page.copy()
    lettering.write(page, "né猫", (5, 30), 9, (0, 0, 0))
    lettering.write(other, "ne?", (5, 30), 9, (0, 0, 0))
    assert (page == other).all()
    assert (page < 255).any()


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("Fußgänger", "Fussganger"),
        ("FUẞGÄNGER", "FUSSGANGER"),
        ("rødgrød, Ærø", "rodgrod, AEro"),
        ("cœur, Œuvre", "coeur, OEuvre"),
        ("Łódź, złoty", "Lodz, zloty"),
        ("Đà Nẵng, međa", "Da Nang, meda"),
        ("þjóð, Þór, ÐA", "thjod, Thor, DA"),
        ("İstanbul, ışık", "Istanbul, isik"),
        ("\ufb01ne", "fine"),
    ],
)
def test_latin_letters_are_spelled_as_far_as_the_font_can(name: str, drawn: str) -> None:
    assert lettering._ascii(name) == drawn
    assert all(lettering.legible(letter) for letter in lettering.SPELLED)


def test_text_is_as_tall_as_asked_and_stands_on_its_line() -> None:
    for size in (8, 9, 13, 20):
        page = np.full((100, 100, 3), 255, np.uint8)
        width = lettering.write(page, "H", (10, 60), size, (0, 0, 0))
        rows, columns, _ = np.nonzero(page < 128)
        assert rows.max() == pytest.approx(60, abs=1)
        assert rows.max() - rows.min() + 1 == pytest.approx(1.1 * size, abs=2)  # the stroke adds to it
        assert 10 <= columns.min() <= columns.max() <= 12 + width


def test_text_that_leaves_the_page_is_lost() -> None:
    for start in ((95, 20), (5, 3), (5, 49)):
        page = np.full((50, 100, 3), 255, np.uint8)
        lettering.write(page, "Hg", start, 9, (0, 0, 0))
        assert (page < 255).any()


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"map 2: \[200, 480\] for a picture of \[400, 480\]"):
        sheet(GREY, [panel((100, 120)), panel((50, 120))], Words("t"))


@pytest.mark.parametrize("shape", [(3000, 4000), (4000, 30), (100, 120), (1, 1), (4, 3000)])
@pytest.mark.parametrize(("boxes", "side"), [(1, 480), (12, 380), (30, 300)])
def test_a_panel_holds_no_more_than_it_shows(
    shape: tuple[int, int], boxes: int, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []
    original = pages._frame
    monkeypatch.setattr(pages, "_frame", lambda cell, picture: (shown.append(picture.shape), original(cell, picture)))
    panels = [panel(shape, among=boxes)] * boxes
    sheet(np.zeros((*shape, 3), np.uint8), panels, Words("t"))
    assert {picture[:2] for picture in shown[1:]} == {panels[0].shown.values.shape}
    assert max(panels[0].shown.values.shape) <= 2 * side


def test_nothing_that_was_given_is_changed() -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    image.setflags(write=False)
    one = panel((50, 60))
    one.shown.values.setflags(write=False)
    sheet(image, [one] * 10, Words("t"))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    boxes=st.integers(0, 26),
    title=st.text(max_size=200),
    corner=st.floats(-50, 800),
    extent=st.floats(-5, 800),
)
@example(height=49, width=241, boxes=1, title="", corner=0, extent=0)  # one column: the legend is as wide as the page
def test_any_sheet_can_be_drawn(height: int, width: int, boxes: int, title: str, corner: float, extent: float) -> None:
    image = np.full((height, width, 3), 40, np.uint8)
    box = (corner, corner / 2, corner + extent, corner / 2 + extent)
    page = sheet(
        image,
        [panel((height, width), box, among=boxes, name=title, label=k) for k in range(boxes)],
        Words(title, title, title),
    )
    assert page.dtype == np.uint8
    assert max(page.shape) < 12_000
    assert page[:8].min() == page[:, :8].min() == page[-8:].min() == page[:, -8:].min() == 255  # margins stay empty


def test_the_box_is_right_on_a_picture_that_is_stretched() -> None:
    black = np.zeros((4, 3000, 3), np.uint8)  # shown as 960 x 16: a third as wide, four times as tall
    page = sheet(black, [panel((4, 3000), (1500, 2, 2250, 4), peak=0, label=1)], Words("t"))
    rows, columns = np.nonzero((page == class_color(1)).all(axis=2))
    second = rows > rows.min() + 60  # the picture below; its badge lies further left
    columns = columns[second & (columns > pages.MARGIN + 400)]
    assert (columns.min() - pages.MARGIN, columns.max() - pages.MARGIN) == (480, 719)


def test_a_very_long_image_can_be_seen() -> None:
    image = np.zeros((1, 3000, 3), np.uint8)
    page = sheet(image, [panel((1, 3000), (0, 0, 3000, 1), peak=0)], Words("t"))
    assert count(page, (0, 0, 0)) > 900 * THINNEST


def test_a_few_hot_pixels_do_not_hide_the_rest() -> None:
    """Of a hundred lit pixels the hottest is a thousand times as hot; what is left would be black beside it."""
    values = np.zeros((20, 40), np.float32)
    values.flat[::8] = np.linspace(1, 2, 100)
    values[0, 0] = 2000
    assert np.sort(heatmap(values), axis=None)[-2] <= 1e-3
    scaled = heatmap(values, 99)
    assert scaled.max() == 1
    assert (np.sort(scaled, axis=None)[-50:] > 0.05).all()
    assert heatmap(np.array([[-4, 0], [1, 2]], np.float32), 99).max() == 1
    assert not heatmap(np.zeros((3, 3), np.float32), 99).any()


def test_a_map_with_a_sign_is_scaled_to_its_largest_magnitude() -> None:
    assert heatmap(np.array([[-4, 0], [1, 2]], np.float32), signed=True).tolist() == [[-1, 0], [0.25, 0.5]]
    assert heatmap(np.array([[-np.inf, np.nan, -1]], np.float32), signed=True).tolist() == [[0, 0, -1]]
    assert brightest(np.array([[-4, 0], [1, 2]], np.float32), 50, signed=True) == 2
