"""What numbers are whole because a graph makes them of integers: numbers of classes and of images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import constant_array
from boxcam.export.heads.evidence.columns import Span, copied, part_read

_KEEPING = frozenset({"Add", "Sub", "Mul", "Where"})
"""Operators that make whole numbers of whole numbers, element by element."""
_DEPTH = 20


def from_integers(value: ir.Value) -> bool:
    """Whether numbers are integers, or real ones that a Cast made of integers, whatever was done to them since.

    They may have been moved; and sums and products with other whole numbers are whole, such as those with a mask.
    """
    origins = _origins(value)
    return all(map(_is_whole, origins)) and any(map(_is_integer, origins))


def columns_from_integers(span: Span, depth: int = _DEPTH) -> bool:
    """The same of some columns, where what was done since was done to other columns too.

    Args:
        span: the columns.
        depth: how many operators to follow them through.
    """
    parts = copied(span)
    return bool(parts) and all(from_integers(one.value) or (depth > 0 and _keeps(one, depth - 1)) for one in parts)


def _keeps(part: Span, depth: int) -> bool:
    """Whether columns are made of columns that are made of integers, and of whole numbers."""
    node = part.value.producer()
    if node is None or node.op_type not in _KEEPING:
        return False
    read = [part_read(part, value) for value in _operands(node)]
    own = [one.end > one.first and columns_from_integers(one, depth) for one in read]
    return any(own) and all(
        found or all(map(_is_whole, _origins(one.value))) for one, found in zip(read, own, strict=True)
    )


def _origins(value: ir.Value) -> list[ir.Value]:
    """What numbers were before they were moved, cast to others, added and multiplied."""
    todo, seen, found = [value], set[int](), list[ir.Value]()
    while todo:
        one = todo.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        node = one.producer()
        read: Sequence[ir.Value] = ()
        if node is not None and not _is_integer(one):
            if node.op_type in _KEEPING:
                read = _operands(node)
            elif operator_of(node).copies is not Copies.NONE and node.inputs[0] is not None:
                read = [node.inputs[0]]
        todo += read
        found += [] if read else [one]
    return found


def _operands(node: ir.Node) -> list[ir.Value]:
    """What numbers are made of: not the condition that chooses between them."""
    return [value for value in node.inputs[node.op_type == "Where" :] if value is not None]


def _is_integer(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_integer()


def _is_whole(value: ir.Value) -> bool:
    if _is_integer(value) or value.dtype == ir.DataType.BOOL:
        return True
    array = constant_array(value)
    return array is not None and array.dtype.kind == "f" and bool((array == np.round(array)).all())
