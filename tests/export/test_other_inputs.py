"""Detectors whose input is cut out of the image, or holds its pixels as they are, colours last: exported, explained."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

import boxcam
from boxcam.errors import UnknownNameError
from boxcam.export.graphs.query import find_value, static_shape
from boxcam.export.graphs.run import run_model
from boxcam.export.preprocessing.parse import parse
from boxcam.export.source import SOURCES, Source, SourceModel
from tests.export.detectors import CELLS, CLASSES, FOUND, HEIGHT, WIDTH, Detector, conv, plain
from tests.export.export_graphs import Net

Put = Callable[[SourceModel], None]
PICTURE = np.random.default_rng(5).integers(0, 256, (2 * HEIGHT, 3 * WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    def into(source: SourceModel) -> None:
        way = Source("MODEL.tiny", lambda given: given[0].endswith(".tiny"), lambda request, progress: source)
        monkeypatch.setitem(SOURCES._things, "tiny", way)

    return into


@pytest.mark.parametrize("layer", ["neck", "image"])
def test_of_a_picture_that_is_cut_only_what_was_seen_is_explained(put: Put, tmp_path: Path, layer: str) -> None:
    source = Detector().source()
    spec = dataclasses.replace(source.preprocess, resize="cover", pad_to="center", fit_height=30, fit_width=40)
    put(dataclasses.replace(source, preprocess=spec))
    boxcam.export("x.tiny", output=tmp_path / "b", layers=[layer], engine="onnx")
    found = boxcam.explain(boxcam.load(tmp_path / "b"), PICTURE, method="saliency" if layer == "image" else "gradcam")
    # 48 x 96 pixels become 30 x 60 (their shorter side 30); the canvas of 24 x 32 is rows 3 to 26, columns 14 to 45 of
    # it: pixels 4.8 to 43.2 down, 22.4 to 73.6 across; those whose centres are inside are 5 to 42 and 22 to 73.
    assert len(found) == FOUND
    lit = np.abs(np.stack([found.maps[k] for k in range(FOUND)])).max(axis=0) > 0
    rows, columns = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
    assert lit.shape == (48, 96)
    assert rows.min() >= 5
    assert rows.max() <= 42
    assert columns.min() >= 22
    assert columns.max() <= 73
    boxes = found.detections.boxes
    assert boxes[:, [0, 2]].min() >= 22.4 - 1e-4
    assert boxes[:, [1, 3]].min() >= 4.8 - 1e-4


def pixels() -> ir.Model:
    """The tiny detector as TensorFlow has it: uint8 [1, height, width, 3] in, made -2 to 2 inside."""
    net = Net()
    image = net.input("image", (1, HEIGHT, WIDTH, 3), TensorProto.UINT8)
    real = net.node("Cast", [image], to=TensorProto.FLOAT, name="real")[0]
    scaled = net.Mul(net.Sub(real, np.float32(128)), np.float32(1 / 64))
    early = net.node("Relu", [conv(net, net.Transpose(scaled, perm=[0, 3, 1, 2]), "a", (8, 3, 3, 3), 2)])[0]
    neck = net.node("Relu", [conv(net, early, "b", (8, 8, 3, 3), 2)], name="neck")[0]
    logits = net.Reshape(plain(net, neck), np.array([1, -1]))
    best, index = net.node("TopK", [net.Sigmoid(logits), np.array([FOUND])], 2, name="scores")
    corners = np.random.default_rng(0).uniform(0, 10, (CELLS, 2))
    anchors = np.concatenate([corners, corners + 9], 1).astype(np.float32)
    boxes = net.node("Gather", [anchors, net.Mod(index, np.array(CELLS))], name="boxes")[0]
    labels = net.node("Div", [index, np.array(CELLS)], name="labels")[0]
    return net.model({boxes: TensorProto.FLOAT, best: TensorProto.FLOAT, labels: TensorProto.INT64})


def test_pixels_as_they_are_with_colours_last(put: Put, tmp_path: Path) -> None:
    model = pixels()
    picture = find_value(model.graph, "image")
    assert picture is not None
    spec = parse(["tf"], static_shape(picture), picture.dtype, None)
    assert (spec.layout, spec.dtype) == ("NHWC", "uint8")
    layers = {"neck": Detector().source().layers["neck"]}
    put(dataclasses.replace(Detector().source(), model=model, preprocess=spec, layers=layers))
    boxcam.export("x.tiny", output=tmp_path / "b", layers=["neck", "image"], engine="onnx")
    loaded = boxcam.load(tmp_path / "b")
    image = PICTURE[:HEIGHT, :WIDTH]
    own = run_model(model, {"image": image[None, ..., ::-1]})
    assert loaded.detect(image).scores == pytest.approx(own["scores"].reshape(-1), abs=1e-6)
    for layer, method in (("neck", "gradcam"), ("image", "saliency")):
        found = boxcam.explain(loaded, image, layer=layer, method=method)
        assert np.abs(found.maps[0]).max() > 0
    # The gradient by the pixels is that of the same detector that normalises outside, divided by 64.
    put(dataclasses.replace(Detector().source(), layers=layers))
    boxcam.export("x.tiny", output=tmp_path / "c", layers=["image"], engine="onnx")
    with pytest.raises(
        UnknownNameError,
        match=r"colours\. There is no other layer: pass method=.hirescam., which is for both, or method=.saliency.\.$",
    ):
        boxcam.explain(boxcam.load(tmp_path / "c"), image, method="gradcam")
    outside = boxcam.explain(boxcam.load(tmp_path / "c"), image, layer="image", method="saliency")
    inside = boxcam.explain(loaded, image, layer="image", method="saliency")
    assert outside.detections.labels.tolist() == inside.detections.labels.tolist()
    for k in range(CLASSES):
        assert inside.maps[k] * 64 == pytest.approx(outside.maps[k], rel=1e-3, abs=1e-4)
