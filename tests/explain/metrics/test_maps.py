"""Metrics of a map against boxes and masks: numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from boxcam.errors import ArgumentError
from boxcam.explain.metrics.arithmetic import region_of
from boxcam.explain.metrics.compactness import compactness
from boxcam.explain.metrics.energy import energy
from boxcam.explain.metrics.mask_iou import THRESHOLDS, mask_iou
from boxcam.explain.metrics.odi import odi
from boxcam.explain.metrics.pointing import pointing_game
from boxcam.explain.metrics.sparseness import sparseness
from boxcam.types import Float

Array = npt.NDArray[np.float64]


def box(*sides: float) -> Array:
    return np.array(sides, np.float64)


def single(row: int, column: int, shape: tuple[int, int] = (6, 8)) -> Float:
    """A map of a single active pixel."""
    values = np.zeros(shape, np.float32)
    values[row, column] = 2
    return values


# The pointing game


@pytest.mark.parametrize(
    ("row", "column", "hit"),
    [
        (2, 3, 1.0),
        (1, 2, 1.0),  # its centre, 2.5 1.5, is inside of a box that begins at 2 1
        (0, 3, 0.0),
        (2, 5, 0.0),  # its centre is 5.5
        (4, 4, 0.0),
    ],
)
def test_the_highest_pixel_is_inside_of_the_box_or_not(row: int, column: int, hit: float) -> None:
    assert pointing_game(single(row, column), box(2, 1, 5, 4)) == hit


def test_a_centre_on_the_edge_is_not_inside() -> None:
    assert pointing_game(single(2, 3), box(3.5, 0, 8, 6)) == 0
    assert pointing_game(single(2, 3), box(0, 0, 3.5, 6)) == 0
    assert pointing_game(single(2, 3), box(3.49, 0, 8, 6)) == 1


def test_the_first_pixel_of_the_image_can_be_inside() -> None:
    """ODAM's code compares 0 > 0, by which nothing at the image's edge can be hit."""
    assert pointing_game(single(0, 0), box(0, 0, 2, 2)) == 1


def test_equally_high_pixels_count_by_their_share() -> None:
    values = single(2, 3)
    values[0, 0] = values[2, 4] = values[2, 3]
    assert pointing_game(values, box(2, 1, 5, 4)) == pytest.approx(2 / 3)
    uniform = np.ones((4, 4), np.float32)
    assert pointing_game(uniform, box(0, 0, 2, 2)) == 4 / 16  # chance


def test_a_mask_is_hit_only_within_its_box() -> None:
    mask = np.zeros((6, 8), bool)
    mask[2:6, 3] = True
    for row, hit in ((2, 1), (1, 0), (5, 0)):  # on both; only in the box; only on the mask
        assert pointing_game(single(row, 3), box(2, 1, 5, 4), mask) == hit


# The energy-based pointing game


def test_energy_in_box_and_mask() -> None:
    values = np.float32([[4, 1, 0], [2, 3, -7]])
    assert energy(values, box(0, 0, 2, 1)) == pytest.approx(5 / 10)
    assert energy(values, box(0.9, 0.9, 1.1, 1.1)) == 1  # every pixel that it touches
    assert energy(values, box(1, 1, 9, 9)) == pytest.approx(3 / 10)  # and what is in the image of it
    assert energy(values, box(-5, -5, -1, -1)) == 0
    mask = np.array([[True, False, False], [False, True, True]])
    assert energy(values, box(0, 0, 1, 1), mask) == pytest.approx(7 / 10)


def test_a_region_is_rounded_outwards_and_cut() -> None:
    assert np.argwhere(region_of(box(0.2, 0.9, 1.0, 1.1), (3, 3))).tolist() == [[0, 0], [1, 0]]
    assert region_of(box(-9, -9, 99, 99), (3, 3)).all()


# Compactness


def test_compactness_by_hand() -> None:
    values = np.zeros((5, 5), np.float32)
    values[1, 1], values[1, 4], values[4, 1] = 3, 1, 2  # squared distances 9 and 9 from the highest
    # √((1·9 + 2·9) / (¼ (6² + 8²) · 6)) = √(27 / 150)
    assert compactness(values, box(0, 0, 6, 8)) == pytest.approx(math.sqrt(27 / 150))
    assert compactness(single(2, 3), box(0, 0, 6, 8)) == 0


def test_of_several_highest_pixels_the_mean_square_counts() -> None:
    values = np.float32([[1, 0, 0, 1]])
    # from either: Σ H d² = 9, ΣH = 2, ¼ (2² + 0) = 1
    assert compactness(values, box(0, 0, 2, 0)) == pytest.approx(math.sqrt(9 / 2))
    assert compactness(values[:, ::-1], box(0, 0, 2, 0)) == pytest.approx(math.sqrt(9 / 2))


def test_a_box_without_extent_has_no_compactness() -> None:
    assert math.isnan(compactness(single(1, 1), box(1, 1, 1, 1)))


# ODI


def test_odi_by_hand() -> None:
    values = np.float32([[6, 2, 1, 0, 8]])
    own, other, far = box(0, 0, 2, 1), box(1, 0, 3, 1), box(3, 0, 4, 1)
    assert odi(values, own, [other]) == pytest.approx(3 / 9)  # what both hold is the other's; the 8 is on no object
    assert odi(values, own, [far]) == 0
    assert odi(values, far, [own, other]) == 1
    assert odi(values, own, [other, other]) == pytest.approx(3 / 9)  # a union
    assert math.isnan(odi(values, own, []))
    assert math.isnan(odi(values, far, [far]))  # no evidence on objects


def test_odi_of_masks() -> None:
    values = np.float32([[6, 2, 1]])
    own, other = np.array([[True, False, False]]), np.array([[False, True, True]])
    assert odi(values, own, [other]) == pytest.approx(3 / 9)


# Mask IoU


def test_mask_iou_by_hand() -> None:
    values = np.float32([[10, 5, 2], [0, 1, 0]])
    mask = np.array([[True, True, False], [False, False, True]])
    curve = dict(zip(THRESHOLDS, mask_iou(values, mask), strict=True))
    assert curve[0.1] == pytest.approx(2 / 4)  # 10, 5, 2: two on the mask of three; what equals a tenth is not above
    assert curve[0.2] == pytest.approx(2 / 3)  # 10, 5
    assert curve[0.5] == pytest.approx(1 / 3)  # 10
    assert len(curve) == 9


# Sparseness


def test_sparseness_by_hand() -> None:
    assert sparseness(np.ones((3, 5), np.float32)) == pytest.approx(0)
    assert sparseness(single(1, 1)) == pytest.approx(1 - 1 / 48)
    # sorted 0 1 3, N = 3: 1 − 2 (¼ · 1.5/3 + ¾ · 0.5/3) = 1 − 2 · 0.25
    assert sparseness(np.float32([[3, 0, 1]])) == pytest.approx(0.5)
    assert sparseness(np.float32([[3, -9, 1]])) == pytest.approx(0.5)  # against the box is no evidence


# What all of them have


MAPS = {
    "pointing": lambda values: pointing_game(values, box(2, 1, 5, 4)),
    "energy": lambda values: energy(values, box(2, 1, 5, 4)),
    "compactness": lambda values: compactness(values, box(2, 1, 5, 4)),
    "odi": lambda values: odi(values, box(2, 1, 5, 4), [box(0, 0, 3, 3)]),
    "mask-iou": lambda values: sum(mask_iou(values, region_of(box(2, 1, 5, 4), values.shape))),
    "sparseness": sparseness,
}


@pytest.mark.parametrize("name", MAPS)
def test_a_map_without_evidence_has_no_value(name: str) -> None:
    for values in (np.zeros((6, 8), np.float32), np.full((6, 8), -1, np.float32)):
        assert math.isnan(MAPS[name](values))


@pytest.mark.parametrize("name", MAPS)
def test_the_scale_of_a_map_does_not_matter(name: str) -> None:
    values = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
    assert MAPS[name](values * 1000) == pytest.approx(MAPS[name](values), rel=1e-5)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(
    "values", [np.zeros((0, 3), np.float32), np.zeros(4, np.float32), np.float32([[np.nan, 1]])], ids=str
)
def test_what_is_not_a_map_is_refused(name: str, values: Float) -> None:
    whole = {"mask-iou": lambda values: mask_iou(values, np.ones(values.shape, bool))}
    with pytest.raises(ArgumentError, match=r"is not a map\. Pass finite numbers"):
        {**MAPS, **whole}[name](values)


def test_a_mask_of_another_size_is_refused() -> None:
    values, mask = single(1, 1), np.ones((8, 6), bool)
    for call in (
        lambda: pointing_game(values, box(0, 0, 2, 2), mask),
        lambda: energy(values, box(0, 0, 2, 2), mask),
        lambda: odi(values, mask, [mask]),
        lambda: mask_iou(values, mask),
    ):
        with pytest.raises(ArgumentError, match=r"mask= is of shape \[8, 6\] and the map of \[6, 8\]\. Pass a mask"):
            call()
