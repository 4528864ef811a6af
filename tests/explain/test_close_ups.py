"""Close-ups of small boxes, and where panels and the numbers of boxes lie on a sheet."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcam.explain import sheet as pages
from boxcam.explain.panel import LARGEST, CloseUp, Corners, Panel, close_up, fit, panel_heat, picture_size, resize
from boxcam.explain.render import class_color
from boxcam.explain.sheet import Words, sheet
from boxcam.explain.tags import Rectangle, place_tags

SHAPE = (400, 600)
MAP = np.zeros(SHAPE, np.float32)


def view_of(box: Corners, shape: tuple[int, int] = SHAPE) -> tuple[int, int, int, int] | None:
    found = close_up(np.zeros(shape, np.float32), box, 1)
    return None if found is None else found.view


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
    assert view_of(box) == view


def test_an_image_that_is_small_itself_has_none() -> None:
    assert view_of((3, 3, 5, 5), (40, 40)) is None


@settings(max_examples=200, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    box=st.tuples(*[st.floats(-100, 1000)] * 4),
    boxes=st.integers(1, 40),
)
def test_any_close_up_lies_in_the_image_and_is_as_large_as_the_panel(
    sides: tuple[int, int], box: Corners, boxes: int
) -> None:
    values = np.ones(sides, np.float32)
    found = close_up(values, (min(box[0], box[2]), min(box[1], box[3]), *map(max, box[:2], box[2:])), boxes)
    if found is not None:
        x1, y1, x2, y2 = found.view
        assert 0 <= x1 < x2 <= sides[1]
        assert 0 <= y1 < y2 <= sides[0]
        assert max((x2 - x1) / sides[1], (y2 - y1) / sides[0]) <= max(LARGEST + 0.1, 1 / min(sides))
        assert found.heat.shape == panel_heat(values, boxes).shape


def test_its_colours_are_those_of_the_whole_map() -> None:
    values = MAP.copy()
    values[380:, 560:] = 8
    values[200, 300] = 2
    found = close_up(values, (290, 190, 310, 210), 1)
    assert found is not None
    assert 0.15 < found.heat.max() <= 0.25
    hottest = np.unravel_index(found.heat.argmax(), found.heat.shape)
    scale = found.heat.shape[0] / 60
    assert hottest == pytest.approx(((200.5 - 170) * scale, (300.5 - 255) * scale), abs=scale)


def test_of_single_pixels_the_hottest_hundredth_has_the_strongest_colour() -> None:
    values = MAP.copy()
    values[::4, ::4] = 1  # 15,000 pixels
    values[0, :] = 50  # and 600
    values[200, 300] = 2
    box = (290.0, 190.0, 310.0, 210.0)
    cells, pixels = close_up(values, box, 1), close_up(values, box, 1, pixels=True)
    assert cells is not None
    assert pixels is not None
    assert cells.heat.max() < 0.04
    values[0, 100:] = 1  # of 15,500 lit pixels 101 are hotter than the rest, which is less than a hundredth
    cold, lit = close_up(values, box, 1), close_up(values, box, 1, pixels=True)
    assert cold is not None
    assert lit is not None
    assert cold.heat.max() < 0.04
    assert lit.heat.max() > 0.9
    assert pixels.heat.max() < 0.04


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


def test_it_is_drawn_next_to_the_image_with_its_box() -> None:
    box = (290.0, 190.0, 310.0, 210.0)
    close = close_up(MAP, box, 1)
    assert isinstance(close, CloseUp)
    panel = Panel(box, 1, "car", 0.5, 1.0, panel_heat(MAP, 1), close)
    page = sheet(np.zeros((*SHAPE, 3), np.uint8), [panel], Words("t"))
    ((_, column),) = pages._layout([2], 1, 500 / (320 + pages.CAPTION + pages.GAP))[2]
    left = pages.MARGIN + (column + 1) * (480 + pages.GAP)
    part = page[:, left : left + 480]
    rows, columns = np.nonzero((part == class_color(1)).all(axis=2))
    scale = 480 / 90
    assert (columns.min(), columns.max()) == (round(35 * scale), round(55 * scale) - 1)
    assert rows.max() - rows.min() == round(40 * scale) - 1 - round(20 * scale)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([1, 2]), max_size=40), st.sampled_from([1, 2]), st.floats(0.2, 5))
def test_panels_never_lie_on_each_other(widths: list[int], span: int, shape: float) -> None:
    rows, columns, places = pages._layout(widths, span, shape)
    taken = {(row, column) for row in range(span) for column in range(span)}
    for width, (row, column) in zip(widths, places, strict=True):
        mine = {(row, column + k) for k in range(width)}
        assert not mine & taken
        assert 0 <= row < rows
        assert column + width <= columns
        taken |= mine
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
    panel = Panel((200, 200, 221, 221), 1, "car", 0.5, 1.0, panel_heat(np.zeros((480, 480), np.float32), 1))
    page = sheet(image, [panel], Words("t"))
    first = page[: pages.MARGIN * 6 + 480, pages.MARGIN : pages.MARGIN + 480]
    found = cv2.matchTemplate(first, np.full((15, 15, 3), 255, np.uint8), cv2.TM_SQDIFF)[150:]
    assert found.min() == 0


def test_a_classifier_has_classes_and_no_boxes() -> None:
    image = np.full((480, 480, 3), 90, np.uint8)
    heat = panel_heat(np.zeros((480, 480), np.float32), 2)
    panels = [Panel((0, 0, 480, 480), k, f"kind {k}", 0.5, 0.0, heat) for k in (1, 2)]
    page = sheet(image, panels, Words("t", classifier=True))
    assert [int((page == 90).all(axis=2).sum()) for _ in panels] == [3 * 480 * 480] * 2  # nothing is drawn on pictures
    assert Words("t", classifier=True).count(0) == "no class"
    assert [Words("t").count(n) for n in (0, 1, 2)] == ["no box", "1 box", "2 boxes"]
    assert [Words("t", classifier=True).count(n) for n in (1, 2)] == ["1 class", "2 classes"]
