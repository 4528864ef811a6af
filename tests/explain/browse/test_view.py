"""The part of an image that a thumbnail shows: the box with its surroundings, and where its map is strongest."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.explain.browse.card import SIZE
from boxcam.explain.browse.view import draw_view, fitted, peak_of, view_of
from boxcam.explain.look import Look
from boxcam.types import Corners
from tests.explain.made import EVEN, explanation

IMAGE = 1200, 1600


def test_a_small_box_is_in_the_middle_of_twice_its_size() -> None:
    assert view_of((700, 550, 900, 650), IMAGE, (100, 200)) == (600, 500, 1000, 700)
    assert view_of((700, 550, 900, 650), IMAGE, (150, 200)) == (600, 450, 1000, 750)  # widened to the picture's ratio


def test_a_part_stays_inside_of_the_image() -> None:
    assert view_of((0, 0, 100, 100), IMAGE, (100, 100)) == (0, 0, 200, 200)
    assert view_of((1500, 1100, 1600, 1200), IMAGE, (100, 100)) == (1400, 1000, 1600, 1200)
    assert view_of((-50, -50, 100, 100), IMAGE, (100, 100)) == (0, 0, 200, 200)


def test_a_tiny_box_has_surroundings_that_can_be_recognised() -> None:
    x1, y1, x2, y2 = view_of((800, 600, 801, 601), IMAGE, (32, 32))
    assert (x2 - x1, y2 - y1) == (32, 32)


def test_a_large_box_is_shown_with_the_whole_image() -> None:
    assert view_of((200, 100, 1400, 1100), IMAGE, SIZE) == (0, 0, 1600, 1200)


@pytest.mark.parametrize("point", [(0, 0), (1199, 1599), (40, 1000), (610, 790)])
def test_the_peak_of_the_map_is_always_in_sight(point: tuple[int, int]) -> None:
    x1, y1, x2, y2 = view_of((780, 600, 800, 620), IMAGE, SIZE, [point])
    assert y1 <= point[0] < y2
    assert x1 <= point[1] < x2
    assert x1 <= 780
    assert x2 >= 800


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (10, 4000), (4000, 10), (1200, 1600)])
@pytest.mark.parametrize(
    "box", [(0, 0, 1, 1), (-10, -10, -5, -5), (5000, 5000, 6000, 6000), (0.5, 0.5, 0.5, 0.5), (0, 0, 9000, 9000)]
)
def test_whatever_the_image_and_the_box_there_is_a_picture(shape: tuple[int, int], box: Corners) -> None:
    image, values = np.zeros((*shape, 3), np.uint8), np.ones(shape, np.float32)
    view = view_of(box, shape, SIZE, [(shape[0] - 1, shape[1] - 1)])
    x1, y1, x2, y2 = view
    assert 0 <= x1 < x2 <= shape[1]
    assert 0 <= y1 < y2 <= shape[0]
    size = fitted(view, SIZE)
    assert draw_view(image, values, view, size, (box, 0), Look()).shape == (*size, 3)
    assert 1 <= size[0] <= SIZE[0]
    assert 1 <= size[1] <= SIZE[1]


def test_the_peak_is_the_largest_value_if_it_speaks_for_the_box() -> None:
    assert peak_of(np.float32([[0, 1, 0], [0, 0, 2]])) == (1, 2)
    assert peak_of(np.float32([[-3, -1]])) is None
    assert peak_of(np.zeros((2, 2), np.float32)) is None


def test_heat_is_scaled_to_the_peak_of_the_whole_map_and_not_to_that_of_the_part() -> None:
    values = np.zeros((100, 100), np.float32)
    values[50, 50], values[90, 90] = 1, 100
    cold = draw_view(np.full((100, 100, 3), 128, np.uint8), values, (40, 40, 60, 60), (20, 20), None, Look())
    warm = draw_view(np.full((100, 100, 3), 128, np.uint8), values[:80, :80], (40, 40, 60, 60), (20, 20), None, Look())
    assert np.ptp(cold[10, 10].astype(int)) < 10  # as good as grey
    assert np.ptp(warm[10, 10].astype(int)) > 80


def test_an_explanations_maps_are_of_the_images_size() -> None:
    found = explanation(EVEN)
    assert peak_of(found.map(0)) == (0, 0)


@pytest.mark.parametrize("size", [(7, 9), (60, 80)])
def test_what_lies_outside_of_the_part_does_not_change_it(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).standard_normal((30, 40)).astype(np.float32)
    image = np.full((30, 40, 3), 128, np.uint8)
    broken = values.copy()
    broken[29, 39] = np.nan
    view = (0, 0, 30, 20)
    values[29, 39] = 0
    mine, other = (draw_view(image, one, view, size, None, Look()).astype(int) for one in (values, broken))
    assert np.abs(mine - other).max() <= 1


def test_numbers_that_are_none_are_cold() -> None:
    values = np.float32([[np.nan, 1], [np.inf, 0]])
    drawn = draw_view(np.full((2, 2, 3), 128, np.uint8), values, (0, 0, 2, 2), (2, 2), None, Look())
    assert np.ptp(drawn[0, 0]) == np.ptp(drawn[1, 0]) == np.ptp(drawn[1, 1]) == 0
    assert np.ptp(drawn[0, 1].astype(int)) > 50
