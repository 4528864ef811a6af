"""Pictures whose pixels are what a detector computes: the boxes and logits of its cells, written by hand.

A cell is 8 pixels wide, or 16 at the coarse level. Nine of its pixels hold its numbers: four sides, as distances from
its middle in quarters of a pixel, an objectness, three classes and a background, as logits from -8 on in sixteenths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np

SIZE, COLUMNS, CLASSES = 64, 9, 3
NAMES = ("cat", "dog", "bird")
FINE, COARSE = 8, 16
ROWS = {FINE: 0, COARSE: 4}
"""In which row of pixels of a cell its numbers begin."""
LOWEST, HIGHEST = -8.0, 7.9375
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Thing:
    """What one cell says.

    Attributes:
        cell: its row and column.
        sides: from its middle to the left, upper, right and lower side of its box, in pixels; multiples of 1/4.
        logits: of the classes, multiples of 1/16, -8 to 7.9375.
        objectness, background: the same.
        stride: of the level that the cell is on.
    """

    cell: tuple[int, int]
    sides: Box
    logits: Sequence[float]
    objectness: float = HIGHEST
    background: float = 0.0
    stride: int = FINE

    @property
    def box(self) -> Box:
        """x1 y1 x2 y2 in pixels."""
        y, x = (self.stride * (k + 0.5) for k in self.cell)
        left, top, right, bottom = self.sides
        return x - left, y - top, x + right, y + bottom


FILLER: tuple[Box, tuple[float, ...]] = ((2.0, 2.0, 2.0, 2.0), (LOWEST,) * CLASSES)
"""What all other cells say: small boxes of next to no score."""


def picture(things: Sequence[Thing], seed: int = 0) -> Any:
    """The picture, uint8 [64, 64, 3], in grey; pixels that tell nothing are noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE))
    for stride in (FINE, COARSE):
        for cell in np.ndindex(SIZE // stride, SIZE // stride):
            _write(pixels, Thing(cell, *FILLER, objectness=LOWEST, background=HIGHEST, stride=stride))
    for thing in things:
        _write(pixels, thing)
    return np.repeat(pixels[..., None], 3, axis=2).astype(np.uint8)


def _write(pixels: Any, thing: Thing) -> None:
    logits = (thing.objectness, *thing.logits, thing.background)
    numbers = np.array([4 * side for side in thing.sides] + [16 * (logit - LOWEST) for logit in logits])
    assert np.isin(numbers, np.arange(256)).all(), numbers
    y, x = (k * thing.stride for k in thing.cell)
    for k, number in enumerate(numbers):
        pixels[y + ROWS[thing.stride] + k // 8, x + k % 8] = number


def sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def logit(share: float) -> float:
    return log(share / (1 - share))


def softmax(logits: Sequence[float]) -> list[float]:
    whole = sum(exp(one) for one in logits)
    return [exp(one) / whole for one in logits]


def overlap(one: Box, other: Box) -> float:
    """IoU of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [max(x2 - x1, 0) * max(y2 - y1, 0) for x1, y1, x2, y2 in (one, other)]
    return both / (sum(areas) - both) if both else 0.0


def inside(box: Box) -> Box:
    """What of a box lies in the picture."""
    x1, y1, x2, y2 = (min(max(side, 0.0), float(SIZE)) for side in box)
    return x1, y1, x2, y2
