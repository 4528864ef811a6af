"""The place that was asked about, on pictures: a dashed outline, which no box has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boxcam.explain.render import outline, placed_in
from boxcam.types import Corners, Image, View

WHITE = (255, 255, 255)
DASH, PERIOD = 4 / 7, 14
"""The share of a period that is drawn; and its pixels, fewer where a side has no room for three."""


def hull(box: Corners, place: Corners | None) -> Corners:
    """The smallest box around a box and the place that was asked about, if any; in image pixels."""
    if place is None:
        return box
    return min(box[0], place[0]), min(box[1], place[1]), max(box[2], place[2]), max(box[3], place[3])


def mark(picture: Image, place: Corners | None, view: View) -> None:
    """Draw the place that was asked about, if any, on a picture of a part of the image.

    Args:
        picture: uint8 [H, W, 3], BGR; it is drawn on.
        place: x1 y1 x2 y2 in image pixels.
        view: the part.
    """
    if place is not None:
        dashed(picture, placed_in(view, place, picture))


def dashed(picture: Image, box: tuple[int, int, int, int]) -> None:
    """White dashes between thin dark lines; between two of them the picture is as it was, or what is drawn there.

    Args:
        picture: uint8 [H, W, 3], BGR; it is drawn on.
        box: its outermost pixels, see `boxcam.explain.render.place_box`.
    """
    x1, y1, x2, y2 = box
    solid = picture.copy()
    outline(solid, box, WHITE)
    rows, columns = np.arange(picture.shape[0]), np.arange(picture.shape[1])
    upper_or_lower = (np.abs(rows - y1) < 3) | (np.abs(rows - y2) < 3)
    drawn = np.where(upper_or_lower[:, None], _dashes(columns, x1, x2)[None], _dashes(rows, y1, y2)[:, None])
    picture[drawn] = solid[drawn]


def _dashes(pixels: npt.NDArray[np.int_], start: int, end: int) -> npt.NDArray[np.bool_]:
    """Which of some pixels are in a dash, along a side from its start to its end."""
    period = max(min(PERIOD, (end - start) // 3), 2)
    return np.asarray(np.clip(pixels - start, 0, None) % period < period * DASH)
