"""Positions of elements inside tensors, as nodes of a graph: one int64 vector per axis, for K elements at once.

A position is a tuple with one coordinate per axis.  A coordinate is a Python integer where all K elements agree
on it at export time, and otherwise an int64 value of shape [K].  What all of them share but only a run can tell (the
size of a dimension, one computed index) is a value of the static shape [1]; `vector` makes it one per element.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from boxcam.errors import TraceError
from boxcam.export.graphs.dimensions import known
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, constant_array, static_shape

Coordinate = int | ir.Value
Position = tuple[Coordinate, ...]
_BOUNDS = "boxcam.bounds"


def shared(coordinate: Coordinate) -> bool:
    """Whether a coordinate is a value that all K elements share."""
    return isinstance(coordinate, ir.Value) and static_shape(coordinate) == (1,)


def derived(value: ir.Value, *operands: Coordinate) -> ir.Value:
    """What was computed from shared coordinates alone is shared too."""
    if all(isinstance(operand, int) or shared(operand) for operand in operands):
        value.dtype, value.shape = ir.DataType.INT64, ir.Shape([1])
    return value


def bounds(coordinate: Coordinate) -> tuple[int, int] | None:
    """The smallest and the largest that a coordinate may be, if that is known."""
    if isinstance(coordinate, int):
        return coordinate, coordinate
    known: tuple[int, int] | None = coordinate.meta.get(_BOUNDS)
    return known


def bound(coordinate: Coordinate, low: int, high: int) -> None:
    """Remember the smallest and the largest that a coordinate may be."""
    if isinstance(coordinate, ir.Value):
        known = bounds(coordinate) or (low, high)
        coordinate.meta[_BOUNDS] = (max(low, known[0]), min(high, known[1]))


def some(op: Ops, position: Position, rows: ir.Value) -> Position:
    """The positions of some of the K elements."""
    return tuple(_picked(op, coordinate, rows) for coordinate in position)


def _picked(op: Ops, coordinate: Coordinate, rows: ir.Value) -> Coordinate:
    """A coordinate of some of the K elements, with what is known of it."""
    if isinstance(coordinate, int) or shared(coordinate):
        return coordinate
    found = op.Gather(coordinate, rows, axis=0)
    if (known := bounds(coordinate)) is not None:
        bound(found, *known)
    if (parts := _parts(coordinate)) is not None:
        number, size, rest = parts
        found.meta[_PARTS] = (_picked(op, number, rows), size, rest)
    return found


_PARTS = "boxcam.parts"


def _parts(coordinate: Coordinate) -> tuple[Coordinate, int, int] | None:
    """Of a coordinate that was computed as number * size + rest: these three; 0 <= rest < size are known."""
    return coordinate.meta.get(_PARTS) if isinstance(coordinate, ir.Value) else None


def add(op: Ops, a: Coordinate, b: Coordinate) -> Coordinate:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if isinstance(a, int) and a == 0:
        return b
    if isinstance(b, int) and b == 0:
        return a
    value, moved = (a, b) if isinstance(a, ir.Value) else (b, a)
    found = derived(op.Add(a, b), a, b)
    if (known := bounds(value)) is not None and isinstance(moved, int):
        bound(found, known[0] + moved, known[1] + moved)
    if (parts := _parts(value)) is not None and isinstance(moved, int) and parts[2] == 0 <= moved < parts[1]:
        found.meta[_PARTS] = (parts[0], parts[1], moved)
    return found


def subtract(op: Ops, a: Coordinate, b: Coordinate) -> Coordinate:
    if isinstance(b, int):
        return add(op, a, -b)
    return derived(op.Sub(a, b), a, b)


def multiply(op: Ops, a: Coordinate, b: Coordinate) -> Coordinate:
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int) and one in (0, 1):
            return 0 if one == 0 else other
    product = derived(op.Mul(a, b), a, b)
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int) and one > 1:
            product.meta[_PARTS] = (other, one, 0)
    return product


def divide(op: Ops, a: Coordinate, b: Coordinate) -> tuple[Coordinate, Coordinate]:
    """Quotient and remainder of non-negative integers."""
    if isinstance(b, int) and b == 1:
        return a, 0
    if isinstance(a, int) and (a == 0 or isinstance(b, int)):
        return (0, 0) if a == 0 else divmod(a, b)  # type: ignore[operator]
    parts = _parts(a)
    if parts is not None and isinstance(b, int):
        number, size, rest = parts
        if b % size == 0:  # (number * size + rest) / (n * size)
            quotient, remainder = divide(op, number, b // size)
            return quotient, add(op, multiply(op, remainder, size), rest)
        if size % b == 0:
            return add(op, multiply(op, number, size // b), rest // b), rest % b
    if not isinstance(b, int):
        # An empty tensor has nothing to divide, but ONNX Runtime checks the divisor all the same.
        b = derived(op.Max(b, 1), b)
    return derived(op.Div(a, b), a, b), derived(op.Mod(a, b), a, b)


def vector(op: Ops, coordinate: Coordinate, like: Position) -> ir.Value:
    """A coordinate as a value [K], K being that of the other coordinates of ``like``."""
    if isinstance(coordinate, ir.Value) and not shared(coordinate):
        return coordinate
    moving = next((c for c in like if isinstance(c, ir.Value) and not shared(c)), None)
    if moving is None:
        return op.value([coordinate] if isinstance(coordinate, int) else coordinate)  # type: ignore[return-value]
    return op.Add(op.Mul(moving, 0), coordinate)


def stack(op: Ops, position: Sequence[Coordinate], like: Position | None = None) -> ir.Value:
    """Coordinates as one int64 value [K, len(position)]."""
    reference = tuple(like if like is not None else position)
    columns = [op.Unsqueeze(vector(op, c, reference), [1]) for c in position]
    return columns[0] if len(columns) == 1 else op.Concat(*columns, axis=1)


def at(op: Ops, tensor: ir.Value, position: Position) -> Coordinate:
    """The elements of an integer tensor at K positions."""
    constant = constant_array(tensor)
    fixed = [c for c in position if isinstance(c, int)]
    if constant is not None and len(fixed) == len(position):
        return int(constant[tuple(fixed)])
    if not position:
        found = op.Reshape(tensor, [1])
    elif len(fixed) == len(position):
        found = op.GatherND(tensor, np.array([fixed], np.int64))
    else:
        found = op.GatherND(tensor, stack(op, position))
    return derived(op.Cast(found, to=ir.DataType.INT64) if tensor.dtype != ir.DataType.INT64 else found, *position)


def dimension(op: Ops, value: ir.Value, axis: int) -> Coordinate:
    """One dimension of a value: an integer where it is static, otherwise an int64 value [1]."""
    size = known(value, axis)
    if size is not None:
        return size
    return derived(op.Gather(op.Shape(value), [axis]))


def rank(value: ir.Value) -> int:
    shape = static_shape(value)
    if shape is None:
        raise TraceError(
            f"the rank of {value.name!r}, on the way from the detections to what made them, is not known. Export the"
            " model with the shapes of its values (shape inference)."
        )
    return len(shape)


def reshaped(op: Ops, position: Position, before: ir.Value, after: ir.Value) -> Position:
    """The position in ``before`` of what lies at ``position`` in ``after``, its reshaped version."""
    coordinates: list[Coordinate] = []
    for new, old in reversed(_same_sizes(after, before)):
        flat: Coordinate = 0
        for axis in new:
            wider = 0 if isinstance(flat, int) and flat == 0 else multiply(op, flat, dimension(op, after, axis))
            flat = add(op, wider, position[axis])
        long = [axis for axis in old if known(before, axis) != 1]
        found: dict[int, Coordinate] = dict.fromkeys(old, 0)
        for axis in reversed(long[1:]):
            flat, found[axis] = divide(op, flat, dimension(op, before, axis))
        if long:
            found[long[0]] = flat
        coordinates += [found[axis] for axis in reversed(old)]
    return tuple(reversed(coordinates))


def _same_sizes(one: ir.Value, other: ir.Value) -> list[tuple[range, range]]:
    """Axes of two shapes of the same elements, in groups of the same size: between these, nothing moves.

    A constant coordinate (a column of boxes) stays one by this, and a coordinate is divided no more than it has to be.
    """
    shapes = [[known(value, axis) for axis in range(rank(value))] for value in (one, other)]
    starts, ends = [rank(one), rank(other)], [rank(one), rank(other)]
    groups: list[tuple[range, range]] = []
    while True:
        sizes = [prod(shape[start:end]) for shape, start, end in zip(shapes, starts, ends, strict=True)]  # type: ignore[arg-type]
        if starts != ends and sizes[0] == sizes[1] > 0:
            groups.append((range(starts[0], ends[0]), range(starts[1], ends[1])))
            ends = list(starts)
            sizes = [1, 1]
        smaller = 0 if sizes[0] <= sizes[1] else 1
        if starts[smaller] < 2 or not shapes[smaller][starts[smaller] - 1]:  # the last group; open, or nothing at all
            break
        starts[smaller] -= 1
    front = _from_the_front(shapes, ends)
    begins = [front[-1][n].stop if front else 0 for n in (0, 1)]
    groups.append((range(begins[0], ends[0]), range(begins[1], ends[1])))
    return [*front, *reversed(groups)]


def _from_the_front(shapes: list[list[int | None]], ends: list[int]) -> list[tuple[range, range]]:
    """Groups of the same size before an open one; of the axes before ``ends``, the last ones are left."""
    begins, stops = [0, 0], [0, 0]
    groups: list[tuple[range, range]] = []
    while True:
        sizes = [prod(shape[start:end]) for shape, start, end in zip(shapes, begins, stops, strict=True)]  # type: ignore[arg-type]
        if begins != stops and sizes[0] == sizes[1] > 0:
            groups.append((range(begins[0], stops[0]), range(begins[1], stops[1])))
            begins = list(stops)
            sizes = [1, 1]
        smaller = 0 if sizes[0] <= sizes[1] else 1
        if stops[smaller] >= ends[smaller] - 1 or not shapes[smaller][stops[smaller]]:
            return groups
        stops[smaller] += 1


def wrapped(op: Ops, index: Coordinate, value: ir.Value, axis: int) -> Coordinate:
    """An index with ONNX's negative indices counted from the end."""
    if isinstance(index, int):
        return index if index >= 0 else add(op, index, dimension(op, value, axis))
    return derived(op.Where(op.Less(index, 0), add(op, index, dimension(op, value, axis)), index), index)


