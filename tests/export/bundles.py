"""Bundles of the detector of two stages: how large they are, and what is seen by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import boxcam
from boxcam.types import Float
from tests.export import two_stage

LIMIT = 1.31
PICTURE = np.random.default_rng(3).integers(0, 256, (two_stage.SIZE, two_stage.SIZE, 3), dtype=np.uint8)


def size(bundle: Path) -> int:
    return sum(file.stat().st_size for file in bundle.rglob("*"))


def maps(bundle: Path, engine: str) -> list[Float]:
    """What is seen of all layers by all methods that read a gradient in another way."""
    model = boxcam.load(bundle, threads=1)
    return [
        boxcam.explain(model, PICTURE, method=method, layer=layer, engine=engine, score=0.0).maps
        for layer in model.layers
        for method in ("hirescam", "gradcam")
    ]


def export(output: Path, engine: str) -> Path:
    boxcam.export("x.two", output=output, engine=engine)
    return output


def inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each graph holds all of its numbers itself."""
    for name in ("graphs.weights.SMALL", "torchscript.saving.SMALL", "autodiff.turned._WORTH"):
        monkeypatch.setattr(f"boxcam.export.{name}", 1 << 60)
