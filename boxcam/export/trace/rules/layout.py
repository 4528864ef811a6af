"""Operators that give a value another shape."""

from __future__ import annotations

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, axes_of
from boxcam.export.trace import position as at
from boxcam.export.trace.position import Coordinate
from boxcam.export.trace.tracer import Columns, Place, Tracer, broadcast, selects


@selects("Identity", "Cast", "Dropout")
def same(t: Tracer, op: Ops, place: Place) -> Columns | None:
    return t.pull(op, place.input(0), place.position, place.passed)


@selects("Reshape", "Flatten")
def reshape(t: Tracer, op: Ops, place: Place) -> Columns | None:
    before = place.input(0)
    return t.pull(op, before, at.reshaped(op, place.position, before, place.value), place.passed)


@selects("Unsqueeze")
def unsqueeze(t: Tracer, op: Ops, place: Place) -> Columns | None:
    inserted = {a % len(place.position) for a in axes_of(place.node) or []}
    kept = tuple(c for a, c in enumerate(place.position) if a not in inserted)
    return t.pull(op, place.input(0), kept, place.passed)


@selects("Squeeze")
def squeeze(t: Tracer, op: Ops, place: Place) -> Columns | None:
    before = place.input(0)
    removed = axes_of(place.node)
    if removed is None:
        return reshape(t, op, place)
    gone = {a % at.rank(before) for a in removed}
    rest = iter(place.position)
    return t.pull(op, before, tuple(0 if a in gone else next(rest) for a in range(at.rank(before))), place.passed)


@selects("Transpose")
def transpose(t: Tracer, op: Ops, place: Place) -> Columns | None:
    order = attribute_of(place.node, "perm") or tuple(reversed(range(len(place.position))))
    before: list[Coordinate] = [0] * len(place.position)
    for axis, source in enumerate(order):
        before[source] = place.position[axis]
    return t.pull(op, place.input(0), tuple(before), place.passed)


@selects("Expand")
def expand(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data = place.input(0)
    return t.pull(op, data, broadcast(op, place.position, data), place.passed)


@selects("Tile")
def tile(t: Tracer, op: Ops, place: Place) -> Columns | None:
    data = place.input(0)
    inner = tuple(at.divide(op, c, at.dimension(op, data, axis))[1] for axis, c in enumerate(place.position))
    return t.pull(op, data, inner, place.passed)
