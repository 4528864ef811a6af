"""Stops: values that no gradient passes, as if they were given.

``detach()`` leaves no trace in ONNX. A stop is written into the graph as an Identity of a certain name, behind which
every user of the value reads it; `boxcam.export.dependency` knows that no gradient flows through it, and with it
whoever asks there: the gradient, the score graph, the torch module, and what they are checked by.

The proposals of a two-stage detector are such values: a box is explained for the given proposal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir

from boxcam.errors import ExportError, TraceError
from boxcam.export import graph as onnx
from boxcam.export.dependency import STOP
from boxcam.export.graph import Ops
from boxcam.export.selection.products import selected_from, walked
from boxcam.export.selection.tracer import Passed, Tracer, is_constant

_LINEAR = ("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul", "Relu")
"""What maps of features are made by."""


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
        value = onnx.find(graph, name)
        if value is None:
            raise ExportError(f"the model has no tensor {name!r} at which a gradient could be stopped.")
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


def proposals(graph: ir.Graph, outputs: Iterable[str] = ()) -> list[str]:
    """The values that the proposals of a two-stage detector are selected from, the boxes that an earlier stage decoded.

    Args:
        graph: a detector's graph.
        outputs: the outputs that are explained (boxes, scores): a RoiAlign that none of them needs, such as that of a
            mask, which reads the detections, does not count. All outputs by default.

    Returns:
        Names of floating-point values, to be given to `hold`; empty without a RoiAlign.
    """
    wanted = set(outputs)
    roots = [value for value in graph.outputs if not wanted or value.name in wanted]
    found: dict[str, None] = {}
    for node in onnx.ancestors(roots):
        if node.op_type == "RoiAlign" and node.inputs[1] is not None:
            corners = _corners(graph, node.inputs[1])
            decoded = _decoded(node.inputs[1])
            found.update((str(v.name), None) for v, end in decoded if corners is None or end.name in corners)
    return list(found)


def _decoded(rois: ir.Value) -> list[tuple[ir.Value, ir.Value]]:
    """Where the selection of some proposals, and of what lies beside them in one tensor (their scores), begins.

    Returns:
        What to hold, and the value that is computed there: the same, but for a map of features, of which the proposals
        are a part; others may read it too.
    """
    result: list[tuple[ir.Value, ir.Value]] = []
    todo, seen = [rois], {rois}
    while todo:
        value = todo.pop()
        node = value.producer()
        if is_constant(value) or node is None:
            continue
        if not walked(node) or is_stop(node):
            if value.dtype is None or value.dtype.is_floating_point():
                result.append((value, value))
            continue
        for source in selected_from(node):
            maker = source.producer()
            if maker is not None and maker.op_type in _LINEAR and node.op_type != "Identity":
                result.append((value, source))
            elif source not in seen:
                seen.add(source)
                todo.append(source)
    return result


def _corners(graph: ir.Graph, rois: ir.Value) -> set[str] | None:
    """Names of the values that the four columns of proposals are elements of; None where these cannot be followed."""
    copy = graph.clone()
    value = onnx.find(copy, str(rois.name))
    if value is None:
        return None
    op = Ops(copy, "boxcam.proposals")
    names: set[str] = set()
    try:
        rows = op.Range(0, op.Squeeze(op.Gather(op.Shape(value), [0]), [0]), 1)
        for column in range(4):
            tracer = Tracer(copy, rows, "the proposals", to_logits=False)
            tracer.pull(op, value, (rows, column), Passed())
            names.update(str(end.name) for end in tracer.ends)
    except TraceError:  # then too much is held: scores beside the boxes, which only select
        return None
    return names
