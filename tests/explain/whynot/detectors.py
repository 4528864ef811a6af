"""Detectors of every family that read their boxes and logits off the pixels of a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import TensorProto

import boxcam
from tests.explain.whynot.scene import (
    CLASSES,
    COARSE,
    COLUMNS,
    FINE,
    LOWEST,
    NAMES,
    ROWS,
    SIZE,
    Thing,
    picture,
)
from tests.export.export_graphs import Net

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Reader(Net):
    """A graph that reads the numbers of cells."""

    def __init__(self) -> None:
        super().__init__(18)
        same = np.zeros((3, 3, 3, 3), np.float32)
        same[np.arange(3), np.arange(3), 1, 1] = 1
        image = self.input("image", (1, 3, SIZE, SIZE))
        self.early = self.node("Relu", [self.Conv(image, same, pads=[1] * 4, kernel_shape=[3, 3])], name="early")[0]
        self.layers = {stride: self._layer(stride) for stride in (FINE, COARSE)}

    def _layer(self, stride: int) -> str:
        weight = np.zeros((COLUMNS, 3, stride, stride), np.float32)
        for k in range(COLUMNS):
            weight[k, 0, ROWS[stride] + k // 8, k % 8] = 1
        found = self.Conv(self.early, weight, strides=[stride] * 2, kernel_shape=[stride] * 2)
        return self.node("Relu", [found], name=f"layer.{stride}")[0]

    def head(self, stride: int, first: int, end: int, scale: float, shift: float) -> str:
        """Some numbers of each cell: [1, end - first, cells]."""
        weight = np.zeros((end - first, COLUMNS, 1, 1), np.float32)
        weight[np.arange(end - first), np.arange(first, end)] = scale
        bias = np.full(end - first, shift, np.float32)
        found = self.Conv(self.layers[stride], weight, bias, kernel_shape=[1, 1])
        return self.Reshape(found, np.array([1, end - first, -1]))

    def logits(self, stride: int, background: bool = False) -> str:
        """Of the classes: [1, C, cells]."""
        return self.head(stride, 5, 5 + CLASSES + background, 1 / 16, LOWEST)

    def objectness(self, stride: int) -> str:
        """Its logits: [1, 1, cells]."""
        return self.head(stride, 4, 5, 1 / 16, LOWEST)

    def middles(self, stride: int) -> Any:
        """Of the cells, twice: float32 [1, 4, cells]."""
        x, y = np.meshgrid(*[stride * (np.arange(SIZE // stride) + 0.5)] * 2)
        return np.stack([x, y, x, y], 0).reshape(1, 4, -1).astype(np.float32)

    def corners(self, stride: int) -> str:
        """Boxes: [1, 4, cells]."""
        sides = self.head(stride, 0, 4, 1 / 4, 0)
        return self.Add(self.middles(stride), self.Mul(sides, np.array([-1, -1, 1, 1], np.float32).reshape(1, 4, 1)))

    def centres(self, stride: int) -> str:
        """The same as middle and size."""
        way = np.array([[0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [-1, 0, 1, 0], [0, -1, 0, 1]], np.float32)
        return self.MatMul(way, self.corners(stride))

    def both(self, of: Callable[[int], str]) -> str:
        """Cells of both levels: [1, n, cells]."""
        return self.Concat(of(FINE), of(COARSE), axis=2)

    def lines(self, found: str) -> str:
        """[1, n, N] as [N, n]."""
        return self.Transpose(self.Squeeze(found, np.array([0])), perm=[1, 0])

    def chosen(self, boxes: str, scores: str, iou: float, threshold: float, most: int) -> dict[str, int]:
        """Suppression class by class of [N, 4] and [N, C], then the best few."""
        limits = (np.array([100]), np.array([iou], np.float32), np.array([threshold], np.float32))
        by_class = self.Unsqueeze(self.Transpose(scores, perm=[1, 0]), np.array([0]))
        kept = self.NonMaxSuppression(self.Unsqueeze(boxes, np.array([0])), by_class, *limits)
        values = self.GatherND(by_class, kept)
        _, order = self.node("TopK", [values, self.Min(self.Shape(values), np.array([most]))], 2, name="scores")
        kept = self.Gather(kept, order, axis=0)
        self.node("Gather", [kept, np.array(1)], name="labels", axis=1)
        self.node("Gather", [boxes, self.Gather(kept, np.array(2), axis=1)], name="boxes", axis=0)
        return {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}


def _dense(net: Reader) -> dict[str, int]:
    """The best cells of each level, suppression, the best five boxes."""
    parts = []
    for stride, count in ((FINE, 12), (COARSE, 6)):
        scores, boxes = net.lines(net.Sigmoid(net.logits(stride))), net.lines(net.corners(stride))
        best = net.node("ReduceMax", [scores, np.array([1])], keepdims=0)[0]
        _, rows = net.node("TopK", [best, np.array([count])], 2)
        parts.append((net.Gather(boxes, rows, axis=0), net.Gather(scores, rows, axis=0)))
    boxes, scores = (net.Concat(*part, axis=0) for part in zip(*parts, strict=True))
    return net.chosen(boxes, scores, 0.5, 0.05, 5)


def _yolo(net: Reader) -> dict[str, int]:
    """A table of middles, sizes and probabilities; boxcam suppresses."""
    net.node("Concat", [net.both(net.centres), net.Sigmoid(net.both(net.logits))], axis=1, name="output0")
    return {"output0": FLOAT}


def _objectness(net: Reader) -> dict[str, int]:
    """The same with an objectness, line by line."""
    parts = [net.both(net.centres), net.Sigmoid(net.both(net.objectness)), net.Sigmoid(net.both(net.logits))]
    net.node("Transpose", [net.Concat(*parts, axis=1)], perm=[0, 2, 1], name="output")
    return {"output": FLOAT}


def _background(net: Reader) -> dict[str, int]:
    """A softmax whose last class is the background; boxcam suppresses."""
    logits = net.both(lambda stride: net.logits(stride, background=True))
    net.node("Softmax", [net.Transpose(logits, perm=[0, 2, 1])], axis=2, name="scores")
    net.node("Transpose", [net.both(net.corners)], perm=[0, 2, 1], name="boxes")
    return {"boxes": FLOAT, "scores": FLOAT}


GROWN = 2.0
"""By how many pixels each class's box is larger on all sides than that of the class before."""


