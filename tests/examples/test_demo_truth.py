"""The demo detector looks at its signs: how much of a map's positive energy lies inside the ground-truth box.

Run with ``pytest -s`` to see the figures.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from tests.cams import CAMS

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


@pytest.fixture(scope="module")
def figures(signs: Path, signs_model: boxcam.Model) -> dict[tuple[str, str], Figures]:
    """Figures by method and layer, on the committed pictures."""
    measured = {
        (method, layer): measure(signs, signs_model, method, layer) for method in CAMS for layer in signs_model.layers
    }
    lines = [f"{'method':<12}{'layer':<12}{'boxes':>6}{'inside':>9}{'uniform':>9}{'ratio':>8}{'empty':>7}"]
    for (method, layer), f in measured.items():
        lines.append(
            f"{method:<12}{layer:<12}{f.boxes:>6}{f.inside:>9.3f}{f.even:>9.3f}{f.inside / f.even:>8.1f}{f.empty:>7}"
        )
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    return measured


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


def test_most_signs_are_found(figures: dict[tuple[str, str], Figures], signs: Path) -> None:
    wanted = sum(map(len, json.loads((signs / "images" / "truth.json").read_text()).values()))
    assert wanted == 30
    assert {f.boxes for f in figures.values()} == {figures["gradcam", "neck"].boxes}
    assert figures["gradcam", "neck"].boxes >= 0.9 * wanted


def test_hirescam_at_the_neck_falls_on_the_signs(figures: dict[tuple[str, str], Figures]) -> None:
    f = figures["hirescam", "neck"]
    assert f.inside > 5 * f.even
    assert f.empty == 0


def test_gradcam_at_the_neck_falls_on_the_signs(figures: dict[tuple[str, str], Figures]) -> None:
    f = figures["gradcam", "neck"]
    assert f.inside > 2 * f.even
