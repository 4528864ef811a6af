"""From candidates to detections: non-maximum suppression, or the best of a set of queries, or the best classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, all_values
from boxcam.export.heads.boxes import Canvas, twice

MOST_CLASSES = 1000


@dataclass(frozen=True, eq=False)
class DetectionValues:
    """Detections: boxes float32 [K, 4], x1 y1 x2 y2 on the model's input; scores float32 [K]; labels int64 [K]."""

    boxes: ir.Value
    scores: ir.Value
    labels: ir.Value


def activate(op: Ops, scores: ir.Value, activation: str, background: str = "none") -> ir.Value:
    """Scores [1, N, C] as probabilities, without the class that stands for nothing."""
    if activation == "sigmoid":
        scores = op.Sigmoid(scores)
    elif activation == "softmax":
        scores = op.Softmax(scores, axis=-1)
    elif activation != "none":
        raise ValueError(f"score_activation={activation!r} is not one of: none, sigmoid, softmax")
    if background == "first":
        return op.Slice(scores, [1], [np.iinfo(np.int64).max], [-1])
    if background == "last":
        return op.Slice(scores, [0], [-1], [-1])
    return scores


@dataclass(frozen=True)
class Limits:
    """What a suppression keeps.

    Attributes:
        iou: of two boxes with a larger one the weaker is dropped.
        threshold: a box has a higher score.
        most: how many detections there are at most.
    """

    iou: float
    threshold: float
    most: int

    @property
    def inputs(self) -> tuple[Array, Array, Array]:
        """The last three inputs of NonMaxSuppression."""
        return (
            np.array([self.most], np.int64),
            np.array([self.iou], np.float32),
            np.array([self.threshold], np.float32),
        )


def suppress(op: Ops, boxes: ir.Value, scores: ir.Value, limits: Limits, *, best_class_only: bool) -> DetectionValues:
    """Class by class, drop boxes that overlap a better one; keep the best of all classes.

    Args:
        op: where to write.
        boxes: float32 [1, N, 4], x1 y1 x2 y2 on the canvas.
        scores: float32 [1, N, C].
        limits: what is kept.
        best_class_only: each box counts for its best class only, as in YOLO; otherwise for every class above the
            threshold.
    """
    by_class = op.Transpose(scores, perm=[0, 2, 1])
    entering = by_class
    if best_class_only:
        count = op.Squeeze(op.Gather(op.Shape(by_class), [1]), [0])
        best = op.Equal(op.Unsqueeze(op.Range(0, count, 1), [0, 2]), op.ArgMax(by_class, axis=1, keepdims=1))
        entering = op.Where(best, by_class, np.float32(-1))
    chosen, values = _kept(op, boxes, by_class, entering, limits)
    rows = op.Gather(chosen, 2, axis=1)
    return DetectionValues(op.Gather(op.Squeeze(boxes, [0]), rows, axis=0), values, op.Gather(chosen, 1, axis=1))


def suppress_labelled(op: Ops, boxes: ir.Value, scores: ir.Value, labels: ir.Value, limits: Limits) -> DetectionValues:
    """The same of boxes that have one class each: those of a class are moved to a place of their own.

    Args:
        op: where to write.
        boxes: float32 [1, N, 4], x1 y1 x2 y2 on the canvas.
        scores: float32 [1, N, 1].
        labels: the classes, [N], whole numbers of any type.
        limits: what is kept.
    """
    by_class = op.Transpose(scores, perm=[0, 2, 1])
    side = op.Add(op.Mul(op.ReduceMax(op.Abs(boxes), keepdims=0), np.float32(2)), np.float32(1))
    moved = op.Mul(op.Cast(op.Unsqueeze(labels, [0, 2]), to=ir.DataType.FLOAT), side)
    chosen, values = _kept(op, op.Add(boxes, moved), by_class, by_class, limits)
    rows = op.Gather(chosen, 2, axis=1)
    return DetectionValues(op.Gather(op.Squeeze(boxes, [0]), rows, axis=0), values, op.Gather(labels, rows, axis=0))


