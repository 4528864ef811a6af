"""Models written as text, with weights of noise."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

ULTRALYTICS = {"stride": "32", "names": "{0: 'a', 1: 'b', 2: 'c'}", "task": "detect"}

DENSE = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, height, width] images) => (float[1, 7, n] output0) {
    fine = Conv <strides = [16, 16], kernel_shape = [17, 17], pads = [8, 8, 8, 8]> (images, stem)
    fine_active = Relu (fine)
    coarse = Conv <strides = [2, 2], kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (fine_active, down)
    coarse_active = Relu (coarse)
    up = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">
        (coarse_active, , scales)
    joined = Concat <axis = 1> (up, fine_active)
    mixed = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (joined, mix)
    mixed_active = Relu (mixed)
    raw = Conv <kernel_shape = [1, 1]> (mixed_active, box_head)
    raw_scores = Conv <kernel_shape = [1, 1]> (mixed_active, class_head)
    sides = Reshape (raw, side_rows)
    logits = Reshape (raw_scores, class_rows)
    offsets, lengths = Split <axis = 1> (sides, parts)
    size = Shape (raw)
    height_ = Gather <axis = 0> (size, two)
    width_ = Gather <axis = 0> (size, three)
    rows_down = Range (zero, height_, one)
    columns_across = Range (zero, width_, one)
    down_f = Cast <to = 1> (rows_down)
    across_f = Cast <to = 1> (columns_across)
    column = Reshape (down_f, column_shape)
    line = Reshape (across_f, line_shape)
    nothing_of_line = Mul (line, none)
    nothing_of_column = Mul (column, none)
    y = Add (column, nothing_of_line)
    x = Add (nothing_of_column, line)
    flat_x = Reshape (x, flat_shape)
    flat_y = Reshape (y, flat_shape)
    cells = Concat <axis = 1> (flat_x, flat_y)
    near = Sigmoid (offsets)
    moved = Add (near, cells)
    centers = Mul (moved, stride)
    share = Sigmoid (lengths)
    sizes = Mul (share, widest)
    boxes = Concat <axis = 1> (centers, sizes)
    scores = Sigmoid (logits)
    output0 = Concat <axis = 1> (boxes, scores)
}
"""
NOISE = ("decoded", "boxes", "place", "scores", "normalisation")
"""What is not asked of boxes that are noise."""
WEIGHTS = {
    "stem": (8, 3, 17, 17),
    "down": (8, 8, 3, 3),
    "mix": (8, 16, 3, 3),
    "box_head": (4, 8, 1, 1),
    "class_head": (3, 8, 1, 1),
}
CONSTANTS = {
    "scales": np.float32([1, 1, 2, 2]),
    "rows": np.int64([1, 7, -1]),
    "side_rows": np.int64([1, 4, -1]),
    "parts": np.int64([2, 2]),
}
CONSTANTS |= {"class_rows": np.int64([1, 3, -1])}
CONSTANTS |= {"zero": np.int64(0), "one": np.int64(1), "two": np.int64(2), "three": np.int64(3), "none": np.float32(0)}
CONSTANTS |= {
    "stride": np.float32(16),
    "widest": np.float32(64),
    "column_shape": np.int64([-1, 1]),
    "line_shape": np.int64([1, -1]),
}
CONSTANTS |= {"flat_shape": np.int64([1, 1, -1])}


def save(path: Path, text: str, weights: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Path:
    """A model with weights of noise, and constants by their names."""
    model, rng = onnx.parser.parse_model(text), np.random.default_rng(0)
    for name, shape in weights.items():
        noise = (rng.standard_normal(shape) / 5).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(noise, name))
    for name, constant in CONSTANTS.items():
        if re.search(rf"\b{name}\b", text):
            model.graph.initializer.append(numpy_helper.from_array(constant, name))
    onnx.helper.set_model_props(model, metadata or {})
    onnx.save(model, path)
    return path


MAPS = """
<ir_version: 8, opset_import: ["": 17]>
g (float[1, 3, 64, 64] images) => ({outputs}) {{
    a = Conv <strides = [8, 8], kernel_shape = [8, 8]> (images, stem)
    fine = Relu (a)
    b = Conv <strides = [2, 2], kernel_shape = [2, 2]> (fine, down)
    coarse = Relu (b)
    {nodes}
}}
"""
BODY: dict[str, tuple[int, ...]] = {"stem": (8, 3, 8, 8), "down": (8, 8, 2, 2)}
