"""The colours of heat, and how they are put onto a picture.

What speaks for a box has the colours of a perceptually uniform map: from dark to bright, lightness grows evenly, so
that equal steps of heat look equal, in print without colours, too. Maps with a sign have two hues, equally light for
equal values: warm for the box, blue against it. Heat of zero is the picture itself, and nothing is hidden there: the
colours cover the more, the hotter it is.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.explain.look import Look
from boxcam.types import Float, Image

COLORMAP = cv2.COLORMAP_PLASMA
STRENGTH = 0.85
"""How much of the picture the peak of a map hides; colder places hide less, and nothing where there is no heat."""
LEVELS = (0.25, 0.5, 0.75)
"""Lines of equal heat are drawn at these shares of the strongest."""
SMOOTH = 60
"""The share of a picture's longer side over which the heat of single pixels is averaged for lines."""
LARGEST = 960
"""Pixels of the longer side of a picture from which on it is averaged on a smaller one."""
STEPS = 255
"""Of heat, each with a colour."""
DARK, LIGHT = (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)
LUMA, BRIGHT = np.array([0.114, 0.587, 0.299], np.float32), 120
"""Shares of blue, green and red in the brightness of a colour; and how bright one is that needs dark edges."""
ROWS = 256
"""So many rows are blended at a time: the memory of a large picture stays small."""


def _sequential() -> npt.NDArray[np.float32]:
    return np.asarray(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], COLORMAP)[0], np.float32)


def _diverging(hues: tuple[float, float], chromas: tuple[float, float]) -> npt.NDArray[np.float32]:
    """Colours of one sign, by Lab: lightness falls from 84 to 44, the same for both signs."""
    along = np.linspace(0, 1, STEPS + 1)
    hue, chroma = np.radians(np.interp(along, (0, 1), hues)), np.interp(along, (0, 1), chromas)
    lab = np.stack([84 - 40 * along, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1).astype(np.float32)
    colors = cv2.cvtColor(lab[None], cv2.COLOR_Lab2BGR)[0] * 255
    return np.asarray(np.rint(np.clip(colors, 0, 255)), np.float32)


def palette(signed: bool) -> npt.NDArray[np.float32]:
    """The colour of each step of heat: float32 [511, 3], BGR, from -1 to 1; step 255 is zero, which is never shown.

    Args:
        signed: whether values below zero have colours of their own; if not, they are never shown either.
    """
    if not signed:
        colors = _sequential()
        return np.concatenate([colors[:0:-1], colors])
    against, speaks_for = _diverging((255, 285), (28, 62)), _diverging((72, 38), (52, 80))
    return np.concatenate([against[:0:-1], speaks_for])


def hidden(heat: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """How much of the picture is hidden by heat of -1..1: half of the peak's share at less than a third of its heat."""
    size = np.abs(heat)
    return np.asarray(STRENGTH * size * (2 - size), np.float32)


_SHARES = hidden(np.arange(-STEPS, STEPS + 1) / STEPS)
_PALETTES = {signed: palette(signed) for signed in (False, True)}


def paint(picture: Image, heat: Float, look: Look = Look()) -> Image:  # noqa: B008 - it is frozen
    """The picture with its heat.

    Args:
        picture: uint8 [H, W, 3], BGR; it is left as it is.
        heat: float32 [H, W], -1..1: below zero only if the look is signed.
        look: in colours or lines.
    """
    return _contours(picture, heat, look) if look.style == "contours" else _blend(picture, heat, look)


def _blend(picture: Image, heat: Float, look: Look) -> Image:
    """Blend colours into the picture: nothing where heat is 0, the strongest colour where it is 1 or -1."""
    result = picture.copy()
    colors = _PALETTES[look.signed]
    for start in range(0, len(heat), ROWS):
        steps = np.rint(heat[start : start + ROWS] * STEPS).astype(np.int16) + STEPS
        rows, columns = (np.flatnonzero((steps != STEPS).any(axis=axis)) for axis in (1, 0))
        if not len(rows):
            continue
        part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        share = _SHARES[steps[part]][..., None]
        below: npt.NDArray[Any] = result[start : start + ROWS][part]
        below[:] = np.rint(below * (1 - share) + colors[steps[part]] * share)
    return result


def _contours(picture: Image, heat: Float, look: Look) -> Image:
    """Draw lines of equal heat, each in the colour of its heat, between white edges, or dark ones if it is bright."""
    width = line_width(picture)
    if look.fine:
        heat = _smooth(heat)
    rim = 4 * width + 1  # a line that ends at the picture's edge would be closed along it
    height, length = picture.shape[:2]
    result: Image = np.asarray(cv2.copyMakeBorder(picture, rim, rim, rim, rim, cv2.BORDER_REPLICATE), np.uint8)
    heat = np.asarray(cv2.copyMakeBorder(heat, rim, rim, rim, rim, cv2.BORDER_REPLICATE), np.float32)
    for level in LEVELS:
        for sign in (-1, 1) if look.signed else (1,):
            found, _ = cv2.findContours(
                np.asarray(sign * heat >= level, np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_TC89_L1
            )
            color = _PALETTES[look.signed][STEPS + sign * round(level * STEPS)]
            edge = DARK if color @ LUMA > BRIGHT else LIGHT
            for thickness, ink in ((4 * width, edge), (2 * width, tuple(float(value) for value in color))):
                cv2.drawContours(result, found, -1, ink, thickness, cv2.LINE_AA)
    return np.ascontiguousarray(result[rim : rim + height, rim : rim + length])


def _smooth(heat: Float) -> Float:
    """The heat of single pixels as that of places, with the same peak; of a large picture, by way of a smaller one."""
    height, width = heat.shape
    times = max(max(height, width) / LARGEST, 1.0)
    size = max(round(width / times), 1), max(round(height / times), 1)
    small = cv2.resize(heat, size, interpolation=cv2.INTER_AREA) if times > 1 else heat
    smooth = np.asarray(cv2.GaussianBlur(small, (0, 0), max(size) / SMOOTH), np.float32)
    if times > 1:
        smooth = np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
    peak, before = float(np.abs(smooth).max()), float(np.abs(heat).max())
    return smooth if peak == 0 else np.asarray(smooth * (before / peak), np.float32)


def line_width(picture: Image) -> int:
    """Pixels of a line that can be seen on a picture of this size when it is looked at as a whole."""
    return max(round(max(picture.shape[:2]) / 800), 1)
