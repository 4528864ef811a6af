"""What the four numbers of a box are, as a graph computes them: corners, or a place and a size.

A size is a difference of two sides, or grows from a cell's own numbers (an exponential, a square) with no place added
to it; a centre is a mean of two sides, or has the place of its cell added; a corner is a centre less half of the
size. What the numbers of a run look like is not asked.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.query import Array, constant_array
from boxcam.export.heads.evidence.columns import Part, Segment, Span, operands, passed, unscaled
from boxcam.export.heads.evidence.makers import computed


def form_of(made: list[Segment]) -> str | None:
    """``cxcywh``, ``xywh``, ``xyxy`` or ``yxyx``; None if the graph does not tell.

    Args:
        made: the segments of a box's four columns.
    """
    columns = [column for one in made for column in _columns(one)]
    computed_at = [unscaled(column) for column in columns]
    if len(columns) != 4 or None in computed_at:
        return None
    place, size = (_node(computed_at[0]), _node(computed_at[2]))
    if place is None or size is None or place is size:
        return None
    if size.op_type == "Sub" and len(computed(size)) == 2:
        if place.op_type == "Add" and len(computed(place)) == 2:
            return "cxcywh"
        way = operands(computed_at[2])[1] if computed_at[2] is not None else None
        return "xywh" if _node(way) is place else None
    if place.op_type == "Sub" and _leads_to_a_corner(computed_at[0], computed_at[2]):
        return "xywh"
    places = [_place(column) for column in columns]
    if places[2] is not None or (place.op_type, size.op_type) == ("Sub", "Add"):
        first, second = places[0], places[1]
        down = first is not None and second is not None and _changes(first) < _changes(second)
        return "yxyx" if down else "xyxy"
    return "cxcywh" if places[0] is not None else None


def _leads_to_a_corner(place: Span | None, size: Span | None) -> bool:
    """Whether a place is a difference by which the size grows: ``c - w / 2`` with w, or ``p - l`` with ``l + r``.

    The second of two corners is a sum with the same ``c`` or ``p`` in it, or with the first corner: ``x1 + w``.
    """
    if place is None or size is None:
        return False
    parts = operands(place)
    if len(parts) != 2:
        return False
    start, way = map(_key, parts)
    if way == _key(size):
        return True
    node = size.value.producer()
    added = [_key(one) for one in operands(size)] if node is not None and node.op_type == "Add" else []
    return way in added and start not in added and _key(place) not in added


def _key(span: Span) -> tuple[int, int, int]:
    return id(span.value), span.axis, span.first


def _node(computed_at: Span | None) -> ir.Node | None:
    return None if computed_at is None else computed_at.value.producer()


def _columns(one: Segment) -> list[Span]:
    made = one.made
    return [Span(made.value, made.axis, column, column + 1) for column in range(made.first, made.end)]


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
