"""One box of a sheet, at the sizes at which the sheet shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.explain.render import PERCENTILE, brightest, heatmap, scaled
from boxcam.types import Float, Image

Corners = tuple[float, float, float, float]
"""x1 y1 x2 y2."""
View = tuple[int, int, int, int]
"""Columns and rows of the image that are shown: x1 y1 x2 y2, the last ones exclusive."""

THINNEST = 16
"""Pixels: a picture that is thinner is widened, so that it can be seen at all."""
CONTEXT = 3.0
"""A close-up is as many times as large as its box, on the side that is the longer one of the image's."""
LARGEST = 0.5
"""Share of the image's sides above which a close-up would show little more than the image does."""
SMALLEST = 32
"""Pixels of the image that the longer side of a close-up has at least."""


@dataclass(frozen=True, eq=False)
class CloseUp:
    """The surroundings of a small box.

    Attributes:
        view: the part of the image; it has the image's ratio.
        heat: float32 [h, w], 0..1, the heatmap there, as large as the picture in the panel.
    """

    view: View
    heat: Float


@dataclass(frozen=True, eq=False)
class Panel:
    """One box and its map, as a sheet shows it: small, so that a sheet of many boxes takes little memory.

    Attributes:
        box: x1 y1 x2 y2 in image pixels.
        label: class index; it chooses the colour.
        name: class name.
        score: as the model reports it.
        peak: the largest value of the raw map.
        heat: float32 [h, w], 0..1, as large as the picture in the panel; see `panel_heat`.
        close_up: what is shown next to it, if the box is small.
        inside: the share of the map's positive values that lies inside the box; None if that says nothing.
        depends: whether the box depends on the layer at all.
    """

    box: Corners
    label: int
    name: str
    score: float
    peak: float
    heat: Float
    close_up: CloseUp | None = None
    inside: float | None = None
    depends: bool = True

    @property
    def columns(self) -> int:
        """How many pictures it has, next to each other."""
        return 1 if self.close_up is None else 2


def panel_heat(map: Float, boxes: int, pixels: bool = False) -> Float:
    """A map's heatmap at the size at which a sheet of so many boxes shows it.

    Args:
        map: float32 [H, W], raw, as large as the image.
        boxes: how many the sheet has.
        pixels: whether it is a map of single pixels, of which a few are far hotter than the rest: then it is scaled to
            `PERCENTILE` of those that are lit, at the size that is shown.
    """
    height, width = picture_size(map.shape, boxes)
    heat = heatmap(map)
    larger = height * width >= heat.size
    method = cv2.INTER_NEAREST if larger else cv2.INTER_AREA
    shown = np.clip(np.asarray(cv2.resize(heat, (width, height), interpolation=method), np.float32), 0, 1)
    return heatmap(shown, PERCENTILE) if pixels else shown


def close_up(map: Float, box: Corners, boxes: int, pixels: bool = False) -> CloseUp | None:
    """The surroundings of a small box, at the same size; None for a box that can be seen without.

    Args:
        map: float32 [H, W], raw; colours are those of the whole map, so that a peak elsewhere leaves this part cold.
        box: in image pixels.
        boxes, pixels: as for `panel_heat`.
    """
    view = _surroundings(box, map.shape)
    if view is None:
        return None
    x1, y1, x2, y2 = view
    heat = scaled(map[y1:y2, x1:x2], brightest(map, PERCENTILE if pixels else 100))
    shown = enlarged(heat, picture_size(map.shape, boxes))
    return CloseUp(view, np.clip(np.asarray(shown, np.float32), 0, 1))


def enlarged(picture: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """A part of a picture, made as large as ``size``, height and width."""
    part = np.ascontiguousarray(picture)
    smaller = size[0] * size[1] < part.shape[0] * part.shape[1]
    return np.asarray(cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def _surroundings(box: Corners, shape: Sequence[int]) -> View | None:
    """The part of an image around a box, inside of the image and with its ratio."""
    sides = shape[1], shape[0]
    kept = [min(max(value, 0.0), float(sides[k % 2])) for k, value in enumerate(box)]
    share = CONTEXT * max((kept[2 + k] - kept[k]) / sides[k] for k in range(2))
    share = max(share, SMALLEST / max(sides))
    if share > LARGEST:
        return None
    extents = [max(round(share * side), 1) for side in sides]
    starts = [min(max(round((kept[k] + kept[2 + k] - extents[k]) / 2), 0), sides[k] - extents[k]) for k in range(2)]
    return starts[0], starts[1], starts[0] + extents[0], starts[1] + extents[1]


def picture_size(shape: Sequence[int], boxes: int) -> tuple[int, int]:
    """Height and width of the picture in a panel.

    Args:
        shape: of the image.
        boxes: how many the sheet has: the more, the smaller.
    """
    small, (down, across) = _sizes(shape, *fit(shape, boxes))
    return small[0] * down, small[1] * across


def fit(shape: Sequence[int], boxes: int) -> tuple[float, tuple[int, int]]:
    """Scale and limit of the picture in a panel; a very long one may be twice as long, so that something can be seen.

    Args:
        shape: of the image.
        boxes: how many the sheet has: the more, the smaller.
    """
    side = 480 if boxes < 12 else 380 if boxes < 30 else 300
    long, short = max(shape[:2]), min(shape[:2])
    length = max(side, min(2 * side, long / short * side / 5))
    return length / long, (2 * side, 2 * side)


def resize(image: Image, scale: float, limit: tuple[int, int]) -> Image:
    """The image enlarged by a whole factor or made smaller, at least `THINNEST` and at most ``limit`` on each axis."""
    size, (down, across) = _sizes(image.shape, scale, limit)
    small = image
    if size != image.shape[:2]:
        small = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return small.repeat(down, axis=0).repeat(across, axis=1)


def _sizes(shape: Sequence[int], scale: float, limit: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width after making smaller, and the whole factors of enlarging by then; see `resize`."""
    if scale >= 1:
        height, width = shape[:2]
    else:
        height, width = (
            min(max(round(length * scale), 1), most) for length, most in zip(shape[:2], limit, strict=True)
        )
    down, across = (
        max(min(max(int(scale), math.ceil(THINNEST / length)), most // length), 1)
        for length, most in zip((height, width), limit, strict=True)
    )
    return (height, width), (down, across)
