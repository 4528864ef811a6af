"""The proposals that pooled features belong to, row by row.

A detector with a feature pyramid pools its proposals level by level, and then puts the rows together in the order of
the proposals: by Concat and Gather, by ScatterND … Which proposal a row was pooled of is found by following the row
back through these.
"""

from __future__ import annotations

import onnx_ir as ir

from boxcam.errors import SourceError, TraceError
from boxcam.export.graphs.dependency import differentiable_inputs
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import constant_array, describe_node, find_value, static_shape
from boxcam.export.trace import position as at
from boxcam.export.trace.position import Coordinate
from boxcam.export.trace.rules.products import walked
from boxcam.export.trace.tracer import ScorePath, Tracer

_FAR = 200
"""Values between pooled features and the RoiAlign operators that pooled them, at most."""


def of(graph: ir.Graph, name: str) -> str:
    """The value with the proposal of each row of pooled features: one of the graph, or one that is added to it.

    Args:
        graph: the main graph; the ranks of its values have to be known.
        name: of the pooled features, [R, C, h, w], or of what is computed from them row by row.

    Returns:
        The name of a value [R, 4], x1 y1 x2 y2 as RoiAlign reads them.

    Raises:
        SourceError: the rows cannot be followed back to the proposals.
    """
    value = find_value(graph, name)
    found = None if value is None else _pooled(Ops(graph, "boxcam.proposals"), value)
    if found is None:
        raise SourceError(
            f"layer {name!r}: the rows of this tensor are not features pooled by RoiAlign. Choose another layer with"
            " layers=."
        )
    graph.sort()
    return str(found.name)


def are_rows(value: ir.Value | None) -> bool:
    """Whether a value is the pooled features of proposals, or computed from them row by row."""
    seen: set[ir.Value] = set()
    todo = [value]
    while todo and len(seen) < _FAR:
        current = todo.pop()
        node = None if current is None else current.producer()
        if current is None or node is None or current in seen:
            continue
        if node.op_type == "RoiAlign":
            return True
        seen.add(current)
        if _has_rows(current):
            todo.extend(differentiable_inputs(node))
    return False


def _pooled(op: Ops, value: ir.Value) -> ir.Value | None:
    """The proposals of a value's rows; None if its rows are none of proposals."""
    node = value.producer()
    while node is not None and node.op_type != "RoiAlign" and not walked(node):
        rows = [read for read in differentiable_inputs(node) if _has_rows(read)]
        if not rows:
            return None
        value, node = rows[0], rows[0].producer()
    if node is None:
        return None
    return node.inputs[1] if node.op_type == "RoiAlign" else _assembled(op, value, node)


def _has_rows(value: ir.Value) -> bool:
    """Whether a value may have a row for each proposal: it is computed, and not of one image."""
    return constant_array(value) is None and (static_shape(value) or (1,))[0] != 1


def _assembled(op: Ops, value: ir.Value, node: ir.Node) -> ir.Value | None:
    """The proposals of rows that a node selects from several values."""
    size = op.Squeeze(op.Gather(op.Shape(value), [0]), [0])
    numbers = op.Range(0, size, 1)
    start: list[Coordinate] = [numbers, *[0] * (at.rank(value) - 1)]
    tracer = Tracer(op.graph, numbers, f"the rows of {value.name!r}", to_logits=False)
    try:
        columns = tracer.pull(op, value, tuple(start), ScorePath())
    except TraceError as error:
        raise _unclear(value, str(error).partition(". ")[0]) from error
    if columns is None or len(columns) < 2:
        return None
    number, row = (at.vector(op, column, (numbers,)) for column in columns[:2])
    result = op.ConstantOfShape(op.Concat(op.Reshape(size, [1]), [4], axis=0))
    result.shape, result.dtype = ir.Shape([None, 4]), ir.DataType.FLOAT
    for index, end in enumerate(tracer.ends):
        if end is value:
            raise _unclear(value, f"{describe_node(node)} computes each row of several")
        boxes = _pooled(op, end)
        if boxes is None:
            return None
        rows = op.Reshape(op.NonZero(op.Equal(number, index)), [-1])
        found = op.Cast(op.Gather(boxes, op.Gather(row, rows, axis=0), axis=0), to=ir.DataType.FLOAT)
        result = op.ScatterND(result, op.Unsqueeze(rows, [1]), found)
        result.shape, result.dtype = ir.Shape([None, 4]), ir.DataType.FLOAT
    return result


def _unclear(value: ir.Value, why: str) -> SourceError:
    return SourceError(
        f"it is not clear which proposal the features {value.name!r} belong to: {why}. Choose another layer with"
        " layers=."
    )
