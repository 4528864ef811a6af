"""The peak of a map, and how much of it lies inside a box, from its cells: the map itself is never made.

Between the centres of two neighbouring cells a placed map changes evenly, along each axis (`placement`). So along a row
of pixels it is a chain of straight pieces, and the first and last pixel of each piece say all: the largest and the
smallest value stand at such ends, on both axes; and what is positive of a piece is an arithmetic series. Pixels are
counted as those of the map are, so peak and share are those of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from boxcam.explain.evidence import Evidence, Part
from boxcam.explain.placement import Float64, Ints, axes, multiply, pieces
from boxcam.types import Float

DENSE = 8
"""Pixels: a map whose cells are smaller is made; that takes less time than to sum up its pieces."""


@dataclass(frozen=True)
class Totals:
    """What is said of a map.

    Attributes:
        peak: the largest value.
        lowest: the smallest.
        inside: the share of the positive values that lies inside the box, 0..1; None if there is none.
    """

    peak: float
    lowest: float
    inside: float | None


def totals(evidence: Evidence, k: int) -> Totals:
    """Of the map of one box, as large as the image."""
    height, width = evidence.image.shape[:2]
    parts, box = evidence.parts[k], evidence.detections.boxes[k]
    alone = evidence.guides is None and not evidence.fused
    if not alone or any(min(part.grid.cell_height, part.grid.cell_width) < DENSE for part in parts):
        return totals_of(evidence.map(k), box)
    return _summed(parts, (height, width), box)


def totals_of(values: Float, box: Float) -> Totals:
    """Of a map that is there, float32 [H, W]."""
    return Totals(float(values.max()), float(values.min()), share_inside(values, box))


def share_inside(values: Float, box: Float) -> float | None:
    """The share of a map's positive energy that lies inside a box; None for a map without any.

    Args:
        values: float32 [H, W].
        box: x1 y1 x2 y2 in pixels of the map; every pixel that it touches counts.
    """
    positive = np.maximum(values, 0)
    total = float(positive.sum(dtype=np.float64))
    if total == 0:
        return None
    y1, y2, x1, x2 = box_pixels(box, values.shape)
    return round(float(positive[y1:y2, x1:x2].sum(dtype=np.float64)) / total, 6)


def box_pixels(box: Float, shape: Sequence[int]) -> tuple[int, int, int, int]:
    """The pixels that a box touches on a map of that shape: first row and one past the last, the same of columns."""
    x1, y1, x2, y2 = (
        int(np.clip(edge, 0, side))
        for edge, side in zip((*np.floor(box[:2]), *np.ceil(box[2:])), (shape[1], shape[0]) * 2, strict=True)
    )
    return y1, max(y2, y1), x1, max(x2, x1)


def _summed(parts: Sequence[Part], shape: tuple[int, int], box: Float) -> Totals:
    """Of the sum of placed maps whose cells are larger than pixels."""
    y1, y2, x1, x2 = box_pixels(box, shape)
    found = [pieces(part.grid, *shape) for part in parts]
    placed = [axes(part.cells, part.grid, *shape) for part in parts]
    tops, lefts = (
        np.unique(np.concatenate([(0, *edges, length), *(starts[axis] for starts in found)]).astype(np.int64))
        for axis, edges, length in ((0, (y1, y2), shape[0]), (1, (x1, x2), shape[1]))
    )
    tops, lefts = tops[tops <= shape[0]], lefts[lefts <= shape[1]]
    rows, columns = (np.concatenate([starts[:-1], starts[1:] - 1]) for starts in (tops, lefts))
    high, wide = np.diff(tops), np.diff(lefts)
    corners = _values(parts, placed, rows, columns)
    peak, lowest = np.float32(corners.max()), np.float32(corners.min())
    if lowest >= 0:
        ends = corners.reshape(2, len(high), 2, len(wide)).sum(axis=(0, 2))
        sums, first, last = ends * high[:, None] * wide / 4, np.searchsorted(tops, y1), np.searchsorted(tops, y2)
    else:
        start = min((of[0][0].start for of in placed), default=0)
        stop = max((of[0][0].stop for of in placed), default=0)
        ends = _values(parts, placed, np.arange(start, stop), columns)
        sums = _positive(ends[:, : len(wide)], ends[:, len(wide) :], wide)
        first, last = (np.clip(edge - start, 0, len(sums)) for edge in (y1, y2))
    total = float(sums.sum())
    within = float(sums[first:last, np.searchsorted(lefts, x1) : np.searchsorted(lefts, x2)].sum())
    return Totals(float(peak), float(lowest), round(within / total, 6) if total > 0 else None)


def _values(
    parts: Sequence[Part],
    placed: Sequence[tuple[tuple[slice, Float64], tuple[slice, Float64]]],
    rows: Ints,
    columns: Ints,
) -> Float64:
    """The map at some rows and columns of its pixels: float64 [rows, columns]."""
    result = np.zeros((len(rows), len(columns)), np.float64)
    for part, (y, x) in zip(parts, placed, strict=True):
        down, across = _taken(*y, rows), _taken(*x, columns)
        mine = np.empty_like(result)
        multiply(down, part.cells.values.astype(np.float64) @ across.T, out=mine)
        result += mine
    return result


def _taken(seen: slice, weights: Float64, pixels: Ints) -> Float64:
    """The weights of some pixels; zero where they see no cell."""
    result = np.zeros((len(pixels), weights.shape[1]), np.float64)
    inside = (pixels >= seen.start) & (pixels < seen.stop)
    result[inside] = weights[pixels[inside] - seen.start]
    return result


def _positive(first: Float64, last: Float64, count: Ints) -> Float64:
    """The sum of what is positive of ``count`` evenly spaced values."""
    high, low = np.maximum(first, last), np.minimum(first, last)
    steps = np.maximum(count - 1, 1)
    fall = (high - low) / steps
    with np.errstate(divide="ignore", invalid="ignore"):
        before = np.floor(np.where(fall > 0, high / fall, steps))  # how many steps to the last that is not below zero
    terms = np.where(high > 0, np.minimum(before, count - 1) + 1, 0)
    return np.asarray(terms * (high - fall * (terms - 1) / 2))
