"""A bundle at work: detections, features, and what it refuses to open."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.bundle import seal
from boxcam.errors import BundleError, EngineError, UnknownLayerError
from boxcam.runtime.images import read_image
from boxcam.runtime.model import Model


@pytest.fixture(scope="module")
def image(signs: Path) -> Any:
    return read_image(signs / "images" / "cat.jpg")


def test_detections_are_sorted_named_and_inside_the_image(signs_model: boxcam.Model, image: Any) -> None:
    found = signs_model.detect(image)
    height, width = image.shape[:2]
    assert len(found) >= 5
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    assert (found.boxes[:, :2] <= found.boxes[:, 2:]).all()
    assert found.names == tuple(signs_model.manifest.labels[label] for label in found.labels)
    assert found.scores == pytest.approx(1 / (1 + np.exp(-found.logits.astype(float))), abs=1e-6)
    assert (found.origin >= 0).all()  # the rows that the export pads with are gone
    assert len({tuple(origin) for origin in found.origin}) == len(found)


def test_signs_are_found(signs_model: boxcam.Model, signs: Path, image: Any) -> None:
    truth = json.loads((signs / "images" / "truth.json").read_text())["cat.jpg"]
    found = signs_model.detect(image)
    for sign in truth:
        same = [box for box, name in zip(found.boxes, found.names, strict=True) if name == sign["label"]]
        assert any(np.abs(box - sign["box"]).max() < 12 for box in same)


def test_a_prediction_carries_what_its_layer_needs(signs_model: boxcam.Model, image: Any) -> None:
    for name in signs_model.layers:
        layer = signs_model.runtime.layer(name)
        for gradient in layer.gradients:
            prediction = signs_model.runtime.predict(image, layer, gradient.engine)
            for tensor in layer.tensors:
                assert prediction.outputs[tensor.name].shape == (1, tensor.channels, tensor.height, tensor.width)
            assert set(gradient.context) <= set(prediction.outputs)
    assert not set(signs_model.runtime.predict(image).outputs) & {tensor.name for tensor in layer.tensors}


def test_patches_come_in_the_order_that_was_asked_for(signs_model: boxcam.Model, image: Any) -> None:
    layer = signs_model.runtime.layer("neck")
    prediction = signs_model.runtime.predict(image, layer)
    forth = list(signs_model.runtime.patches(prediction, layer, [0, 1, 2]))
    back = list(signs_model.runtime.patches(prediction, layer, [2, 1, 0]))
    for (one,), (other,) in zip(forth, reversed(back), strict=True):
        assert (one.tensor, one.corner) == (other.tensor, other.corner)
        assert np.allclose(one.gradient, other.gradient, rtol=1e-3, atol=1e-6)
    assert list(signs_model.runtime.patches(prediction, layer, [])) == []


def test_more_boxes_than_are_taken_at_once(signs_model: boxcam.Model, image: Any) -> None:
    layer = signs_model.runtime.layer("backbone")
    prediction = signs_model.runtime.predict(image, layer)
    count = len(prediction.detections)
    expected = list(signs_model.runtime.patches(prediction, layer, range(count)))
    few = tuple(dataclasses.replace(gradient, boxes_at_once=3) for gradient in layer.gradients)
    found = list(signs_model.runtime.patches(prediction, dataclasses.replace(layer, gradients=few), range(count)))
    assert len(found) == len(expected) == count > 3
    for (one,), (other,) in zip(found, expected, strict=True):
        assert np.allclose(one.gradient, other.gradient, rtol=1e-3, atol=1e-5 * np.abs(other.gradient).max())


def test_a_grid_says_where_cells_lie_on_the_image(signs_model: boxcam.Model, image: Any) -> None:
    layer = signs_model.runtime.layer("neck")
    prediction = signs_model.runtime.predict(image, layer)
    ((patch,),) = signs_model.runtime.patches(prediction, layer, [0])
    grid = signs_model.runtime.grid(prediction, layer, patch)
    tensor = layer.tensors[patch.tensor]
    assert tensor.stride is not None
    assert tensor.center is not None
    (stride, _), (center, _) = tensor.stride, tensor.center
    factor = max(image.shape[:2]) / 320
    assert (grid.cell_height, grid.cell_width) == pytest.approx([s * factor for s in tensor.stride])
    assert grid.y + grid.cell_height / 2 == pytest.approx(center * factor)
    # The image covers 240 rows of the canvas: of the cells below that, none takes part.
    covered = [row for row in range(tensor.height) if (row - 0.5) * stride + center < 240]
    assert (grid.rows, grid.columns) == ((0, len(covered)), (0, tensor.width))
    assert np.array_equal(signs_model.runtime.activation(prediction, layer, patch), prediction.outputs[tensor.name][0])


def test_layers_by_name(signs_model: boxcam.Model) -> None:
    assert signs_model.layers == ("neck", "backbone")
    assert signs_model.runtime.layer() is signs_model.runtime.layer("neck")
    with pytest.raises(UnknownLayerError, match=r"signs.boxcam has no layer 'Neck'\. Did you mean 'neck'\?"):
        signs_model.runtime.layer("Neck")


def test_a_model_does_not_depend_on_where_its_bundle_is_afterwards(
    signs_bundle: Path, tmp_path: Path, image: Any
) -> None:
    shutil.copytree(signs_bundle, tmp_path / "a")
    model = boxcam.load(tmp_path / "a", threads=1)
    before = model.detect(image)
    shutil.rmtree(tmp_path / "a")
    assert np.array_equal(model.detect(image).boxes, before.boxes)


def test_onnxruntime_is_missing(signs_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        EngineError,
        match=r"ONNX Runtime is needed, and is not installed here. Install it with: pip install 'boxcam\[cpu\]'",
    ):
        Model(signs_bundle)


def alter(change: Callable[[Any], object]) -> Callable[[Path], None]:
    def apply(bundle: Path) -> None:
        data = json.loads((bundle / "manifest.json").read_text())
        change(data)
        (bundle / "manifest.json").write_text(json.dumps({**data, "seal": seal(data)}))

    return apply


def another_forward(bundle: Path) -> None:
    (bundle / "forward.onnx").write_bytes(b"\x08\x01")
    digest = hashlib.sha256(b"\x08\x01").hexdigest()
    alter(lambda data: data["files"].update({"forward.onnx": digest}))(bundle)


PROMISES: dict[str, tuple[Callable[[Path], None], type[Exception], str]] = {
    "tensor": (
        alter(lambda data: data["layers"][0]["tensors"][0].update(name="p9")),
        BundleError,
        r"forward\.onnx lacks p9, which the manifest lists\. Export the model again\.",
    ),
    "output": (alter(lambda data: data["targets"][0].update(origin="whence")), BundleError, "lacks whence"),
    "size": (
        alter(lambda data: data["preprocess"].update(height=640)),
        BundleError,
        "lacks an input of 640x320, which the manifest lists",
    ),
    "gradient": (
        alter(lambda data: data["layers"][0].update(gradients=[])),
        EngineError,
        "has no gradient for layer 'neck'",
    ),
    "graph": (another_forward, BundleError, r"forward\.onnx cannot be loaded by ONNX Runtime \d"),
}


@pytest.mark.parametrize("kind", PROMISES)
def test_a_manifest_that_promises_what_is_not_there(kind: str, signs_bundle: Path, tmp_path: Path) -> None:
    change, error, message = PROMISES[kind]
    bundle = Path(shutil.copytree(signs_bundle, tmp_path / "b"))
    change(bundle)
    with pytest.raises(error, match=message) as caught:
        boxcam.load(bundle)
    assert "\n" not in str(caught.value)
