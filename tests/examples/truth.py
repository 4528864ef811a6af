"""How much of a map's positive energy lies inside the ground-truth box, over the demo's pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import boxcam

MINIMUM_IOU = 0.5


@dataclass(frozen=True)
class Figures:
    """Means over all boxes that a method explained.

    Attributes:
        boxes: how many there are.
        inside: share of positive energy inside the ground-truth box; a map without any counts as 0.
        even: the share that a map of one value everywhere has there: the box's share of the image.
        empty: how many maps have no positive energy.
    """

    boxes: int
    inside: float
    even: float
    empty: int


def measure(signs: Path, model: boxcam.Model, method: str, layer: str) -> Figures:
    inside, even, empty = [], [], 0
    for name, truth in json.loads((signs / "images" / "truth.json").read_text()).items():
        explanation = boxcam.explain(model, signs / "images" / name, method=method, layer=layer)
        for k, (box, label) in enumerate(zip(explanation.detections.boxes, explanation.detections.names, strict=True)):
            sign = next(
                (s["box"] for s in truth if s["label"] == label and overlap(s["box"], box) >= MINIMUM_IOU), None
            )
            if sign is None:
                continue
            heat = np.maximum(explanation.map(k), 0).astype(np.float64)
            x1, y1, x2, y2 = sign
            total = heat.sum()
            empty += total == 0
            inside.append(heat[y1:y2, x1:x2].sum() / total if total else 0.0)
            even.append((x2 - x1) * (y2 - y1) / heat.size)
    return Figures(len(inside), float(np.mean(inside)), float(np.mean(even)), empty)


def overlap(first: Any, second: Any) -> float:
    """Intersection over union of two boxes."""
    a, b = np.asarray(first, float), np.asarray(second, float)
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)
