"""Where the proposals of a two-stage detector are decoded: values that no gradient passes."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from boxcam.errors import TraceError
from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import ancestors, find_value
from boxcam.export.passes.stop_gradient import is_stop
from boxcam.export.trace.rules.products import selected_from, walked
from boxcam.export.trace.tracer import ScorePath, Tracer, is_constant


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
    for node in ancestors(roots):
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
            held = node.inputs[0] if is_stop(node) else None
            if value.dtype is None or value.dtype.is_floating_point():
                result.append((held or value, held or value))
            continue
        for source in selected_from(node):
            maker = source.producer()
            if maker is not None and _makes_features(maker) and node.op_type != "Identity":
                result.append((value, source))
            elif source not in seen:
                seen.add(source)
                todo.append(source)
    return result


def _makes_features(node: ir.Node) -> bool:
    """Whether maps of features are made by such an operator: a layer with weights, its norm or its activation."""
    operator = operator_of(node)
    return operator.weighs or bool(operator.rectifier) or node.op_type == "BatchNormalization"


def _corners(graph: ir.Graph, rois: ir.Value) -> set[str] | None:
    """Names of the values that the four columns of proposals are elements of; None where these cannot be followed."""
    copy = graph.clone()
    value = find_value(copy, str(rois.name))
    if value is None:
        return None
    op = Ops(copy, "boxcam.proposals")
    names: set[str] = set()
    try:
        rows = op.Range(0, op.Squeeze(op.Gather(op.Shape(value), [0]), [0]), 1)
        for column in range(4):
            tracer = Tracer(copy, rows, "the proposals", to_logits=False)
            tracer.pull(op, value, (rows, column), ScorePath())
            names.update(str(end.name) for end in tracer.ends)
    except TraceError:  # then too much is held: scores beside the boxes, which only select
        return None
    return names
