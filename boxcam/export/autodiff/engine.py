"""Reverse mode: walk a graph back from some logits, and write the gradient as another graph.

The walk, the choice of what has to be kept of the forward pass, summing over broadcast axes, and adding up what
arrives along several paths is done here, once; what an operator does to a gradient is in its rule.  The gradient graph
is separate from the forward graph: its inputs are values of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.errors import UnsupportedOperatorError
from boxcam.export import graph as onnx
from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import UNIFORM, Block, Positions, Size, Start, Support, Window
from boxcam.export.autodiff.rule import RULES, ZERO, Rule, Site, unsupported
from boxcam.export.dependency import differentiable_inputs
from boxcam.export.graph import Ops
from boxcam.registry import Registry

# Cheap enough to compute anew from their input, if that is at hand anyway.
_RECOMPUTED = {
    "Abs", "Cast", "Dropout", "Erf", "Exp", "HardSigmoid", "HardSwish", "Identity", "Neg", "Reciprocal", "Sigmoid",
    "Softplus", "Sqrt", "Tanh",
}  # fmt: skip


SHAPE = ".shape"
"""How the names of inputs end that are the shape of a forward value."""

LocalRule = Callable[["Tape", ir.Node, int, Block, Collection[int]], Mapping[int, Sequence[Block]] | None]
"""``(tape, node, output, block, wanted inputs) → blocks by input``, or None to leave the node to its plain rule."""

LOCAL: Registry[LocalRule] = Registry("local gradient rule")


class Tape:
    """Writes gradients into a graph.

    Args:
        graph: an empty graph, which the gradient is written to; its inputs grow by what is needed of the forward pass.
        opset: of the forward graph.
        given: forward values that are inputs of the gradient graph already.
        reached: forward values that a gradient has to be carried through.
        local: whether to keep gradients in blocks; otherwise all are whole, which is what blocks are checked against.
        means: features of whose gradient only the mean over the map of each channel matters, where that is cheaper:
            such a gradient may be given as a uniform one.
        real: floating-point type of the gradient.
    """

    def __init__(
        self,
        op: Ops,
        opset: int,
        given: Mapping[ir.Value, ir.Value],
        reached: Collection[ir.Value],
        local: bool = True,
        means: Collection[ir.Value] = (),
    ) -> None:
        self.op, self.opset, self.reached, self.local, self.means = op, opset, reached, local, set(means)
        self.positions = Positions(op)
        self.barriers: dict[str, None] = {}
        self.largest = 1  # numbers that the largest gradient of one box has, as far as that is known here
        self._known: dict[ir.Value, ir.Value] = dict(given)
        self._gathered: dict[object, ir.Value] = {}

    # -- the walk

    def backward(self, seeds: Mapping[ir.Value, Block], features: Collection[ir.Value]) -> dict[ir.Value, list[Block]]:
        """Carry gradients from some values back to others.

        Args:
            seeds: where to begin.
            features: where to end.

        Returns:
            For each feature that a gradient arrives at, blocks whose sum it is.

        Raises:
            UnsupportedOperatorError: an operator in between has no rule, or not for these attributes.
        """
        pending: dict[ir.Value, list[Block]] = {value: [seed] for value, seed in seeds.items()}
        ends = set(features)
        for node in reversed(onnx.ancestors(list(seeds), ends)):
            carrying = differentiable_inputs(node)
            wanted = [i for i, v in enumerate(node.inputs) if v in self.reached and any(v is c for c in carrying)]
            passes = any(v in self.reached for v in carrying)
            for number, value in enumerate(node.outputs):
                if value in ends:
                    continue
                for arrived in self.merged(pending.pop(value, [])) if passes else []:
                    for index, found in self._through(node, number, arrived, wanted).items():
                        used = node.inputs[index]
                        assert used is not None
                        pending.setdefault(used, []).extend(found)
                        self.largest = max([self.largest, *(self._numbers(used, block) for block in found)])
        return {value: self.merged(found) for value, found in pending.items() if value in ends}

    def _through(
        self, node: ir.Node, number: int, block: Block, wanted: Sequence[int]
    ) -> Mapping[int, Sequence[Block]]:
        name = node.op_type
        if node.domain not in ("", "ai.onnx"):
            raise unsupported(node, self.opset, f"has no gradient, as it is no standard operator but {node.domain}'s")
        if any(attr.type == ir.AttributeType.GRAPH for attr in node.attributes.values()):
            raise unsupported(node, self.opset, "runs another graph, which no gradient passes")
        if self.local and name in LOCAL:
            found = LOCAL[name](self, node, number, block, wanted)
            if found is not None:
                return found
        if name in ZERO:
            return {}
        if name not in RULES:
            raise unsupported(node, self.opset, "has no gradient rule")
        return self._by_rule(RULES[name], node, number, block, wanted)

    def _by_rule(
        self, rule: Rule, node: ir.Node, number: int, block: Block, wanted: Sequence[int]
    ) -> Mapping[int, Sequence[Block]]:
        y = node.outputs[number]
        whole = self.site(node, self.whole, wanted)
        independent = set(rule.independent(whole)) if not block.dense else set()
        kept = [a for a in block.windowed() if a in independent]
        if len(kept) < len(block.windowed()):
            self.barriers.setdefault(onnx.describe(node))
        once = block.uniform() if rule.broadcasts else []
        block = self.widened(block, [a for a in range(len(block.axes)) if a not in (*kept, *once)], y)
        spread: set[int] = set()  # axes along which a uniform gradient met a value that is not

        def read(value: ir.Value) -> ir.Value:
            extra = self.rank(y) - self.rank(value)
            spread.update(a for a in once if a >= extra and self.dims(value)[a - extra] != 1)
            return self.at(value, block.axes, self.rank(y))

        site = self.site(node, read, wanted) if kept or once else whole
        gs = [block.value if i == number else None for i in range(len(node.outputs))]
        contributions = rule.function(site, gs)
        common = set(spread)  # what was read for all of the contributions
        result: dict[int, list[Block]] = {}
        for index in wanted:
            spread.clear()
            spread.update(common)
            found = contributions[index] if index < len(contributions) else None
            value = found() if callable(found) else found
            used = node.inputs[index]
            if value is None or used is None:
                continue
            if spread:
                self.barriers.setdefault(onnx.describe(node))
            if rule.broadcasts:
                axes = tuple(None if a in spread else axis for a, axis in enumerate(block.axes))
                result[index] = [self._shrunk(Block(value, axes, block.boxes), y, used)]
            else:
                axes = tuple(block.axes[a] if a in kept else None for a in range(self.rank(used)))
                result[index] = [Block(value, axes, block.boxes)]
        return result

    def site(self, node: ir.Node, read: Callable[[ir.Value], ir.Value], wanted: Collection[int]) -> Site:
        """A node as its rule sees it."""
        return Site(self.op, node, self.opset, read, frozenset(wanted))

    def _shrunk(self, block: Block, y: ir.Value, x: ir.Value) -> Block:
        """Sum a gradient of the output's shape over the axes along which an input was broadcast."""
        op = self.op
        ys, xs = self.dims(y), self.dims(x)
        extra = len(ys) - len(xs)
        summed = [a for a, (have, want) in enumerate(zip(ys[extra:], xs, strict=True), extra) if want == 1 != have]
        value = block.value
        if summed:
            value = op.ReduceSum(value, [a + 1 for a in summed], keepdims=1)
        if extra:
            value = op.ReduceSum(value, [a + 1 for a in range(extra)], keepdims=0)
        for a in (*range(extra), *summed):
            if block.axes[a] is UNIFORM:  # stored once, and there as often as the axis is long
                length = self.length(y, a)
                real = ir.DataType.from_numpy(op.real)
                value = op.Mul(value, float(length) if isinstance(length, int) else op.Cast(length, to=real))
        axes = [None if a in summed else axis for a, axis in enumerate(block.axes)][extra:]
        return Block(value, tuple(axes), block.boxes)

    def _numbers(self, value: ir.Value, block: Block) -> int:
        """How many numbers a block has for one box.

        Windows as long as the longest of their proposals count as half of their axis, lengths that are not known as 1.
        """
        count = 1
        for length, axis in zip(self.dims(value), block.axes, strict=True):
            size: Size | None = 1 if axis is UNIFORM else length
            if isinstance(axis, Window):
                size = axis.size if isinstance(axis.size, int) else ((length or 1) + 1) // 2
            count *= size if isinstance(size, int) else 1
        return count

    # -- values of the forward pass

    def rank(self, value: ir.Value) -> int:
        """Rank of a forward value."""
        return len(self.dims(value))

    def dims(self, value: ir.Value) -> tuple[int | None, ...]:
        """Shape of a forward value; None for dimensions that are not known before the model runs."""
        shape, node = onnx.static_shape(value), value.producer()
        if shape is None and node is not None:
            raise unsupported(node, self.opset, f"the rank of {value.name} is not known before the model runs")
        if shape is None:
            raise UnsupportedOperatorError(f"the rank of {value.name} is not known. Export the model with its shapes.")
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

    def whole(self, value: ir.Value) -> ir.Value:
        """A forward value in the gradient graph."""
        constant = onnx.array(value)
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
        if source is not None and onnx.array(value) is None:
            return self._anew(value, self.at(source, axes, rank))
        found = self.gathered(value, windows)
        return self.op.Unsqueeze(found, list(range(1, extra + 1))) if extra else found

    def gathered(self, value: ir.Value, windows: Mapping[int, Window]) -> ir.Value:
        """A forward value at windows of some axes: [M, b1 … bn]; outside of an axis, its nearest position."""
        key = (value, tuple(sorted(windows.items())))
        if key not in self._gathered:
            chosen = range(min(windows), max(windows) + 1)
            self._gathered[key] = self._gather(value, chosen, windows)
        return self._gathered[key]

    def _gather(self, value: ir.Value, chosen: Sequence[int], windows: Mapping[int, Window]) -> ir.Value:
        """Gather windows of neighbouring axes: the value is seen as [before, chosen, behind]."""
        op, rank = self.op, self.rank(value)
        before, behind = range(chosen[0]), range(chosen[-1] + 1, rank)
        lengths = [self.length(value, a) for a in range(rank)]
        table_key = ("table", value, tuple(chosen))
        if table_key not in self._gathered:
            table = self.whole(value)
            if any(lengths[a] != 1 for a in before):  # gathering whole rows is much faster than single numbers
                table = self._swapped(table, [[lengths[a] for a in part] for part in (before, chosen, behind)], ())
            flat = blocks.product(op, [lengths[a] for a in (*before, *behind)])
            count = blocks.product(op, [lengths[a] for a in chosen])
            table = op.Reshape(table, blocks.sizes(op, [count, flat]))
            if not isinstance(count, int):  # there may be none, and something has to be gathered for a stand-in
                assert value.dtype is not None, value.name
                nothing = op.Cast(np.zeros((1, 1)), to=value.dtype)
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
        if node is None or node.op_type not in _RECOMPUTED or node.domain not in ("", "ai.onnx"):
            return None
        if value is not node.outputs[0]:  # the mask of Dropout
            return None
        source = node.inputs[0]
        if source is None:
            return None
        if node.op_type in ("Identity", "Dropout", "Cast") or source in self._known:
            return source
        return source if len(source.consumers()) > 1 else None

    def _anew(self, value: ir.Value, source: ir.Value) -> ir.Value:
        node = value.producer()
        assert node is not None
        if node.op_type in ("Identity", "Dropout"):
            return source
        attributes = {name: attr.value for name, attr in node.attributes.items()}
        if node.op_type == "Cast":
            attributes = {"to": attributes["to"]}  # others are newer than this graph's opset, and about 8 bits
        return self.op.emit(node.op_type, [source], attributes)[0]

    def _save(self, value: ir.Value) -> ir.Value:
        saved = ir.Value(name=value.name, type=value.type, shape=value.shape)
        self.op.graph.inputs.append(saved)
        return saved

    # -- blocks

    def widened(self, block: Block, axes: Collection[int], value: ir.Value) -> Block:
        """The same gradient with these axes stored in full."""
        for axis in axes:
            block = self._widened(block, axis, self.length(value, axis))
        return block

    def _widened(self, block: Block, axis: int, length: Size) -> Block:
        op, support = self.op, block.axes[axis]
        axes = (*block.axes[:axis], None, *block.axes[axis + 1 :])
        if support is None or (support is UNIFORM and length == 1):
            return Block(block.value, axes, block.boxes)
        rank = len(axes)
        if support is UNIFORM:
            shape: list[Size] = [1] * (rank + 1)
            shape[axis + 1] = length
            return Block(op.Expand(block.value, blocks.sizes(op, shape)), axes, block.boxes)
        assert isinstance(support, Window)
        place = self.positions.placement(support, length)
        return Block(self.placed(block.value, place, axis, rank, support.size), axes, block.boxes)

    def placed(self, value: ir.Value, place: ir.Value, axis: int, rank: int, size: Size) -> ir.Value:
        """Multiply one axis of a block by a matrix of its own for each box, [M, new, old]."""
        op = self.op
        if isinstance(size, int) and size == 1:
            column = op.Squeeze(place, [2])
            return op.Mul(
                value, op.Unsqueeze(column, [1 + a for a in range(rank) if a != axis]) if rank > 1 else column
            )
        if rank == 1:
            return op.Squeeze(op.MatMul(place, op.Unsqueeze(value, [2])), [2])
        fill = list(range(1, rank - 1))
        if axis == rank - 1:
            matrix = op.Transpose(place, perm=[0, 2, 1])
            return op.MatMul(value, op.Unsqueeze(matrix, fill) if fill else matrix)
        if axis == rank - 2:
            return op.MatMul(op.Unsqueeze(place, fill) if fill else place, value)
        order = [a for a in range(rank + 1) if a != axis + 1]
        order.insert(rank - 1, axis + 1)
        back = [order.index(a) for a in range(rank + 1)]
        moved = op.MatMul(op.Unsqueeze(place, fill), op.Transpose(value, perm=order))
        return op.Transpose(moved, perm=back)

    def masked(self, block: Block, value: ir.Value) -> Block:
        """Set a gradient to zero outside of the axes."""
        op, result = self.op, block.value
        rank = len(block.axes)
        mask: ir.Value | None = None
        for a in block.windowed():
            support = block.axes[a]
            assert isinstance(support, Window)
            inside = self.positions.inside(support, self.length(value, a))
            inside = op.Unsqueeze(inside, [1 + b for b in range(rank) if b != a]) if rank > 1 else inside
            mask = inside if mask is None else op.And(mask, inside)
        if mask is None:
            return block
        return Block(op.Mul(result, op.Cast(mask, to=ir.DataType.from_numpy(op.real))), block.axes, block.boxes)

    def limited(self, block: Block, value: ir.Value) -> Block:
        """Store axes in full where the windows are no smaller."""
        for a in block.windowed():
            support, length = block.axes[a], self.dims(value)[a]
            assert isinstance(support, Window)
            if length is not None and isinstance(support.size, int) and support.size >= length:
                block = self._widened(block, a, length)
        return block

    def merged(self, found: Sequence[Block]) -> list[Block]:
        """Add up gradients of the same boxes; a uniform one stays apart from others."""
        result: list[Block] = []
        for block in found:
            for i, other in enumerate(result):
                if other.boxes is block.boxes and other.uniform() == block.uniform():
                    result[i] = self._sum(other, block)
                    break
            else:
                result.append(block)
        return result

    def _sum(self, a: Block, b: Block) -> Block:
        for axis, (one, other) in enumerate(zip(a.axes, b.axes, strict=True)):
            if one == other or (one is None and other is None):
                continue
            joint = self._joint(one, other)
            a, b = self._moved(a, axis, joint, b), self._moved(b, axis, joint, a)
        return Block(self.op.Add(a.value, b.value), a.axes, a.boxes)

    def _joint(self, one: Support, other: Support) -> Support:
        """A window that holds two others."""
        if not (isinstance(one, Window) and isinstance(other, Window)):
            return None
        op = self.op
        same = one.start.base is other.start.base and one.start.factor == other.start.factor
        if same and isinstance(one.size, int) and isinstance(other.size, int):
            low = min(one.start.offset, other.start.offset)
            high = max(one.start.offset + one.size, other.start.offset + other.size)
            return Window(Start(one.start.base, one.start.factor, low), high - low)
        starts = [self.positions.start(w.start) for w in (one, other)]
        ends = [op.Add(s, w.size) for s, w in zip(starts, (one, other), strict=True)]
        start = op.Min(*starts)
        longest = op.ReduceMax(op.Concat(op.Sub(op.Max(*ends), start), [1], axis=0), [0], keepdims=1)
        return Window(Start(start), longest)

    def _moved(self, block: Block, axis: int, into: Support, other: Block) -> Block:
        """Store one axis of a block in another, larger window."""
        support = block.axes[axis]
        if support == into:
            return block
        axes = (*block.axes[:axis], into, *block.axes[axis + 1 :])
        assert isinstance(support, Window)
        op, rank = self.op, len(axes)
        if into is None:
            length = self.op.Shape(other.value, start=axis + 1, end=axis + 2)
            place = self.positions.placement(support, length)
            return Block(self.placed(block.value, place, axis, rank, support.size), axes, block.boxes)
        assert isinstance(into, Window)
        start = support.start
        if into.start.base is start.base and into.start.factor == start.factor and isinstance(into.size, int):
            assert isinstance(support.size, int)
            pads = np.zeros(2 * (rank + 1), np.int64)
            before = start.offset - into.start.offset
            pads[axis + 1], pads[rank + 1 + axis + 1] = before, into.size - support.size - before
            return Block(op.Pad(block.value, pads), axes, block.boxes)
        place = self.positions.placement(support, into)
        return Block(self.placed(block.value, place, axis, rank, support.size), axes, block.boxes)
