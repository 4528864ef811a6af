"""A float16 detector, exported and explained: it stays as it is, and its gradients are those of torch in float32."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnxruntime.transformers.float16 import convert_float_to_float16

import boxcam
from boxcam.bundle import FORWARD, read
from boxcam.errors import ExportError
from boxcam.export.source import SOURCES, Source, SourceModel
from boxcam.export.verify.onnx_gradient import embedded
from tests.export.detectors import CLASSES, HEIGHT, WIDTH, Detector
from tests.export.heads import weights

PICTURE = np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
F16, F32 = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
Put = Callable[[bool], ir.Model]


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> Put:
    """Put the tiny detector in float16 in the way of ``x.tiny``, its inputs and outputs too if they are not kept."""

    def make(keep: bool) -> ir.Model:
        plain = Detector().source()
        model = ir.from_proto(convert_float_to_float16(ir.to_proto(plain.model), keep_io_types=keep))
        model.graph.sort()  # the tool puts its nodes last
        spec = plain.preprocess if keep else dataclasses.replace(plain.preprocess, dtype="float16")
        source: SourceModel = dataclasses.replace(plain, model=model, preprocess=spec)
        way = Source("MODEL.tiny", lambda given: given[0].endswith(".tiny"), lambda request, progress: source)
        monkeypatch.setitem(SOURCES._things, "tiny", way)
        return model

    return make


def as_half(key: str, *shape: int) -> torch.Tensor:
    return torch.tensor((2 * weights(key, *shape)).astype(np.float16).astype(np.float32))


def behind(layer: str, x: torch.Tensor) -> torch.Tensor:
    """The logits of what a layer holds, in torch, in float32, with the weights as float16 holds them."""
    if layer == "image":
        x = torch.relu(torch.conv2d(x, as_half("a", 8, 3, 3, 3), stride=2, padding=1))
    if layer in ("image", "early"):
        x = torch.relu(torch.conv2d(x, as_half("b", 8, 8, 3, 3), stride=2, padding=1))
    inner = torch.relu(torch.conv2d(x, as_half("head.a", 8, 8, 3, 3), padding=1))
    return torch.conv2d(inner, as_half("head.b", CLASSES, 8, 3, 3), padding=1)


@pytest.mark.parametrize("layer", ["neck", "early", "image"])
@pytest.mark.parametrize("keep", [True, False])
def test_gradients_are_torchs_in_float32(put: Put, tmp_path: Path, keep: bool, layer: str) -> None:
    put(keep)
    manifest = boxcam.export("x.tiny", output=tmp_path / "b", layers=[layer], engine="onnx")
    assert manifest.verification["outputs"] <= 1e-3
    model = boxcam.load(tmp_path / "b")
    chosen = model.runtime.layer(layer)
    prediction = model.runtime.predict(PICTURE, chosen)
    assert len(prediction.detections) == 5
    features = prediction.outputs[chosen.tensors[0].name]
    assert features.dtype == np.float32
    leaf = torch.tensor(features, requires_grad=True)
    logits = behind(layer, leaf)
    strength = 0.0
    found = model.runtime.patches(prediction, chosen, range(5))
    for patches, origin, value in zip(found, prediction.detections.origin, prediction.detections.logits, strict=True):
        own = logits[tuple(int(i) for i in origin[1:])]
        assert own.item() == pytest.approx(value, abs=5e-3)
        (expected,) = torch.autograd.grad(own, leaf, retain_graph=True)
        got = sum(embedded(patch, *expected.shape[2:]) for patch in patches)
        assert got == pytest.approx(expected[0].numpy(), abs=1e-5)
        strength = max(strength, float(expected.abs().max()))
    assert strength > 0.005
    assert len(boxcam.explain(model, PICTURE, method="hirescam")) == 5


@pytest.mark.parametrize("keep", [True, False])
def test_the_detector_stays_in_float16(put: Put, tmp_path: Path, keep: bool) -> None:
    before = ir.to_proto(put(keep)).graph
    boxcam.export("x.tiny", output=tmp_path / "b", layers=["neck", "early"])
    forward = onnx.load(tmp_path / "b" / FORWARD).graph
    assert [v.type.tensor_type.elem_type for v in forward.input] == [F32 if keep else F16]
    assert {v.name: v.type.tensor_type.elem_type for v in forward.output}.items() >= {
        **dict.fromkeys(["boxes", "scores", "beside", "neck", "early", "logit"], F32),
        "labels": onnx.TensorProto.INT64,
    }.items()
    halves = {t.name for t in forward.initializer if t.data_type == F16}
    convolutions = [node for node in forward.node if node.op_type == "Conv"]
    assert len(convolutions) == len([node for node in before.node if node.op_type == "Conv"]) == 5
    assert {node.input[1] for node in convolutions} <= halves
    gradient = onnx.load(tmp_path / "b" / "gradient.neck.onnx").graph
    narrow = {t.name for t in gradient.initializer if t.data_type == F16}  # shared with the detector, and widened
    assert all(node.op_type == "Cast" for node in gradient.node if narrow & set(node.input))
    manifest = read(tmp_path / "b")
    assert {g.engine for g in manifest.layers[0].gradients} == {"onnx", "torchscript"}
    assert manifest.source["precision"] == "float16; its gradients are computed in float32"
    assert manifest.preprocess.dtype == ("float32" if keep else "float16")


def test_its_boxes_are_its_own(put: Put, tmp_path: Path) -> None:
    from boxcam.export.graphs.run import run_model
    from boxcam.runtime.preprocess import prepare

    model = put(False)
    boxcam.export("x.tiny", output=tmp_path / "b", engine="onnx")
    explained = boxcam.load(tmp_path / "b")
    image = prepare(PICTURE, explained.manifest.preprocess)[0]
    assert image.dtype == np.float16
    own = run_model(model, {"image": image})
    found = explained.runtime.predict(PICTURE)
    assert found.detections.scores == pytest.approx(own["scores"].reshape(-1), abs=1e-3)
    assert found.detections.labels.tolist() == own["labels"].reshape(-1).tolist()
    boxes = found.transform.boxes_to_canvas(found.detections.boxes)
    assert boxes == pytest.approx(own["boxes"].reshape(-1, 4).astype(np.float32), abs=1e-2)


def test_inspect_says_so(put: Put, tmp_path: Path, cli: Callable[..., object]) -> None:
    put(True)
    boxcam.export("x.tiny", output=tmp_path / "b", engine="onnx")
    assert "precision     float16; its gradients are computed in float32" in cli("inspect", str(tmp_path / "b")).output


def test_an_input_of_another_type_than_the_preprocessing_is_refused(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = put(False)
    source = dataclasses.replace(Detector().source(), model=model)
    monkeypatch.setitem(SOURCES._things, "tiny", Source("M", lambda given: True, lambda request, progress: source))
    with pytest.raises(ExportError, match="input image is float16, but an image is prepared as float32"):
        boxcam.export("x.tiny", output=tmp_path / "b", source="tiny")