def subset(op: Ops, mask: ir.Value, position: Position) -> tuple[ir.Value, Position]:
    """Which of the K elements a bool mask [K] picks: their numbers, int64 [n], and their positions."""
    chosen = op.Reshape(op.NonZero(mask), [-1])
    return chosen, some(op, position, chosen)


def scattered(op: Ops, node: ir.Node, position: Position) -> tuple[ir.Value, Callable[[ir.Value], Position]]:
    """Where the elements of a ScatterND or ScatterElements output come from.

    Args:
        op: where to write.
        node: the scatter node.
        position: position of K elements in its output.

    Returns:
        A bool mask [K], true where an update was written; and a function from the numbers [n] of some of those
        elements to their position in the updates.
    """
    data, indices, updates = node.inputs[0], node.inputs[1], node.inputs[2]
    assert data is not None and indices is not None and updates is not None
    if node.op_type == "ScatterND":
        depth = static_shape(indices)[-1]  # type: ignore[index]
        assert depth is not None
        columns = [op.Reshape(op.Gather(indices, j, axis=-1), [1, -1]) for j in range(depth)]
        looked_up = [_wrapped_all(op, column, data, j) for j, column in enumerate(columns)]
        sought, kept = position[:depth], position[depth:]
    else:
        axis = int(attribute_of(node, "axis", 0)) % rank(data)
        others = [a for a in range(rank(data)) if a != axis]
        entries = _filled(op, _wrapped_all(op, indices, data, axis), indices, data, axis)
        lines = op.Transpose(entries, perm=[*others, axis])
        where = [position[a] for a in others]
        lines = op.GatherND(lines, stack(op, where, position)) if others else op.Unsqueeze(lines, [0])
        looked_up, sought, kept = [lines], (position[axis],), position
    # One entry that never matches is put last, so that an empty list of updates needs no case of its own.
    hits: ir.Value | None = None
    for entries, coordinate in zip(looked_up, sought, strict=True):
        column = op.Unsqueeze(vector(op, coordinate, position), [1])
        found = op.Equal(entries, column)
        hits = found if hits is None else op.And(hits, found)
    assert hits is not None
    padded = op.Pad(op.Cast(hits, to=ir.DataType.INT32), [0, 0, 0, 1])
    last = op.ArgMax(padded, axis=1, keepdims=0, select_last_index=1)
    written = op.Cast(op.ReduceSum(padded, [1], keepdims=0), to=ir.DataType.BOOL)

    def source(chosen: ir.Value) -> Position:
        entry = op.Gather(last, chosen, axis=0)
        rest = tuple(op.Gather(c, chosen, axis=0) if isinstance(c, ir.Value) else c for c in kept)
        if node.op_type == "ScatterND":
            lead: Position = (entry,)
            for a in range(rank(indices) - 2, 0, -1):  # the entry's number, unravelled over the leading axes
                quotient, remainder = divide(op, lead[0], dimension(op, indices, a))
                lead = (quotient, remainder, *lead[1:])
            return (*lead, *rest)
        return tuple(entry if a == axis else c for a, c in enumerate(rest))

    return written, source


def _wrapped_all(op: Ops, indices: ir.Value, value: ir.Value, axis: int) -> ir.Value:
    """Many indices as int64, with ONNX's negative ones counted from the end."""
    large = op.Cast(indices, to=ir.DataType.INT64)
    return op.Where(op.Less(large, 0), op.Add(large, dimension(op, value, axis)), large)


def _filled(op: Ops, wrapped: ir.Value, indices: ir.Value, data: ir.Value, axis: int) -> ir.Value:
    """The indices of a ScatterElements that writes to a part of the data, filled up with -1, which hits nothing."""
    have, whole = static_shape(indices), static_shape(data)
    assert have is not None and whole is not None
    others = [a for a in range(len(whole)) if a != axis]
    if all(have[a] is not None and have[a] == whole[a] for a in others):
        return wrapped
    missing = op.Mul(op.Sub(op.Shape(data), op.Shape(indices)), [int(a != axis) for a in range(len(whole))])
    return op.Pad(wrapped, op.Concat([0] * len(whole), missing, axis=0), -1)
