"""Which values of a graph depend on which others, and through which inputs a gradient flows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import onnx_ir as ir

from boxcam.export.graphs.operators import UNKNOWN, operator_of
from boxcam.export.graphs.query import ancestors, values_read

STOP = "boxcam.stop"
"""How the names of nodes begin that no gradient passes, see `boxcam.export.passes.stop_gradient`."""


def differentiable_inputs(node: ir.Node) -> list[ir.Value]:
    """Inputs through which a gradient flows: not indices, sizes, conditions or proposals, and not stops.

    Of a node that runs another graph, what that graph reads of this one counts too.
    """
    if node.op_type == "Identity" and (node.name or "").startswith(STOP):
        return []
    if node.op_type == "Cast" and not ir.DataType(node.attributes["to"].as_int()).is_floating_point():
        return []
    operator = operator_of(node)
    if operator is UNKNOWN:
        return list(values_read(node))
    chosen = (node.inputs[i] for i in operator.differentiable(len(node.inputs)))
    return [value for value in chosen if value is not None]


def gradient_reaches(graph: ir.Graph, sources: Iterable[ir.Value], others: Iterable[ir.Value] = ()) -> set[ir.Value]:
    """Values that depend on the sources by a path along which a gradient flows, the sources included.

    Sources and ``others`` are cut: what is computed from them does not see past them, and others are not reached.
    """
    reached = set(sources)
    cut = reached | set(others)
    for node in graph:
        if any(value in reached for value in differentiable_inputs(node)):
            reached.update(value for value in node.outputs if value not in cut)
    return reached


def between(graph: ir.Graph, sources: Collection[ir.Value], leaves: Iterable[ir.Value]) -> Iterator[ir.Node]:
    """Nodes that a gradient passes on its way from some values back to the sources."""
    reached = gradient_reaches(graph, sources)
    for node in ancestors(leaves, sources):
        if any(value in reached for value in differentiable_inputs(node)):
            yield node


def depends(graph: ir.Graph, source: ir.Value) -> set[ir.Value]:
    """Values that depend on the source in any way."""
    reached = {source}
    for node in graph:
        if any(value in reached for value in values_read(node)):
            reached.update(node.outputs)
    return reached
