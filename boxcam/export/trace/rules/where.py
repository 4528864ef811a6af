"""Operators that take an element from one of two values."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.trace import position as at
from boxcam.export.trace.position import Position
from boxcam.export.trace.tracer import Columns, Place, Tracer, broadcast, pick, selects


@selects("Where")
def where(t: Tracer, op: Ops, place: Place) -> Columns | None:
    condition, position = place.input(0), place.position
    taken = at.at(op, condition, broadcast(op, position, condition))
    mask = op.Cast(at.vector(op, taken, (t.elements,)), to=ir.DataType.BOOL)
    sides = ((mask, place.input(1)), (op.Not(mask), place.input(2)))
    return t.either(op, [(flag, broadcast_way(op, source, position)) for flag, source in sides], place.passed)


def broadcast_way(op: Ops, source: ir.Value, position: Position) -> Callable[[ir.Value], tuple[ir.Value, Position]]:
    """The way on for some of K elements, to a value that was broadcast."""
    return lambda rows: (source, broadcast(op, pick(op, position, rows), source))


@selects("If")
def if_(t: Tracer, op: Ops, place: Place) -> Columns | None:
    # K may depend on the node's own outputs, so the way back gets an If of its own, with a copy of each branch.
    number = list(place.node.outputs).index(place.value)
    results: list[tuple[Ops, Columns | None]] = []
    for name in ("then_branch", "else_branch"):
        copy = place.node.attributes[name].as_graph().clone(allow_outer_scope_values=True)
        inside = op.inside(copy)
        results.append((inside, t.pull(inside, copy.outputs[number], place.position, place.passed)))
    width = max((len(columns) for _, columns in results if columns is not None), default=0)
    if width == 0:
        return None
    branches = []
    for inside, columns in results:
        columns = [-1] if columns is None else columns
        packed = inside.Identity(at.stack(inside, columns + [0] * (width - len(columns)), (t.elements,)))
        inside.graph.outputs.clear()
        inside.graph.outputs.append(packed)
        branches.append(inside.graph)
    taken = op.If(place.input(0), then_branch=branches[0], else_branch=branches[1])
    return [op.Gather(taken, column, axis=1) for column in range(width)]
