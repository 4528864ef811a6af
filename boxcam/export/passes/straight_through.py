"""Straight-through: a graph in QDQ form, without its rounding.

QuantizeLinear followed by DequantizeLinear rounds, and rounding has no gradient.  As PyTorch's fake quantization does,
a gradient passes where nothing is saturated: for it the pair is a Clip.  The detector itself keeps its rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.export.graphs.dependency import between
from boxcam.export.graphs.dequantized import dequantized
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, constant_array, describe_node

RANGES: dict[ir.DataType, tuple[int, int]] = {
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
}
"""What an integer type holds."""


def rounded(model: ir.Model, logits: Sequence[str], features: Sequence[str]) -> list[str]:
    """Where, between a layer and the logits, something is rounded to integers."""
    values = {str(value.name): value for value in all_values(model.graph)}
    path = between(model.graph, [values[n] for n in features], [values[n] for n in logits])
    return [describe_node(node) for node in path if node.op_type == "QuantizeLinear"]


def straight_through(model: ir.Model) -> ir.Model:
    """A copy without rounding: values keep their names.

    1. DequantizeLinear of a constant is a constant.
    2. QuantizeLinear and DequantizeLinear with one scale and one zero point become a Clip to what they can represent.

    What is quantized with a scale for each channel, or moved about as integers, is left to the gradient rules.
    """
    work = clone_model(model)
    op = Ops(work.graph, "boxcam.straight")
    for node in list(work.graph):
        if node.op_type != "DequantizeLinear":
            continue
        result = _constant(node) or _clipped(op, node)
        if result is not None:
            _replace(work.graph, node.outputs[0], result)
    work.graph.sort()
    passes.RemoveUnusedNodesPass()(work)
    return work


def _replace(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    new.name, old.name = old.name, f"{old.name}.rounded"
    new.type, new.shape = old.type, old.shape
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    if new.const_value is not None:
        graph.register_initializer(new)


def _constant(node: ir.Node) -> ir.Value | None:
    found = dequantized(node)
    return None if found is None else ir.Value(const_value=ir.tensor(found.real()))


def _clipped(op: Ops, node: ir.Node) -> ir.Value | None:
    integers = node.inputs[0]
    before = None if integers is None else integers.producer()
    if integers is None or before is None or before.op_type != "QuantizeLinear" or integers.dtype is None:
        return None
    limits = RANGES.get(integers.dtype)
    if limits is None:
        return None
    pairs = [(parameter(before, i), parameter(node, i)) for i in (1, 2)]
    (scale, same), (zero, other) = pairs
    if scale is None or same is None or zero is None or other is None or scale != same or zero != other:
        return None
    # What is up to half a step outside is rounded to the last number inside.
    low, high = np.float32((limits[0] - zero - 0.5) * scale), np.float32((limits[1] - zero + 0.5) * scale)
    return op.Clip(before.inputs[0], low, high)


def parameter(node: ir.Node, position: int) -> float | None:
    """The one scale or zero point of a node; None if there are several, or they are computed."""
    if position >= len(node.inputs) or node.inputs[position] is None:
        return 0.0
    found = constant_array(node.inputs[position])
    return float(found.reshape(())) if found is not None and found.size == 1 else None
