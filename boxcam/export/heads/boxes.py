"""Boxes of any format as x1 y1 x2 y2 in canvas pixels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.export.graph import Ops

FORMATS = ("xyxy", "yxyx", "cxcywh", "xywh")
SCALES = ("pixels", "normalized")


def to_corners(op: Ops, boxes: ir.Value, form: str, scale: str, canvas: tuple[int, int]) -> ir.Value:
    """Boxes as x1 y1 x2 y2 in canvas pixels.

    Args:
        op: where to write.
        boxes: float32 [1, N, 4].
        form: ``xyxy``; ``yxyx``; ``cxcywh``, centre and size; ``xywh``, upper left corner and size.
        scale: ``pixels`` of the canvas, or ``normalized``, where 1 is its whole width or height.
        canvas: height and width.

    Returns:
        float32 [1, N, 4].
    """
    height, width = canvas
    if form == "yxyx":
        boxes = op.Gather(boxes, [1, 0, 3, 2], axis=2)
    elif form in ("cxcywh", "xywh"):
        corner, size = op.Slice(boxes, [0], [2], [2]), op.Slice(boxes, [2], [4], [2])
        if form == "cxcywh":
            corner = op.Sub(corner, op.Mul(size, 0.5))
        boxes = op.Concat(corner, op.Add(corner, size), axis=2)
    elif form != "xyxy":
        raise ValueError(f"box format {form!r}, expected one of {', '.join(FORMATS)}")
    if scale == "normalized":
        boxes = op.Mul(boxes, np.array([width, height, width, height], np.float32))
    elif scale != "pixels":
        raise ValueError(f"box scale {scale!r}, expected one of {', '.join(SCALES)}")
    return boxes
