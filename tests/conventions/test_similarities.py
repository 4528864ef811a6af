"""Classifiers by likeness to an embedding of each class, as CLIP's: their numbers may all be positive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conventions.belief import against
from tests.conventions.files import FLOAT, Levels


def answers(scale: float, folder: Path, *, unit: bool = True) -> set[str]:
    """What speaks against logits of 200 classes, all of them positive."""
    net = Levels(1)
    pooled = net.Flatten(net.GlobalAveragePool(net.necks[-1]))
    weight = (0.3 * net.random.standard_normal((8, 16))).astype(np.float32)
    image = net.Gemm(pooled, weight, np.ones(16, np.float32))
    if unit:
        image = net.Div(image, net.ReduceL2(image, axes=[1], keepdims=1))
    classes = np.abs(net.random.standard_normal((16, 200))) + 0.2
    classes *= 0.5 / np.linalg.norm(classes, axis=0)
    scaled = net.Mul(image, np.float32(scale)) if scale != 1 else image
    net.node("MatMul", [scaled, classes.astype(np.float32)], name="logits_per_image")
    onnx.save(net.proto({"logits_per_image": FLOAT}), str(folder / "m.onnx"))
    found = against(folder / "m.onnx")
    assert "asked" not in found
    return set(found)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_likeness_to_each_class_is_believed(scale: float, tmp_path: Path) -> None:
    assert "scores" not in answers(scale, tmp_path)


def test_other_numbers_in_0_to_1_are_not(tmp_path: Path) -> None:
    assert "scores" in answers(0.1, tmp_path, unit=False)
