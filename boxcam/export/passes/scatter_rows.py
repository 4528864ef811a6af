"""Rows that are written element by element, written as rows.

torchvision puts the proposals' features of each level into their places by a ScatterElements along the first axis,
whose indices are one number a row, expanded to the row's shape.  A ScatterND says the same, and says it so that one
row of the result is seen to be one row of the updates.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, static_shape


def write_whole_rows(model: ir.Model) -> None:
    """Replace each ScatterElements that is known to write whole rows by a ScatterND; the graph is changed."""
    op = Ops(model.graph, "boxcam.rows")
    for node in list(model.graph):
        numbers = _row_numbers(node) if node.op_type == "ScatterElements" else None
        if numbers is None:
            continue
        data, _, updates = node.inputs
        rows = op.Reshape(numbers, np.array([-1, 1]))
        rows.dtype, rows.shape = ir.DataType.INT64, ir.Shape([None, 1])
        written, old = op.ScatterND(data, rows, updates), node.outputs[0]
        ir.convenience.replace_all_uses_with(old, written, replace_graph_outputs=True)
        written.type, written.shape, name = old.type, old.shape, old.name
        model.graph.remove(node, safe=True)
        written.name = name
    model.graph.sort()


def _row_numbers(node: ir.Node) -> ir.Value | None:
    """The numbers of the rows that are written, [n, 1, 1 …]; None if other elements may be."""
    data, indices, updates = node.inputs[:3]
    expand = indices.producer() if indices is not None else None
    if attribute_of(node, "reduction", "none") != "none" or expand is None or expand.op_type != "Expand":
        return None
    numbers = expand.inputs[0]
    assert data is not None and updates is not None and numbers is not None
    shapes = [static_shape(value) for value in (data, updates, numbers)]
    if any(shape is None for shape in shapes):
        return None
    into, rows, one = (shape or () for shape in shapes)
    same = len(into) == len(rows) == len(one) >= 1 and into[1:] == rows[1:] and None not in into[1:]
    first = int(attribute_of(node, "axis", 0)) % max(len(into), 1) == 0
    return numbers if same and first and set(one[1:]) <= {1} else None
