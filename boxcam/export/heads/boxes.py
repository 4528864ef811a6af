"""Boxes of any format as x1 y1 x2 y2 in pixels of the model input."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array

Canvas = Array | ir.Value
"""Width and height of the model's input, float32 [2]: numbers, or what the graph computes of its input's shape."""

FORMATS = ("xyxy", "yxyx", "cxcywh", "xywh")
SCALES = ("pixels", "normalized")


def to_corners(op: Ops, boxes: ir.Value, form: str, scale: str, canvas: Canvas) -> ir.Value:
    """Boxes as x1 y1 x2 y2 in pixels of the model input.

    Args:
        op: where to write.
        boxes: float32 [1, N, 4].
        form: ``xyxy``; ``yxyx``; ``cxcywh``, centre and size; ``xywh``, upper left corner and size.
        scale: ``pixels`` of the canvas, or ``normalized``, where 1 is its whole width or height.
        canvas: its width and height.

    Returns:
        float32 [1, N, 4].
    """
    if form == "yxyx":
        boxes = op.Gather(boxes, [1, 0, 3, 2], axis=2)
    elif form in ("cxcywh", "xywh"):
        corner, size = op.Slice(boxes, [0], [2], [2]), op.Slice(boxes, [2], [4], [2])
        if form == "cxcywh":
            corner = op.Sub(corner, op.Mul(size, 0.5))
        boxes = op.Concat(corner, op.Add(corner, size), axis=2)
    elif form != "xyxy":
        raise ValueError(f"box_format={form!r} is not one of: {', '.join(FORMATS)}")
    if scale == "normalized":
        boxes = op.Mul(boxes, twice(op, canvas))
    elif scale != "pixels":
        raise ValueError(f"box_scale={scale!r} is not one of: {', '.join(SCALES)}")
    return boxes


def canvas_of(op: Ops, image: ir.Value, layout: str) -> ir.Value:
    """Width and height of a model's input that has a size of its own in each run: float32 [2]."""
    across, down = (3, 2) if layout == "NCHW" else (2, 1)
    return op.Cast(op.Gather(op.Shape(image), [across, down]), to=ir.DataType.FLOAT)


def twice(op: Ops, canvas: Canvas) -> Canvas:
    """Width, height, width, height: float32 [4]."""
    if isinstance(canvas, np.ndarray):
        return np.concatenate([canvas, canvas])
    return op.Concat(canvas, canvas, axis=0)
