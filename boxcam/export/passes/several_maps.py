"""A part of a graph that takes one feature map, or the proposals of one image, as one that takes any number of them.

Graphs say how many there are in more places than their inputs:

1. the target of a Reshape, whose first number is kept where it is that of what is reshaped, and otherwise becomes what
   is left: a matrix product of several axes is one of two, [1, N, C] as [N, C], and back,
2. the sizes of a Resize, whose first number becomes that of what is resized,
3. what else is read of the forward pass, of which there is one for the image: it is repeated for each map.

Shapes that are written into the graph are forgotten, those of height and width too. Whether what comes out of each map
is what comes out of it alone, a run has to tell: some graphs count on one image elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, constant_array, static_shape
from boxcam.export.passes.dynamic_size import forget_shapes


def take_several(model: ir.Model, features: Collection[str], rows: Collection[str] = (), repeat: bool = True) -> None:
    """Let a graph take several feature maps, in place.

    Args:
        model: the graph; its inputs are feature maps, [1, C, H, W] or [R, C, h, w], and what else it reads.
        features: names of the feature maps among its inputs.
        rows: names of others that have an entry for each of them, as what is said of each proposal.
        repeat: whether the others are of one image, and are needed once for each map; proposals share them already.
    """
    graph = model.graph
    op = Ops(graph, "boxcam.several")
    for node in list(graph):
        if node.op_type == "Reshape" and not attribute_of(node, "allowzero", 0):
            _keep_first(op, node)
        if node.op_type == "Resize" and len(node.inputs) > 3:
            _first_of(op, node)
    maps = [value for value in graph.inputs if value.name in features]
    others = [value for value in graph.inputs if value.name not in features]
    shapes = {str(value.name): static_shape(value) or () for value in others}
    forget_shapes(graph)
    for value in maps:
        rank = len(static_shape(value) or (None,) * 4)
        value.shape = ir.Shape([None, (static_shape(value) or (None, None))[1], *[None] * (rank - 2)])
    for value in others:
        shape = shapes[str(value.name)]
        if value.name in rows:
            value.shape = ir.Shape([None, *shape[1:]])
        elif repeat and len(shape) > 1 and shape[0] == 1:
            _repeat(op, value, maps[0], len(shape))
    graph.sort()


def _keep_first(op: Ops, node: ir.Node) -> None:
    """Case 1."""
    reshaped, target = node.inputs
    numbers = constant_array(target)
    shape = None if reshaped is None else static_shape(reshaped)
    if numbers is None or not shape or not numbers.size or shape[0] is None:
        return
    kept = numbers.copy()
    if numbers[0] == shape[0]:
        kept[0] = 0
    elif (numbers > 0).all():
        kept[0] = -1
    node.replace_input_with(1, op.value(kept))


def _first_of(op: Ops, node: ir.Node) -> None:
    """Case 2."""
    resized, sizes = node.inputs[0], constant_array(node.inputs[3])
    if resized is None or sizes is None or node.attributes.get("axes") is not None:
        return
    node.replace_input_with(3, op.Concat(_count(op, resized), sizes[1:], axis=0))


def _repeat(op: Ops, value: ir.Value, first: ir.Value, rank: int) -> None:
    """Case 3."""
    readers = [(use.node, use.idx) for use in value.uses()]
    repeated = op.Expand(value, op.Concat(_count(op, first), [1] * (rank - 1), axis=0))
    for node, index in readers:
        node.replace_input_with(index, repeated)


def _count(op: Ops, value: ir.Value) -> ir.Value:
    """How many entries a value's first axis has: int64 [1]."""
    return op.Gather(op.Shape(value), [0], axis=0)
