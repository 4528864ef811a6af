"""The colour bar of a sheet, with numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boxcam.explain.colors import paint
from boxcam.explain.lettering import text_width, wrap, write
from boxcam.explain.look import Look
from boxcam.explain.page import MUTED
from boxcam.explain.render import PERCENTILE
from boxcam.types import Image

HEIGHT, _LINE = 56, 18
"""Pixels of a line, the bar, and its numbers; and how many more for each further line."""
LENGTH, THICK, TICKS = 300, 14, 5
AROUND = 8
"""Pixels by which what is painted is larger than the bar: lines around its ends are left out."""
GROUND = 190
"""The grey of a picture on which the colours of the bar lie, as they lie on pictures."""


def strongest_of(look: Look, every: str = "all maps") -> str:
    """What the strongest colour stands for.

    Args:
        look: how heat is drawn.
        every: what is on a common scale.
    """
    common = look.scale == "common"
    if look.fine and (common or look.style != "contours"):
        pixels = "pixels" if look.signed else "positive pixels"
        share, smooth = f"hottest {100 - PERCENTILE} % of", ", made smooth" if look.style == "contours" else ""
        return f"{share} the {pixels} of {every}{smooth}" if common else f"{share} each map's {pixels}"
    sign, smooth = ", for or against" if look.signed else "", ", made smooth" if look.fine else ""
    return f"largest value of {every if common else 'each map'}{sign}{smooth}"


def height(strongest: str, look: Look, width: int) -> int:
    """Pixels that a legend takes on a page of this width; see `legend`."""
    return HEIGHT + (len(_words(strongest, look, width)) - 1) * _LINE


def legend(place: Image, strongest: str, look: Look, peak: float | None) -> None:
    """Draw the bar, painted as the maps are, below what is said of it.

    Args:
        place: uint8 [see `height`, W, 3], of the page; it is drawn on.
        strongest: what the strongest colour stands for.
        look: how heat is drawn.
        peak: the raw value of the strongest colour if that is the same for all maps; None for shares.
    """
    said = _words(strongest, look, place.shape[1])
    for number, line in enumerate(said):
        write(place, line, (0, 10 + number * _LINE), 8, MUTED)
    place = place[(len(said) - 1) * _LINE :]
    low = -1.0 if look.signed else 0.0
    ticks = np.linspace(low, 1, TICKS)
    texts = [f"{tick:.0%}" if peak is None else _raw(tick * peak) for tick in ticks]
    room = place.shape[1] - text_width(texts[0], 8) // 2 - text_width(texts[-1], 8) // 2 - 4
    length, left = min(LENGTH, room), text_width(texts[0], 8) // 2 if look.signed else 0
    if length < sum(text_width(word, 8) + 6 for word in texts):
        ticks, texts = ticks[[0, -1]], [texts[0], texts[-1]]
    place[18 : 18 + THICK, left : left + length] = bar(look, length, THICK)
    for tick, word in zip(ticks, texts, strict=True):
        x = left + round((tick - low) / (1 - low) * (length - 1))
        place[18 + THICK : 22 + THICK, x : x + 1] = MUTED
        start = max(min(x - text_width(word, 8) // 2, place.shape[1] - text_width(word, 8)), 0)
        write(place, word, (start, 34 + THICK), 8, MUTED)


def _words(strongest: str, look: Look, width: int) -> list[str]:
    """What stands above the bar, in lines of so many pixels."""
    sign = "blue against, orange for; " if look.signed else ""
    unit = f"raw values, one scale: up to the {strongest}" if look.raw else f"100%: {strongest}"
    return wrap(sign + unit, width, 8, 2)


def bar(look: Look, length: int, thick: int) -> Image:
    """The colours, or lines, of all heat from the least on: uint8 [thick, length, 3], BGR."""
    low = -1.0 if look.signed else 0.0
    steps = np.tile(np.pad(np.linspace(low, 1, length, dtype=np.float32), AROUND, "edge"), (thick + 2 * AROUND, 1))
    painted = paint(np.full((*steps.shape, 3), GROUND, np.uint8), steps, replace(look, fine=False))
    return painted[AROUND:-AROUND, AROUND:-AROUND]


def _raw(value: float) -> str:
    """A raw value with three digits, also where the last ones are zeros: ticks of a bar are equally exact."""
    return f"{value:#.3g}".rstrip(".") if value else "0"
