"""Where a map of cells lies on the image: the one place where maps are resized.

Both axes are independent, so a placed map is ``Wy @ values @ Wx.T``: ``Wy`` [height, rows of values] says how much of
each row of cells a row of pixels sees, ``Wx`` the same for columns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.types import CellMap, Corners, Float, Grid

Float64 = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
BLOCK = 32


def place(cells: CellMap, grid: Grid, height: int, width: int) -> Float:
    """Put a map of cells onto the image.

    Per axis, a pixel no larger than a cell takes the map at its own centre, bilinear between the centres of cells; a
    larger one takes the average of the cells it covers, so that nothing falls between two pixels. Only cells that show
    the image take part: beyond the centre of the first and the last of them their value holds up to the image's edge,
    so padding never bleeds in. Cells that ``cells`` does not cover count as zero.

    Args:
        cells: the map, in cells; it may overhang the feature map.
        grid: where the cells lie on the image.
        height, width: of the image.

    Returns:
        float32 [height, width]: zero outside ``grid.bounds``, a pixel being inside if its centre is.
    """
    (y, down), (x, across) = axes(cells, grid, height, width)
    rows = len(cells.values)
    placed = np.zeros((height, width), np.float32)
    sideways = np.empty((len(across), rows), np.float64)
    multiply(across, cells.values.T.astype(np.float64), out=sideways)
    multiply(down, sideways.T, out=placed[y, x])
    return placed


def axes(cells: CellMap, grid: Grid, height: int, width: int) -> tuple[tuple[slice, Float64], tuple[slice, Float64]]:
    """Of rows and of columns: the pixels that see any of the cells, and how much of each, float64 [pixels, cells]."""
    (rows, columns), ((y1, y2), (x1, x2)) = cells.values.shape, _bounds(grid, height, width)
    return (
        _axis(height, grid.y, grid.cell_height, grid.rows, cells.corner[0], rows, (y1, y2)),
        _axis(width, grid.x, grid.cell_width, grid.columns, cells.corner[1], columns, (x1, x2)),
    )


def pieces(grid: Grid, height: int, width: int) -> tuple[Ints, Ints]:
    """Rows and columns at which a piece begins along which a placed map changes evenly; cells of a pixel or more."""
    starts = []
    for size, start, cell, valid, bounds in zip(
        (height, width),
        (grid.y, grid.x),
        (grid.cell_height, grid.cell_width),
        (grid.rows, grid.columns),
        _bounds(grid, height, width),
        strict=True,
    ):
        place = (np.arange(size) + 0.5 - start) / cell - 0.5
        between = np.floor(place) + (place > valid[0]) + (place >= valid[1] - 1)  # it holds before and after these
        changes = np.flatnonzero(np.diff(between)) + 1
        starts.append(np.unique(np.concatenate([changes, _pixels_inside(bounds, size)])))
    return starts[0], starts[1]


def _bounds(grid: Grid, height: int, width: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Of rows and of columns: where a map may be other than zero, in pixels."""
    x1, y1, x2, y2 = grid.bounds or (0.0, 0.0, float(width), float(height))
    return (y1, y2), (x1, x2)


def seen_by(grid: Grid, view: Corners, height: int, width: int) -> Grid:
    """Where the cells lie on a picture of ``height`` by ``width`` pixels that shows a part of the image.

    Args:
        grid: where they lie on the image.
        view: the part, x1 y1 x2 y2 in image pixels.
        height, width: of the picture.
    """
    x1, y1, x2, y2 = view
    down, across = height / (y2 - y1), width / (x2 - x1)
    bounds = grid.bounds
    if bounds is not None:
        bounds = (
            (bounds[0] - x1) * across,
            (bounds[1] - y1) * down,
            (bounds[2] - x1) * across,
            (bounds[3] - y1) * down,
        )
    return Grid(
        (grid.y - y1) * down,
        (grid.x - x1) * across,
        grid.cell_height * down,
        grid.cell_width * across,
        grid.rows,
        grid.columns,
        bounds,
    )


