"""One box of a sheet, at the size at which the sheet shows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.explain.render import scaled
from boxcam.types import Corners, Float, Image, View

THINNEST = 16
"""Pixels: a picture that is thinner is widened, so that it can be seen at all."""
CONTEXT = 3.0
"""A close-up is as many times as large as its box, on the side that is the longer one of the image's."""
LARGEST = 0.5
"""Share of the image's sides above which a close-up would show little more than the image does."""
SEEN = 48
"""Pixels of a picture: a box whose longer side has fewer there has a close-up all the same, as in a very wide image."""
TIGHT, HELPS = 1.5, 0.75
"""Such a close-up shows half of the image, or so many times the box, up to this share of the image."""
SMALLEST = 32
"""Pixels of the image that the longer side of a close-up has at least."""
LOCATOR = 0.3
"""Share of a picture's sides that the small picture of the whole image has, on a close-up."""


@dataclass(frozen=True, eq=False)
class Shown:
    """A map as a picture shows it.

    Attributes:
        values: float32 [h, w], raw, as large as the picture.
        top: the value that has the strongest colour if the map has a scale of its own; 0 if nothing is drawn.
    """

    values: Float
    top: float

    def heat(self, signed: bool = False) -> Float:
        """float32 [h, w], 0..1; -1..1 if negative values are drawn, too."""
        return scaled(self.values, self.top, signed)


@dataclass(frozen=True, eq=False)
class CloseUp:
    """What is shown of a small box.

    Attributes:
        view: the surroundings of the box, which the picture shows; they have the image's ratio.
        whole: the map of the whole image, as large as the small picture that shows where they are.
    """

    view: View
    whole: Shown


@dataclass(frozen=True, eq=False)
class Panel:
    """One box and its map, as a sheet shows it: small, so that a sheet of many boxes takes little memory.

    Attributes:
        box: x1 y1 x2 y2 in image pixels.
        label: class index; it chooses the colour.
        name: class name.
        score: as the model reports it.
        peak: the largest value of the raw map.
        shown: the map, as large as the picture: of the whole image, or of the close-up.
        close_up: what the picture shows if the box is small; None for the whole image.
        inside: the share of the map's positive values that lies inside the box; None if that says nothing.
        depends: whether the box depends on the layer at all.
        against: how much the strongest negative value speaks against the box; None if these are not drawn.
        rounding: whether the map is nothing but rounding errors; then nothing of it is drawn.
        rival: name of the class that its own is contrasted with; empty without contrast.
        place: what was asked about, x1 y1 x2 y2 in image pixels; None for the boxes that were reported.
    """

    box: Corners
    label: int
    name: str
    score: float
    peak: float
    shown: Shown
    close_up: CloseUp | None = None
    inside: float | None = None
    depends: bool = True
    against: float | None = None
    rounding: bool = False
    rival: str = ""
    place: Corners | None = None

    @property
    def lit(self) -> bool:
        """Whether anything of its map is drawn."""
        return not self.rounding and (self.peak > 0 or bool(self.against))


def surroundings(box: Corners, shape: Sequence[int], size: Sequence[int]) -> View | None:
    """The part of an image around a small box, inside of the image and with its ratio.

    None for a box that can be seen without a close-up.

    Args:
        box: in image pixels.
        shape: of the image.
        size: height and width of the picture that it is for.
    """
    sides = shape[1], shape[0]
    kept = [min(max(value, 0.0), float(sides[k % 2])) for k, value in enumerate(box)]
    parts = [(kept[2 + k] - kept[k]) / sides[k] for k in range(2)]
    least = SMALLEST / max(sides)
    share = max(CONTEXT * max(parts), least)
    if share > LARGEST:
        if max(parts[0] * size[1], parts[1] * size[0]) >= SEEN:
            return None
        share = max(LARGEST, TIGHT * max(parts), least)
        if share > HELPS:
            return None
    extents = [max(round(share * side), 1) for side in sides]
    starts = [min(max(round((kept[k] + kept[2 + k] - extents[k]) / 2), 0), sides[k] - extents[k]) for k in range(2)]
    return starts[0], starts[1], starts[0] + extents[0], starts[1] + extents[1]


def locator_size(size: Sequence[int]) -> tuple[int, int]:
    """Height and width of the small picture of the whole image on a close-up of that size."""
    return max(round(size[0] * LOCATOR), 1), max(round(size[1] * LOCATOR), 1)


def resampled(picture: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """A picture or a map made as large as ``size``, height and width: by areas if smaller, by lines if larger."""
    part = np.ascontiguousarray(picture)
    if size[0] <= part.shape[0] and size[1] <= part.shape[1] and part.dtype == np.uint8:
        return reduced(part, size)
    smaller = size[0] * size[1] < part.shape[0] * part.shape[1]
    return np.asarray(cv2.resize(part, size[::-1], interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR))


def reduced(image: Image, size: tuple[int, int]) -> Image:
    """An image made smaller, to ``size``, height and width.

    Means of 2 x 2 pixels take OpenCV a tenth of the time of other areas. So an image is halved as often as it can be,
    and what is left, less than a half, is taken out by lines between: where its sides are odd, before the last halves.
    """
    while image.shape[0] >= 2 * size[0] and image.shape[1] >= 2 * size[1]:
        if image.shape[0] % 2 or image.shape[1] % 2:
            times = 2 ** int(math.log2(min(image.shape[0] / size[0], image.shape[1] / size[1])))
            image = _resized(image, (size[0] * times, size[1] * times), cv2.INTER_LINEAR)
        image = _resized(image, (image.shape[0] // 2, image.shape[1] // 2), cv2.INTER_AREA)
    even = image.shape[0] < 2 * size[0] and image.shape[1] < 2 * size[1]
    return _resized(image, size, cv2.INTER_LINEAR if even else cv2.INTER_AREA)


def _resized(image: Image, size: tuple[int, int], method: int) -> Image:
    if image.shape[:2] == size:
        return image
    return np.asarray(cv2.resize(image, size[::-1], interpolation=method), np.uint8)


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
    return reduced(image, size).repeat(down, axis=0).repeat(across, axis=1)


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
