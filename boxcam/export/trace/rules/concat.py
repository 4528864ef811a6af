"""Operators that put one value together from several."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from boxcam.errors import TraceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, axes_of, describe_node
from boxcam.export.trace import position as at
from boxcam.export.trace.amounts import amounts
from boxcam.export.trace.position import Coordinate, Position
from boxcam.export.trace.tracer import Columns, Place, Tracer, pick, selects


@selects("Concat")
def concat(t: Tracer, op: Ops, place: Place) -> Columns | None:
    node, position, axis = place.node, place.position, place.axis(0)
    inputs = [place.input(i) for i in range(len(node.inputs))]
    coordinate = position[axis]
    sizes = [at.dimension(op, i, axis) for i in inputs]
    if isinstance(coordinate, int) and all(isinstance(size, int) for size in sizes):
        for source, size in zip(inputs, sizes, strict=True):
            assert isinstance(size, int) and isinstance(coordinate, int)
            if coordinate < size:
                return t.pull(op, source, (*position[:axis], coordinate, *position[axis + 1 :]), place.passed)
            coordinate -= size
        raise TraceError(
            f"{describe_node(node)} has no element {position[axis]} along axis {axis}. Check the file with"
            " onnx.checker."
        )
    along = at.vector(op, coordinate, (t.elements,))
    low, high = at.bounds(coordinate) or (0, None)
    choices = []
    start: Coordinate = 0
    for source, size in zip(inputs, sizes, strict=True):
        end = at.add(op, start, size)
        if isinstance(start, int) and isinstance(end, int):
            if end <= low or (high is not None and start > high):
                start = end
                continue  # the elements lie elsewhere, as the class scores do that share a value with the boxes
            if start <= low and high is not None and high < end:
                inner = at.subtract(op, coordinate, start)
                return t.pull(op, source, (*position[:axis], inner, *position[axis + 1 :]), place.passed)
        mask = op.And(op.GreaterOrEqual(along, start), op.Less(along, end))
        choices.append((mask, _branch(op, source, position, axis, along, start)))
        start = end
    return t.either(op, choices, place.passed)


def _branch(
    op: Ops, source: ir.Value, position: Position, axis: int, along: ir.Value, start: Coordinate
) -> Callable[[ir.Value], tuple[ir.Value, Position]]:
    def way(rows: ir.Value) -> tuple[ir.Value, Position]:
        inner = at.subtract(op, op.Gather(along, rows, axis=0), start)
        picked = pick(op, position, rows)
        return source, (*picked[:axis], inner, *picked[axis + 1 :])

    return way


@selects("ScatterElements", "ScatterND")
def scatter(t: Tracer, op: Ops, place: Place) -> Columns | None:
    if attribute_of(place.node, "reduction", "none") != "none":
        return t.end(place)  # it adds up what it scatters, or the like, and so computes
    data, updates = place.input(0), place.input(2)
    moving = tuple(at.vector(op, c, (t.elements,)) if i == 0 else c for i, c in enumerate(place.position))
    written, source = at.scattered(op, place.node, moving)
    choices = [
        (written, lambda rows: (updates, source(rows))),
        (op.Not(written), lambda rows: (data, pick(op, moving, rows))),
    ]
    return t.either(op, choices, place.passed)


@selects("Pad")
def pad(t: Tracer, op: Ops, place: Place) -> Columns | None:
    node, data = place.node, place.input(0)
    mode = attribute_of(node, "mode", "constant")
    pads = place.input(1)
    known = amounts(pads)
    axes = axes_of(node, 3) if len(node.inputs) > 3 else None
    if mode != "constant":
        return t.end(place)  # the padding is of elements, and not of a constant
    padded = [a % at.rank(data) for a in (range(at.rank(data)) if axes is None else axes)]
    inside = op.GreaterOrEqual(t.elements, t.elements)
    before = list(place.position)
    for number, axis in enumerate(padded):
        # The sizes do not tell: what is padded on one side and cut on the other is moved and as large as before.
        start, end = number, number + len(padded)
        if known is not None and known[start] == known[end] == 0:
            continue
        amount = at.at(op, pads, (start,)) if known is None or known[start] is None else int(known[start])
        before[axis] = at.subtract(op, before[axis], amount)
        along = at.vector(op, before[axis], (t.elements,))
        within = op.And(op.GreaterOrEqual(along, 0), op.Less(along, at.dimension(op, data, axis)))
        inside = op.And(inside, within)
    return t.either(op, [(inside, lambda rows: (data, pick(op, tuple(before), rows)))], place.passed)
