"""Bundles against mmdet itself: detections, logits and gradients of random-weight detectors by mmdet's own configs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmdet.structures import DetDataSample

import boxcam
from boxcam.bundle import Layer
from boxcam.export.sources import mmdet_config
from boxcam.export.sources.mmdet_bridges import bridged
from boxcam.runtime.images import read_image
from boxcam.runtime.model import Model
from boxcam.types import Patch
from tests.export.parity.mmdet_models import PICTURES, SHAPE, canvas, make
from tests.export.parity.reference import Dense, TwoStage

FAMILIES = {
    "retinanet": "retinanet/retinanet_r18_fpn_1x_coco.py",
    "faster_rcnn": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
}
FORMS = {  # of the ONNX gradient, and of the TorchScript one
    ("retinanet", "neck"): ("windows", "windows"),
    ("retinanet", "backbone"): ("windows", "whole"),
    ("faster_rcnn", "roi"): ("rows", "rows"),
    ("faster_rcnn", "neck"): ("windows", "whole"),
    ("faster_rcnn", "backbone"): ("windows", "whole"),
}
ENGINES = ("onnx", "torchscript")
BOXES = 20


@dataclass
class Pair:
    """A detector in mmdet and as a bundle."""

    config: Any
    source: Any
    deployed: Model


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Pair]]:
    made: dict[str, Pair] = {}
    folder = tmp_path_factory.mktemp("parity")
    torch.set_num_threads(2)
    with bridged():
        for name, config_name in FAMILIES.items():
            config_path, checkpoint, model = make(config_name, folder)
            bundle = folder / f"{name}.boxcam"
            boxcam.export(config_path, checkpoint, output=bundle, shape=SHAPE, sample=PICTURES[0])
            config = mmdet_config.read_config(str(config_path))
            made[name] = Pair(config, model, boxcam.load(bundle))
        yield made


def reference(pair: Pair, picture: Path) -> Dense | TwoStage:
    image = canvas(pair.config, picture)
    if hasattr(pair.source, "roi_head"):
        rois = pair.deployed.predict(read_image(picture), pair.deployed.layer("roi")).outputs["roi.rois"]
        return TwoStage(pair.source, image, rois)
    return Dense(pair.source, image)


def whole(patch: Patch, shape: tuple[int, ...]) -> np.ndarray:
    """A patch's gradient put into a map of zeros; where it overhangs the map it must be zero."""
    full = np.zeros(shape, np.float32)
    (y, x), (h, w) = patch.corner, patch.gradient.shape[1:]
    y0, y1, x0, x1 = max(y, 0), min(y + h, shape[1]), max(x, 0), min(x + w, shape[2])
    full[:, y0:y1, x0:x1] = patch.gradient[:, y0 - y : y1 - y, x0 - x : x1 - x]
    outside = np.ones((h, w), bool)
    outside[y0 - y : y1 - y, x0 - x : x1 - x] = False
    assert not patch.gradient[:, outside].any()
    return full


def test_detections_are_mmdets_own(pairs: dict[str, Pair], family: str) -> None:
    pair = pairs[family]
    count = 0
    for picture in PICTURES:
        sample = DetDataSample()
        sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape", "batch_input_shape"), SHAPE)
        sample.set_metainfo({**sizes, "scale_factor": (1.0, 1.0)})
        with torch.no_grad():
            expected = pair.source.predict(canvas(pair.config, picture), [sample], rescale=False)[0].pred_instances
        prediction = pair.deployed.predict(read_image(picture))
        boxes = prediction.transform.boxes_to_canvas(prediction.detections.boxes)
        limit = [prediction.transform.resized_width, prediction.transform.resized_height] * 2
        fits_image = (expected.bboxes.numpy() <= limit).all(1)  # others are cut off at the image's edge
        assert len(prediction.detections) == len(expected)
        left = set(range(len(boxes)))
        for box, score, label, fits in zip(expected.bboxes, expected.scores, expected.labels, fits_image, strict=True):
            same = [
                k
                for k in left
                if abs(prediction.detections.scores[k] - float(score)) < 1e-3
                and prediction.detections.labels[k] == int(label)
                and (not fits or np.abs(boxes[k] - box.numpy()).max() < 0.5)
            ]
            assert same, f"mmdet's {box.tolist()} of class {int(label)}, score {float(score):.4f} has no counterpart"
            left.remove(min(same, key=lambda k: abs(prediction.detections.scores[k] - float(score))))
        count += len(boxes)
    assert count >= 50


