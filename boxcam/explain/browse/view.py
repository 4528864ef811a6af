"""The part of an image that shows a box, and with it where its map is strongest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from boxcam.explain.colors import paint
from boxcam.explain.look import Look
from boxcam.explain.render import PERCENTILE, brightest, class_color, drawn_values, outline, placed_in, scaled
from boxcam.types import Corners, Float, Image, View

CONTEXT = 2.0
"""How many times as large as its box a part is."""
SMALLEST = 32
"""Pixels of the image that either side of a part has at least, if the image has them."""
LARGEST = 0.7
"""Share of the image's sides above which a part would show little less than the image does."""

_SAMPLES = 4
"""How many rows and columns of the image are enough for each of the picture's; more of a large image only take time."""


def view_of(box: Corners, shape: Sequence[int], size: tuple[int, int], points: Iterable[tuple[int, int]] = ()) -> View:
    """The part of an image around a box, inside of the image; the whole image for a large box.

    Args:
        box: in image pixels; it may leave the image.
        shape: of the image.
        size: height and width of the picture that it is for; it has their ratio, where the image has room for it.
        points: rows and columns that it has to show, too.
    """
    sides = np.array([shape[1], shape[0]], np.float64)
    low = np.clip(np.array(box[:2]), 0, sides - 1)
    high = np.clip(np.array(box[2:]), low + 1, sides)
    margin = (high - low) * (CONTEXT - 1) / 2
    low, high = low - margin, high + margin
    for y, x in points:
        at, margin = np.array([x, y], np.float64), (high - low) * 0.05
        low, high = np.minimum(low, at - margin), np.maximum(high, at + 1 + margin)
    extents = np.maximum(high - low, SMALLEST)
    ratio = size[1] / size[0]
    extents = np.maximum(extents, [extents[1] * ratio, extents[0] / ratio])
    if (extents >= LARGEST * sides).all():
        return 0, 0, int(sides[0]), int(sides[1])
    across, down = (int(side) for side in np.minimum(np.ceil(extents), sides))
    x, y = (round(float(start)) for start in (low + high) / 2 - np.array([across, down]) / 2)
    x, y = min(max(x, 0), shape[1] - across), min(max(y, 0), shape[0] - down)
    return x, y, x + across, y + down


def peak_of(values: Float) -> tuple[int, int] | None:
    """Row and column of a map's largest value; None if nothing of it is positive.

    Args:
        values: float32 [H, W].
    """
    at = int(np.argmax(values))
    return divmod(at, values.shape[1]) if values.flat[at] > 0 else None


def fitted(view: View, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a part of an image that is shown as large as a picture of that size has room for."""
    across, down = view[2] - view[0], view[3] - view[1]
    scale = min(size[0] / down, size[1] / across)
    return max(round(down * scale), 1), max(round(across * scale), 1)


def draw_view(
    image: Image,
    values: Float,
    view: View,
    size: tuple[int, int],
    box: tuple[Corners, int] | None,
    how: Look,
    top: float | None = None,
) -> Image:
    """A part of an image under its part of a heatmap, which is scaled as the whole map is.

    Args:
        image: uint8 [H, W, 3], BGR.
        values: the raw map, float32 [H, W].
        view: which part.
        size: height and width of the picture.
        box: what to outline, and the index of its class; None for nothing.
        how: it is drawn; of a map of single pixels a few are far hotter than the rest.
        top: the value that has the strongest colour; None for that of the map.

    Returns:
        uint8 [height, width, 3], BGR.
    """
    x1, y1, x2, y2 = view
    heat = _heat(values, view, size, how, top)
    step = max(min((y2 - y1) // size[0], (x2 - x1) // size[1]) // _SAMPLES, 1)
    part = np.asarray(_resized(image[y1:y2:step, x1:x2:step], size), np.uint8)
    drawn = paint(part, heat, how)
    if box is not None:
        corners, label = box
        outline(drawn, placed_in(view, corners, drawn), class_color(label))
    return drawn


def _heat(values: Float, view: View, size: tuple[int, int], how: Look, top: float | None) -> Float:
    """What is seen of the heatmap. Of a large image only the part is scaled, and after it was made smaller."""
    top = brightest(values, PERCENTILE if how.fine else 100, how.signed) if top is None else top
    x1, y1, x2, y2 = view
    part = values[y1:y2, x1:x2]
    if how.fine:
        shown = _resized(scaled(part, top, how.signed), size)
    else:
        shown = scaled(_resized(drawn_values(part, how.signed), size), top, how.signed)
    heat: Float = np.clip(shown, -1, 1)
    return heat


def _resized(part: Image | Float, size: tuple[int, int]) -> Float:
    smaller = size[0] * size[1] < part.shape[0] * part.shape[1]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    found: Float = np.asarray(cv2.resize(np.ascontiguousarray(part), size[::-1], interpolation=method))
    return found
