"""Integers that a quantized model moves before it makes real numbers of them.

A Transpose between rounding and real numbers is as good on either side, and ONNX Runtime puts it where it costs less,
on the integers. What follows numbers back, and takes rounding for one step, looks for both halves of it side by side.
"""

from __future__ import annotations

import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import constant_array

_CHANGES = ("Cast", "CastLike", "CenterCropPad", "Pad", "Trilu")
"""Of those that move numbers, they change the type, or fill up with 0, which is not what the integer 0 stands for."""


def dequantize_before_moves(graph: ir.Graph) -> None:
    """Make real numbers first, and move these: ``DequantizeLinear(Transpose(q))`` becomes its mirror image.

    Values keep their names where they are real, and the numbers are the same. What has a scale for each channel is left
    as it is, since moving may change which axis is that of channels; so is what joins several tensors.
    """
    for node in list(graph):
        while node.op_type == "DequantizeLinear" and (move := _moved(node)) is not None:
            node = _swapped(graph, node, move)
    graph.sort()


def _moved(node: ir.Node) -> ir.Node | None:
    """What moves the integers that a node reads, whose scale is one for all of them."""
    if "block_size" in node.attributes or "output_dtype" in node.attributes:
        return None
    move = None if node.inputs[0] is None else node.inputs[0].producer()
    if move is None or not _only_moves(move):
        return None
    parameters = [constant_array(one) for one in node.inputs[1:] if one is not None]
    return move if all(one is not None and one.size == 1 for one in parameters) else None


def _only_moves(node: ir.Node) -> bool:
    """Whether a node moves one tensor that is computed, and does nothing to its numbers."""
    operator, data = operator_of(node), node.inputs[0] if node.inputs else None
    one = operator.moves and operator.differentiable(len(node.inputs)) == (0,) and len(node.outputs) == 1
    return one and node.op_type not in _CHANGES and data is not None and data.producer() is not None


def _swapped(graph: ir.Graph, node: ir.Node, move: ir.Node) -> ir.Node:
    """The node, moved before what it reads; both are new, and what was there goes if nothing else reads it."""
    integers, old = move.inputs[0], node.outputs[0]
    assert integers is not None
    first = ir.node("DequantizeLinear", [integers, *node.inputs[1:]], name=node.name)
    real = first.outputs[0]
    real.name, real.type, real.shape = f"{old.name}/real", old.type, integers.shape
    second = ir.node(move.op_type, [real, *move.inputs[1:]], attributes=dict(move.attributes))
    new = second.outputs[0]
    graph.extend([first, second])
    new.name, old.name = old.name, f"{old.name}/moved"
    new.type, new.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    if not move.outputs[0].uses() and not move.outputs[0].is_graph_output():
        graph.remove(move, safe=True)
        second.name = move.name
    return first
