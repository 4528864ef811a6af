"""Maps that are sums of cells of several sizes, drawn at random."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from boxcam.explain.evidence import Part
from boxcam.explain.explanation import Explanation
from boxcam.types import CellMap, Grid
from tests.explain.made import EVEN, explanation


def with_parts(parts: tuple[Part, ...], shape: tuple[int, int], box: tuple[float, ...], **changes: Any) -> Explanation:
    """One box on an image of this shape, whose map is the sum of these parts."""
    found = explanation(EVEN)
    detections = dataclasses.replace(found.detections, boxes=np.array([box], np.float32))
    image = np.zeros((*shape, 3), np.uint8)
    return dataclasses.replace(found, image=image, detections=detections, parts=(parts,), **changes)


def parts_of(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Part, ...]:
    """One to three maps, of cells of 3 to 40 pixels, that may overhang the feature map, the image and a proposal."""
    found = []
    for _ in range(rng.integers(1, 4)):
        rows, columns = rng.integers(1, 9, 2)
        values = rng.standard_normal((rows, columns)) + rng.choice([0, -1, 2])
        low = rng.uniform(-20, np.array(shape) / 2)
        high = rng.uniform(np.array(shape) / 2, np.array(shape) + 20.0)
        y, x, tall, wide = *rng.uniform(-20, 20, 2), *rng.uniform(3, 40, 2)
        first = int(rng.integers(0, 3))
        valid = (first, first + int(rng.integers(1, 9))), (0, int(rng.integers(1, 9)))
        bounds = None if rng.random() < 0.6 else (float(low[1]), float(low[0]), float(high[1]), float(high[0]))
        cells = CellMap(values.astype(np.float32), (int(rng.integers(-3, 4)), int(rng.integers(-3, 4))))
        found.append(Part("p3", cells, Grid(y, x, tall, wide, *valid, bounds)))
    return tuple(found)
