"""Bundles of the detector of two stages: how large they are, and what is seen by them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import boxcam
from boxcam.export.autodiff import turned
from boxcam.export.graphs import weights
from boxcam.export.torchscript import saving
from boxcam.types import Float
from tests.export import two_stage

LIMIT, SMALL_LIMIT = 1.3, 1.4
"""How many times as large as its model a bundle may be; of half a megabyte, a third of which graphs are."""
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
    for module in (weights, saving):  # both imported by now: a first import would keep the other one's changed limit
        monkeypatch.setattr(module, "SMALL", 1 << 60)
    monkeypatch.setattr(turned, "_WORTH", 1 << 60)
