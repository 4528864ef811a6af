"""Layouts: whatever a layer's tensor is laid out as, it is looked at as a map [1, C, H, W].

A TensorFlow graph has [1, H, W, C], a vision transformer [1, tokens, C], the image may be either.  Nothing else of
boxcam has to know: two nodes are written behind such a tensor, one that makes the map and one that undoes it, and all
that read the tensor read the second one's result.  So the map lies on the path of every gradient, and by it is
differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.errors import ExportError
from boxcam.export.graphs.operators import Mixes, operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, find_value, name_and_shape, static_shape
from boxcam.export.layers.receptive_field import Cells
from boxcam.export.layers.tokens import ImageInput, Tokens, tokens_of
from boxcam.export.source import Layout

MAP = ".map"
"""What is added to the name of a tensor for the map that is made of it."""

_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]
_FAR = 64  # values; beyond, a neighbourhood says nothing about the layout


def as_map(model: ir.Model, name: str, layout: Layout | None, image: ImageInput, asked: Sequence[int] | None) -> str:
    """Have a tensor as a map.

    Args:
        model: the folded detector; it gets the two nodes if they are needed, whose shapes are still to be inferred.
        name: of the tensor.
        layout: of the tensor; None to see it from the operators around it.
        image: the model's input.
        asked: rows and columns of tokens; None to see them from where the tokens come from.

    Returns:
        The name of the map, [1, C, H, W].

    Raises:
        ExportError: the tensor cannot be one.
    """
    value = find_value(model.graph, name)
    if value is None:
        raise ExportError(f"layer {name!r} is a constant, which folding removed. Choose another layer with layers=.")
    shape = static_shape(value)
    found = layout or layout_of(value, image.placed(model.graph).cells)
    if found == "NCHW" and not value.is_graph_input():
        return name
    if shape is None or len(shape) != (3 if found == "tokens" else 4):
        raise ExportError(
            f"{name_and_shape(value)} is not a feature map in the layout {found}. Choose another layer with layers=."
        )
    users = [(use.node, use.idx) for use in value.uses()]
    op = Ops(model.graph, f"boxcam.layout/{name}")
    if found == "tokens":
        made, undone = _tokens(op, value, shape, tokens_of(model.graph, value, image, asked))
    elif found == "NHWC":
        made = op.Transpose(value, perm=_TO_CHANNELS_FIRST)
        undone = op.Transpose(made, perm=_TO_CHANNELS_LAST)
    else:  # an input cannot be an output too
        made = undone = op.Identity(value)
    made.name = name + MAP
    for node, index in users:
        node.replace_input_with(index, undone)
    model.graph.sort()
    return str(made.name)


def layout_of(value: ir.Value, placed: Mapping[ir.Value, Cells] | None = None) -> Layout:
    """The layout of a tensor: where its cells lie on the image tells, or else the operators around it; NCHW if neither.

    Args:
        value: the tensor.
        placed: the maps of the graph whose cells' places are known.
    """
    shape = static_shape(value)
    if shape is not None and len(shape) == 3:
        return "tokens"
    if placed is not None and value in placed and not value.is_graph_input():
        return "NHWC" if placed[value].axes == (1, 2) else "NCHW"
    if value.is_graph_input() and shape is not None and len(shape) == 4 and shape[3] == 3 != shape[1]:
        return "NHWC"
    seen, todo = {value}, [value]
    while todo and len(seen) < _FAR:
        current = todo.pop(0)
        for node, forward in _around(current):
            kind, operator = node.op_type, operator_of(node)
            if operator.channels_first:
                return "NCHW"
            order = list(attribute_of(node, "perm") or ())
            if kind == "Transpose" and len(order) == 4:
                last = order == (_TO_CHANNELS_FIRST if forward else _TO_CHANNELS_LAST)
                return "NHWC" if last else "NCHW"
            if operator.mixes in (Mixes.TAIL, Mixes.PRODUCT):
                return "NHWC"
            for other in [*node.inputs, *node.outputs]:
                if other is not None and other not in seen and static_shape(other) == shape:
                    seen.add(other)
                    todo.append(other)
    return "NCHW"


def _around(value: ir.Value) -> Iterator[tuple[ir.Node, bool]]:
    """The nodes that read a value, and the one that makes it: node, whether it reads."""
    producer = value.producer()
    if producer is not None:
        yield producer, False
    for node in value.consumers():
        yield node, True


def _tokens(op: Ops, value: ir.Value, shape: tuple[int | None, ...], map_: Tokens) -> tuple[ir.Value, ir.Value]:
    """The map of a sequence of tokens, and the sequence made of it again; other tokens stay what they are."""
    count, channels = int(shape[1] or 0), int(shape[2] or 0)
    first, end = map_.first, map_.first + map_.rows * map_.columns
    patches = op.Slice(value, [first], [end], [1]) if end - first < count else value
    made = op.Reshape(op.Transpose(patches, perm=[0, 2, 1]), np.array([1, channels, map_.rows, map_.columns]))
    undone = op.Transpose(op.Reshape(made, np.array([1, channels, end - first])), perm=[0, 2, 1])
    before = [op.Slice(value, [0], [first], [1])] if first else []
    after = [op.Slice(value, [end], [count], [1])] if end < count else []
    return made, op.Concat(*before, undone, *after, axis=1) if before or after else undone
