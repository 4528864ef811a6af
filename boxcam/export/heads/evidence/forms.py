"""What the four numbers of a box are, as a graph computes them: corners, or a place and a size.

A size is a difference of two sides, or grows from a cell's own numbers (an exponential, a square) with no place added
to it; a centre is a mean of two sides, or has the place of its cell added. What the numbers of a run look like is not
asked.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import Array, constant_array
from boxcam.export.heads.evidence.columns import Part, Segment, Span, passed
from boxcam.export.heads.evidence.makers import computed


def form_of(made: list[Segment]) -> str | None:
    """``cxcywh``, ``xywh``, ``xyxy`` or ``yxyx``; None if the graph does not tell.

    Args:
        made: the segments of a box's four columns.
    """
    columns = [column for one in made for column in _columns(one)]
    if len(columns) != 4 or len(made) < 2:
        return None
    place, size = _essence(columns[0].value), _essence(columns[2].value)
    if place is None or size is None or place is size:
        return None
    if size.op_type == "Sub" and len(computed(size)) == 2:
        if place.op_type == "Add" and len(computed(place)) == 2:
            return "cxcywh"
        return "xywh" if place in [_essence(value) for value in computed(size)[1:]] else None
    places = [_place(column) for column in columns]
    if places[2] is not None or (place.op_type, size.op_type) == ("Sub", "Add"):
        first, second = places[0], places[1]
        down = first is not None and second is not None and _changes(first) < _changes(second)
        return "yxyx" if down else "xyxy"
    return "cxcywh" if places[0] is not None else None


def _columns(one: Segment) -> list[Span]:
    made = one.made
    return [Span(made.value, made.axis, column, column + 1) for column in range(made.first, made.end)]


def _essence(value: ir.Value) -> ir.Node | None:
    """The operator that a value comes from, but for its layout, bounds, and factors that are constants."""
    node = value.producer()
    while node is not None:
        read = computed(node)
        moves = operator_of(node).moves and len(read) == 1
        scaled = node.op_type in ("Mul", "Div") and len(read) == 1
        if not (moves or scaled or node.op_type == "Clip") or not read:
            return node
        node = read[0].producer()
    return None


def _place(column: Span) -> Array | None:
    """What is added to a column that differs from cell to cell; None if nothing is."""
    for part in passed(column):
        if part.node.op_type not in ("Add", "Sub"):
            continue
        for value in part.node.inputs:
            found = None if value is None else _numbers(value, part)
            if found is not None and found.size > 4 and len(np.unique(found)) > 2:
                return found
    return None


def _numbers(value: ir.Value, part: Part) -> Array | None:
    """The numbers of a constant that belong to a column."""
    constant, shape = constant_array(value), part.value.shape
    if constant is None or shape is None:
        return None
    axis = part.axis - len(shape) + constant.ndim
    if 0 <= axis < constant.ndim and constant.shape[axis] > 1:
        constant = np.take(constant, part.first, axis)
    found: Array = constant.reshape(-1)
    return found


def _changes(numbers: Array) -> int:
    """How often a number differs from the one before it: x does from cell to cell, y from line to line."""
    return int((np.diff(numbers) != 0).sum())
