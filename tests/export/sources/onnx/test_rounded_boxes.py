"""Detectors whose boxes no gradient passes: they are detectors all the same, with a neck."""

from __future__ import annotations

from pathlib import Path

import pytest

import boxcam
from tests.export.sources.onnx.written import BODY, MAPS, NOISE, save

HEAD = """
    n8 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (fine, neck)
    n16 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (coarse, neck)
    m8 = Relu (n8)
    m16 = Relu (n16)
    c8 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m8, class)
    c16 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m16, class)
    b8 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m8, box)
    b16 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (m16, box)
    shape = Constant <value_ints = [1, 4, -1]> ()
    fc8 = Reshape (c8, shape)
    fc16 = Reshape (c16, shape)
    fb8 = Reshape (b8, shape)
    fb16 = Reshape (b16, shape)
    fc = Concat <axis = 2> (fc8, fc16)
    fb = Concat <axis = 2> (fb8, fb16)
    lines = Transpose <perm = [0, 2, 1]> (fb)
    turned = Transpose <perm = [0, 2, 1]> (fc)
    cls = Sigmoid (turned)
    factor = Constant <value_float = 40.0> ()
    large = Mul (lines, factor)
"""
ENDS = {
    "plain": "loc = Identity (large)",
    "round": "loc = Round (large)",
    "floor": "loc = Floor (large)",
    "cast": "whole = Cast <to = 7> (large)\n    loc = Cast <to = 1> (whole)",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_neck_is_that_of_the_scores_and_the_model_no_classifier(end: str, tmp_path: Path) -> None:
    text = MAPS.format(outputs="float[1, 80, 4] loc, float[1, 80, 4] cls", nodes=HEAD + ENDS[end])
    weights = {**BODY, "neck": (8, 8, 3, 3), "class": (4, 8, 3, 3), "box": (4, 8, 3, 3)}
    path = save(tmp_path / "m.onnx", text, weights)
    manifest = boxcam.export(
        path, output=tmp_path / "b", preprocess="yolo", scores="cls", boxes="loc", box_scale="pixels",
        score_activation="none", engine="onnx", score_threshold=0.0, accept=NOISE,
        convention="boxes-and-scores",
    )  # fmt: skip
    (layer,) = manifest.layers
    assert not manifest.outputs.whole_image
    assert layer.name == "neck"
    assert {tensor.name for tensor in layer.tensors} == {"m8", "m16"}
