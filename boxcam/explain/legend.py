"""The colour bar of a sheet, with numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boxcam.explain.colors import paint
from boxcam.explain.lettering import shorten, text_width, write
from boxcam.explain.look import Look
from boxcam.explain.page import MUTED
from boxcam.types import Image

HEIGHT = 56
"""Pixels of a line, the bar, and its numbers."""
LENGTH, THICK, TICKS = 300, 14, 5
AROUND = 8
"""Pixels by which what is painted is larger than the bar: lines around its ends are left out."""
GROUND = 190
"""The grey of a picture on which the colours of the bar lie, as they lie on pictures."""


def legend(place: Image, strongest: str, look: Look, peak: float | None) -> None:
    """Draw the bar, painted as the maps are.

    Args:
        place: uint8 [at least 50, W, 3], of the page; it is drawn on.
        strongest: what the strongest colour stands for.
        look: how heat is drawn.
        peak: the raw value of the strongest colour if that is the same for all maps; None for shares.
    """
    sign = "blue against, orange for; " if look.signed else ""
    unit = f"100%: {strongest}" if peak is None else f"raw values, one scale: up to the {strongest}"
    write(place, shorten(sign + unit, place.shape[1], 8), (0, 10), 8, MUTED)
    low = -1.0 if look.signed else 0.0
    ticks = np.linspace(low, 1, TICKS)
    words = [f"{tick:.0%}" if peak is None else _raw(tick * peak) for tick in ticks]
    room = place.shape[1] - text_width(words[0], 8) // 2 - text_width(words[-1], 8) // 2 - 4
    length, left = min(LENGTH, room), text_width(words[0], 8) // 2 if look.signed else 0
    if length < sum(text_width(word, 8) + 6 for word in words):
        ticks, words = ticks[[0, -1]], [words[0], words[-1]]
    steps = np.tile(np.pad(np.linspace(low, 1, length, dtype=np.float32), AROUND, "edge"), (THICK + 2 * AROUND, 1))
    bar = paint(np.full((*steps.shape, 3), GROUND, np.uint8), steps, replace(look, fine=False))[
        AROUND:-AROUND, AROUND:-AROUND
    ]
    place[18 : 18 + THICK, left : left + length] = bar
    for tick, word in zip(ticks, words, strict=True):
        x = left + round((tick - low) / (1 - low) * (length - 1))
        place[18 + THICK : 22 + THICK, x : x + 1] = MUTED
        start = max(min(x - text_width(word, 8) // 2, place.shape[1] - text_width(word, 8)), 0)
        write(place, word, (start, 34 + THICK), 8, MUTED)


def _raw(value: float) -> str:
    """A raw value with three digits, also where the last ones are zeros: ticks of a bar are equally exact."""
    return f"{value:#.3g}".rstrip(".") if value else "0"