def multiply(axis: Float64, values: Float64, out: npt.NDArray[Any]) -> None:
    """``out[:] = axis @ values`` in blocks of rows: each sees few cells, and the rest of the product is zeros.

    So small a block is also a product that no BLAS hands to several threads: waking them takes longer.
    """
    for start in range(0, len(axis), BLOCK):
        weights = axis[start : start + BLOCK]
        seen = np.flatnonzero(weights.any(axis=0))
        band = slice(seen[0], seen[-1] + 1) if len(seen) else slice(0, 0)
        out[start : start + BLOCK] = weights[:, band] @ values[band]


def _axis(
    size: int,
    start: float,
    cell: float,
    valid: tuple[int, int],
    corner: int,
    count: int,
    bounds: tuple[float, float],
) -> tuple[slice, Float64]:
    """One axis: the pixels that see any of the values, and how much of each.

    Args:
        size: of the image, in pixels.
        start, cell: where cell 0 begins and how large a cell is, in pixels.
        valid: first and one past the last cell that shows the image.
        corner, count: the first cell that has a value, and how many have.
        bounds: in pixels, outside of which there is nothing.

    Returns:
        A slice of pixels, and the weights, float64 [pixels, count].
    """
    first, last = _pixels_inside(bounds, size)
    edges = (np.arange(first, last + 1, dtype=np.float64) - start) / cell
    low, high = edges[:-1], edges[1:]
    weights = _average(low, high, valid, corner, count) if cell < 1 else _sample(low, high, valid, corner, count)
    seen = np.flatnonzero(weights.any(axis=1))
    if not len(seen):
        return slice(0, 0), weights[:0]
    return slice(first + int(seen[0]), first + int(seen[-1]) + 1), weights[seen[0] : seen[-1] + 1]


def _pixels_inside(bounds: tuple[float, float], size: int) -> tuple[int, int]:
    """First and one past the last pixel whose centre is inside; if there is none, the one in the middle."""
    low, high = bounds
    if high <= 0 or low >= size:
        return 0, 0
    first, last = (int(np.clip(np.ceil(edge - 0.5), 0, size)) for edge in bounds)
    if first < last:
        return first, last
    middle = int(np.clip(np.floor((low + high) / 2), 0, size - 1))
    return middle, middle + 1


def _sample(low: Float64, high: Float64, valid: tuple[int, int], corner: int, count: int) -> Float64:
    """Weights for reading the map at the pixels' centres; ``low`` and ``high`` are their edges, in cells."""
    place = np.clip((low + high) / 2 - 0.5, valid[0], valid[1] - 1)
    left = np.floor(place).astype(np.int64)
    share = place - left
    weights = np.zeros((len(place), count), np.float64)
    for cell, part in ((left, 1 - share), (left + 1, share)):
        pixel = np.flatnonzero((cell >= corner) & (cell < corner + count))
        weights[pixel, cell[pixel] - corner] += part[pixel]
    return weights


def _average(low: Float64, high: Float64, valid: tuple[int, int], corner: int, count: int) -> Float64:
    """Weights for averaging the map over the pixels; ``low`` and ``high`` are their edges, in cells.

    A pixel that sticks out of the valid cells averages over the part that does not; one that lies wholly outside
    takes the nearest valid cell.
    """
    cell = corner + np.arange(count)
    inner_low, inner_high = np.maximum(low, valid[0]), np.minimum(high, valid[1])
    extent = inner_high - inner_low
    overlap = np.minimum(inner_high[:, None], cell + 1) - np.maximum(inner_low[:, None], cell)
    share: npt.NDArray[Any] = np.maximum(overlap, 0) / np.where(extent > 0, extent, 1)[:, None]
    nearest = np.where(high <= valid[0], valid[0], valid[1] - 1)[:, None] == cell
    return np.where((extent > 0)[:, None], share, nearest & (cell >= valid[0]) & (cell < valid[1])).astype(np.float64)