def raw_logits(model: Model, prediction_input: np.ndarray) -> list[np.ndarray]:
    """The deployed graph's whole tensors of logits."""
    graph = onnx.load(model.path / "forward.onnx")
    names = [logits.name for logits in model.manifest.logits]
    graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(names, {model.manifest.input: prediction_input}))


def test_the_logit_at_origin_reproduces_each_score(pairs: dict[str, Pair], family: str) -> None:
    pair = pairs[family]
    count, worst = 0, 0.0
    for picture in PICTURES:
        found = pair.deployed.predict(read_image(picture)).detections
        logits = raw_logits(pair.deployed, canvas(pair.config, picture).numpy())
        for k, (number, *position) in enumerate(found.origin.tolist()):
            tensor = logits[number].astype(np.float64)
            value = tensor[tuple(position)[: tensor.ndim]]
            assert value == found.logits[k]
            if family == "retinanet":
                score, label = 1 / (1 + np.exp(-value)), position[1] % 80
            else:
                row = tensor[position[0]]
                score, label = (
                    float((np.exp(row - row.max()) / np.exp(row - row.max()).sum())[position[1]]),
                    position[1],
                )
            assert label == found.labels[k]
            assert np.isfinite(score)
            worst = max(worst, abs(float(score) - float(found.scores[k])))
            count += 1
    assert count >= 200, "hundreds of boxes"
    assert worst <= 1e-6


def test_mmdets_own_logit_at_origin_makes_each_box(pairs: dict[str, Pair], family: str) -> None:
    """Score, label and box that mmdet makes of its logit there are those of the detection."""
    pair = pairs[family]
    for picture in PICTURES:
        prediction = pair.deployed.predict(read_image(picture))
        source, found = reference(pair, picture), prediction.detections
        for k in range(len(found)):
            box, score, label = source.box(found.origin[k].tolist())
            assert label == found.labels[k]
            assert abs(score - found.scores[k]) < 1e-3  # float32 noise of two runtimes, grown by random weights
            assert np.abs(prediction.transform.boxes_to_image(box[None])[0] - found.boxes[k]).max() < 0.5


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "layer_name"), FORMS)
def test_gradients_are_mmdets_own(pairs: dict[str, Pair], name: str, layer_name: str, engine: str) -> None:
    pair = pairs[name]
    layer = pair.deployed.layer(layer_name)
    assert layer.gradients[engine].form == FORMS[name, layer_name][ENGINES.index(engine)]
    worst, count, tensors = 0.0, 0, set()
    for picture in PICTURES:
        prediction = pair.deployed.predict(read_image(picture), layer, engine)
        boxes = range(min(BOXES, len(prediction.detections)))
        cut = reference(pair, picture).cut(layer_name)
        for k, patch in zip(boxes, pair.deployed.patches(prediction, layer, list(boxes), engine), strict=True):
            target, leaves = cut(prediction.detections.origin[k].tolist())
            expected = _gradient(target, leaves, layer, patch)
            assert np.abs(expected).max() > 1e-6, "a gradient that vanishes proves nothing"
            found = whole(patch, expected.shape)
            error = float(np.abs(found - expected).max() / np.abs(expected).max())
            assert error <= 1e-4  # here and not of the worst alone: max() loses a NaN
            worst = max(worst, error)
            tensors.add(patch.tensor)
            count += 1
    print(f"{name} {layer_name} {engine}: {count} boxes, tensors {sorted(tensors)}, relative error {worst:.1e}")  # noqa: T201
    assert count >= 50
    assert worst <= 1e-4


