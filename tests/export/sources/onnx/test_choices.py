"""Plain ONNX files: how a model reports its detections, where outputs of one shape may mean several things."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper

from boxcam.errors import SourceError
from boxcam.export.heads.convention import Convention
from boxcam.export.inspect import survey
from boxcam.export.source import Request
from boxcam.export.sources.onnx import opened as opening
from boxcam.export.sources.onnx import source, stated
from boxcam.export.sources.onnx.detections import detections
from tests.export.sources.onnx.deployed import CASES, NAMES, YOLO, Case, cxcywh_graph, export
from tests.export.sources.onnx.small import Small, selected

RANDOM = np.random.default_rng(5)
STRETCH = ("imagenet", "resize=stretch")


def found(path: Path, **options: Any) -> Convention:
    request = Request((str(path),), **{"preprocess": STRETCH, **options})
    return detections(opening.read(request), request).convention


class Queries(Small):
    """A transformer as far as it matters: 16 tokens of a map, normalized, and from each four numbers and C logits.

    Args:
        written: how: ``initializers``; ``shared``, a bias by way of an Identity and in front of the product; ``nodes``,
            weights as nodes; ``parts``, the normalization in the operators that it had before opset 17.
    """

    def __init__(self, written: str, classes: int = 3) -> None:
        super().__init__()
        self.written = written
        tokens = self.Transpose(self.Reshape(self.map(6), np.array([1, 6, -1])), perm=[0, 2, 1])
        self.tokens = self.normalized(tokens)
        self.logits = self.product(classes)
        self.boxes = self.Sigmoid(self.product(4))

    def normalized(self, tokens: str) -> str:
        one, zero = self.weight(np.ones(6)), self.weight(np.zeros(6))
        if self.written != "parts":
            return self.LayerNormalization(tokens, one, zero)
        apart = self.Sub(tokens, self.ReduceMean(tokens, np.array([-1])))
        variance = self.ReduceMean(self.Pow(apart, np.float32(2)), np.array([-1]))
        return self.Add(self.Mul(self.Div(apart, self.Sqrt(self.Add(variance, np.float32(1e-5)))), one), zero)

    def product(self, width: int) -> str:
        product = self.MatMul(self.tokens, self.weight(RANDOM.normal(0, 1, (6, width))))
        bias = self.weight(RANDOM.normal(0, 1, width))
        return self.Add(self.Identity(bias), product) if self.written == "shared" else self.Add(product, bias)

    def weight(self, array: np.ndarray) -> str:
        if self.written != "nodes":
            return self.constant(array)
        return self.node("Constant", [], value=numpy_helper.from_array(array.astype(np.float32)))[0]

    def apart(self, path: Path) -> Path:
        self.node("Identity", [self.logits], name="classes")
        self.node("Identity", [self.boxes], name="places")
        return self.save(path, places=TensorProto.FLOAT, classes=TensorProto.FLOAT)

    def joined(self, path: Path) -> Path:
        """As Ultralytics' RT-DETR has it: [1, 16, 4 + C]."""
        scores = self.Sigmoid(self.Squeeze(self.Concat(self.Unsqueeze(self.logits, np.array([0])), axis=0), [0]))
        self.node("Concat", [self.boxes, scores], axis=-1, name="output0")
        return self.save(path, output0=TensorProto.FLOAT)

    def table(self, path: Path) -> Path:
        """As later ones have it: [1, 16, 6], a row for each token's best class."""
        best = self.ReduceMax(self.Sigmoid(self.logits), np.array([-1]))
        label = self.Cast(self.ArgMax(self.logits, axis=-1), to=TensorProto.FLOAT)
        self.node("Concat", [self.boxes, best, label], axis=-1, name="output0")
        return self.save(path, output0=TensorProto.FLOAT)


WAYS = ("initializers", "shared", "nodes", "parts")


@pytest.mark.parametrize("written", WAYS)
def test_rows_of_a_transformer_are_queries(written: str, tmp_path: Path) -> None:
    apart = found(Queries(written).apart(tmp_path / "apart.onnx"), score_activation="sigmoid")
    assert (apart.kind, apart.scale) == ("queries", "normalized")
    joined = found(Queries(written).joined(tmp_path / "joined.onnx"), **NAMES)
    assert (joined.kind, joined.form, joined.scale) == ("queries", "cxcywh", "normalized")


