"""Loops that run once, as over the images of a batch of one, written without the loop.

1. The number of trips is a constant 1, or computed of nothing but sizes that are known, and 1 in a run.
2. What is carried becomes what is handed over; what is collected gets an axis of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, all_values, ancestors, attribute_of, static_shape, values_read


def write_out(model: ir.Model, observe: Callable[[list[ir.Value]], list[Array]]) -> None:
    """Replace each Loop of one trip by what is in it, in place.

    Args:
        model: the graph, its shapes inferred.
        observe: what some of its values are in one run.
    """
    loops = [node for node in model.graph if node.op_type == "Loop" and _is_counted(node)]
    if not loops:
        return
    counts = [node.inputs[0] for node in loops if node.inputs[0] is not None]
    trips = [int(np.reshape(array, -1)[0]) for array in observe([_seen(model, value) for value in counts])]
    for node, count in zip(loops, trips, strict=True):
        if count == 1:
            _write(model.graph, node)
    model.graph.sort()


def _seen(model: ir.Model, value: ir.Value) -> ir.Value:
    """A value that a run can give: a constant is copied by a node first."""
    return value if value.producer() is not None else Ops(model.graph, "boxcam.loop").Identity(value)


def _is_counted(node: ir.Node) -> bool:
    """Whether a Loop begins, and has a number of trips that is the same for all images."""
    count, begins = (*node.inputs[:2], None, None)[:2]
    if count is None:
        return False
    if begins is not None:
        tensor = ir.convenience.get_const_tensor(begins)
        if tensor is None or not tensor.numpy().all():
            return False
    return _is_of_sizes([count])


def _is_of_sizes(values: Iterable[ir.Value]) -> bool:
    """Whether values are computed of constants and known sizes alone."""
    values = list(values)
    if any(value.is_graph_input() for value in values):
        return False
    sized: list[ir.Value] = []
    for node in ancestors(values):
        known = node.op_type in ("Shape", "Size") and node.inputs[0] is not None
        if known and None not in (static_shape(node.inputs[0]) or (None,)):  # type: ignore[arg-type]
            sized += node.outputs
    return not any(read.is_graph_input() for node in ancestors(values, sized) for read in values_read(node))


def _write(graph: ir.Graph, loop: ir.Node) -> None:
    """Put a loop's body in its place."""
    body: ir.Graph = attribute_of(loop, "body")
    op = Ops(graph, f"boxcam.loop/{loop.name or loop.outputs[0].name}")
    given = [op.value(np.array(0)), op.value(np.array(True)), *loop.inputs[2:]]
    for inner, outer in zip(body.inputs, given, strict=True):
        assert outer is not None
        ir.convenience.replace_all_uses_with(inner, outer, replace_graph_outputs=True)
    taken = {str(value.name) for value in (*all_values(graph), *graph.initializers.values())}
    for constant in list(body.initializers.values()):
        name = str(constant.name)
        body.initializers.pop(name)
        constant.name = _free(name, taken)
        graph.register_initializer(constant)
    made = list(body.outputs)[1:]
    body.outputs.clear()
    nodes = list(body)
    body.remove(nodes)
    for node in nodes:
        for value in node.outputs:
            if value.name:
                value.name = _free(str(value.name), taken)
    graph.extend(nodes)
    carried = len(loop.inputs) - 2
    for position, (old, new) in enumerate(zip(loop.outputs, made, strict=True)):
        found = new if position < carried else op.Unsqueeze(new, [0])
        if found.producer() is None or found in loop.inputs or found.is_graph_output():
            found = op.Identity(found)
        name = str(old.name)
        ir.convenience.replace_all_uses_with(old, found, replace_graph_outputs=True)
        old.name = _free(f"{name}.loop", taken)
        found.name = name
    graph.remove(loop, safe=True)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
