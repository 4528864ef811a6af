"""Placed maps against positions worked out by hand, a slow independent reference, and OpenCV."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from boxcam.bundle import Preprocess
from boxcam.explain.placement import place
from boxcam.runtime.preprocess import Transform, fit
from boxcam.types import CellMap, Float, Grid


def cells(values: object, corner: tuple[int, int] = (0, 0)) -> CellMap:
    return CellMap(np.array(values, np.float32), corner)


def slowly(given: CellMap, grid: Grid, height: int, width: int) -> Float:
    """The definition, pixel by pixel, from a dictionary of cells; shares nothing with the code under test."""
    values = {
        (given.corner[0] + i, given.corner[1] + j): float(given.values[i, j])
        for i in range(given.values.shape[0])
        for j in range(given.values.shape[1])
    }

    def shares(pixel: int, start: float, cell: float, valid: tuple[int, int]) -> dict[int, float]:
        if cell >= 1:
            at = min(max((pixel + 0.5 - start) / cell - 0.5, valid[0]), valid[1] - 1)
            return {math.floor(at): 1 - at % 1, math.floor(at) + 1: at % 1}
        low, high = (pixel - start) / cell, (pixel + 1 - start) / cell
        if high <= valid[0]:
            return {valid[0]: 1}
        if low >= valid[1]:
            return {valid[1] - 1: 1}
        low, high = max(low, valid[0]), min(high, valid[1])
        overlap = {i: min(high, i + 1) - max(low, i) for i in range(math.floor(low), math.ceil(high))}
        return {i: part / (high - low) for i, part in overlap.items()}

    def inside(pixel: int, low: float, high: float, size: int) -> bool:
        if any(low <= other + 0.5 < high for other in range(size)):
            return low <= pixel + 0.5 < high
        if high <= 0 or low >= size:
            return False
        return pixel == min(max(math.floor((low + high) / 2), 0), size - 1)

    x1, y1, x2, y2 = grid.bounds or (0, 0, width, height)
    result = np.zeros((height, width), np.float64)
    for y in range(height):
        for x in range(width):
            if inside(y, y1, y2, height) and inside(x, x1, x2, width):
                for i, row in shares(y, grid.y, grid.cell_height, grid.rows).items():
                    for j, column in shares(x, grid.x, grid.cell_width, grid.columns).items():
                        result[y, x] += row * column * values.get((i, j), 0.0)
    return result.astype(np.float32)


def letterbox(size: tuple[int, int], pad_to: str = "top-left", canvas: tuple[int, int] = (64, 96)) -> Transform:
    spec = Preprocess(
        *canvas,
        *canvas,
        "fit",
        pad_to,
        (0, 0, 0),
        False,
        (0, 0, 0),
        (1, 1, 1),
        "BGR",  # type: ignore[arg-type]
    )
    return fit(*size, spec)


def test_one_lit_cell_worked_out_by_hand() -> None:
    # Cells of two pixels; cell (1, 1) covers pixels 2 and 3, its centre lies between them, at 3.0. The centre of
    # pixel 2, at 2.5, is a quarter of a cell away: 3/4. Of pixel 1, at 1.5, three quarters: 1/4.
    placed = place(cells([[1]], (1, 1)), Grid(0, 0, 2, 2, (0, 4), (0, 4)), 8, 8)
    profile = np.array([0, 1, 3, 3, 1, 0, 0, 0]) / 4
    assert placed.dtype == np.float32
    assert placed.tolist() == np.outer(profile, profile).tolist()


def test_clamped_at_the_last_valid_cell_not_at_the_last_cell() -> None:
    # Four cells of two pixels, the last two are padding: the lit cell 1 holds to the image's edge, the dark cell 0
    # ends it on the other side, and the burning padding is never seen.
    placed = place(cells([[0, 4, 1000, 1000]]), Grid(0, 0, 6, 2, (0, 1), (0, 2)), 6, 4)
    assert placed.tolist() == [[0, 1, 3, 4]] * 6


def test_what_the_values_do_not_cover_is_zero_and_what_overhangs_is_ignored() -> None:
    grid = Grid(0, 0, 1, 1, (0, 3), (0, 3))
    values = np.arange(1, 17).reshape(4, 4)
    assert place(cells(values, (-2, -3)), grid, 3, 3).tolist() == [[12, 0, 0], [16, 0, 0], [0, 0, 0]]
    assert place(cells(values, (2, 1)), grid, 3, 3).tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 2]]
    for corner in ((-4, 0), (3, 0), (0, -4), (0, 3), (-90, 90)):
        assert not place(cells(values, corner), grid, 3, 3).any()


def test_the_map_of_a_proposal_ends_at_the_proposal() -> None:
    grid = Grid(2, 1, 2, 3, (0, 2), (0, 2), bounds=(1, 2, 7, 6))
    placed = place(cells([[1, 1], [1, 1]]), grid, 8, 10)
    expected = np.zeros((8, 10))
    expected[2:6, 1:7] = 1
    assert placed.tolist() == expected.tolist()


def test_a_pixel_is_in_the_bounds_if_its_centre_is() -> None:
    grid = Grid(0, 0, 4, 4, (0, 2), (0, 2), bounds=(1.4, 1.6, 3.4, 3.6))
    placed = place(cells(np.ones((2, 2))), grid, 6, 6)
    assert np.argwhere(placed).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    # On the edge: in where the bounds begin, out where they end, so that bounds side by side share no pixel.
    tied = Grid(0, 0, 4, 4, (0, 2), (0, 2), bounds=(1.5, 0, 3.5, 1))
    assert np.argwhere(place(cells(np.ones((2, 2))), tied, 6, 6)).tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("bounds", "pixels"),
    [
        ((2.6, 3.6, 2.9, 3.9), [[3, 2]]),  # smaller than a pixel
        ((-5, -5, 0.2, 0.2), [[0, 0]]),
        ((5.8, 5.7, 9, 9), [[5, 5]]),
        ((-5, -5, 0, 3), []),  # outside
        ((6, 0, 8, 6), []),
    ],
)
def test_bounds_that_hold_no_pixels_centre(bounds: tuple[float, float, float, float], pixels: list[list[int]]) -> None:
    x1, y1, x2, y2 = bounds
    grid = Grid(y1, x1, (y2 - y1) / 7, (x2 - x1) / 7, (0, 7), (0, 7), bounds=bounds)
    placed = place(cells(np.full((7, 7), 5)), grid, 6, 6)
    assert np.argwhere(placed).tolist() == pixels
    assert set(placed[placed != 0].tolist()) <= {5.0}


def test_a_proposal_smaller_than_a_pixel_shows_the_average_of_its_cells() -> None:
    values = np.arange(49).reshape(7, 7)
    grid = Grid(3.6, 2.6, 0.3 / 7, 0.3 / 7, (0, 7), (0, 7), bounds=(2.6, 3.6, 2.9, 3.9))
    placed = place(cells(values), grid, 6, 6)
    assert placed[3, 2] == pytest.approx(values.mean())


SHAPES = [(64, 96), (480, 640), (333, 500), (1000, 200), (50, 700), (40, 30), (6000, 4000)]


@pytest.mark.parametrize("pad_to", ["top-left", "center"])
@pytest.mark.parametrize("size", SHAPES)
def test_a_bright_spot_comes_back_to_its_pixel(size: tuple[int, int], pad_to: str) -> None:
    height, width = size
    transform = letterbox(size, pad_to, canvas=(256, 256))
    # The cell that shows the pixel two thirds down and a third across.
    row = int((height * 2 / 3 * transform.scale_y + transform.top) // 4)
    column = int((width / 3 * transform.scale_x + transform.left) // 4)
    lit = np.zeros((64, 64), np.float32)
    lit[row, column] = 1
    placed = place(CellMap(lit, (0, 0)), transform.map_grid(64, 64, (4, 4)), height, width)
    # By hand: the centre of a cell of four canvas pixels, without the padding, in image pixels.
    y = ((row + 0.5) * 4 - transform.top) / transform.scale_y
    x = ((column + 0.5) * 4 - transform.left) / transform.scale_x
    peak = np.array(np.unravel_index(placed.argmax(), placed.shape)) + 0.5
    assert np.abs(peak - (y, x)).max() <= 0.5 + 1e-6
    ys, xs = np.arange(height) + 0.5, np.arange(width) + 0.5
    mass = placed.astype(np.float64)
    cell = 4 / transform.scale_y
    tolerance = 0.01 if cell >= 8 else 0.2 * cell if cell >= 1 else 0.5  # a cell within one pixel lights that pixel
    assert abs((mass.sum(axis=1) @ ys) / mass.sum() - y) <= tolerance
    assert abs((mass.sum(axis=0) @ xs) / mass.sum() - x) <= tolerance


@pytest.mark.parametrize("pad_to", ["top-left", "center"])
@pytest.mark.parametrize("size", [*SHAPES, (3, 3), (1, 1), (1, 500), (500, 1)])
def test_a_constant_map_stays_constant_up_to_the_edge(size: tuple[int, int], pad_to: str) -> None:
    transform = letterbox(size, pad_to, canvas=(250, 190))
    grid = transform.map_grid(63, 48, (4, 4))
    values = np.full((63, 48), 1e6, np.float32)  # in the padding: must not be seen
    values[grid.rows[0] : grid.rows[1], grid.columns[0] : grid.columns[1]] = 0.7
    placed = place(CellMap(values, (0, 0)), grid, *size)
    assert placed.shape == size
    assert np.abs(placed - 0.7).max() <= 1e-6


def test_pixels_wholly_in_the_padding_take_the_nearest_cell() -> None:
    # Half a pixel per cell; cells 2 and 3 are valid and fill pixel 1; pixel 0 ends and pixel 2 begins where they do.
    grid = Grid(0, 0, 1, 0.5, (0, 1), (2, 4))
    assert place(cells([[9, 9, 2, 4, 9, 9]]), grid, 1, 4).tolist() == [[2, 3, 4, 4]]


def test_a_pixel_that_shows_a_single_valid_cell_takes_that_one() -> None:
    # Half a pixel per cell; the image begins with cell 1, in the middle of pixel 0, and ends with cell 4, in that of 2.
    grid = Grid(0, 0, 1, 0.5, (0, 1), (1, 5))
    assert place(cells([[9, 1, 2, 4, 7, 9]]), grid, 1, 3).tolist() == [[1, 3, 7]]


def test_a_tiny_image_loses_nothing() -> None:
    # 3 x 3 pixels shown by 6 x 6 cells each: a pixel is the average of its cells.
    transform = letterbox((3, 3), canvas=(72, 72))
    values = np.random.default_rng(0).random((18, 18), np.float32)
    placed = place(CellMap(values, (0, 0)), transform.map_grid(18, 18, (4, 4)), 3, 3)
    assert placed == pytest.approx(values.reshape(3, 6, 3, 6).mean(axis=(1, 3)), abs=1e-6)
    one = place(CellMap(values, (0, 0)), letterbox((1, 1), canvas=(72, 72)).map_grid(18, 18, (4, 4)), 1, 1)
    assert one.item() == pytest.approx(values.mean(), abs=1e-6)


@pytest.mark.parametrize("factor", [(2, 2), (3, 5), (8, 8), (32, 16), (1, 1)])
def test_without_padding_and_by_whole_factors_it_is_opencvs_bilinear(factor: tuple[int, int]) -> None:
    values = np.random.default_rng(1).normal(size=(13, 9)).astype(np.float32)
    height, width = 13 * factor[0], 9 * factor[1]
    placed = place(CellMap(values, (0, 0)), Grid(0, 0, *factor, (0, 13), (0, 9)), height, width)
    expected = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    assert np.abs(placed - expected).max() <= 1e-5


@pytest.mark.parametrize("factor", [2, 3, 7])
def test_smaller_by_whole_factors_it_is_opencvs_area(factor: int) -> None:
    values = np.random.default_rng(2).normal(size=(6 * factor, 5 * factor)).astype(np.float32)
    grid = Grid(0, 0, 1 / factor, 1 / factor, (0, 6 * factor), (0, 5 * factor))
    expected = cv2.resize(values, (5, 6), interpolation=cv2.INTER_AREA)
    assert np.abs(place(CellMap(values, (0, 0)), grid, 6, 5) - expected).max() <= 1e-5


def test_a_patch_is_the_map_that_is_zero_outside_it() -> None:
    patch = np.random.default_rng(3).normal(size=(11, 11)).astype(np.float32)
    whole = np.zeros((94, 125), np.float32)
    whole[40:51, 60:71] = patch
    grid = Grid(-3.3, 0.7, 32, 31.5, (0, 94), (0, 125))
    placed = place(CellMap(patch, (40, 60)), grid, 3000, 4000)
    assert (placed == place(CellMap(whole, (0, 0)), grid, 3000, 4000)).all()
    assert placed.any()
    # A cell beyond the patch on each side is zero, so its support ends a cell's width outside.
    lit = np.argwhere(placed != 0)
    assert lit.min(axis=0) == pytest.approx((-3.3 + 39.5 * 32, 0.7 + 59.5 * 31.5), abs=1)
    assert lit.max(axis=0) == pytest.approx((-3.3 + 51.5 * 32, 0.7 + 71.5 * 31.5), abs=1)


lengths = st.floats(0.05, 9)
offsets = st.floats(-12, 6)


@st.composite
def situations(draw: st.DrawFn) -> tuple[CellMap, Grid, int, int]:
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    numbers = draw(st.lists(st.floats(-10, 10, width=32), min_size=math.prod(shape), max_size=math.prod(shape)))
    valid = [sorted(draw(st.lists(st.integers(0, 9), min_size=2, max_size=2, unique=True))) for _ in "yx"]
    bounds = None
    if draw(st.booleans()):
        (x1, x2), (y1, y2) = (sorted(draw(st.lists(offsets, min_size=2, max_size=2, unique=True))) for _ in "xy")
        bounds = (x1, y1, x2, y2)
    grid = Grid(
        y=draw(offsets),
        x=draw(offsets),
        cell_height=draw(lengths),
        cell_width=draw(lengths),
        rows=(valid[0][0], valid[0][1]),
        columns=(valid[1][0], valid[1][1]),
        bounds=bounds,
    )
    corner = draw(st.tuples(st.integers(-5, 9), st.integers(-5, 9)))
    values = np.array(numbers, np.float32).reshape(shape)
    return CellMap(values, corner), grid, draw(st.integers(1, 12)), draw(st.integers(1, 12))


@settings(max_examples=300, deadline=None)
@given(situations())
def test_it_is_the_slow_reference(situation: tuple[CellMap, Grid, int, int]) -> None:
    placed = place(*situation)
    assert placed.dtype == np.float32
    assert placed == pytest.approx(slowly(*situation), abs=1e-4)


@settings(max_examples=200, deadline=None)
@given(situations())
def test_it_is_linear_and_never_exceeds_its_values(situation: tuple[CellMap, Grid, int, int]) -> None:
    given_cells, grid, height, width = situation
    placed = place(given_cells, grid, height, width)
    assert placed.max() <= max(given_cells.values.max(), 0) + 1e-5
    assert placed.min() >= min(given_cells.values.min(), 0) - 1e-5
    doubled = place(CellMap(given_cells.values * 2, given_cells.corner), grid, height, width)
    assert (doubled == placed * 2).all()


@settings(max_examples=100, deadline=None)
@given(situations())
def test_flipping_the_cells_flips_the_picture(situation: tuple[CellMap, Grid, int, int]) -> None:
    given_cells, grid, height, width = situation
    grid = Grid(grid.y, grid.x, grid.cell_height, grid.cell_width, grid.rows, grid.columns)
    count = 9
    flipped_cells = CellMap(
        np.ascontiguousarray(given_cells.values[:, ::-1]),
        (given_cells.corner[0], count - given_cells.corner[1] - given_cells.values.shape[1]),
    )
    flipped_grid = Grid(
        grid.y,
        width - grid.x - count * grid.cell_width,
        grid.cell_height,
        grid.cell_width,
        grid.rows,
        (count - grid.columns[1], count - grid.columns[0]),
    )
    expected = place(given_cells, grid, height, width)[:, ::-1]
    assert place(flipped_cells, flipped_grid, height, width) == pytest.approx(expected, abs=1e-4)
