"""Where the numbers of boxes are written: next to each box, where they cover the least of any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Rectangle = tuple[int, int, int, int]
"""x1 y1 x2 y2, the last ones exclusive."""


def place_tags(boxes: Sequence[Rectangle], sizes: Sequence[tuple[int, int]], page: tuple[int, int]) -> list[Rectangle]:
    """A place for each box's tag.

    A tag stands above its box, or else below it, or at one of its sides; inside only where there is no room. Of these
    the place is taken that covers the smallest shares of boxes and of tags that are placed already.

    Args:
        boxes: on the picture, the first ones the most important.
        sizes: width and height of each tag.
        page: height and width of the picture; tags are inside of it.
    """
    taken = np.array(boxes, np.float64).reshape(-1, 4)
    placed: list[Rectangle] = []
    for box, size in zip(boxes, sizes, strict=True):
        places = [_kept(place, page) for place in _around(box, size)]
        cost = [_covered(place, taken) + 2 * _covered(place, np.array(placed).reshape(-1, 4)) for place in places]
        placed.append(places[int(np.argmin(np.round(cost, 3)))])
    return placed


def _around(box: Rectangle, size: tuple[int, int]) -> list[Rectangle]:
    """Places for a tag, the preferred one first."""
    (x1, y1, x2, y2), (width, height) = box, size
    corners = (
        *((x1, y1 - height), (x2 - width, y1 - height), (x1, y2), (x2 - width, y2)),
        *((x2, y1), (x1 - width, y1), (x2, y2 - height), (x1 - width, y2 - height), (x1, y1)),
    )
    return [(x, y, x + width, y + height) for x, y in corners]


def _kept(place: Rectangle, page: tuple[int, int]) -> Rectangle:
    """The place, moved into the page."""
    x1, y1, x2, y2 = place
    x, y = max(min(x1, page[1] - (x2 - x1)), 0), max(min(y1, page[0] - (y2 - y1)), 0)
    return x, y, x + x2 - x1, y + y2 - y1


def _covered(place: Rectangle, others: npt.NDArray[np.float64]) -> float:
    """The sum of the shares of rectangles that lie under one of them."""
    low, high = np.maximum(others[:, :2], place[:2]), np.minimum(others[:, 2:], place[2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    areas = np.prod(np.maximum(others[:, 2:] - others[:, :2], 1), axis=1)
    return float((shared / areas).sum())