def save(case: Case, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(case, path)
    return path


@pytest.mark.parametrize("whole", [True, False])
def test_rows_of_a_convolution_are_candidates(whole: bool, tmp_path: Path) -> None:
    """YOLOv8 turned round, [1, N, 4 + C], and boxes beside scores: rows overlap, so there is suppression."""
    if whole:
        case = Case(lambda b, s: torch.cat([cxcywh_graph(b), s.sigmoid()], 2), ("out",), CASES["yolov5"].expected)
    else:
        case = CASES["boxes and scores"]
    convention = found(save(case, tmp_path / "model.onnx"), **NAMES)
    assert convention.kind == "candidates"
    assert convention.objectness is None
    assert (convention.best_class_only, convention.iou) == ((True, 0.7) if whole else (False, None))


@pytest.mark.parametrize(
    ("size", "scale"),
    [(30, "pixels"), (0.01, "normalized")],
)
def test_the_scale_is_seen_unless_it_is_said(size: float, scale: str, tmp_path: Path) -> None:
    assert found(selected(tmp_path / "model.onnx", size)).scale == scale
    nothing = selected(tmp_path / "nothing.onnx", 0)
    with pytest.raises(SourceError, match="found no box"):
        found(nothing)
    assert found(nothing, box_scale=scale).scale == scale


@pytest.mark.parametrize(
    ("said", "specs"),
    [
        ({}, ["yolo"]),
        ({"description": "Ultralytics YOLOv8n model trained on coco.yaml"}, ["yolo"]),
        ({"description": "Ultralytics rtdetr-l model trained on coco.yaml"}, ["yolo", "resize=stretch"]),
        ({"description": "Ultralytics RT-DETR-X model"}, ["yolo", "resize=stretch"]),
        ({"task": "classify"}, ["resize=cover", "scale=0-1", "color=RGB", "interpolation=area"]),
    ],
)
def test_preprocessing_of_ultralytics(said: dict[str, str], specs: list[str]) -> None:
    metadata = {**YOLO, **said}
    assert list(stated.preprocessing_of(Request(("m.onnx",)), metadata)) == specs
    assert list(stated.preprocessing_of(Request(("m.onnx",), preprocess="tf"), metadata)) == ["tf"]


@pytest.mark.parametrize("make", [Queries.joined, Queries.table])
@pytest.mark.parametrize(("given", "resize"), [((), "stretch"), (("yolo",), "fit")])
def test_pictures_of_queries_are_stretched(
    given: tuple[str, ...], resize: str, make: Callable[[Queries, Path], Path], tmp_path: Path
) -> None:
    """Also where the file does not name RT-DETR, but not where the user says otherwise."""
    path = make(Queries("initializers"), tmp_path / "model.onnx")
    written = onnx.load(str(path))
    onnx.helper.set_model_props(written, {**YOLO, "imgsz": "[32, 32]", "description": "Ultralytics mine model"})
    onnx.save(written, str(path))
    layer = next(node.output[0] for node in written.graph.node if node.op_type == "Relu")
    request = Request((str(path),), preprocess=given, layers=(layer,))
    loaded = source.load(request, lambda _: None)
    assert (loaded.preprocess.resize, loaded.preprocess.fit_height) == (resize, 32)
    told = survey(request, lambda _: None, seconds=0).preprocessing
    assert told == (given or ("yolo", "resize=stretch"))


def test_boxes_of_a_model_that_reads_its_scale_are_in_pixels(tmp_path: Path) -> None:
    """Of PaddleDetection: though it finds nothing, so that no box can be looked at, nothing is asked."""
    net = Small()
    factor = net.input("scale_factor", (1, 2))
    rows = net.Transpose(net.Reshape(net.map(6), np.array([6, -1])), perm=[1, 0])
    places, logits = net.node("Split", [rows, np.array([4, 2])], 2, axis=1)
    turned = net.Concat(
        net.Gather(factor, np.array([1, 0]), axis=1), net.Gather(factor, np.array([1, 0]), axis=1), axis=1
    )
    boxes = net.Mul(net.Div(places, turned), np.float32(0))
    score = net.Unsqueeze(net.ReduceMax(net.Sigmoid(logits), np.array([1]), keepdims=0), np.array([1]))
    kind = net.Cast(net.ArgMax(logits, axis=1), to=TensorProto.FLOAT)
    net.node("Concat", [kind, score, boxes], axis=1, name="table")
    convention = found(net.save(tmp_path / "paddle.onnx", table=TensorProto.FLOAT))
    assert (convention.scale, convention.form, str(convention.boxes)) == ("pixels", "xyxy", "table[2:6]")
