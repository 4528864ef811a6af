"""Sizes of dimensions that shape inference does not tell, though the graph computes them from some that it does.

Where the number of proposals is open, ONNX's shape inference gives up whole shapes: of ``Reshape(x, Concat(Shape(y)[0],
Shape(y)[1], …))`` it knows nothing, though the last dimension of y may be 4 in every run.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import STANDARD, attribute_of, constant_array, static_shape

_DEPTH = 60  # of a chain that is followed
_ARITHMETIC = {"Add": operator.add, "Sub": operator.sub, "Mul": operator.mul, "Div": operator.floordiv}
_WHOLE = (ir.DataType.INT32, ir.DataType.INT64)


def known(value: ir.Value, axis: int) -> int | None:
    """The size of one dimension of a value whose rank is known, if it is the same in every run."""
    return _Search().known(value, axis, _DEPTH)


def entry(vector: ir.Value, index: int) -> int | None:
    """One number of a vector of sizes (or of a scalar, index 0), if it is the same in every run."""
    return _Search().entry(vector, index, _DEPTH)


class _Search:
    """A walk back through the graph that asks each question once: where paths meet again, there are 2ⁿ of them.

    What was not found within some depth is looked for again where there is more of it left.
    """

    def __init__(self) -> None:
        self._answers: dict[tuple[str, ir.Value, int], tuple[int | None, int]] = {}

    def known(self, value: ir.Value, axis: int, depth: int) -> int | None:
        """See `known`."""
        shape = static_shape(value)
        if shape is None or depth == 0:
            return None
        if (found := shape[axis]) is not None:
            return found
        return self._once("size", value, axis % len(shape), depth, self._known)

    def entry(self, vector: ir.Value, index: int, depth: int) -> int | None:
        """See `entry`."""
        constant = constant_array(vector)
        if constant is not None:
            return int(constant.reshape(-1)[index])
        return self._once("entry", vector, index, depth, self._entry)

    def _once(
        self, kind: str, value: ir.Value, place: int, depth: int, ask: Callable[[ir.Value, int, int], int | None]
    ) -> int | None:
        found, searched = self._answers.get((kind, value, place), (None, -1))
        if found is None and searched < depth:
            found = ask(value, place, depth)
            self._answers[kind, value, place] = found, depth
        return found

    def _known(self, value: ir.Value, axis: int, depth: int) -> int | None:
        shape, node = static_shape(value) or (), value.producer()
        if node is None or node.domain not in STANDARD or any(v is None for v in node.inputs[:1]):
            return None
        inputs = [v for v in node.inputs if v is not None]
        operator = operator_of(node)
        if operator.elementwise:
            return self._broadcast(inputs, axis - len(shape), depth)
        if operator.keeps_places and value is node.outputs[0]:
            return self.known(inputs[0], axis, depth - 1)
        if node.op_type == "Reshape":
            asked = self.entry(inputs[1], axis, depth - 1)
            if asked == 0 and not attribute_of(node, "allowzero", 0):
                return self.known(inputs[0], axis, depth - 1)
            return asked if asked is not None and asked > 0 else None
        if node.op_type == "Concat":
            along = int(attribute_of(node, "axis")) % len(shape)
            sizes = [self.known(v, axis, depth - 1) for v in inputs]
            if axis == along:
                return None if None in sizes else sum(size for size in sizes if size is not None)
            return next((size for size in sizes if size is not None), None)
        return None

    def _broadcast(self, inputs: list[ir.Value], axis: int, depth: int) -> int | None:
        """The size along an axis, counted from the end, of values that are broadcast to each other."""
        sizes = []
        for value in inputs:
            shape = static_shape(value)
            if shape is None:
                return None
            sizes.append(self.known(value, len(shape) + axis, depth - 1) if len(shape) + axis >= 0 else 1)
        wide = [size for size in sizes if size is not None and size != 1]
        if wide:
            return wide[0]
        return None if None in sizes else 1

    def _entry(self, vector: ir.Value, index: int, depth: int) -> int | None:
        node = vector.producer()
        if node is None or depth == 0 or not node.inputs or node.inputs[0] is None:
            return None
        if node.op_type == "Shape":
            return self.known(node.inputs[0], _axis(node, index), depth - 1) if _from_front(node) else None
        if node.op_type in _ARITHMETIC and not _is_table(vector):
            return self._computed(node, index, depth)
        taken = self._taken_from(node, index, depth)
        return None if taken is None else self.entry(*taken, depth - 1)

    def _computed(self, node: ir.Node, index: int, depth: int) -> int | None:
        """One number of a sum, product … of vectors or scalars of natural numbers."""
        parts = []
        for value in node.inputs:
            if value is None or value.dtype not in _WHOLE:
                return None
            shape = static_shape(value)
            single = shape is not None and shape in ((), (1,))
            parts.append(self.entry(value, 0 if single else index, depth - 1))
        one, other = parts
        if one is None or other is None or min(one, other) < 0 or (node.op_type == "Div" and other == 0):
            return None
        return int(_ARITHMETIC[node.op_type](one, other))

    def size_of(self, vector: ir.Value, index: int, depth: int) -> tuple[ir.Value, int] | None:
        """Of which value and which of its axes one number of a vector is the size; None if it is not told."""
        node = vector.producer()
        if node is None or depth == 0 or not node.inputs or node.inputs[0] is None:
            return None
        if node.op_type == "Shape":
            return (node.inputs[0], _axis(node, index)) if _from_front(node) else None
        taken = self._taken_from(node, index, depth)
        return None if taken is None else self.size_of(*taken, depth - 1)

    def _taken_from(self, node: ir.Node, index: int, depth: int) -> tuple[ir.Value, int] | None:
        """The vector, and the index into it, that one number comes from through an operator that only moves numbers."""
        first = node.inputs[0]
        if first is None or (node.op_type == "Cast" and node.outputs[0].dtype is ir.DataType.BOOL):
            return None
        if operator_of(node).copies is Copies.IN_ORDER:
            return first, index
        if _is_table(node.outputs[0]):
            return None
        if node.op_type == "Concat":
            for value in node.inputs:
                length = None if value is None else self.known(value, 0, depth - 1)
                if value is None or length is None:
                    return None
                if index < length:
                    return value, index
                index -= length
        chosen = constant_array(node.inputs[1]) if node.op_type in ("Gather", "Slice") else None
        if chosen is None or not static_shape(first):  # computed, or a single number
            return None
        length = self.known(first, 0, depth - 1)
        if length is None:
            return None
        if node.op_type == "Gather":
            return first, int(chosen.reshape(-1)[index]) % length
        steps = constant_array(node.inputs[4]) if len(node.inputs) > 4 else None
        if len(node.inputs) > 4 and (steps is None or int(steps.reshape(-1)[0]) != 1):
            return None
        start = int(chosen.reshape(-1)[0])
        return first, index + max(start + length if start < 0 else start, 0)


def fold(graph: ir.Graph) -> None:
    """Make constants of the vectors and scalars of whole numbers in the main graph that are the same in every run.

    ONNX Runtime's folding does so where whole shapes are known; here the number of channels may be known, and the size
    of the map not.
    """
    for node in list(graph):
        value = node.outputs[0]
        shape = static_shape(value)
        if value.dtype not in _WHOLE or shape is None or len(shape) > 1 or len(node.outputs) > 1:
            continue
        count = known(value, 0) if shape else 1
        if count is None or node.op_type == "Constant" or value.is_graph_output():
            continue
        numbers = [entry(value, index) for index in range(count)]
        if None in numbers or not numbers:
            continue
        tensor = ir.tensor(np.array(numbers if shape else numbers[0], value.dtype.numpy()), name=value.name)
        constant = ir.Value(
            name=value.name, const_value=tensor, type=value.type, shape=ir.Shape([count] if shape else [])
        )
        value.name = None
        graph.register_initializer(constant)
        ir.convenience.replace_all_uses_with(value, constant)
        graph.remove(node, safe=True)


def settle_shapes(graph: ir.Graph) -> bool:
    """Make constants of the shapes that Reshape gives, where every size is known or is that of the same axis before.

    ``Concat(Shape(x)[0], [-1])`` becomes ``[0, -1]``, of which shape inference knows that the last size is that of all
    other axes together: so it finds the channels of pooled features that are flattened, however many proposals there
    are.

    Returns:
        Whether there were any.
    """
    settled = False
    for node in graph:
        if node.op_type != "Reshape" or node.domain not in STANDARD or attribute_of(node, "allowzero", 0):
            continue
        data, asked = node.inputs[:2]
        if data is None or asked is None or constant_array(asked) is not None:
            continue
        count = known(asked, 0) if len(static_shape(asked) or ()) == 1 else None
        sizes = [_kept_or_known(data, asked, index) for index in range(count or 0)]
        if sizes and None not in sizes:
            name = f"{asked.name}.of.{node.outputs[0].name}"
            tensor = ir.tensor(np.array(sizes, np.int64), name=name)
            constant = ir.Value(
                name=name, const_value=tensor, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([len(sizes)])
            )
            graph.register_initializer(constant)
            node.replace_input_with(1, constant)
            settled = True
    return settled


def _kept_or_known(data: ir.Value, asked: ir.Value, index: int) -> int | None:
    """A size that a Reshape of ``data`` is asked for; 0 where it is that of the same axis of ``data``."""
    size = entry(asked, index)
    if size is not None:
        return size
    return 0 if _Search().size_of(asked, index, _DEPTH) == (data, index) else None


def _is_table(value: ir.Value) -> bool:
    """Whether a value has several axes: seen as a vector later, it is not followed."""
    return len(static_shape(value) or ()) > 1


def _axis(node: ir.Node, index: int) -> int:
    return index + int(attribute_of(node, "start", 0))


def _from_front(node: ir.Node) -> bool:
    return int(attribute_of(node, "start", 0)) >= 0
