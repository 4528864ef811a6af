"""One picture and its maps: heatmaps, blended in; boxes, outlined. No maths beyond scaling a map to 0..1."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from boxcam.explain.lettering import Color
from boxcam.types import Float, Image

COLORMAP = cv2.COLORMAP_TURBO
STRENGTH = 0.85
"""How much of the picture the peak of a map hides; colder places hide proportionally less."""
FADE = 0.6
"""How much of its colour the picture loses under a heatmap, so that colours mean heat."""

PERCENTILE = 99
"""Of the lit pixels of a map of single pixels: these, and hotter ones, have the strongest colour."""


def heatmap(map: Float, percentile: float = 100) -> Float:
    """A map scaled for looking at: negative values become 0, the peak 1; without a positive value all is 0.

    Args:
        map: float32 [H, W], raw.
        percentile: of the positive values, which becomes 1, with all that is above.

    Returns:
        float32 [H, W], 0..1, never NaN.
    """
    return scaled(map, brightest(map, percentile))


def brightest(map: Float, percentile: float = 100) -> float:
    """The value that has the strongest colour: a percentile of the positive values; 0 if there is none."""
    positive = _positive(map)
    if percentile == 100:
        return float(positive.max())
    lit = positive[positive > 0]
    return float(np.percentile(lit, percentile, method="lower")) if lit.size else 0.0


def scaled(map: Float, top: float) -> Float:
    """A map, or a part of it, with the value ``top`` and all above as 1; see `heatmap`."""
    positive = _positive(map)
    result: Float = np.minimum(positive / np.float32(top), 1) if top > 0 else positive
    return result.astype(np.float32)


def _positive(map: Float) -> Float:
    positive: Float = np.where(np.isfinite(map), np.maximum(map, 0), 0)
    return positive


def overlay(image: Image, heat: Float) -> Image:
    """Blend a heatmap into the image: nothing where it is 0, the strongest colour where it is 1.

    Args:
        image: uint8 [H, W, 3], BGR.
        heat: float32 [H, W], 0..1.
    """
    colors = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), COLORMAP)
    share = (heat * STRENGTH)[..., None]
    blended: Image = np.rint(image * (1 - share) + colors * share).astype(np.uint8)
    return blended


def class_color(label: int) -> Color:
    """The colour of a class, BGR: always the same for the same index, far apart for neighbouring ones."""
    hue = (0.36 + label * 0.618034) % 1.0
    value = (0.95, 0.75, 0.85)[label % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.75, value)
    return round(blue * 255), round(green * 255), round(red * 255)


def fade(picture: Image) -> Image:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)[..., None]
    faded: Image = np.rint(picture * (1 - FADE) + grey * FADE).astype(np.uint8)
    return faded


def place_box(
    box: tuple[float, float, float, float], picture: Image, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    """The box's outermost pixels on the picture, kept inside it: x1 y1 x2 y2, inclusive."""
    height, width = picture.shape[:2]
    scale_y, scale_x = height / shape[0], width / shape[1]
    x1, x2 = (min(max(value, 0), shape[1]) * scale_x for value in (box[0], box[2]))
    y1, y2 = (min(max(value, 0), shape[0]) * scale_y for value in (box[1], box[3]))
    left, top = min(round(x1), width - 1), min(round(y1), height - 1)
    return left, top, max(round(x2) - 1, left), max(round(y2) - 1, top)


def outline(picture: Image, box: tuple[int, int, int, int], color: Color) -> None:
    """Two pixels of colour between thin dark lines, to be seen on any background."""
    x1, y1, x2, y2 = box
    cv2.rectangle(picture, (x1 - 1, y1 - 1), (x2 + 1, y2 + 1), (0, 0, 0), 1)
    cv2.rectangle(picture, (x1, y1), (x2, y2), color, 1)
    if x2 - x1 > 8 and y2 - y1 > 8:
        cv2.rectangle(picture, (x1 + 1, y1 + 1), (x2 - 1, y2 - 1), color, 1)
        cv2.rectangle(picture, (x1 + 2, y1 + 2), (x2 - 2, y2 - 2), (0, 0, 0), 1)
