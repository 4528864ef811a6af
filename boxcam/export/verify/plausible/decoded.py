"""Are the boxes decoded? Told by the graph: a convolution does not know where it is.

What a convolution computes is the same at every place where the picture looks the same. So between the last
convolution of a box branch and boxes in pixels something has to come in that differs from cell to cell: a grid, anchors
or priors, positions out of a Range, or the index of a cell. Where nothing does, the numbers are offsets.

Heads that read tokens or queries (a matrix product at the end) may have learnt where they are, and are left out; so are
the deltas of a two-stage head, whose proposals come in.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from boxcam.export.graphs.dependency import depends
from boxcam.export.graphs.operators import UNKNOWN, Mixes, operator_of
from boxcam.export.graphs.query import Array, attribute_of, constant_array, static_shape, values_read
from boxcam.export.heads.evidence.cells import is_of_map
from boxcam.export.verify.plausible.criterion import Answer, Criterion
from boxcam.export.verify.plausible.reading import Reading

LIMITS = {"cells": 5}
"""Along an axis of fewer steps a constant may be of the sides of a box, or of the anchors of a cell, unless it is an
axis of the map."""

_ENDS = ("LayerNormalization", "NonMaxSuppression")
_NUMBERS = ("Range", "NonZero", "CumSum", "ArgMax", "ArgMin", "EyeLike")
"""Operators whose results count places."""


def answer(reading: Reading) -> Answer | None:
    """Whether the boxes know where they are."""
    if reading.is_classifier:
        return None
    graph = reading.subject.model.graph
    image = next(value for value in graph.inputs if value.name == reading.subject.samples.input)
    boxes = next(value for value in graph.outputs if value.name == reading.subject.outputs.boxes)
    walk = _Walk(graph, image)
    ends = walk.back(boxes)
    if walk.positions:
        return Answer("plausible", f"boxes are decoded in the graph: {walk.positions[0]} differs from cell to cell")
    if not ends or set(ends) != {"Conv"}:
        return Answer(
            "unknown", "whether the boxes are decoded does not show: they do not come from a convolution alone"
        )
    return Answer(
        "implausible",
        "the boxes are offsets, not boxes: nothing that differs from cell to cell (a grid, anchors, priors) comes in"
        " between the last convolution and them, and a convolution does not know where on the image it is",
        "Pass the names of decoded boxes and their scores with boxes= and scores=, export the model with its decoding,"
        " or write the decoding with decode=.",
    )


class _Walk:
    """The way from the boxes back to the operators that compute them.

    Attributes:
        positions: what differs from cell to cell and comes in on the way, for people.
    """

    def __init__(self, graph: ir.Graph, image: ir.Value) -> None:
        self.computed = depends(graph, image)
        self.positions: list[str] = []

    def back(self, boxes: ir.Value) -> list[str]:
        """The operators at which the way ends, each once."""
        ends: dict[str, None] = {}
        todo, seen = [boxes], set()
        while todo:
            value = todo.pop()
            node = value.producer()
            if value in seen or node is None:
                continue
            seen.add(value)
            if node.op_type in _NUMBERS or (node.op_type == "TopK" and value is node.outputs[1]):
                self.positions.append(f"the position that {node.op_type} gives")
            elif operator_of(node).weighs or node.op_type in _ENDS:
                ends[node.op_type] = None
            else:
                if _joins(node) or operator_of(node).moves:  # anchors may be chosen by the boxes' indices
                    self.positions += self._joined(node)
                todo += self._data(node)
        return list(ends)

    def _data(self, node: ir.Node) -> Iterator[ir.Value]:
        """What a node's numbers are made of, and not where it reads them."""
        operator = operator_of(node)
        if operator is UNKNOWN:
            read = list(values_read(node))
        elif operator.zero and operator.elementwise:  # the index of a cell is rounded and divided
            read = [value for value in node.inputs if value is not None]
        else:
            numbers = operator.differentiable(len(node.inputs)) or (0,)
            read = [value for number in numbers if (value := node.inputs[number]) is not None]
        yield from (value for value in read if value in self.computed)

    def _joined(self, node: ir.Node) -> Iterator[str]:
        """Constants that vary along the cells."""
        for value in node.inputs if _joins(node) else node.inputs[:1]:
            array = None if value is None or value in self.computed else constant_array(value)
            if value is not None and array is not None and self._varies(node, array):
                yield f"the constant {value.name} {list(array.shape)}"

    def _varies(self, node: ir.Node, array: Array) -> bool:
        """Whether a constant varies along an axis that may be the cells."""
        rank = max(array.ndim, len(static_shape(node.outputs[0]) or ()))
        full = array.reshape((1,) * (rank - array.ndim) + array.shape)
        for axis, size in enumerate(full.shape):
            if axis == _channels(node) or not (full != full.take([0], axis)).any():
                continue
            if size >= LIMITS["cells"] or is_of_map(node.outputs[0], axis):
                return True
        return False


def _joins(node: ir.Node) -> bool:
    """Whether an operator computes each element of several operands at its place."""
    return operator_of(node).elementwise and len(node.inputs) > 1


def _channels(node: ir.Node) -> int | None:
    """The axis of channels of what comes out of a convolution or a product, along which biases and scales vary."""
    order: list[int] | None = None
    while not operator_of(node).weighs:
        moves = node.op_type == "Transpose"
        if not (moves or operator_of(node).keeps_places or node.op_type in ("Identity", "Cast")):
            return None
        if moves:
            perm = list(attribute_of(node, "perm") or ())
            order = perm if order is None else [perm[axis] for axis in order]
        above = [maker for value in node.inputs if value is not None and (maker := value.producer()) is not None]
        if len(above) != 1:
            return None
        node = above[0]
    rank = len(static_shape(node.outputs[0]) or ())
    axis = 1 if operator_of(node).mixes is Mixes.WINDOW else rank - 1
    return axis if order is None else order.index(axis)


CRITERION = Criterion("decoded", "Are the boxes decoded, or offsets from a grid?", LIMITS, answer)
