"""Values of the forward pass in a gradient graph: handed over, computed anew, or gathered where a block has them.

What a rule asks for is an input of the gradient graph, which the forward graph hands over: that costs no arithmetic,
where computing an activation anew costs as much as carrying a gradient back.  Only what is one cheap step away from
something at hand is computed anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from onnx import defs

from boxcam.errors import UnsupportedOperatorError
from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import Boxes, Positions, Size, Support, Window
from boxcam.export.autodiff.rule import OPSET, unsupported
from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import constant_array, static_shape

SHAPE = ".boxcam.shape"
"""How the names of inputs end that are the shape of a forward value."""


class ForwardValues:
    """Brings values of a forward graph into a gradient graph.

    Args:
        op: writes the gradient graph; its inputs grow by what is needed of the forward pass.
        opset: of the forward graph.
        given: forward values that are inputs of the gradient graph already.
    """

    def __init__(self, op: Ops, opset: int, given: Mapping[ir.Value, ir.Value]) -> None:
        self.op, self.opset = op, opset
        self.positions = Positions(op)
        self._known: dict[ir.Value, ir.Value] = dict(given)
        self._gathered: dict[object, ir.Value] = {}
        self._routed: dict[object, Boxes] = {}

    def rank(self, value: ir.Value) -> int:
        """Rank of a forward value."""
        return len(self.dims(value))

    def dims(self, value: ir.Value) -> tuple[int | None, ...]:
        """Shape of a forward value; None for dimensions that are not known before the model runs."""
        shape, node = static_shape(value), value.producer()
        if shape is None and node is not None:
            raise unsupported(node, self.opset, f"the rank of {value.name} is not known before the model runs")
        if shape is None:
            raise UnsupportedOperatorError(
                f"the rank of {value.name} is not known. Export the model with the shapes of its values (shape"
                " inference)."
            )
        return shape

    def length(self, value: ir.Value, axis: int) -> Size:
        """How long an axis of a forward value is."""
        size = self.dims(value)[axis]
        if size is not None:
            return size
        key = ("length", value, axis)
        if key not in self._gathered:
            if value in self._known:
                self._gathered[key] = self.op.Shape(self._known[value], start=axis, end=axis + 1)
            else:
                self._gathered[key] = self.op.Slice(self._shape(value), [axis], [axis + 1], [0])
        return self._gathered[key]

    def _shape(self, value: ir.Value) -> ir.Value:
        """The shape of a forward value, without the value itself."""
        key = ("shape", value)
        if key not in self._gathered:
            rank = ir.Shape([self.rank(value)])
            shape = ir.Value(name=f"{value.name}{SHAPE}", type=ir.TensorType(ir.DataType.INT64), shape=rank)
            self.op.graph.inputs.append(shape)
            self._gathered[key] = shape
        return self._gathered[key]

    def settle(self) -> None:
        """Once all is written: no shape is handed over of a value that is handed over too."""
        for key, shape in list(self._gathered.items()):
            if isinstance(key, tuple) and key[0] == "shape" and key[1] in self._known:
                ir.convenience.replace_all_uses_with(shape, self.op.Shape(self._known[key[1]]))
                self.op.graph.inputs.remove(shape)

    def whole(self, value: ir.Value) -> ir.Value:
        """A forward value in the gradient graph."""
        constant = constant_array(value)
        if constant is not None:
            written = self.op.value(constant)
            assert written is not None
            return written
        if value not in self._known:
            source = self._source(value)
            self._known[value] = self._save(value) if source is None else self._anew(value, self.whole(source))
        return self._known[value]

    def at(self, value: ir.Value, axes: Sequence[Support], rank: int) -> ir.Value:
        """A forward value at the positions of a block.

        Args:
            value: broadcast against a value that the block is of.
            axes: of the block.
            rank: of the value that the block is of.

        Returns:
            Something that broadcasts against the block's value.
        """
        shape = self.dims(value)
        extra = rank - len(shape)
        assert extra >= 0 or not any(isinstance(axis, Window) for axis in axes), "axes do not line up"
        windows = {
            a: window for a, size in enumerate(shape) if isinstance(window := axes[a + extra], Window) and size != 1
        }
        if not windows:
            return self.whole(value)
        source = self._source(value) if value not in self._known else None
        if source is not None and constant_array(value) is None:
            return self._anew(value, self.at(source, axes, rank))
        found = self.gathered(value, windows)
        return self.op.Unsqueeze(found, list(range(1, extra + 1))) if extra else found

    def positive_at(self, value: ir.Value, axes: Sequence[Support], rank: int) -> ir.Value:
        """Where a forward value is positive, at the positions of a block: as `at`, bool."""
        extra = rank - len(self.dims(value))
        windows = {
            a: window
            for a, size in enumerate(self.dims(value))
            if isinstance(window := axes[a + extra], Window) and size != 1
        }
        computed = value not in self._known and self._source(value) is not None
        if not windows or extra or computed or constant_array(value) is not None:
            return self._positive_of(self.at(value, axes, rank), value)
        return self.gathered(value, windows, signs=True)

    def _positive_of(self, read: ir.Value, value: ir.Value) -> ir.Value:
        real = ir.DataType.from_numpy(self.op.real)
        if value.dtype not in (None, real) and constant_array(value) is None:
            read = self.op.Cast(read, to=real)
        return self.op.Greater(read, 0.0)

    def gathered(self, value: ir.Value, windows: Mapping[int, Window], signs: bool = False) -> ir.Value:
        """A forward value at windows of some axes: [M, b1 … bn]; outside of an axis, its nearest position.

        Args:
            value: the value.
            windows: by axis.
            signs: whether what is asked for is where the value is positive, bool.
        """
        key = (value, tuple(sorted(windows.items())), signs)
        if key not in self._gathered:
            chosen = range(min(windows), max(windows) + 1)
            self._gathered[key] = self._gather(value, chosen, windows, signs)
        return self._gathered[key]

    def _gather(self, value: ir.Value, chosen: Sequence[int], windows: Mapping[int, Window], signs: bool) -> ir.Value:
        """Gather windows of neighbouring axes: the value is seen as [before, chosen, behind]."""
        op, rank = self.op, self.rank(value)
        before, behind = range(chosen[0]), range(chosen[-1] + 1, rank)
        lengths = [self.length(value, a) for a in range(rank)]
        table_key = ("table", value, tuple(chosen), signs)
        if table_key not in self._gathered:
            table = self.whole(value)
            if signs:
                table = self._positive_of(table, value)
            if any(lengths[a] != 1 for a in before):  # gathering whole rows is much faster than single numbers
                table = self._swapped(table, [[lengths[a] for a in part] for part in (before, chosen, behind)], ())
            flat = blocks.product(op, [lengths[a] for a in (*before, *behind)])
            count = blocks.product(op, [lengths[a] for a in chosen])
            table = op.Reshape(table, blocks.sizes(op, [count, flat]))
            if not isinstance(count, int):  # there may be none, and something has to be gathered for a stand-in
                assert value.dtype is not None, value.name
                nothing = op.Cast(np.zeros((1, 1)), to=ir.DataType.BOOL if signs else value.dtype)
                table = op.Concat(table, op.Expand(nothing, blocks.sizes(op, [1, flat])), axis=0)
            self._gathered[table_key] = table
        index: ir.Value | None = None
        for n, a in enumerate(chosen):
            if a in windows:
                at = self.positions.nearest(windows[a], lengths[a])
            else:
                at = op.Unsqueeze(self.positions.count(lengths[a]), [0])
            at = op.Unsqueeze(at, [1 + i for i in range(len(chosen)) if i != n]) if len(chosen) > 1 else at
            index = at if index is None else op.Add(op.Mul(index, lengths[a]), at)
        if any(not isinstance(lengths[a], int) for a in chosen):
            index = op.Max(index, 0)  # of no rows at all the nearest is -1; then the first is the one put in
        found = op.Gather(self._gathered[table_key], index, axis=0)  # [M, chosen …, before · behind]
        stored = [windows[a].size if a in windows else lengths[a] for a in range(rank)]
        if any(lengths[a] != 1 for a in before):
            found = self._swapped(found, [[stored[a] for a in part] for part in (chosen, before, behind)], (0,))
        return op.Reshape(found, blocks.sizes(op, [0, *stored]))

    def _swapped(self, table: ir.Value, parts: Sequence[Sequence[Size]], lead: tuple[int, ...]) -> ir.Value:
        """Swap the first two of three groups of axes, each flattened, behind a leading axis or none."""
        op, n = self.op, len(lead)
        flat = [blocks.product(op, part) for part in parts]
        perm = [*range(n), n + 1, n, n + 2]
        if flat[2] == 1:  # as a plain matrix it is several times faster
            flat, perm = flat[:2], perm[:-1]
        return op.Transpose(op.Reshape(table, blocks.sizes(op, [*lead, *flat])), perm=perm)

    def _source(self, value: ir.Value) -> ir.Value | None:
        """What a forward value is better computed from than kept."""
        node = value.producer()
        source = None if node is None else _recomputed_from(node)
        if node is None or source is None or value is not node.outputs[0]:  # the mask of Dropout
            return None
        if operator_of(node).copies is Copies.IN_ORDER or source in self._known:
            return source
        return source if len(source.consumers()) > 1 else None

    def _anew(self, value: ir.Value, source: ir.Value) -> ir.Value:
        node = value.producer()
        assert node is not None
        if operator_of(node).copies is Copies.IN_ORDER and node.op_type != "Cast":
            return source
        known = defs.get_schema(node.op_type, OPSET, "").attributes  # newer ones are about 8 bits
        attributes = {name: attr.value for name, attr in node.attributes.items() if name in known}
        return self.op.emit(node.op_type, [source], attributes)[0]

    def _save(self, value: ir.Value) -> ir.Value:
        saved = ir.Value(name=value.name, type=value.type, shape=value.shape)
        self.op.graph.inputs.append(saved)
        return saved


def _recomputed_from(node: ir.Node) -> ir.Value | None:
    """What the output of an operator is cheap to compute anew from: a function of one value, element by element.

    Not of a rectifier that rises: its own gradient rule reads the output, so that this is at hand.
    """
    operator = operator_of(node)
    if not node.inputs or not operator.elementwise or operator.zero or operator.rectifier == "rising":
        return None
    if operator.copies is not Copies.IN_ORDER:
        schema = defs.get_schema(node.op_type, OPSET, "") if defs.has(node.op_type, OPSET, "") else None
        if schema is None or schema.max_input != 1:
            return None
    return node.inputs[0]
