"""Close-ups of small boxes, and where panels and the numbers of boxes lie on a sheet."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcam.explain import sheet as pages
from boxcam.explain.panel import HELPS, SEEN, Panel, fit, locator_size, picture_size, resize, surroundings
from boxcam.explain.render import class_color
from boxcam.explain.sheet import Words, sheet
from boxcam.explain.tags import Rectangle, place_tags
from boxcam.types import Corners
from tests.explain.panels import shown
from tests.explain.small import SHAPE, small_box


@pytest.mark.parametrize(
    ("box", "view"),
    [
        ((290, 190, 310, 210), (255, 170, 345, 230)),  # 3 x 20 rows of 400 are 0.15 of the height; so many columns, too
        ((270, 195, 330, 205), (210, 140, 390, 260)),  # the longer side decides: 3 x 60 of 600 columns
        ((0, 0, 20, 20), (0, 0, 90, 60)),  # in a corner it is moved, and no smaller
        ((580, 390, 700, 500), (540, 360, 600, 400)),  # only the part inside the image counts
        ((300, 200, 300, 200), (284, 190, 316, 211)),  # an empty box: 32 columns
        ((100, 100, 300, 200), None),  # 3 x 200 of 600
        ((0, 0, 600, 400), None),
    ],
)
def test_a_close_up_is_three_times_as_large_as_its_box(box: Corners, view: tuple[int, int, int, int] | None) -> None:
    assert surroundings(box, SHAPE, picture_size(SHAPE, 1)) == view


def test_an_image_that_is_small_itself_has_none() -> None:
    assert surroundings((3, 3, 5, 5), (40, 40), (480, 480)) is None


WIDE = (320, 1440)
"""Shown at a third of its size."""


@pytest.mark.parametrize(
    ("side", "view"),
    [
        (20, (565, 130, 835, 190)),  # three times the box is 60 rows of 320
        (60, (340, 80, 1060, 240)),  # 20 pixels on the sheet, but three times as much is more than half of the height
        (106, (340, 80, 1060, 240)),
        (140, (228, 55, 1173, 265)),  # 1.5 times the box
        (144, None),  # 48 pixels on the sheet
    ],
)
def test_in_a_very_wide_image_it_is_how_large_a_box_is_shown_that_counts(
    side: int, view: tuple[int, int, int, int] | None
) -> None:
    size = picture_size(WIDE, 1)
    half = side / 2
    assert size == (107, 480)
    found = surroundings((700 - half, 160 - half, 700 + half, 160 + half), WIDE, size)
    assert found == view
    if found is not None:
        larger = size[1] / (found[2] - found[0])
        assert min(SEEN, 1.3 * side / 3) <= side * larger


def test_a_close_up_that_would_show_nearly_all_of_the_image_is_none() -> None:
    assert surroundings((0, 100, 20, 265), WIDE, (20, 90)) is None  # 1.5 times 165 rows of 320
    assert surroundings((10, 10, 14, 14), (40, 40), (80, 80)) is None  # 32 of 40 columns


@settings(max_examples=200, deadline=None)
@given(sides=st.tuples(st.integers(1, 900), st.integers(1, 900)), box=st.tuples(*[st.floats(-100, 1000)] * 4))
def test_any_close_up_lies_in_the_image(sides: tuple[int, int], box: Corners) -> None:
    view = surroundings(
        (min(box[0], box[2]), min(box[1], box[3]), *map(max, box[:2], box[2:])), sides, picture_size(sides, 1)
    )
    if view is not None:
        x1, y1, x2, y2 = view
        assert 0 <= x1 < x2 <= sides[1]
        assert 0 <= y1 < y2 <= sides[0]
        assert max((x2 - x1) / sides[1], (y2 - y1) / sides[0]) <= max(HELPS + 0.1, 1 / min(sides))


def test_its_colours_are_those_of_the_whole_map() -> None:
    values = np.zeros(SHAPE, np.float32)
    values[380:, 560:] = 8
    values[200, 300] = 2
    panel = small_box(values)
    assert panel.close_up is not None
    assert (panel.close_up.view, panel.peak) == ((255, 170, 345, 230), 8)
    heat = panel.shown.heat()
    assert heat.shape == picture_size(SHAPE, 1) == (320, 480)
    assert 0.15 < heat.max() <= 0.25
    scale = heat.shape[0] / 60
    hottest = np.unravel_index(heat.argmax(), heat.shape)
    assert hottest == pytest.approx(((200.5 - 170) * scale, (300.5 - 255) * scale), abs=scale)
    whole = panel.close_up.whole.heat()
    assert whole.shape == locator_size(heat.shape) == (96, 144)
    assert whole[-4:, -9:].min() > 0.99
    assert whole[:-6].max() < 0.1


def test_of_single_pixels_the_hottest_hundredth_has_the_strongest_colour() -> None:
    values = np.zeros(SHAPE, np.float32)
    values[::4, ::4] = 1  # 15,000 pixels
    values[0, :] = 50  # and 600
    values[200, 300] = 2
    cells, pixels = small_box(values), small_box(values, "image")
    assert cells.shown.heat().max() < 0.05
    assert pixels.shown.heat().max() < 0.05
    values[0, 100:] = 1  # of 15,500 lit pixels 101 are hotter than the rest, which is less than a hundredth
    cold, lit = small_box(values), small_box(values, "image")
    assert cold.shown.heat().max() < 0.05
    assert lit.shown.heat().max() > 0.9


@pytest.mark.parametrize(
    ("shape", "boxes", "size"),
    [
        ((600, 800), 1, (360, 480)),
        ((600, 800), 11, (360, 480)),
        ((600, 800, 3), 12, (285, 380)),
        ((600, 800), 29, (285, 380)),
        ((600, 800), 30, (225, 300)),
        ((300, 400), 1, (300, 400)),
        ((100, 600), 1, (96, 576)),  # six times as long as wide: a fifth more than usual
        ((100, 500), 1, (96, 480)),
        ((500, 100), 1, (480, 96)),
        ((100, 1200), 1, (80, 960)),
        ((10, 3000), 1, (18, 960)),  # 3.2 rows become 3, and six times as many
        ((40, 60), 1, (320, 480)),  # by whole factors
        ((40, 100), 1, (160, 400)),
        ((4, 900), 1, (16, 900)),
    ],
)
def test_pictures_are_as_large_as_a_sheet_of_so_many_has_room_for(
    shape: tuple[int, ...], boxes: int, size: tuple[int, int]
) -> None:
    assert picture_size(shape, boxes) == size
    image = np.zeros((*shape[:2], 3), np.uint8)
    assert resize(image, *fit(shape, boxes)).shape == (*size, 3)


def test_it_is_drawn_with_its_box_and_the_whole_image_in_a_corner() -> None:
    image = np.zeros((*SHAPE, 3), np.uint8)
    image[180:220, 280:320] = 90
    image[:40] = (0, 80, 0)
    panel = replace(small_box(np.ones(SHAPE, np.float32) * 1e-3), label=1, peak=0.0)
    panel = replace(panel, shown=replace(panel.shown, top=0.0))
    assert panel.close_up is not None
    panel = replace(panel, close_up=replace(panel.close_up, whole=replace(panel.close_up.whole, top=0.0)))
    page = sheet(image, [panel], Words("t"))
    left, top = pages.MARGIN + 480 + pages.GAP, 28 + 27 + 8
    part = page[top : top + 320, left : left + 480]
    rows, columns = np.nonzero((part == class_color(1)).all(axis=2))
    scale = 480 / 90
    assert (columns.min(), columns.max()) == (round(35 * scale), round(55 * scale) - 1)
    assert (rows.min(), rows.max()) == (round(20 * scale), round(40 * scale) - 1)
    small = part[320 - 98 : 318, 480 - 146 : 478]  # of the corners that nothing tells apart the one at the lower right
    assert (small[:9] == (0, 80, 0)).all()
    assert (part[320 - 100 :, 480 - 148 :][[0, 1, -2, -1]] == pages.PAPER).all()
    framed = np.argwhere((small == pages.PAPER).all(axis=2))
    x1, y1, x2, y2 = 255 * 0.24, 170 * 0.24, 345 * 0.24, 230 * 0.24
    assert framed.min(axis=0) == pytest.approx([y1, x1], abs=1)
    assert framed.max(axis=0) == pytest.approx([y2, x2], abs=1.5)


@pytest.mark.parametrize("hot", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_whole_image_lies_where_there_is_no_heat(hot: tuple[int, int]) -> None:
    heat = np.zeros((100, 100), np.float32)
    for y, x in {(0, 0), (0, 1), (1, 0), (1, 1)} - {(1 - hot[0], 1 - hot[1])}:
        heat[y * 60 : y * 60 + 40, x * 60 : x * 60 + 40] = 0.5
    drawn = np.zeros((100, 100, 3), np.uint8)
    pages._locator(drawn, np.full((30, 30, 3), 9, np.uint8), (10, 10, 20, 20), heat, (45, 45, 55, 55))
    y, x = ((1 - side) * 66 + 2 for side in hot)
    assert (drawn[y : y + 9, x : x + 30] == 9).all()
    assert not drawn[40:60, 40:60].any()


def test_a_frame_that_is_too_small_to_be_seen_is_made_larger() -> None:
    assert pages._at_least((10, 10, 11, 30), 6) == (8, 10, 13, 30)
    assert pages._at_least((10, 10, 20, 30), 6) == (10, 10, 20, 30)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 80), st.sampled_from([1, 2, 3]), st.floats(0.2, 5))
def test_panels_never_lie_on_each_other(count: int, span: int, shape: float) -> None:
    rows, columns, places = pages._layout(count, span, shape)
    first = {(row, column) for row in range(span) for column in range(span)}
    assert len({*places, *first}) == count + span * span == len(places) + len(first)
    assert all(0 <= row < rows and 0 <= column < columns for row, column in {*places, *first})
    assert places == sorted(places)


def overlap(one: Rectangle, other: Rectangle) -> int:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def test_a_tag_covers_neither_its_box_nor_others_if_there_is_room() -> None:
    boxes = [(100, 100, 120, 120), (100, 60, 130, 95), (125, 100, 145, 120), (0, 0, 30, 30), (170, 180, 200, 200)]
    tags = place_tags(boxes, [(16, 16)] * len(boxes), (200, 200))
    assert [overlap(tag, box) for tag in tags for box in boxes] == [0] * 25
    assert [overlap(one, other) for one, other in itertools.combinations(tags, 2)] == [0] * 10


def test_tags_of_one_box_lie_next_to_each_other() -> None:
    tags = place_tags([(80, 80, 120, 120)] * 4, [(16, 16)] * 4, (200, 200))
    assert tags[0] == (80, 64, 96, 80)  # above, at the left
    assert [overlap(one, other) for one, other in itertools.combinations(tags, 2)] == [0] * 6


def test_where_there_is_no_room_a_tag_lies_inside() -> None:
    assert place_tags([(0, 0, 50, 50)], [(16, 16)], (50, 50)) == [(0, 0, 16, 16)]
    assert place_tags([], [], (50, 50)) == []


def test_a_box_can_be_seen_under_its_number() -> None:
    """A box of 20 pixels, whose number was as large as itself: nothing of its picture is covered."""
    image = np.zeros((480, 480, 3), np.uint8)
    image[203:218, 203:218] = 255
    panel = Panel((200, 200, 221, 221), 1, "car", 0.5, 1.0, shown(np.zeros((480, 480), np.float32)))
    page = sheet(image, [panel], Words("t"))
    first = page[: pages.MARGIN * 6 + 480, pages.MARGIN : pages.MARGIN + 480]
    found = cv2.matchTemplate(first, np.full((15, 15, 3), 255, np.uint8), cv2.TM_SQDIFF)[150:]
    assert found.min() == 0


def test_a_classifier_has_classes_and_no_boxes() -> None:
    image = np.full((480, 480, 3), 90, np.uint8)
    heat = shown(np.zeros((480, 480), np.float32), 2)
    panels = [Panel((0, 0, 480, 480), k, f"kind {k}", 0.5, 0.0, heat) for k in (1, 2)]
    page = sheet(image, panels, Words("t", classifier=True))
    assert [int((page == 90).all(axis=2).sum()) for _ in panels] == [3 * 480 * 480] * 2  # nothing is drawn on pictures
    assert Words("t", classifier=True).count(0) == "no class"
    assert [Words("t").count(n) for n in (0, 1, 2)] == ["no box", "1 box", "2 boxes"]
    assert [Words("t", classifier=True).count(n) for n in (1, 2)] == ["1 class", "2 classes"]