def _kept(
    op: Ops, boxes: ir.Value, by_class: ir.Value, entering: ir.Value, limits: Limits
) -> tuple[ir.Value, ir.Value]:
    """What a suppression keeps, best first: image, class and box [K, 3], and the scores [K]."""
    chosen = op.NonMaxSuppression(boxes, entering, *limits.inputs)  # [M, 3]: image, class, box
    found = op.GatherND(by_class, chosen)
    count = op.Min(op.Shape(found), [limits.most])
    values, order = op.emit("TopK", [found, count], {}, outputs=2)
    return op.Gather(chosen, order, axis=0), values


def zeros(op: Ops, scores: ir.Value) -> ir.Value:
    """The class of detections, [K], where there is only one."""
    return op.ConstantOfShape(op.Shape(scores), value=ir.tensor(np.zeros(1, np.int64)))


def best_queries(
    op: Ops, boxes: ir.Value, scores: ir.Value, *, threshold: float, one_class: bool, queries: int, classes: int
) -> DetectionValues:
    """Detections of a model without suppression: as many as there are queries, best first.

    Args:
        op: where to write.
        boxes: float32 [1, Q, 4], x1 y1 x2 y2 on the canvas.
        scores: float32 [1, Q, C].
        threshold: a detection has a higher score.
        one_class: a query reports its best class, as in DETR; otherwise the best Q of all queries' classes are
            reported, as in Deformable DETR and its followers.
        queries, classes: Q and C.
    """
    if one_class:
        values, labels = (op.Squeeze(v, [0, 2]) for v in op.emit("TopK", [scores, [1]], {"axis": 2}, outputs=2))
        values, rows = op.emit("TopK", [values, [queries]], {}, outputs=2)
        labels = op.Gather(labels, rows, axis=0)
    else:
        flat = op.Reshape(scores, [-1])
        values, index = op.emit("TopK", [flat, [queries]], {}, outputs=2)
        rows, labels = op.Div(index, classes), op.Mod(index, classes)
    found = DetectionValues(op.Gather(op.Squeeze(boxes, [0]), rows, axis=0), values, labels)
    return above(op, found, threshold)


def best_classes(op: Ops, scores: ir.Value, classes: int, canvas: Canvas) -> DetectionValues:
    """A classifier's classes, best first, each with the whole model input as its box.

    Args:
        op: where to write.
        scores: float32 [1, C], probabilities.
        classes: C; at most the best `MOST_CLASSES` are reported.
        canvas: its width and height.
    """
    count = min(classes, MOST_CLASSES)
    values, labels = op.emit("TopK", [op.Reshape(scores, [-1]), [count]], {}, outputs=2)
    rows = op.Unsqueeze(op.Cast(op.Mul(labels, 0), to=ir.DataType.FLOAT), [1])
    whole = op.Mul(twice(op, canvas), np.array([[0, 0, 1, 1]], np.float32))
    return DetectionValues(op.Add(rows, whole), values, labels)


def above(op: Ops, found: DetectionValues, threshold: float) -> DetectionValues:
    """Detections with a score higher than the threshold; all of them if it is not above 0."""
    return found if threshold <= 0 else _better(op, found, threshold)


def filled(op: Ops, found: DetectionValues) -> DetectionValues:
    """Detections with a score above 0: the others fill up a table."""
    return _better(op, found, 0)


def _better(op: Ops, found: DetectionValues, threshold: float) -> DetectionValues:
    rows = op.Reshape(op.NonZero(op.Greater(found.scores, np.float32(threshold))), [-1])
    return DetectionValues(*(op.Gather(value, rows, axis=0) for value in (found.boxes, found.scores, found.labels)))


def report(graph: ir.Graph, op: Ops, found: DetectionValues) -> tuple[str, str, str]:
    """Make the detections the graph's only outputs; returns the names of boxes, scores and labels."""
    taken = {str(value.name) for value in all_values(graph)}
    names = []
    graph.outputs.clear()
    types = {"boxes": ir.DataType.FLOAT, "scores": ir.DataType.FLOAT, "labels": ir.DataType.INT64}
    for (name, dtype), value in zip(types.items(), (found.boxes, found.scores, found.labels), strict=True):
        output = op.Cast(value, to=dtype) if name == "labels" else op.Identity(value)
        output.name = name if name not in taken else f"boxcam.{name}"
        output.dtype, output.shape = dtype, ir.Shape([None, 4] if name == "boxes" else [None])
        graph.outputs.append(output)
        names.append(str(output.name))
    graph.sort()
    return names[0], names[1], names[2]
