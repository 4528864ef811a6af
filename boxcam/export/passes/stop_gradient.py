"""Stop the gradient at some values: the deployed graph has forgotten where its framework detached them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from boxcam.errors import ExportError
from boxcam.export.graphs.dependency import STOP
from boxcam.export.graphs.query import find_value


def hold(model: ir.Model, names: Sequence[str]) -> None:
    """Let no gradient pass some values: all that used one reads a copy of it, an Identity ``boxcam.stop.N``.

    Outputs of the graph stay what they are.

    Args:
        model: the graph; it is changed. Optimising it afterwards would take the copies out again.
        names: the values; one that is held already is left alone.

    Raises:
        ExportError: the graph has no value of that name.
    """
    graph = model.graph
    for name in dict.fromkeys(names):
        value = find_value(graph, name)
        if value is None:
            raise ExportError(
                f"the model has no tensor {name!r} at which a gradient could be stopped. Pass the name of a tensor of"
                " the graph."
            )
        uses = [use for use in value.uses() if not is_stop(use.node)]
        if not uses or any(is_stop(use.node) for use in value.uses()):
            continue
        number = sum(is_stop(node) for node in graph)
        stop = ir.Node("", "Identity", [value], name=f"{STOP}.{number}")
        held = stop.outputs[0]
        held.name, held.type, held.shape = f"{STOP}.{number}/{name}", value.type, value.shape
        for node, index in uses:
            node.replace_input_with(index, held)
        graph.append(stop)
    graph.sort()


def is_stop(node: ir.Node) -> bool:
    return node.op_type == "Identity" and (node.name or "").startswith(STOP)
