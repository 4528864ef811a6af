"""Arithmetic of blocks: store more of an axis, put a window into a larger one, cut off what is outside, add up."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import UNIFORM, Block, Boxes, Route, Size, Start, Support, Window
from boxcam.export.autodiff.forward import ForwardValues


class BlockArithmetic(ForwardValues):
    """Changes how gradients are stored, and not what they are."""

    def routed(self, parent: Boxes, fork: object, branch: object, condition: Callable[[], ir.Value]) -> Boxes:
        """Those boxes of a group that go one way at a fork: the same group whenever it is asked for."""
        key = ("routed", fork, branch)
        if key not in self._routed:
            op = self.op
            chosen, stands_in = self.positions.chosen(condition())
            index = op.Where(stands_in, -1, op.Gather(parent.index, chosen, axis=0))
            self._routed[key] = Boxes(index, Route(parent, chosen, stands_in, fork, branch))
        return self._routed[key]

    def united(self, block: Block) -> Block:
        """The same gradient for all boxes that the walk began with; it is zero for those that it is not about."""
        op, route = self.op, block.boxes.route
        if route is None:
            return block
        place = op.Unsqueeze(route.chosen, [1])
        count = op.Shape(route.parent.index)
        moved: dict[ir.Value, ir.Value] = {}
        for support in block.axes:
            if isinstance(support, Window) and support.start.base not in moved:
                zeros = op.Expand(np.zeros(1, np.int64), count)
                moved[support.start.base] = op.ScatterND(zeros, place, support.start.base)
        axes = tuple(
            Window(Start(moved[a.start.base], a.start.factor, a.start.offset), a.size) if isinstance(a, Window) else a
            for a in block.axes
        )
        shape = op.Concat(count, op.Shape(block.value, start=1), axis=0)
        own = op.Mul(block.value, op.Cast(op.Not(route.stands_in), to=ir.DataType.from_numpy(op.real)))
        value = op.ScatterND(op.Expand(np.zeros((), op.real), shape), place, own)
        return self.united(Block(value, axes, route.parent))

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

    def added(self, found: Sequence[Block], value: ir.Value) -> list[Block]:
        """Add up gradients until no box has more than one, for what is not linear in them.

        Args:
            found: as `merged` gives them.
            value: that they are of.
        """
        if len(found) > 1:
            found = self.merged([self.widened(block, block.uniform(), value) for block in found])
        if all(one is other or one.boxes.apart_from(other.boxes) for one in found for other in found):
            return list(found)
        return self.merged([self.united(block) for block in found])

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
