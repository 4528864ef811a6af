"""Rows: the score of one proposal from its own row of the pooled features.

A two-stage head treats every row of its input alike: row i of the logits depends on row i of the pooled features, and
level assembly (ScatterND, Concat, Gather) only puts rows in their places.  So K rows are followed back from the
logits: either to the pooled features themselves, which are gathered, or on through RoIAlign, which is then run for
K proposals instead of a thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import Copies, mixed_axes, operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import attribute_of, constant_array, describe_node, static_shape
from boxcam.export.trace import position as at
from boxcam.export.trace.position import Coordinate


@dataclass(frozen=True, eq=False)
class Rows:
    """What `emit` wrote.

    Attributes:
        logit: float32 [K].
        tensor: int64 [K], which feature each logit depends on (0 where there is one).
        row: int64 [K], which row of it (0 for maps).
        patches: float32 [K, C, h, w], the gathered rows, if the feature is the pooled one; None past RoIAlign.
        barrier: the operators that the rows could not be followed through, for people.
    """

    logit: ir.Value
    tensor: ir.Value
    row: ir.Value
    patches: ir.Value | None
    barrier: tuple[str, ...]


def emit(
    op: Ops,
    leaf: ir.Value,
    origin: ir.Value,
    features: Sequence[ir.Value],
    reached: Mapping[ir.Value, frozenset[int]],
    row_shapes: Callable[[ir.Value], tuple[int, ...]],
) -> Rows | None:
    """Write the score of K rows.

    Args:
        op: where to write.
        leaf: the logits, [R, C].
        origin: int64 [K, 3]: tensor of logits, row, class.
        features: the features of the layer.
        reached: for values that a gradient reaches, the numbers of the features it comes from.
        row_shapes: the shape of one row of a value, as seen in a run.

    Returns:
        None if the logits are not made row by row.
    """
    shape = static_shape(leaf)
    if shape is None or len(shape) != 2 or leaf.producer() is None:
        return None
    rows, column = op.Gather(origin, 1, axis=1), op.Gather(origin, 2, axis=1)
    restriction = _Restriction(op, features, reached, row_shapes)
    picked = restriction.linear_column(leaf, rows, column)
    if picked is None:
        return None
    logit, tensor = picked
    single = len(restriction.gathered) == 1
    return Rows(
        logit=logit,
        tensor=at.vector(op, tensor, (rows,)),
        row=restriction.gathered[0][1] if single else op.Mul(rows, 0),
        patches=restriction.gathered[0][0] if single else None,
        barrier=tuple(restriction.barrier),
    )


Restricted = tuple[ir.Value, Coordinate]  # the rows, and which feature they depend on


@dataclass
class _Restriction:
    op: Ops
    features: Sequence[ir.Value]
    reached: Mapping[ir.Value, frozenset[int]]
    row_shapes: Callable[[ir.Value], tuple[int, ...]]
    gathered: list[tuple[ir.Value, ir.Value]] = field(default_factory=list)
    barrier: list[str] = field(default_factory=list)
    done: dict[tuple[ir.Value, ir.Value], Restricted | None] = field(default_factory=dict)

    def linear_column(self, leaf: ir.Value, rows: ir.Value, column: ir.Value) -> tuple[ir.Value, Coordinate] | None:
        """One column of a final linear layer, else the element of the restricted logits."""
        op, node = self.op, leaf.producer()
        assert node is not None
        weight = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
        plain = all(float(attribute_of(node, name, 1.0)) == 1.0 for name in ("alpha", "beta"))
        if node.op_type == "Gemm" and weight is not None and plain and not attribute_of(node, "transA", 0):
            inner = self.restrict(_first(node), rows)
            if inner is None:
                return None
            matrix = node.inputs[1] if attribute_of(node, "transB", 0) else op.Transpose(node.inputs[1], perm=[1, 0])
            logit = op.ReduceSum(op.Mul(inner[0], op.Gather(matrix, column, axis=0)), [1], keepdims=0)
            bias = node.inputs[2] if len(node.inputs) > 2 else None
            if bias is not None:
                logit = op.Add(logit, op.Gather(op.Reshape(bias, [-1]), column, axis=0))
            return logit, inner[1]
        whole = self.restrict(leaf, rows)
        if whole is None:
            return None
        picked = op.GatherElements(whole[0], op.Unsqueeze(column, [1]), axis=1)
        return op.Reshape(picked, [-1]), whole[1]

    def restrict(self, value: ir.Value, rows: ir.Value) -> Restricted | None:
        """The given rows (first axis) of a value, computed from as little as possible; None: not row by row."""
        if (value, rows) not in self.done:  # a residual asks for the same rows twice
            self.done[value, rows] = self._restrict(value, rows)
        return self.done[value, rows]

    def _restrict(self, value: ir.Value, rows: ir.Value) -> Restricted | None:
        if any(value is feature for feature in self.features):
            found = self.op.Gather(value, rows, axis=0)
            self.gathered.append((found, rows))
            return found, next(i for i, feature in enumerate(self.features) if feature is value)
        if value not in self.reached:
            return self.op.Gather(value, rows, axis=0), 0
        node = value.producer()
        assert node is not None
        if node.op_type == "RoiAlign":
            return self._roi_align(node, rows)
        if node.op_type in ("ScatterND", "ScatterElements"):
            return self._scatter(value, node, rows)
        if node.op_type == "Concat" and self._axis(node, value) == 0:
            return self._concat(value, node, rows)
        if node.op_type == "Slice" and self._slices_rows(node):
            start = at.wrapped(self.op, at.at(self.op, node.inputs[1], (0,)), _first(node), 0)  # type: ignore[arg-type]
            return self.restrict(_first(node), at.vector(self.op, at.add(self.op, rows, start), (rows,)))
        if node.op_type == "Gather" and int(attribute_of(node, "axis", 0)) == 0:
            index = at.wrapped(self.op, at.at(self.op, node.inputs[1], (rows,)), _first(node), 0)  # type: ignore[arg-type]
            return self.restrict(_first(node), at.vector(self.op, index, (rows,)))
        return self._row_by_row(value, node, rows)

    def _row_by_row(self, value: ir.Value, node: ir.Node, rows: ir.Value) -> Restricted | None:
        op = self.op
        attributes = {name: attr.value for name, attr in node.attributes.items()}
        operator = operator_of(node)
        if operator.copies is Copies.IN_ORDER and not operator.elementwise:
            inner = self._restrict_same_rows(value, node, rows)
            if inner is None:
                return None
            return op.Reshape(inner[0], [-1, *self.row_shapes(value)]), inner[1]
        if len(node.outputs) != 1 or not self._keeps_rows_apart(value, node):
            self.barrier.append(describe_node(node))
            return None
        inputs: list[ir.Value | None] = []
        which: Coordinate = 0
        for used in node.inputs:
            if used is None or constant_array(used) is not None:
                inputs.append(used)
                continue
            inner = self.restrict(used, rows)
            if inner is None:
                return None
            inputs.append(inner[0])
            which = inner[1] if used in self.reached else which
        return op.emit(node.op_type, inputs, attributes)[0], which

    def _restrict_same_rows(self, value: ir.Value, node: ir.Node, rows: ir.Value) -> Restricted | None:
        """Follow a change of shape that leaves the first axis alone: one row keeps its number of elements."""
        before = _first(node)
        count = 1
        for size in self.row_shapes(value):
            count *= size
        for size in self.row_shapes(before):
            count //= size
        if count != 1:
            self.barrier.append(describe_node(node))
            return None
        return self.restrict(before, rows)

    def _keeps_rows_apart(self, value: ir.Value, node: ir.Node) -> bool:
        """Whether row i of a node's output depends on row i of what is computed of its inputs, and on no other."""
        operator, first = operator_of(node), _first(node)
        moving = [v for v in node.inputs if v is not None and constant_array(v) is None]
        if operator.elementwise and len(node.inputs) == 1:
            return True
        if operator.elementwise:
            return self._broadcasts_by_row(value, moving) and _same_for_all_rows(node.inputs, at.rank(value))
        if node.op_type == "Transpose":
            return int(attribute_of(node, "perm", [1])[0]) == 0
        mixed = mixed_axes(node)
        if mixed is None or 0 in mixed:
            return False
        if node.op_type == "Concat":
            return len(moving) == len(node.inputs)
        held = node.inputs[2 if operator.weighs else 1 :]
        return len(moving) == 1 and moving[0] is first and _same_for_all_rows(held, at.rank(first))

    def _broadcasts_by_row(self, value: ir.Value, moving: Sequence[ir.Value]) -> bool:
        """Whether all operands have as many rows as the result."""
        if len({(static_shape(v) or (None,))[0] == 1 for v in moving}) > 1:
            return False  # one row is spread over all
        return all(at.rank(v) == at.rank(value) for v in moving)

    def _axis(self, node: ir.Node, value: ir.Value, default: int = 0) -> int:
        return int(attribute_of(node, "axis", default)) % at.rank(value)

    def _slices_rows(self, node: ir.Node) -> bool:
        sliced = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
        steps = constant_array(node.inputs[4]) if len(node.inputs) > 4 else None
        return (sliced is None or list(sliced) == [0]) and (steps is None or list(steps) == [1])

    def _roi_align(self, node: ir.Node, rows: ir.Value) -> Restricted:
        op = self.op
        image = _first(node)
        rois, batch = (op.Gather(v, rows, axis=0) for v in node.inputs[1:3])
        attributes = {name: attr.value for name, attr in node.attributes.items()}
        pooled = op.emit("RoiAlign", [image, rois, batch], attributes)[0]
        return pooled, min(self.reached[image])

    def _scatter(self, value: ir.Value, node: ir.Node, rows: ir.Value) -> Restricted | None:
        data, updates = _first(node), node.inputs[2]
        indices = static_shape(node.inputs[1])  # type: ignore[arg-type]
        whole_rows = node.op_type == "ScatterND" and indices is not None and indices[-1] == 1
        if not whole_rows or attribute_of(node, "reduction", "none") != "none":
            self.barrier.append(describe_node(node))
            return None
        assert updates is not None
        written, source = at.scattered(self.op, node, (rows,))
        choices: list[tuple[ir.Value, ir.Value, Callable[[ir.Value], ir.Value]]] = [
            (written, updates, lambda chosen: at.vector(self.op, source(chosen)[0], (chosen,)))
        ]
        choices.append((self.op.Not(written), data, lambda chosen: self.op.Gather(rows, chosen, axis=0)))
        return self._either(value, rows, choices)

    def _concat(self, value: ir.Value, node: ir.Node, rows: ir.Value) -> Restricted | None:
        op = self.op
        choices: list[tuple[ir.Value, ir.Value, Callable[[ir.Value], ir.Value]]] = []
        start: Coordinate = 0
        for part in node.inputs:
            assert part is not None
            end = at.add(op, start, at.dimension(op, part, 0))
            mask = op.And(op.GreaterOrEqual(rows, start), op.Less(rows, end))

            def inner(chosen: ir.Value, start: Coordinate = start) -> ir.Value:
                picked = op.Gather(rows, chosen, axis=0)
                return at.vector(op, at.subtract(op, picked, start), (picked,))

            choices.append((mask, part, inner))
            start = end
        return self._either(value, rows, choices)

    def _either(
        self,
        value: ir.Value,
        rows: ir.Value,
        choices: Sequence[tuple[ir.Value, ir.Value, Callable[[ir.Value], ir.Value]]],
    ) -> Restricted | None:
        """Rows that come from one of several values; rows of values that no gradient reaches are zero."""
        op = self.op
        shape = self.row_shapes(value)
        nothing = op.Reshape(op.Cast(op.Mul(rows, 0), to=ir.DataType.FLOAT), [-1, *[1] * len(shape)])
        result = op.Add(nothing, np.zeros((1, *shape), np.float32))
        which = op.Mul(rows, 0)
        for mask, part, inner in choices:
            if part not in self.reached:
                continue
            chosen = op.Reshape(op.NonZero(mask), [-1])
            found = self.restrict(part, inner(chosen))
            if found is None:
                return None
            place = op.Unsqueeze(chosen, [1])
            result = op.ScatterND(result, place, found[0])
            which = op.ScatterND(which, place, at.vector(op, found[1], (chosen,)))
        return result, which


def _same_for_all_rows(inputs: Sequence[ir.Value | None], rank: int) -> bool:
    """Whether those that are constants have no axis of rows."""
    constants = [array for array in map(constant_array, inputs) if array is not None]
    return all(array.ndim < rank or array.shape[0] == 1 for array in constants)


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value