def _gradient(target: torch.Tensor, leaves: list[torch.Tensor], layer: Layer, patch: Patch) -> np.ndarray:
    """mmdet's gradient with respect to the tensor that the patch is for; no other one of the layer may have any."""
    mine = leaves[-1] if layer.name == "backbone" else leaves[patch.tensor]
    gradients = torch.autograd.grad(target, leaves, retain_graph=True, allow_unused=True)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        assert leaf is mine or layer.name == "backbone" or gradient is None or not gradient.any()
    (found,) = (g for leaf, g in zip(leaves, gradients, strict=True) if leaf is mine)
    assert found is not None
    return found[0].numpy()


@pytest.mark.parametrize("name", ENGINES)
def test_windows_equal_whole_maps_at_every_border(pairs: dict[str, Pair], name: str) -> None:
    """Logits along the borders and corners of every level of RetinaNet, whether or not a box comes from them."""
    pair = pairs["retinanet"]
    layer = pair.deployed.layer("neck")
    prediction = pair.deployed.predict(read_image(PICTURES[0]), layer, name)
    source = reference(pair, PICTURES[0])
    assert isinstance(source, Dense)
    engine = pair.deployed.engine(layer, name)
    origins = []
    for level, tensor in enumerate(layer.tensors):
        h, w = tensor.height, tensor.width
        edges = {
            (0, 0),
            (0, w - 1),
            (h - 1, 0),
            (h - 1, w - 1),
            (0, w // 2),
            (h // 2, 0),
            (h - 1, w // 2),
            (h // 2, w - 1),
        }
        origins += [[level, 0, 37 + level, y, x] for y, x in sorted(edges | {(min(2, h - 1), min(3, w - 1))})]
    features, context = [t.name for t in layer.tensors], layer.gradients[name].context
    patches = engine.patches(prediction.outputs, features, context, np.array(origins, np.int64))
    cut = source.cut("neck")
    for origin, patch in zip(origins, patches, strict=True):
        assert patch.tensor == origin[0]
        expected = _gradient(*cut(origin), layer, patch)
        assert np.abs(whole(patch, expected.shape) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", ENGINES)
def test_proposals_of_every_size_have_their_gradient_on_their_own_level(pairs: dict[str, Pair], name: str) -> None:
    """Faster R-CNN at the neck, for proposals of all levels, whether or not a box comes from them."""
    pair = pairs["faster_rcnn"]
    layer = pair.deployed.layer("neck")
    cut = reference(pair, PICTURES[0]).cut("neck")
    rois = pair.deployed.predict(read_image(PICTURES[0]), pair.deployed.layer("roi")).outputs["roi.rois"]
    size = np.sqrt((rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1]))
    levels = np.clip(np.floor(np.log2(size / 56 + 1e-6)), 0, 3).astype(int)  # as mmdet's SingleRoIExtractor has it
    rows = [int(row) for level in set(levels) for row in np.flatnonzero(levels == level)[:3]]
    assert len(set(levels)) >= 2
    origins = [[0, row, 17 + i] for i, row in enumerate(rows)]
    prediction = pair.deployed.predict(read_image(PICTURES[0]), layer, name)
    features, context = [t.name for t in layer.tensors], layer.gradients[name].context
    patches = pair.deployed.engine(layer, name).patches(
        prediction.outputs, features, context, np.array(origins, np.int64)
    )
    for origin, patch in zip(origins, patches, strict=True):
        assert patch.tensor == levels[origin[1]]
        expected = _gradient(*cut(origin), layer, patch)
        assert np.abs(whole(patch, expected.shape) - expected).max() <= 1e-4 * np.abs(expected).max()
