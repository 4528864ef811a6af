"""Peak and share inside from cells alone: they are those of the map, made as large as the image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcam.explain.evidence import Evidence, Part
from boxcam.explain.totals import Totals, box_pixels, totals, totals_of
from boxcam.types import CellMap, Grid
from tests.explain.made import LEFT
from tests.explain.parts import parts_of, with_parts


@pytest.fixture(autouse=True, scope="module")
def small_cells() -> Iterator[None]:
    """From which size of cells on a map is summed up and not made is a matter of time; so it is summed up here."""
    with mock.patch("boxcam.explain.totals.DENSE", 3):
        yield


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_they_are_those_of_the_map(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(40, 400)), int(rng.integers(40, 400))
    x1, x2 = np.sort(rng.uniform(-10, shape[1] + 10, 2))
    y1, y2 = np.sort(rng.uniform(-10, shape[0] + 10, 2))
    found = with_parts(parts_of(rng, shape), shape, (x1, y1, x2, y2))
    exact = totals_of(found.map(0), found.detections.boxes[0])
    with mock.patch.object(Evidence, "map", side_effect=AssertionError("the map is made")):
        summed = totals(found, 0)
    assert (summed.peak, summed.lowest) == pytest.approx((exact.peak, exact.lowest), rel=1e-5, abs=1e-6)
    assert (summed.inside is None) == (exact.inside is None)
    if exact.inside is not None:
        assert summed.inside == pytest.approx(exact.inside, abs=3e-6)


def test_by_hand() -> None:
    """Cells of 4 pixels with 1 and -1: between their centres 0.75, 0.25, -0.25, -0.75; two more pixels at each end."""
    cells = CellMap(np.array([[1, -1]], np.float32), (0, 0))
    found = with_parts((Part("p3", cells, Grid(0, 0, 4, 4, (0, 1), (0, 2))),), (4, 8), (0, 0, 3, 2))
    # Of a row, 1 + 1 + 0.75 + 0.25 = 3 are positive, in the box 1 + 1 + 0.75; it has two of the four rows.
    assert totals(found, 0) == Totals(1.0, -1.0, round(2.75 * 2 / 12, 6))


def test_maps_that_are_no_sum_of_coarse_cells_are_made() -> None:
    coarse, fine = (
        Part("p3", CellMap(np.array(LEFT, np.float32), (0, 0)), Grid(0, 0, size, size, (0, 2), (0, 4)))
        for size in (4, 2.9)
    )
    given = with_parts((coarse,), (8, 16), (0, 0, 4, 4))
    for found, made in (
        (given, False),
        (with_parts((coarse, fine), (8, 16), (0, 0, 4, 4)), True),
        (dataclasses.replace(given, guides=((coarse,),)), True),
        (dataclasses.replace(given, fused=(((coarse,),),)), True),
    ):
        with mock.patch.object(Evidence, "map", autospec=True, side_effect=Evidence.map) as asked:
            said = totals(found, 0)
        assert asked.called == made
        assert said == totals_of(found.map(0), found.detections.boxes[0])


def test_a_box_without_a_part_has_an_empty_map() -> None:
    assert totals(with_parts((), (40, 50), (0, 0, 4, 4)), 0) == Totals(0.0, 0.0, None)


@pytest.mark.parametrize(
    ("box", "pixels"),
    [
        ((1.5, 2.2, 3, 4.1), (2, 5, 1, 3)),
        ((-7, -3, 2, 2), (0, 2, 0, 2)),
        ((5, 5, 90, 90), (5, 10, 5, 20)),
        ((30, 30, 40, 40), (10, 10, 20, 20)),
        ((-9, -9, -4, -4), (0, 0, 0, 0)),
    ],
)
def test_the_pixels_that_a_box_touches(box: tuple[float, ...], pixels: tuple[int, ...]) -> None:
    assert box_pixels(np.array(box, np.float32), (10, 20)) == pixels
