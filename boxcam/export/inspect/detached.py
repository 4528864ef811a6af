"""Where frameworks detach what a deployed graph does not: queries that a detection transformer selects.

RT-DETR (Zhao et al., 2023), DINO (Zhang et al., 2022) and D-FINE (Peng et al., 2024) choose the best tokens of the
encoder by a TopK and hand them, and their boxes, to the decoder detached from the graph. An exported file has forgotten
it: its gradient passes the choice.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import ancestors

_ATTENDS = ("Softmax", "GridSample")


def selected_queries(graph: ir.Graph, image: ir.Value, logits: Iterable[ir.Value]) -> tuple[str, ...]:
    """Names of what a decoder is given of the encoder's best tokens, by which a gradient passes.

    Args:
        graph: the graph.
        image: its input.
        logits: what the scores are made of.

    Returns:
        Names of the selected values, in the order of the graph, for ``stops=``; empty if no query is selected.
    """
    reached = gradient_reaches(graph, [image])
    before = ancestors(list(logits))
    found = []
    for node in before:
        selects = operator_of(node).copies is Copies.SELECTED and len(node.inputs) > 1
        if selects and node.inputs[0] in reached and node.inputs[1] is not None:
            chosen = any(maker.op_type == "TopK" for maker in ancestors([node.inputs[1]]))
            if chosen and _is_read_by_attention(node.outputs[0], set(before)):
                found.append(str(node.outputs[0].name))
    return tuple(found)


def _is_read_by_attention(value: ir.Value, nodes: set[ir.Node]) -> bool:
    """Whether an attention is computed of a value, by some of the graph's nodes."""
    todo, seen = [value], {value}
    while todo:
        for node in todo.pop().consumers():
            if node not in nodes:
                continue
            if node.op_type in _ATTENDS:
                return True
            for output in node.outputs:
                if output not in seen:
                    seen.add(output)
                    todo.append(output)
    return False
