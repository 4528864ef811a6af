"""Outputs of quantized models whose steps are so large that scores are lost in them."""

from __future__ import annotations

import onnx_ir as ir

from boxcam.export.graphs.operators import operator_of
from boxcam.export.graphs.query import constant_array, describe_node
from boxcam.export.heads.conventions.question import Question

_LARGEST = 0.5
"""With larger steps there is nothing between the probabilities 0 and 1; of sizes of boxes in pixels it is usual."""


def lost_in_steps(question: Question) -> str:
    """What to say if all outputs are rounded to steps that leave nothing of a probability; "" if some are not.

    One scale for boxes in pixels and for scores does that, as when a quantizer rounds the tensor that holds both.
    """
    outputs = [one for one in question.seen if one.real]
    rounds = [rounding(one.made) for one in outputs]
    found = [one for one in rounds if one is not None and one[1] > _LARGEST]
    if not outputs or len(found) < len(outputs):
        return ""
    node, step = max(found, key=lambda one: one[1])
    many = len(outputs) > 1
    return (
        f"the model rounds {'all of its outputs' if many else f'its output {outputs[0].value.name}'} to steps of"
        f" {step:.3g} ({describe_node(node)}), in which scores from 0 to 1 are lost. Quantize it with an own scale for"
        f" its scores, or without its output{'s' if many else ''}."
    )


def rounding(value: ir.Value) -> tuple[ir.Node, float] | None:
    """What makes real numbers of the integers that a value consists of, and how far these are apart.

    None if it consists of none, or has more than one scale.
    """
    node = value.producer()
    while node is not None and _moves_one(node) and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    scale = None if node is None or node.op_type != "DequantizeLinear" else constant_array(node.inputs[1])
    if node is None or scale is None or scale.size != 1:
        return None
    return node, float(scale.reshape(()))


def _moves_one(node: ir.Node) -> bool:
    """Whether a node moves the numbers of one tensor; what joins several may have one of fine steps among them."""
    operator = operator_of(node)
    return operator.moves and operator.differentiable(len(node.inputs)) == (0,)
