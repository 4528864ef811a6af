"""What candidates have to be, worked out by hand from the picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import boxcam
from boxcam.explain.finding import Finding, Near
from boxcam.runtime.pixels import load_image
from tests.explain.whynot.detectors import FAMILIES
from tests.explain.whynot.scene import COARSE, FINE, LOWEST, ROWS, SIZE
from tests.explain.whynot.variants import VARIANTS, WEAKER, WIDER

NOISE = np.random.default_rng(5).integers(0, 256, (SIZE, SIZE, 1), np.uint8).repeat(3, 2)
PLACE = (10.0, 20.0, 50.0, 40.0)
Models = Callable[[str], boxcam.Model]


def near(model: boxcam.Model, image: Any, label: int) -> Near:
    runtime = model._runtime
    prediction = runtime.predict(load_image(image, "BGR", 3), extra=runtime.selection.names)
    return Finding(runtime, prediction).near(label, np.array(PLACE, np.float32))


def numbers(image: Any, stride: int) -> Any:
    """What the cells say: float64 [cells, 9], four sides in pixels, and logits."""
    cells = np.arange(SIZE // stride) * stride
    found = np.array(
        [[image[y + ROWS[stride] + k // 8, x + k % 8, 0] for k in range(9)] for y in cells for x in cells], np.float64
    )
    return np.concatenate([found[:, :4] / 4, found[:, 4:] / 16 + LOWEST], axis=1)


def corners(said: Any, stride: int, wider: float = 1.0) -> Any:
    """Boxes of cells, as far as they lie in the picture: float64 [cells, 4]."""
    y, x = np.divmod(np.arange(len(said)), SIZE // stride)
    middles = stride * (np.stack([x, y, x, y], 1) + 0.5)
    return (middles + wider * said[:, :4] * [-1, -1, 1, 1]).clip(0, SIZE)


def by_hand(name: str, image: Any, label: int) -> Any:
    """Of each candidate its box, logit and score: float64 [N, 6]."""
    family, rows = {**FAMILIES, **VARIANTS}[name], []
    for stride in (FINE, COARSE) if family.coarse else (FINE,):
        said = numbers(image, stride)
        column = {"one class": 5, "one of two": 7}.get(name, 5 + label)
        logits = said[:, column]
        if family.softmax:
            first = 7 if name == "one of two" else 5
            scores = np.exp(logits) / np.exp(said[:, first:9]).sum(1)
        else:
            scores = 1 / (1 + np.exp(-logits))
        if family.objectness:
            scores = scores / (1 + np.exp(-said[:, 4]))
        rows.append(np.column_stack([corners(said, stride), logits, scores]))
        if name == "interleaved":
            lower = logits - WEAKER
            rows.append(np.column_stack([corners(said, stride, WIDER), lower, 1 / (1 + np.exp(-lower))]))
    return np.concatenate(rows)


def same(found: Near, expected: Any) -> None:
    """The same candidates, in any order."""
    mine = np.column_stack([found.boxes, found.logits, found.scores])
    assert len(mine) == len(expected)
    order = [np.lexsort(np.round(rows, 2).T) for rows in (mine, expected)]
    np.testing.assert_allclose(mine[order[0]], expected[order[1]], atol=2e-3)
