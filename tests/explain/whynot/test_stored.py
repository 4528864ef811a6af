"""Candidates of models that are stored otherwise: in half precision, quantised, with open height and width."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

import boxcam
from boxcam.errors import BoxcamWarning
from boxcam.explain.finding import Finding
from boxcam.runtime.pixels import load_image
from boxcam.runtime.preprocess import prepare
from tests.explain.whynot.by_hand import NOISE, by_hand, near, same
from tests.explain.whynot.detectors import FAMILIES, SAMPLE, export
from tests.explain.whynot.scene import CLASSES, picture
from tests.explain.whynot.variants import VARIANTS
from tests.export.passes.open_sizes import BACKBONE, PICTURES, PREPROCESS, Detector, pixels, written

WITHOUT = ["NonMaxSuppression", "RoiAlign", "Resize", "Min", "Max", "Range"]
"""Operators that ONNX Runtime has for float32 only."""
Alter = Callable[[onnx.ModelProto], onnx.ModelProto]


class Calibration(CalibrationDataReader):
    """A picture, and the ends of the range."""

    def __init__(self) -> None:
        pictures = (NOISE, np.zeros_like(NOISE), np.full_like(NOISE, 255))
        self.left = iter([{"image": one.transpose(2, 0, 1)[None].astype(np.float32)} for one in pictures])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.left, None)


def quantized(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """8 bits for all convolutions."""
    before, after = folder / "before.onnx", folder / "after.onnx"
    onnx.save(model, str(before))
    settings = {"quant_format": QuantFormat.QDQ, "op_types_to_quantize": ["Conv", "Gemm"]}
    quantize_static(str(before), str(after), Calibration(), **settings)
    return onnx.load(str(after))


HALF: dict[str, Alter] = {
    "half inside": partial(convert_float_to_float16, keep_io_types=True, op_block_list=WITHOUT),
    "half outside too": partial(convert_float_to_float16, keep_io_types=False, op_block_list=WITHOUT),
}
ALL = {**FAMILIES, **VARIANTS}
ONE_STAGE = [name for name, of in ALL.items() if not of.stages and name != "guarded"]  # no tool converts its branches


def told(model: boxcam.Model, label: int) -> Any:
    """Of each candidate its box, logit and score: float64 [N, 6]."""
    found = near(model, NOISE, label)
    return np.column_stack([found.boxes, found.logits, found.scores])


@pytest.mark.parametrize("way", HALF)
@pytest.mark.parametrize("name", ONE_STAGE)
def test_in_half_precision_the_candidates_are_the_same(name: str, way: str, tmp_path: Path) -> None:
    model = boxcam.load(export(ALL[name], tmp_path, HALF[way]), threads=1)
    assert model.manifest.without_candidates == ""
    for label in range(len(model.manifest.labels)):
        same(near(model, NOISE, label), by_hand(name, NOISE, label))  # whose numbers float16 holds


@pytest.mark.parametrize("name", ["two stages", "boxes by class"])
@pytest.mark.parametrize("way", HALF)
def test_in_half_precision_proposals_tell_the_same(
    name: str, way: str, models: Callable[[str], boxcam.Model], tmp_path: Path
) -> None:
    model = boxcam.load(export(ALL[name], tmp_path, HALF[way]), threads=1)
    image = picture(SAMPLE, 1)
    for thing in SAMPLE:
        for label in model.manifest.labels:
            mine, whole = (one.candidates(image, thing.box, label) for one in (model, models(name)))
            assert [(one.reason, one.name) for one in mine] == [(one.reason, one.name) for one in whole]
            for one, other in zip(mine, whole, strict=True):
                assert one.box == pytest.approx(other.box, abs=0.05)
                assert one.score == pytest.approx(other.score, abs=2e-3)


@pytest.mark.parametrize("name", ["dense", "background", "objectness", "queries", "detr", "interleaved"])
def test_quantised_its_candidates_differ_by_a_step_at_most(name: str, tmp_path: Path) -> None:
    """A side, in quarters of a pixel up to 255, is rounded to one of 255 steps, the sum of two at the middle."""
    with pytest.warns(BoxcamWarning, match="the model is quantized"):
        path = export(ALL[name], tmp_path, partial(quantized, folder=tmp_path))
    model = boxcam.load(path, threads=1)
    assert model.manifest.without_candidates == ""
    for label in range(CLASSES):
        mine, hand = told(model, label), by_hand(name, NOISE, label)
        assert len(mine) == len(hand)
        gaps = np.abs(mine[:, None, :] - hand[None]).max(axis=2)
        step = 2.5 if name in ("objectness", "detr") else 0.3  # whose sides are added before they are quantised
        assert gaps.min(axis=1).max() < step
        assert gaps.min(axis=0).max() < step


@pytest.mark.parametrize("selects", [True, False], ids=["in the graph", "by boxcam"])
@pytest.mark.parametrize("resize", ["nearest to a size", "bilinear by 2"])
def test_every_picture_has_as_many_candidates_as_its_size_has_cells(resize: str, selects: bool, tmp_path: Path) -> None:
    network = Detector(resize, selects).eval().requires_grad_(False)
    limits: dict[str, Any] = {} if selects else {"score_threshold": 0.4, "nms_threshold": 0.5}
    path = written(network, tmp_path / "model.onnx")
    options: dict[str, Any] = {"layers": [BACKBONE], "preprocess": PREPROCESS, **limits}
    boxcam.export(path, output=tmp_path / "bundle", **options)
    model = boxcam.load(tmp_path / "bundle", threads=1)
    assert model.manifest.without_candidates == ""
    for height, width in PICTURES:
        image = pixels(height, width)
        given, transform = prepare(image, model.manifest.preprocess)
        boxes, logits = (one[0].numpy() for one in network.heads(network.backbone(torch.from_numpy(given))))
        corners = transform.boxes_to_image(boxes)
        place = (0.2 * width, 0.2 * height, 0.6 * width, 0.6 * height)
        for label in range(CLASSES):
            runtime = model._runtime
            prediction = runtime.predict(load_image(image, "BGR", 3), extra=runtime.selection.names)
            found = Finding(runtime, prediction).near(label, np.array(place, np.float32))
            expected = np.column_stack([logits[:, label], 1 / (1 + np.exp(-logits[:, label])), corners])
            mine = np.column_stack([found.logits, found.scores, found.boxes])
            assert len(mine) == len(expected)
            apart = np.abs(mine[:, None] - expected[None]).max(axis=2)
            assert sorted(apart.argmin(axis=1)) == list(range(len(expected)))  # each cell is one candidate
            assert apart.min(axis=1).max() < 1e-3
        assert model.explain(image, at=place).maps.shape == (1, height, width)
