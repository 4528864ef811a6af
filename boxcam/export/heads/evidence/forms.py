"""What the four numbers of a box are, as a graph computes them: corners, or a place and a size.

A size is a difference of two sides, or grows from a cell's own numbers (an exponential, a square) with no place added
to it; a centre is a mean of two sides, or has the place of its cell added; a corner is a centre less half of the
size. What the numbers of a run look like is not asked.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.query import Array, constant_array
from boxcam.export.heads.evidence.columns import Part, Span, copied, operands, part_read, passed, unscaled
from boxcam.export.heads.evidence.makers import computed


def form_of(boxes: Span) -> str | None:
    """``cxcywh``, ``xywh``, ``xyxy`` or ``yxyx``; None if the graph does not tell.

    Args:
        boxes: the four columns of a box.
    """
    columns = [Span(boxes.value, boxes.axis, column, column + 1) for column in range(boxes.first, boxes.end)]
    computed_at = [unscaled(column) for column in columns]
    if len(columns) != 4 or None in computed_at:
        return None
    place, size = (_node(computed_at[0]), _node(computed_at[2]))
    if place is None or size is None or place is size:
        return None
    if size.op_type == "Sub" and len(computed(size)) == 2:
        if place.op_type == "Add" and len(computed(place)) == 2:
            return "cxcywh"
        way = _subtracted(computed_at[2])
        return "xywh" if way is not None and way in (place, _maker(columns[0])) else None
    if place.op_type == "Sub" and _leads_to_a_corner(computed_at[0], computed_at[2]):
        return "xywh"
    places = [_place(column) for column in columns]
    if places[2] is not None or (place.op_type, size.op_type) == ("Sub", "Add"):
        first, second = places[0], places[1]
        down = first is not None and second is not None and _changes(first) < _changes(second)
        return "yxyx" if down else "xyxy"
    return "cxcywh" if places[0] is not None else None


def _subtracted(size: Span | None) -> ir.Node | None:
    """What makes the numbers that a size is less by: a share of a corner, as of ``x2 - x1 / 2``, is no corner."""
    taken = None if size is None or (node := _node(size)) is None else node.inputs[1]
    return None if size is None or taken is None else _maker(part_read(size, taken))


def _maker(column: Span) -> ir.Node | None:
    """What makes the numbers of a column, factors included; None if that is not one operator."""
    found = copied(column)
    return _node(found[0]) if len(found) == 1 else None


def _leads_to_a_corner(place: Span | None, size: Span | None) -> bool:
    """Whether a place is a difference by which the size grows: ``c - w / 2`` with w, or ``p - l`` with ``l + r``.

    The second of two corners is a sum with the same ``c`` or ``p`` in it, or with the first corner: ``x1 + w``. A way
    that is the difference of another number and the start is the size of a box between the two, by which corners are
    moved apart: ``x1 - w / 10`` and ``x2 + w / 10`` with ``w = x2 - x1``.
    """
    if place is None or size is None:
        return False
    parts = operands(place)
    if len(parts) != 2:
        return False
    start, way = map(_key, parts)
    made = _node(parts[1])
    if made is not None and made.op_type == "Sub" and start in map(_key, operands(parts[1])):
        return False
    if way == _key(size):
        return True
    node = size.value.producer()
    added = [_key(one) for one in operands(size)] if node is not None and node.op_type == "Add" else []
    return way in added and start not in added and _key(place) not in added


def _key(span: Span) -> tuple[int, int, int]:
    return id(span.value), span.axis, span.first


def _node(computed_at: Span | None) -> ir.Node | None:
    return None if computed_at is None else computed_at.value.producer()


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
