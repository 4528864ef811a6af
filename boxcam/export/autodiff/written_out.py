"""Activations that are written out as several operators: ``x · σ(x)``, ``x · clip(x + 3, 0, 6) / 6``."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import constant_array, static_shape

ENDS = ("Max", "Mul")
"""Operators that an activation which is written out may end with."""
_MOST_INNER = 12


def moving(node: ir.Node) -> list[ir.Value]:
    """The inputs of a node that are no single constant number."""
    constants = [constant_array(value) for value in node.inputs]
    pairs = zip(node.inputs, constants, strict=True)
    return [value for value, constant in pairs if value is not None and (constant is None or constant.size != 1)]


def written_out(node: ir.Node, place: Mapping[ir.Node, int]) -> tuple[ir.Value, list[ir.Node]] | None:
    """What a function of one value is of, number by number, and its other nodes, the latest first.

    Its inputs are followed back until all of them are computed from one value.

    Args:
        node: the last node of the function.
        place: of the nodes that may be a part of it, in topological order.
    """
    frontier = set(moving(node))
    if len(frontier) < (1 if node.op_type == "Max" else 2):
        return None
    nodes: list[ir.Node] = []
    while len(frontier) > 1:
        latest = max(frontier, key=lambda value: place.get(value.producer(), -1))  # type: ignore[arg-type]
        producer = latest.producer()
        if producer is None or len(producer.outputs) != 1 or len(nodes) == _MOST_INNER:
            return None
        operator = operator_of(producer)
        if not operator.elementwise or operator.zero:
            return None
        frontier.remove(latest)
        frontier.update(moving(producer))
        nodes.append(producer)
    (x,) = frontier
    same = static_shape(x) == static_shape(node.outputs[0])
    return (x, nodes) if same and constant_array(x) is None else None
