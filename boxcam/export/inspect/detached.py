"""Where frameworks detach what a deployed graph does not: in detection transformers.

RT-DETR (Zhao et al., 2023), DINO (Zhang et al., 2022) and D-FINE (Peng et al., 2024) choose the best tokens of the
encoder by a TopK and hand them, and their boxes, to the decoder detached from the graph. Each decoder layer moves the
boxes, and the next one samples the maps within them: DINO and D-FINE detach these boxes too. D-FINE's layers also add
the queries of the layer before, detached, to their own (src/zoo/dfine/dfine_decoder.py: ``output + output_detach``). An
exported file has forgotten it: its gradient passes the choice, the boxes and the sum.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import onnx_ir as ir

from boxcam.export.graphs.dependency import differentiable_inputs, gradient_reaches
from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import ancestors, static_shape
from boxcam.export.heads.evidence.makers import is_normalization

_ATTENDS = ("Softmax", "GridSample")
_SIDES = 4


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


def passed_boxes(graph: ir.Graph, image: ir.Value, logits: Iterable[ir.Value]) -> tuple[str, ...]:
    """Names of the boxes that a decoder layer has moved and the next samples maps within, where a gradient passes them.

    Args:
        graph: the graph, whose sizes are known.
        image: its input.
        logits: what the scores are made of.

    Returns:
        Names of tensors [1, N, 4], in the order of the graph, for ``stops=``; empty if there are none.
    """
    reached = gradient_reaches(graph, [image])
    found: dict[ir.Value, None] = {}
    for node in ancestors(list(logits)):
        if node.op_type == "GridSample" and node.inputs[1] is not None:
            found.update(dict.fromkeys(_nearest_boxes(node.inputs[1])))
    moved = [box for box in found if box in reached and _is_made_of(box, found.keys() - {box})]
    return tuple(str(box.name) for box in moved)


def added_queries(graph: ir.Graph, logits: Iterable[ir.Value]) -> tuple[str, ...]:
    """Names of the sums of what two decoder layers give, each behind its last norm, as D-FINE's box heads read them.

    Args:
        graph: the graph.
        logits: what the scores are made of.
    """
    found = []
    for node in ancestors(list(logits)):
        if node.op_type == "Add" and all(value is not None and _is_normed(value) for value in node.inputs):
            first, second = (value for value in node.inputs if value is not None)
            if first is not second and (_is_made_of(first, {second}) or _is_made_of(second, {first})):
                found.append(str(node.outputs[0].name))
    return tuple(found)


def _nearest_boxes(grid: ir.Value) -> Iterator[ir.Value]:
    """The boxes, [1, N, 4], that places to sample are computed from, each by a way without other boxes or samples."""
    todo, seen = [grid], {grid}
    while todo:
        value = todo.pop()
        node, shape = value.producer(), static_shape(value)
        if shape is not None and len(shape) == 3 and shape[2] == _SIDES and shape[1] != 1:
            yield value
        elif node is not None and node.op_type not in _ATTENDS:
            new = [read for read in differentiable_inputs(node) if read not in seen]
            seen.update(new)
            todo += new


def _is_made_of(value: ir.Value, others: Collection[ir.Value]) -> bool:
    """Whether a gradient leads from a value to one of some others."""
    todo, seen = [value], {value}
    while todo:
        node = todo.pop().producer()
        for read in () if node is None else differentiable_inputs(node):
            if read in others:
                return True
            if read not in seen:
                seen.add(read)
                todo.append(read)
    return False


def _is_normed(value: ir.Value) -> bool:
    """Whether a value is what a norm gives: an operator's, or shift and scale behind a division by a deviation."""
    for operator in ("Add", "Mul"):
        node = value.producer()
        if node is not None and node.op_type == "LayerNormalization":
            return True
        made = [] if node is None else [read for read in node.inputs if read is not None and read.const_value is None]
        if node is None or node.op_type != operator or len(made) != 1:
            return False
        value = made[0]
    node = value.producer()
    return node is not None and is_normalization(node)


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
