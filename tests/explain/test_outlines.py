"""Outlines, pixel by pixel; where a box comes to lie on a picture of another size; and the colours of classes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from boxcam.explain.colors import line_width
from boxcam.explain.render import class_color, outline, place_box

COLOR = (10, 200, 90)


def ring(picture: np.ndarray, box: tuple[int, int, int, int], color: tuple[int, int, int]) -> None:
    """The pixels of a rectangle's edge."""
    x1, y1, x2, y2 = box
    picture[[y1, y2], x1 : x2 + 1] = color
    picture[y1 : y2 + 1, [x1, x2]] = color


@pytest.mark.parametrize(
    ("box", "inner"),
    [
        ((10, 12, 19, 21), True),
        ((10, 12, 18, 21), False),  # nine pixels across: a second line would leave nothing of what is inside
        ((10, 12, 19, 20), False),
        ((10, 12, 30, 40), True),
        ((10, 12, 10, 12), False),
    ],
)
def test_an_outline_is_two_pixels_of_colour_between_dark_ones(box: tuple[int, int, int, int], inner: bool) -> None:
    picture, expected = np.full((60, 50, 3), 77, np.uint8), np.full((60, 50, 3), 77, np.uint8)
    outline(picture, box, COLOR)
    x1, y1, x2, y2 = box
    ring(expected, (x1 - 1, y1 - 1, x2 + 1, y2 + 1), (0, 0, 0))
    ring(expected, box, COLOR)
    if inner:
        ring(expected, (x1 + 1, y1 + 1, x2 - 1, y2 - 1), COLOR)
        ring(expected, (x1 + 2, y1 + 2, x2 - 2, y2 - 2), (0, 0, 0))
    assert (picture == expected).all()


@pytest.mark.parametrize(
    ("box", "placed"),
    [
        ((0, 0, 100, 50), (0, 0, 199, 149)),
        ((10, 10, 20, 20), (20, 30, 39, 59)),
        ((0.25, 0.1, 1, 1), (0, 0, 1, 2)),
        ((-30, -30, 250, 250), (0, 0, 199, 149)),  # it sticks out on all sides
        ((0, 40, 70, 80), (0, 120, 139, 149)),
        ((0, 60, 110, 80), (0, 149, 199, 149)),  # below the image
        ((99.9, 49.9, 100, 50), (199, 149, 199, 149)),
        ((50, 25, 50, 25), (100, 75, 100, 75)),  # no area: one pixel
        ((50, 25, 40, 15), (100, 75, 100, 75)),
    ],
)
def test_a_box_on_a_picture_of_another_size(
    box: tuple[float, float, float, float], placed: tuple[int, int, int, int]
) -> None:
    picture = np.zeros((150, 200, 3), np.uint8)  # three times as high, twice as wide
    assert place_box(box, picture, (50, 100, 3)) == placed


def test_colours_of_classes_go_round_by_the_golden_ratio() -> None:
    """By OpenCV's own conversion, with the hue in degrees."""
    for label in (0, 1, 2, 3, 17, 1000):
        hue = (0.36 + 0.618034 * label) * 360 % 360
        hsv = np.array([[[hue, 0.75, (0.95, 0.75, 0.85)[label % 3]]]], np.float32)
        expected = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0] * 255
        assert np.abs(np.array(class_color(label)) - expected).max() <= 0.51
    assert len({class_color(label) for label in range(80)}) == 80


def test_an_outline_grows_with_the_picture() -> None:
    picture = np.full((300, 400, 3), 77, np.uint8)
    outline(picture, (40, 50, 240, 250), COLOR, 3)
    across = picture[150, 37:53].tolist()  # three dark pixels outside of the box, six of colour, three dark ones
    assert across == [[0] * 3] * 3 + [list(COLOR)] * 6 + [[0] * 3] * 3 + [[77] * 3] * 4
    assert [line_width(np.zeros((height, 10, 3), np.uint8)) for height in (10, 1199, 1201, 4000)] == [1, 1, 2, 5]
