"""How a model reports its detections: which tensors hold what, and what has to be appended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.heads import selection
from boxcam.export.heads.boxes import Canvas, to_corners
from boxcam.export.heads.selection import DetectionValues

Kind = Literal["selected", "candidates", "queries", "classes"]

Decode = Callable[[Ops], tuple[ir.Value, ir.Value]]

MOST_BOXES = 300
_WORDS: dict[str, str] = {
    "selected": "selection inside the model",
    "candidates": "boxes before NMS",
    "queries": "queries, without NMS",
    "classes": "classes of the whole image",
}


@dataclass(frozen=True, eq=False)
class Piece:
    """A tensor, or some columns of it.

    Attributes:
        value: the tensor: [1, N, columns]; [N, columns], [1, N, 1, columns] and [1, 1, N, columns] are the same.
        columns: first and one past the last along the axis of the columns; None for all.
        across: the columns are the last axis but one: [1, columns, N] instead of [1, N, columns].
        picked: single columns instead, in another order.
        single: the tensor has one number for each row, with an axis of columns or without: [1, N, 1], [1, N] or [N].
    """

    value: ir.Value
    columns: tuple[int, int] | None = None
    across: bool = False
    picked: tuple[int, ...] = ()
    single: bool = False

    def __str__(self) -> str:
        if self.picked:
            return f"{self.value.name}[{', '.join(map(str, self.picked))}]"
        if self.columns is None:
            return str(self.value.name)
        first, end = self.columns
        which = f"{first}" if end == first + 1 else f"{first}:{end}"
        return f"{self.value.name}[{which}]"

    def real(self, op: Ops) -> ir.Value:
        """The tensor in float32: some graphs end in float64."""
        return op.Cast(self.value, to=ir.DataType.FLOAT) if self.value.dtype is ir.DataType.DOUBLE else self.value

    def rows(self, op: Ops) -> ir.Value:
        """As [1, N, columns]."""
        value = self.real(op)
        if self.single:
            return op.Reshape(value, [1, -1, 1])
        if self.picked:
            value = op.Gather(value, np.array(self.picked, np.int64), axis=len(self.value.shape or ()) - 1)
        if self.columns is not None:
            first, end = self.columns
            value = op.Slice(value, [first], [end], [-2 if self.across else -1])
        rank = len(self.value.shape or ())
        if rank == 2:
            value = op.Unsqueeze(value, [0])
        elif rank == 4:
            value = op.Squeeze(value, [1 if self.value.shape is not None and self.value.shape[1] == 1 else 2])
        return op.Transpose(value, perm=[0, 2, 1]) if self.across else value


@dataclass(frozen=True, eq=False)
class Convention:
    """How a model reports its detections.

    Attributes:
        name: for people.
        kind: ``selected``, the model itself chooses its detections; ``candidates``, boxes that overlap have to be
            suppressed; ``queries``, every row may be a detection; ``classes``, a classifier.
        scores: one score a detection where they are selected; otherwise one a class.
        boxes, labels: None where there are none; what is selected without labels is of one class.
        objectness: a factor of all scores of a row.
        form, scale: of the boxes.
        form_is_guessed: whether the form is only what most models have, as neither graph nor user says it.
        activation, background: of the scores.
        best_class_only: a row counts for its best class only.
        sizes: N and C, of what is selected (0, 0).
        iou: suppression if the user does not say, None for what is common.
        padded: what is selected is filled up by rows whose score is 0 or less.
        decode: what computes boxes and scores where they do not lie in the outputs as they are: of the graph's writer,
            boxes [1, N, 4] of the form and scale, and scores [1, N, C] before their activation.
        decoding: what that is, for people.
        rest: what else there is in the outputs, which is left out, for people.
        preset: preprocessing of models that report so, as ``preprocess=`` takes it; none if they differ.
    """

    name: str
    kind: Kind
    scores: Piece
    boxes: Piece | None = None
    labels: Piece | None = None
    objectness: Piece | None = None
    form: str = "xyxy"
    form_is_guessed: bool = False
    scale: str = "pixels"
    activation: str = "none"
    background: str = "none"
    best_class_only: bool = False
    sizes: tuple[int, int] = (0, 0)
    iou: float | None = None
    padded: bool = False
    decode: Decode | None = None
    decoding: str = ""
    rest: str = ""
    preset: tuple[str, ...] = ()

    def describe(self) -> dict[str, str]:
        """What was found, for people."""
        found = {"outputs": f"{self.name} ({_WORDS[self.kind]})"}
        scores = str(self.scores) + (f" x {self.objectness}" if self.objectness else "")
        found["scores"] = scores + (f", {self.activation}" if self.activation != "none" else "")
        if self.background != "none":
            found["scores"] += f", without the {self.background} class"
        if self.boxes is not None:
            decoding = f" by {self.decoding}" if self.decoding else ""
            found["boxes"] = f"{self.boxes}{decoding}, {self.form}, {self.scale}"
        if self.labels is not None:
            found["class numbers"] = str(self.labels)
        if self.rest:
            found["left out"] = self.rest
        return found


def append(
    op: Ops,
    convention: Convention,
    canvas: Canvas,
    score_threshold: float | None,
    nms_threshold: float | None,
) -> DetectionValues:
    """Write what lies between a model's outputs and its detections.

    Args:
        op: where to write.
        convention: how the model reports.
        canvas: its width and height.
        score_threshold, nms_threshold: None for what is common: 0.05 before a suppression by 0.5, otherwise none.
    """
    return _WRITERS[convention.kind](op, convention, canvas, score_threshold, nms_threshold)


Limit = float | None


def _selected(op: Ops, c: Convention, canvas: Canvas, threshold: Limit, iou: Limit) -> DetectionValues:
    assert c.boxes is not None
    boxes = op.Unsqueeze(op.Reshape(c.boxes.rows(op), [-1, 4]), [0])
    boxes = op.Squeeze(to_corners(op, boxes, c.form, c.scale, canvas), [0])
    scores = selection.activate(op, _line(op, c.scores), c.activation)
    labels = selection.zeros(op, scores) if c.labels is None else _line(op, c.labels)
    found = DetectionValues(boxes, scores, labels)
    return selection.filled(op, found) if c.padded and not threshold else selection.above(op, found, threshold or 0)


def _line(op: Ops, piece: Piece) -> ir.Value:
    """A column as [K]: the tensor is [K], [1, K], [K, n], [1, K, n] or [1, 1, K, n], or has one number for each row."""
    rank = len(piece.value.shape or ())
    value = piece.real(op)
    if piece.columns is not None:
        value = op.Gather(value, piece.columns[0], axis=rank - 1)
        rank -= 1
    return value if rank == 1 else op.Reshape(value, [-1])


def _candidates(op: Ops, c: Convention, canvas: Canvas, threshold: Limit, iou: Limit) -> DetectionValues:
    boxes, scores = _rows(op, c, canvas)
    limits = selection.Limits(
        iou=next(limit for limit in (iou, c.iou, 0.5) if limit is not None),
        threshold=0.05 if threshold is None else threshold,
        most=MOST_BOXES,
    )
    if c.labels is not None:
        return selection.suppress_labelled(op, boxes, scores, _line(op, c.labels), limits)
    return selection.suppress(op, boxes, scores, limits, best_class_only=c.best_class_only)


def _queries(op: Ops, c: Convention, canvas: Canvas, threshold: Limit, iou: Limit) -> DetectionValues:
    if iou is not None:
        return _candidates(op, c, canvas, threshold, iou)
    boxes, scores = _rows(op, c, canvas)
    count, classes = c.sizes
    classes -= c.background != "none"
    return selection.best_queries(
        op, boxes, scores, threshold=threshold or 0, one_class=c.best_class_only, queries=count, classes=classes
    )


def _rows(op: Ops, c: Convention, canvas: Canvas) -> tuple[ir.Value, ir.Value]:
    """Boxes [1, N, 4] on the model's input, and scores [1, N, C]."""
    assert c.boxes is not None
    boxes, scores = c.decode(op) if c.decode is not None else (c.boxes.rows(op), c.scores.rows(op))
    boxes = to_corners(op, boxes, c.form, c.scale, canvas)
    scores = selection.activate(op, scores, c.activation, c.background)
    if c.objectness is not None:
        one = "sigmoid" if c.activation == "softmax" else c.activation  # a softmax over one number is always 1
        factor = selection.activate(op, c.objectness.rows(op), one)
        if c.sizes[1] == 1:  # which of two factors is the class's is told by the other being spread over the classes
            factor = op.Tile(factor, np.ones(3, np.int64))
        scores = op.Mul(scores, factor)
    return boxes, scores


def _classes(op: Ops, c: Convention, canvas: Canvas, threshold: Limit, iou: Limit) -> DetectionValues:
    given = c.scores.real(op)
    if len(c.scores.value.shape or ()) != 2:  # a map of one pixel, or without a batch
        given = op.Reshape(given, np.array([1, c.sizes[1]]))
    scores = selection.activate(op, given, c.activation, c.background)
    classes = c.sizes[1] - (c.background != "none")
    return selection.above(op, selection.best_classes(op, scores, classes, canvas), threshold or 0)


_WRITERS: dict[Kind, Callable[[Ops, Convention, Canvas, Limit, Limit], DetectionValues]] = {
    "selected": _selected,
    "candidates": _candidates,
    "queries": _queries,
    "classes": _classes,
}
