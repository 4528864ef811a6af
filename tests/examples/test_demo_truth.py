"""The demo detector looks at its signs: how much of a map's positive energy lies inside the ground-truth box.

Run with ``pytest -s`` to see the figures.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import boxcam
from tests.cams import CAMS
from tests.examples.truth import Figures, measure


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