def _two_stages(net: Reader, *, by_class: bool) -> dict[str, int]:
    """Sixteen boxes by objectness, suppression, the first six; RoIAlign in their middles; a box for each class."""
    decoded = net.lines(net.corners(FINE))
    best, rows = net.node("TopK", [net.Reshape(net.objectness(FINE), np.array([-1])), np.array([16])], 2)
    some = net.Gather(decoded, rows, axis=0)
    limits = (np.array([100]), np.array([0.7], np.float32))
    first = net.Reshape(best, np.array([1, 1, -1]))
    kept = net.NonMaxSuppression(net.Unsqueeze(some, np.array([0])), first, *limits)
    kept = net.Slice(kept, np.array([0]), np.array([6]), np.array([0]))
    rois = net.Gather(some, net.Gather(kept, np.array(2), axis=1), axis=0)
    number = net.Gather(kept, np.array(0), axis=1)
    size = {"output_height": 1, "output_width": 1, "sampling_ratio": 1, "spatial_scale": 1 / FINE}
    pooled = net.node("RoiAlign", [net.layers[FINE], rois, number], name="pooled", **size)[0]
    weight = np.zeros((COLUMNS, CLASSES + 1), np.float32)
    weight[np.arange(5, 5 + CLASSES + 1), np.arange(CLASSES + 1)] = 1 / 16
    logits = net.Gemm(net.Flatten(pooled), weight, np.full(CLASSES + 1, LOWEST, np.float32))
    scores = net.Slice(net.Softmax(logits, axis=1), np.array([0]), np.array([CLASSES]), np.array([1]))
    if not by_class:
        return net.chosen(rois, scores, 0.5, 0.05, 5)
    wider = GROWN * np.arange(CLASSES)[:, None] * np.array([-1, -1, 1, 1])
    boxes = net.Reshape(net.Add(net.Unsqueeze(rois, np.array([1])), wider.astype(np.float32)), np.array([-1, 4]))
    line = net.Reshape(scores, np.array([1, 1, -1]))
    label = net.Mod(net.Range(np.array(0), net.Size(scores), np.array(1)), np.array(CLASSES))
    apart = net.Add(boxes, net.Unsqueeze(net.Mul(net.Cast(label, to=FLOAT), np.float32(1000)), np.array([1])))
    limits = (np.array([100]), np.array([0.5], np.float32), np.array([0.05], np.float32))
    kept = net.Gather(net.NonMaxSuppression(net.Unsqueeze(apart, np.array([0])), line, *limits), np.array(2), axis=1)
    values = net.Gather(net.Reshape(scores, np.array([-1])), kept)
    _, order = net.node("TopK", [values, net.Min(net.Shape(values), np.array([5]))], 2, name="scores")
    kept = net.Gather(kept, order)
    net.node("Gather", [label, kept], name="labels")
    net.node("Gather", [boxes, kept], name="boxes", axis=0)
    return {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}


