"""Maps over regions: Gaussian windows of the box's size, against SciPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from boxcam.explain.evidence import Part
from boxcam.explain.regions import over_regions
from boxcam.types import CellMap, Grid

ROWS, COLUMNS = 30, 40
BOX = np.array([4.0, 2.0, 44.0, 22.0])  # 40 wide, 20 high


def part(values: Any, corner: tuple[int, int] = (0, 0), cell: float = 1.0) -> Part:
    grid = Grid(0.0, 0.0, cell, cell, (0, ROWS), (0, COLUMNS))
    return Part("t", CellMap(np.asarray(values, np.float32), corner), grid)


def whole(of: Part) -> Any:
    """The map on all cells of the image: [ROWS, COLUMNS]."""
    found = np.zeros((ROWS, COLUMNS))
    (top, left), (height, width) = of.cells.corner, of.cells.values.shape
    assert top >= 0
    assert left >= 0
    found[top : top + height, left : left + width] = of.cells.values
    return found


@pytest.mark.parametrize("cell", [1.0, 0.5, 2.0])
def test_a_whole_map_is_what_scipy_makes_of_it(cell: float) -> None:
    values = np.random.default_rng(0).normal(size=(ROWS, COLUMNS))
    found = over_regions(part(values, cell=cell), BOX, 0.1)
    expected = gaussian_filter(values.astype(np.float32).astype(np.float64), (2 / cell, 4 / cell), mode="reflect")
    assert whole(found) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("corner", [(10, 15), (0, 0), (25, 33), (12, 0)])
def test_a_patch_is_summed_as_if_it_were_the_whole_map(corner: tuple[int, int]) -> None:
    values = np.random.default_rng(1).normal(size=(5, 7))
    found = over_regions(part(values, corner), BOX, 0.1)
    around = np.zeros((ROWS, COLUMNS))
    around[corner[0] : corner[0] + 5, corner[1] : corner[1] + 7] = values.astype(np.float32)
    assert whole(found) == pytest.approx(gaussian_filter(around, (2, 4), mode="reflect"), abs=1e-6)
    assert found.cells.values.sum(dtype=np.float64) == pytest.approx(around.sum(), abs=1e-5)


def test_what_is_alike_everywhere_stays_so() -> None:
    found = over_regions(part(np.full((ROWS, COLUMNS), 3.0)), BOX, 0.2)
    assert found.cells.values == pytest.approx(np.full((ROWS, COLUMNS), 3.0), rel=1e-6)


def test_pixels_for_and_against_cancel_each_other_and_a_region_for_stays() -> None:
    values = np.indices((ROWS, COLUMNS)).sum(0) % 2 * 2.0 - 1.0  # a chessboard of 1 and -1
    values[10:20, 10:20] += 0.5
    found = whole(over_regions(part(values), BOX, 0.1))
    assert np.unravel_index(found.argmax(), found.shape) in {(y, x) for y in (14, 15) for x in (14, 15)}
    assert np.abs(found[:3, 35:]).max() < 0.1 * found.max()


@pytest.mark.parametrize(
    ("values", "box", "share"),
    [
        (np.ones((2, 3)), BOX, 0.0),
        (np.ones((2, 3)), BOX, 0.004),  # much less than a cell
        (np.ones((2, 3)), np.array([5.0, 5.0, 5.0, 5.0]), 0.15),  # a box without a size
        (np.ones((2, 3)), np.array([9.0, 9.0, 5.0, 5.0]), 0.15),  # inverted
        (np.zeros((0, 3)), BOX, 0.15),
    ],
)
def test_a_region_of_one_cell_changes_nothing(values: Any, box: Any, share: float) -> None:
    found = over_regions(part(values, (3, 4)), box, share)
    assert found.cells.corner == (3, 4)
    assert np.array_equal(found.cells.values, values)


def test_cells_of_padding_keep_what_they_have() -> None:
    values = np.zeros((3, 3))
    values[0, 0] = 1.0  # above and left of the image's first cell
    found = over_regions(part(values, (-1, -1)), BOX, 0.1)
    assert found.cells.corner == (-1, -1)
    assert found.cells.values.sum(dtype=np.float64) == pytest.approx(1.0, abs=1e-6)
