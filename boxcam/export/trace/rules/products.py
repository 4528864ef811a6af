"""Products of which a class probability is one factor: the way to its logit goes on behind this factor.

objectness x class, class x centreness, √(class x centreness), class^a x iou^b: the class probability has an axis of
classes, and each of the others is the same for all classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod

import onnx_ir as ir

from boxcam.errors import NoLogitError
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import describe_node, name_and_shape, static_shape
from boxcam.export.trace import position as at
from boxcam.export.trace.rules.where import broadcast_way
from boxcam.export.trace.tracer import PRODUCTS, SELECTION, Columns, Place, Tracer, broadcast, is_constant


@PRODUCTS.register("Sqrt")
@PRODUCTS.register("Clip")
def first_input(t: Tracer, op: Ops, place: Place) -> Columns | None:
    return t.pull(op, place.input(0), place.position, replace(place.passed, product=True))


@PRODUCTS.register("Pow")
@PRODUCTS.register("Div")
def by_a_constant(t: Tracer, op: Ops, place: Place) -> Columns | None:
    base, second = place.input(0), place.input(1)
    if not is_constant(second):
        raise NoLogitError(
            f"{t.what} are computed by {describe_node(place.node)}, from two computed values; only a constant"
            ' exponent or divisor can be traced to a logit. Use targets="score", which explains the score as it is'
            " reported."
        )
    position = broadcast(op, place.position, base)
    return t.pull(op, base, position, replace(place.passed, product=True))


@PRODUCTS.register("Mul")
def product(t: Tracer, op: Ops, place: Place) -> Columns | None:
    factors = [place.input(0), place.input(1)]
    passed = replace(place.passed, product=True)
    for factor, other in (factors, reversed(factors)):
        if _is_mask(other):  # where it is not 1, nothing is left of the score
            at_mask = at.at(op, other, broadcast(op, place.position, other))
            kept = op.Cast(at.vector(op, at_mask, (t.elements,)), to=ir.DataType.BOOL)
            return t.either(op, [(kept, broadcast_way(op, factor, place.position))], place.passed)
    chosen = _with_classes(factors)
    if chosen is None:
        shapes = " and ".join(name_and_shape(factor) for factor in factors)
        raise NoLogitError(
            f"{t.what} are computed by {describe_node(place.node)}, a product whose factors cannot be told apart"
            f' ({shapes}): with a single class, either could be its probability. Use targets="score", which'
            " explains the product."
        )
    t.factors.append((place.value, 1 if chosen is factors[0] else 0))
    return t.pull(op, chosen, broadcast(op, place.position, chosen), passed)


def _with_classes(factors: list[ir.Value]) -> ir.Value | None:
    """The factor that has the axis of classes, if that can be seen."""
    one, other = factors
    for test in (_constant, _narrower, _spread, _not_chosen, _smaller):
        found = test(one, other), test(other, one)
        if found[0] != found[1]:
            return other if found[0] else one
    return None


# Each tells whether its first argument is the factor that is the same for all classes.


def _constant(value: ir.Value, other: ir.Value) -> bool:
    return all(is_constant(end) for end in _ends(value))


def _narrower(value: ir.Value, other: ir.Value) -> bool:
    """It is broadcast along an axis of the other."""
    own, others = static_shape(value), static_shape(other)
    if own is None or others is None:
        return False
    width = max(len(own), len(others))
    pairs = zip((1,) * (width - len(own)) + own, (1,) * (width - len(others)) + others, strict=True)
    return any(mine == 1 and theirs != 1 for mine, theirs in pairs)


def _spread(value: ir.Value, other: ir.Value) -> bool:
    """It was broadcast before the product."""
    return any(node.op_type in ("Expand", "Tile") for node in _selection(value))


def _not_chosen(value: ir.Value, other: ir.Value) -> bool:
    """The other is the best of several classes."""
    return any(node.op_type == "ReduceMax" for node in _selection(other))


def _smaller(value: ir.Value, other: ir.Value) -> bool:
    """It was selected out of fewer numbers."""
    own, others = _size(value), _size(other)
    return own is not None and others is not None and own < others


def _size(value: ir.Value) -> int | None:
    """How many numbers the tensors have that a value was selected from."""
    shapes = [static_shape(end) for end in _ends(value) if not is_constant(end)]
    if any(shape is None or None in shape for shape in shapes):
        return None
    return sum(prod(d or 0 for d in shape) for shape in shapes if shape is not None)


def _selection(value: ir.Value) -> Iterator[ir.Node]:
    """The operators that select a value out of others."""
    todo, seen = [value], set()
    while todo:
        node = todo.pop().producer()
        if node is None or node in seen or not walked(node):
            continue
        seen.add(node)
        yield node
        todo.extend(selected_from(node))


def _ends(value: ir.Value) -> list[ir.Value]:
    """The values that a value is selected from."""
    inside = {output for node in _selection(value) for output in node.outputs}
    found = {read: None for node in _selection(value) for read in selected_from(node) if read not in inside}
    return list(found) or [value]


def walked(node: ir.Node) -> bool:
    """Whether an operator selects, and names by its inputs what out of."""
    return node.op_type in SELECTION and node.op_type != "If"


def selected_from(node: ir.Node) -> list[ir.Value]:
    """The inputs of an operator that selects out of which it does."""
    chosen = operator_of(node).differentiable(len(node.inputs))
    return [value for i in chosen if (value := node.inputs[i]) is not None]


def _is_mask(value: ir.Value) -> bool:
    """Whether a value is a condition, as 0 and 1."""
    return all(end.dtype == ir.DataType.BOOL for end in _ends(value))