def _queries(net: Reader) -> dict[str, int]:
    """The best ten of all queries and classes."""
    flat = net.Reshape(net.lines(net.logits(FINE)), np.array([-1]))
    _, index = net.node("TopK", [net.Sigmoid(flat), np.array([10])], 2, name="scores")
    net.node("Mod", [index, np.array(CLASSES)], name="labels")
    net.node("Gather", [net.lines(net.corners(FINE)), net.Div(index, np.array(CLASSES))], name="boxes", axis=0)
    return {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}


def _detr(net: Reader) -> dict[str, int]:
    """Logits of each query, the last one of nothing, and its box as middle and size from 0 to 1."""
    net.node("Transpose", [net.logits(FINE, background=True)], perm=[0, 2, 1], name="pred_logits")
    boxes = net.Mul(net.centres(FINE), np.float32(1 / SIZE))
    net.node("Transpose", [boxes], perm=[0, 2, 1], name="pred_boxes")
    return {"pred_logits": FLOAT, "pred_boxes": FLOAT}


@dataclass(frozen=True)
class Family:
    """A detector, and what is known of it.

    Attributes:
        build: of a graph the outputs.
        options: of its export.
        threshold: a box is reported from this score on.
        iou: above which a better box of its class suppresses another; None without suppression.
        most: boxes that are reported.
        softmax: whether its classes share a softmax with a background.
        objectness: whether its scores have this factor.
        best_only: whether a cell reports its best class only.
        coarse: whether it reads the coarse level.
        stages: whether it has proposals.
        by_class: whether each class has a box of its own.
    """

    build: Callable[[Reader], dict[str, int]]
    options: dict[str, Any] = field(default_factory=dict)
    threshold: float = 0.05
    iou: float | None = 0.5
    most: int = 5
    softmax: bool = False
    objectness: bool = False
    best_only: bool = False
    coarse: bool = False
    stages: bool = False
    by_class: bool = False


_APART: dict[str, Any] = {"boxes": "boxes", "scores": "scores"}
_CHOSEN: dict[str, Any] = {**_APART, "labels": "labels"}
_LAST: dict[str, Any] = {"background": "last"}
FAMILIES = {
    "dense": Family(_dense, _CHOSEN, coarse=True),
    "yolo": Family(_yolo, {"convention": "ultralytics", "nms_threshold": 0.5}, most=300, best_only=True, coarse=True),
    "objectness": Family(
        _objectness, {"convention": "yolov5", "nms_threshold": 0.5}, most=300, objectness=True, coarse=True
    ),
    "background": Family(_background, {**_APART, **_LAST, "box_format": "xyxy"}, softmax=True, most=300, coarse=True),
    "two stages": Family(lambda net: _two_stages(net, by_class=False), _CHOSEN, softmax=True, stages=True),
    "boxes by class": Family(
        lambda net: _two_stages(net, by_class=True), _CHOSEN, softmax=True, stages=True, by_class=True
    ),
    "queries": Family(_queries, {**_CHOSEN, "score_threshold": 0.3}, 0.3, None, 10),
    "detr": Family(
        _detr,
        {"convention": "detr", "background": "last", "score_activation": "softmax", "score_threshold": 0.3},
        0.3,
        None,
        64,
        softmax=True,
        best_only=True,
    ),
}

SAMPLE = [
    Thing((1, 1), (10, 6, 8, 10), (3, -4, -5), 3.0, -2.0),
    Thing((1, 5), (8, 10, 12, 8), (-4, 2, -5), 2.0, -3.0),
    Thing((5, 2), (14, 9, 9, 12), (-5, -4, 4), 4.0, -2.0),
    Thing((5, 6), (9, 9, 10, 11), (1, -3, -4), 3.5, -2.0),
    Thing((6, 6), (9, 17, 10, 3), (0, -3, -4), 3.0, -2.0),
]


def export(
    family: Family, folder: Path, alter: Callable[[onnx.ModelProto], onnx.ModelProto] = lambda model: model
) -> Path:
    """Its bundle.

    Args:
        family: which.
        folder: to write to.
        alter: makes another file of the model, with the same meaning.
    """
    net = Reader()
    file, bundle = folder / "model.onnx", folder / "model.boxcam"
    onnx.save(alter(net.proto(family.build(net))), str(file))
    cv2.imwrite(str(folder / "sample.png"), picture(SAMPLE, 1))
    boxcam.export(
        file,
        output=bundle,
        layers=("early",),
        sample=folder / "sample.png",
        engine="onnx",
        accept=("boxes", "place", "scores"),
        **{"class_names": NAMES, "preprocess": ["resize=stretch", "scale=0-255", "color=RGB"], **family.options},
    )
    return bundle
