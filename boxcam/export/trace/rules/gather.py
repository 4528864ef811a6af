"""Operators that pick elements of one value."""

from __future__ import annotations

import onnx_ir as ir

from boxcam.errors import TraceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, axes_of, constant_array, describe_node, static_shape
from boxcam.export.trace import position as at
from boxcam.export.trace.position import Coordinate
from boxcam.export.trace.tracer import Columns, Place, Tracer, selects


@selects("Gather")
def gather(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, indices, position = place.input(0), place.input(1), place.position
    axis = place.axis(0)
    middle = axis + at.rank(indices)
    index = at.wrapped(op, at.at(op, indices, position[axis:middle]), data, axis)
    constant = constant_array(indices)
    if constant is not None and constant.size and constant.min() >= 0:
        at.bound(index, int(constant.min()), int(constant.max()))
    return t.pull(op, data, (*position[:axis], index, *position[middle:]), place.passed)


@selects("GatherElements")
def gather_elements(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, position, axis = place.input(0), place.position, place.axis(0)
    index = at.wrapped(op, at.at(op, place.input(1), position), data, axis)
    return t.pull(op, data, (*position[:axis], index, *position[axis + 1 :]), place.passed)


@selects("GatherND")
def gather_nd(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, indices, position = place.input(0), place.input(1), place.position
    batch = int(attribute_of(place.node, "batch_dims", 0))
    shape = static_shape(indices)
    if shape is None or shape[-1] is None:
        raise TraceError(
            f"{describe_node(place.node)}: the depth of its indices is not known. Export the model with the shapes of"
            " its values (shape inference)."
        )
    lead = position[: len(shape) - 1]
    found = [at.wrapped(op, at.at(op, indices, (*lead, j)), data, batch + j) for j in range(shape[-1])]
    return t.pull(op, data, (*position[:batch], *found, *position[len(shape) - 1 :]), place.passed)


@selects("Compress")
def compress(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, position = place.input(0), place.position
    chosen = op.Reshape(op.NonZero(place.input(1)), [-1])
    if "axis" not in place.node.attributes:
        flat = op.Reshape(data, [-1])
        flat.shape = ir.Shape([None])
        return t.pull(op, data, at.reshaped(op, (at.at(op, chosen, position),), data, flat), place.passed)
    axis = place.axis(0)
    index = at.at(op, chosen, position[axis : axis + 1])
    return t.pull(op, data, (*position[:axis], index, *position[axis + 1 :]), place.passed)


@selects("TopK")
def top_k(t: Tracer, op: Ops, place: Place) -> Columns | None:
    position, axis = place.position, place.axis(-1)
    index = at.at(op, place.node.outputs[1], position)
    return t.pull(op, place.input(0), (*position[:axis], index, *position[axis + 1 :]), place.passed)


@selects("ReduceMax", "ReduceMin")
def reduce_max(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, position = place.input(0), place.position
    reduced = axes_of(place.node)
    if reduced is None and at.rank(data) == 1:
        reduced = [0]
    if reduced is None or len(reduced) != 1:
        return t.end(place)  # of several axes, which element it was is not told
    axis = reduced[0] % at.rank(data)
    keep = bool(attribute_of(place.node, "keepdims", 1))
    outer = (*position[:axis], *position[axis + (1 if keep else 0) :])
    which = op.ArgMax if place.node.op_type == "ReduceMax" else op.ArgMin
    winner = at.at(op, which(data, axis=axis, keepdims=0), outer)
    return t.pull(op, data, (*outer[:axis], winner, *outer[axis:]), place.passed)


@selects("Slice")
def slice_(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, starts, node = place.input(0), place.input(1), place.node
    count = static_shape(starts)
    if count is None or count[0] is None:
        raise TraceError(
            f"{describe_node(node)}: the number of its axes is not known. Export the model with the shapes of its"
            " values (shape inference)."
        )
    sliced = [int(a) for a in _constant(node, 3, range(count[0]))]
    steps = [int(s) for s in _constant(node, 4, [1] * count[0])]
    before = list(place.position)
    for number, (axis, step) in enumerate(zip(sliced, steps, strict=True)):
        axis %= at.rank(data)
        size = at.dimension(op, data, axis)
        start = at.wrapped(op, at.at(op, starts, (number,)), data, axis)
        if isinstance(start, int) and isinstance(size, int):
            start = max(min(start, size if step > 0 else size - 1), 0)
        elif not (isinstance(start, int) and start >= 0 and step > 0):
            start = at.derived(op.Min(op.Max(start, 0), at.subtract(op, size, 0 if step > 0 else 1)), start, size)
        before[axis] = at.add(op, at.multiply(op, before[axis], step), start)
        count_left = at.dimension(op, place.value, axis)
        if step == 1 and isinstance(start, int) and isinstance(count_left, int):
            at.bound(before[axis], start, start + count_left - 1)
    return t.pull(op, data, tuple(before), place.passed)


def _constant(node: ir.Node, index: int, default: object) -> list[int]:
    if index >= len(node.inputs) or node.inputs[index] is None:
        return list(default)  # type: ignore[call-overload, no-any-return]
    found = constant_array(node.inputs[index])
    if found is None:
        raise TraceError(
            f"{describe_node(node)} computes its axes or steps, and only constant ones can be traced. Export the"
            " model with constant ones."
        )
    return [int(v) for v in found.reshape(-1)]


@selects("Split")
def split(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data, position, axis = place.input(0), place.position, place.axis(0)
    start: Coordinate = 0
    for earlier in list(place.node.outputs)[: list(place.node.outputs).index(place.value)]:
        start = at.add(op, start, at.dimension(op, earlier, axis))
    index = at.add(op, position[axis], start)
    count = at.dimension(op, place.value, axis)
    if isinstance(start, int) and isinstance(count, int):
        at.bound(index, start, start + count - 1)
    moved = (*position[:axis], index, *position[axis + 1 :])
    return t.pull(op, data, moved, place.passed)
