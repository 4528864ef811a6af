"""Arithmetic of blocks: store more of an axis, put a window into a larger one, cut off what is outside, add up."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import UNIFORM, Block, Size, Start, Support, Table, Window
from boxcam.export.autodiff.forward import ForwardValues

_NEARLY = 0.85
"""Of an axis: a window that is as large costs more than the whole, of which nothing has to be gathered or masked."""


def covers(size: int, length: int) -> bool:
    """Whether a window is large enough for its axis to be stored in full."""
    return size >= _NEARLY * length


class BlockArithmetic(ForwardValues):
    """Changes how gradients are stored, and not what they are."""

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
        """Store axes in full where the windows are hardly smaller."""
        for a in block.windowed():
            support, length = block.axes[a], self.dims(value)[a]
            assert isinstance(support, Window)
            if length is not None and isinstance(support.size, int) and covers(support.size, length):
                block = self._widened(block, a, length)
        return block

    def merged(self, found: Sequence[Block], value: ir.Value) -> list[Block]:
        """Add up gradients of the same boxes with respect to one value; a uniform one stays apart from others."""
        result: list[Block] = []
        for block in found:
            for i, other in enumerate(result):
                if other.boxes is block.boxes and other.uniform() == block.uniform():
                    result[i] = self._sum(other, block, value)
                    break
            else:
                result.append(block)
        return result

    def _sum(self, a: Block, b: Block, value: ir.Value) -> Block:
        for axis, (one, other) in enumerate(zip(a.axes, b.axes, strict=True)):
            if one == other or (one is None and other is None):
                continue
            joint = self._joint(one, other, self.dims(value)[axis])
            a, b = (self._moved(block, axis, joint, value) for block in (a, b))
        return Block(self.op.Add(a.value, b.value), a.axes, a.boxes)

    def _joint(self, one: Support, other: Support, length: int | None) -> Support:
        """A window that holds two others of an axis; None for all of it, if that is hardly more."""
        if not (isinstance(one, Window) and isinstance(other, Window)):
            return None
        op = self.op
        same = one.start.base is other.start.base and one.start.factor == other.start.factor
        if same and isinstance(one.size, int) and isinstance(other.size, int):
            low = min(one.start.offset, other.start.offset)
            high = max(one.start.offset + one.size, other.start.offset + other.size)
            if length is not None and covers(high - low, length):
                return None
            return Window(Start(one.start.base, one.start.factor, low), high - low)
        starts = [self.positions.start(w.start) for w in (one, other)]
        start = op.Min(*starts)
        known = self._known_joint(one, other, length)
        if known is not None:
            table, size = known
            assert length is not None
            if covers(size, length):
                return None
            start = op.Min(op.Max(start, 0), length - size)
            self.positions.tell(start, table)
            return Window(Start(start), size)
        ends = [op.Add(s, w.size) for s, w in zip(starts, (one, other), strict=True)]
        longest = op.ReduceMax(op.Concat(op.Sub(op.Max(*ends), start), [1], axis=0), [0], keepdims=1)
        return Window(Start(start), longest)

    def _known_joint(self, one: Window, other: Window, length: int | None) -> tuple[Table, int] | None:
        """The starts of windows of one size that hold two others as far as these lie on the axis, and that size.

        None where it is not known at export where one lies beside the other.
        """
        tables = [self.positions.table(window.start) for window in (one, other)]
        if length is None or not (isinstance(one.size, int) and isinstance(other.size, int)):
            return None
        if tables[0] is None or tables[1] is None or tables[0].position != tables[1].position:
            return None
        low = np.minimum(tables[0].values, tables[1].values)
        high = np.maximum(tables[0].values + one.size, tables[1].values + other.size)
        size = int((np.minimum(high, length) - np.maximum(low, 0)).max(initial=1))
        return Table(tables[0].position, np.clip(low, 0, max(length - size, 0))), size

    def _moved(self, block: Block, axis: int, into: Support, value: ir.Value) -> Block:
        """Store one axis of a block in another, larger window."""
        support = block.axes[axis]
        if support == into:
            return block
        axes = (*block.axes[:axis], into, *block.axes[axis + 1 :])
        assert isinstance(support, Window)
        op, rank = self.op, len(axes)
        if into is None:
            return self.widened(block, [axis], value)
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
