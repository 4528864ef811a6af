"""Maps, scaled to be looked at, and boxes, outlined. No maths beyond scaling a map to 0..1."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from boxcam.explain.lettering import Color
from boxcam.types import Corners, Float, Image, View

PERCENTILE = 99
"""Of the lit pixels of a map of single pixels: these, and hotter ones, have the strongest colour."""


def heatmap(map: Float, percentile: float = 100, signed: bool = False) -> Float:
    """A map scaled for looking at: the peak is 1; without a value that is drawn all is 0.

    Args:
        map: float32 [H, W], raw.
        percentile: of the values that are drawn, which becomes 1, with all that is above.
        signed: whether negative values are drawn; if not, they become 0. If so, the largest magnitude becomes 1 or -1.

    Returns:
        float32 [H, W], 0..1, or -1..1; never NaN.
    """
    return scaled(map, brightest(map, percentile, signed), signed)


def brightest(map: Float, percentile: float = 100, signed: bool = False) -> float:
    """The value that has the strongest colour: a percentile of the values that are drawn; 0 if there is none."""
    drawn = np.abs(drawn_values(map, signed)) if signed else drawn_values(map, signed)
    if percentile == 100:
        return float(drawn.max())
    lit = drawn[drawn > 0]
    return float(np.percentile(lit, percentile, method="lower")) if lit.size else 0.0


def scaled(map: Float, top: float, signed: bool = False) -> Float:
    """A map, or a part of it, with the value ``top`` and all above as 1; see `heatmap`."""
    drawn = drawn_values(map, signed)
    result: Float = np.clip(drawn / np.float32(top), -1, 1) if top > 0 else np.zeros_like(drawn)
    return result.astype(np.float32)


def drawn_values(map: Float, signed: bool) -> Float:
    """The values that are drawn; what is no finite number is 0."""
    drawn: Float = map if signed else np.maximum(map, np.float32(0))
    if not np.isfinite(drawn.sum(dtype=np.float64)):
        drawn = np.where(np.isfinite(drawn), drawn, np.float32(0))
    return drawn


def class_color(label: int) -> Color:
    """The colour of a class, BGR: always the same for the same index, far apart for neighbouring ones."""
    hue = (0.36 + label * 0.618034) % 1.0
    value = (0.95, 0.75, 0.85)[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def place_box(box: Corners, picture: Image, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The box's outermost pixels on the picture, kept inside it: x1 y1 x2 y2, inclusive."""
    height, width = picture.shape[:2]
    scale_y, scale_x = height / shape[0], width / shape[1]
    x1, x2 = (min(max(value, 0), shape[1]) * scale_x for value in (box[0], box[2]))
    y1, y2 = (min(max(value, 0), shape[0]) * scale_y for value in (box[1], box[3]))
    left, top = min(round(x1), width - 1), min(round(y1), height - 1)
    return left, top, max(round(x2) - 1, left), max(round(y2) - 1, top)


def placed_in(view: View, box: Corners, picture: Image) -> tuple[int, int, int, int]:
    """The same on a picture of a part of the image."""
    x1, y1, x2, y2 = view
    return place_box((box[0] - x1, box[1] - y1, box[2] - x1, box[3] - y1), picture, (y2 - y1, x2 - x1))


def outline(picture: Image, box: tuple[int, int, int, int], color: Color, width: int = 1) -> None:
    """Lines of colour between thin dark lines, to be seen on any background.

    Args:
        picture: uint8 [H, W, 3], BGR; it is drawn on.
        box: its outermost pixels, see `place_box`.
        color: BGR.
        width: in pixels, of each dark line, and half of that of the colour.
    """
    x1, y1, x2, y2 = box
    for inside in range(-width, 3 * width):
        if inside >= width and not (x2 - x1 > 8 * width and y2 - y1 > 8 * width):
            break
        ink = color if 0 <= inside < 2 * width else (0, 0, 0)
        cv2.rectangle(picture, (x1 + inside, y1 + inside), (x2 - inside, y2 - inside), ink, 1)
