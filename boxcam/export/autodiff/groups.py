"""Groups of boxes: some take one way at a fork and some another, and meet again where they read the same maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.arithmetic import BlockArithmetic
from boxcam.export.autodiff.block import Block, Boxes, Route, Start, Window


class GroupArithmetic(BlockArithmetic):
    """Changes which boxes gradients are stored together with, and not what they are.

    Attributes:
        local: whether gradients are kept in blocks; otherwise each group is carried by itself.
    """

    local = True

    def routed(self, parent: Boxes, fork: object, branch: object, condition: Callable[[], ir.Value]) -> Boxes:
        """Those boxes of a group that go one way at a fork: the same group whenever it is asked for."""
        key = ("routed", fork, branch)
        if key not in self._routed:
            op = self.op
            chosen, stands_in = self.positions.chosen(condition())
            index = op.Where(stands_in, -1, op.Gather(parent.index, chosen, axis=0))
            self._routed[key] = Boxes(index, Route(parent, chosen, stands_in, fork, branch))
        return self._routed[key]

    def joined(self, found: Sequence[Block], value: ir.Value) -> list[Block]:
        """Put whole gradients of groups that share no box together: what follows is done once for all of them.

        A group without any box is carried as a stand-in, which costs what a box does. Of several groups together no
        stand-in is left if one of them has a box.  Not where blocks are not wanted: what they are checked against.

        Args:
            found: as `merged` gives them.
            value: that they are of.
        """
        whole = [block.boxes for block in found if block.dense]
        atoms = frozenset(atom for boxes in whole for atom in boxes.atoms)
        if not self.local or len(atoms) < 2 or not _all_apart(atoms):
            return list(found)
        together = self._together(tuple(dict.fromkeys(atom for boxes in whole for atom in boxes.atoms)))
        mine = [block for block in found if atoms.issuperset(block.boxes.atoms)]
        even = [block for block in mine if block.uniform()]
        rest = [block for block in found if block not in mine]
        rest += [self._among([self.widened(one, one.windowed(), value)], together, value) for one in even]
        return [*rest, self._among([block for block in mine if block not in even], together, value)]

    def reconciled(self, found: Sequence[Block], value: ir.Value) -> list[Block]:
        """The same, where some of them are of groups that others were put together to."""
        return list(found) if _all_apart([block.boxes for block in found]) else self.joined(found, value)

    def _together(self, atoms: tuple[Boxes, ...]) -> Boxes:
        """Several groups as one, without stand-ins: the same group whenever it is asked for."""
        key = frozenset(atoms)
        if key not in self._routed:
            op = self.op
            parent = reduce(Boxes.common, atoms)
            index = op.Concat(*(atom.index for atom in atoms), axis=0)
            places = op.Concat(*(self._places(atom, parent) for atom in atoms), axis=0)
            kept, stands_in = self.positions.chosen(op.GreaterOrEqual(index, 0))
            route = Route(parent, op.Gather(places, kept, axis=0), stands_in, key, None)
            self._routed[key] = Boxes(op.Gather(index, kept, axis=0), route, atoms, kept)
        return self._routed[key]

    def _places(self, boxes: Boxes, parent: Boxes) -> ir.Value:
        """Where the boxes of a group are in one that it is a part of: int64 [M]."""
        assert boxes.route is not None
        if boxes.route.parent is parent:
            return boxes.route.chosen
        return self.op.Gather(self._places(boxes.route.parent, parent), boxes.route.chosen, axis=0)

    def _among(self, found: Sequence[Block], together: Boxes, value: ir.Value) -> Block:
        """The sum of some gradients as one of the group that theirs were put together to.

        Args:
            found: whole ones; and with windows those that came by another way, on which there were no others.
            together: the group.
            value: that they are of.
        """
        op = self.op
        first = [block for block in found if block.boxes is together]
        if tuple(block.boxes for block in found) == together.parts and not any(block.windowed() for block in found):
            total = op.Gather(op.Concat(*(block.value for block in found), axis=0), together.kept, axis=0)
            return Block(total, found[0].axes, together)
        whole = next(block for block in found if not block.windowed())
        if first:
            total = self.widened(first[0], first[0].windowed(), value).value
        else:
            shape = op.Concat(op.Shape(together.index), op.Shape(whole.value, start=1), axis=0)
            total = op.Expand(np.zeros((), op.real), shape)
        for block in found:
            if block not in first[:1]:
                total = self._put(total, block, together, value)
        return Block(total, whole.axes, together)

    def _put(self, total: ir.Value, block: Block, together: Boxes, value: ir.Value) -> ir.Value:
        """Add a gradient to that of a group which its own was put together to.

        A stand-in is added to the first box, as zero.
        """
        block = self._without_stand_in(block)
        op, windows, dims = self.op, block.windowed(), self.dims(value)
        same = op.Equal(op.Unsqueeze(block.boxes.index, [1]), op.Unsqueeze(together.index, [0]))
        place = op.ArgMax(op.Cast(same, to=ir.DataType.INT32), axis=1, keepdims=0)
        support = block.axes[2] if windows in ([2], [2, 3]) and len(dims) == 4 and dims[0] == 1 else None
        fits = isinstance(support, Window) and isinstance(support.size, int) and support.size <= (dims[2] or 0)
        if not isinstance(support, Window) or not fits or None in dims[1:]:
            return op.ScatterND(
                total, op.Unsqueeze(place, [1]), self.widened(block, windows, value).value, reduction="add"
            )
        # Line by line. Those outside of the map are zero, and are put where there are no others, of a window that is no
        # larger than the map: each line occurs once, as ONNX Runtime, which adds several at a time, needs it.
        _, channels, height, width = (size or 0 for size in dims)
        block = self.widened(block, [3], value)
        lines = op.Mod(self.positions.of(support), height)  # [M, h]
        places = op.Add(op.Mul(op.Unsqueeze(place, [1]), channels), np.arange(channels)[None])  # [M, C]
        index = op.Add(op.Mul(op.Unsqueeze(places, [2]), height), op.Unsqueeze(lines, [1]))  # [M, C, h]
        added = op.ScatterND(
            op.Reshape(total, [-1, width]),
            op.Reshape(index, [-1, 1]),
            op.Reshape(block.value, [-1, width]),
            reduction="add",
        )
        return op.Reshape(added, op.Shape(total))

    def _without_stand_in(self, block: Block) -> Block:
        """The same gradient, zero where it is of no box: 0 times a slope without a limit is not."""
        op, rank = self.op, 1 + len(block.axes)
        nobody = op.Unsqueeze(op.Less(block.boxes.index, 0), list(range(1, rank)))
        return replace(block, value=op.Where(nobody, 0.0, block.value))

    def disjoint(self, found: Sequence[Block]) -> list[Block]:
        """The same gradients, of groups that are the same or share no box."""
        result = list(found)
        while True:
            pairs = ((one.boxes, other.boxes) for one in result for other in result)
            meeting = next((pair for pair in pairs if pair[0] is not pair[1] and not pair[0].apart_from(pair[1])), None)
            if meeting is None:
                return result
            common = meeting[0].common(meeting[1])
            while True:
                touched = [block.boxes for block in result if not block.boxes.apart_from(common)]
                larger = reduce(Boxes.common, touched, common)
                if larger is common:
                    break
                common = larger
            result = [block if block.boxes.apart_from(common) else self.united(block, common) for block in result]

    def united(self, block: Block, group: Boxes) -> Block:
        """The same gradient for all boxes of a group that its own is a part of; zero for those that it is not about."""
        op, route = self.op, block.boxes.route
        if block.boxes is group:
            return block
        assert route is not None
        block = self._without_stand_in(block)
        place = op.Unsqueeze(route.chosen, [1])
        count = op.Shape(route.parent.index)
        moved: dict[ir.Value, ir.Value] = {}
        for support in block.axes:
            if isinstance(support, Window) and support.start.base not in moved:
                zeros = op.Expand(np.zeros(1, np.int64), count)
                base = op.ScatterND(zeros, place, support.start.base)
                moved[support.start.base] = self.positions.retold(base, support.start.base, (route.parent, place))
        axes = tuple(
            Window(Start(moved[a.start.base], a.start.factor, a.start.offset), a.size) if isinstance(a, Window) else a
            for a in block.axes
        )
        shape = op.Concat(count, op.Shape(block.value, start=1), axis=0)
        value = op.ScatterND(op.Expand(np.zeros((), op.real), shape), place, block.value)
        return self.united(Block(value, axes, route.parent), group)

    def added(self, found: Sequence[Block], value: ir.Value) -> list[Block]:
        """Add up gradients until no box has more than one, for what is not linear in them.

        Args:
            found: as `merged` gives them.
            value: that they are of.
        """
        if len(found) > 1:
            found = self.merged([self.widened(block, block.uniform(), value) for block in found], value)
        return self.merged(self.disjoint(found), value)


def _all_apart(groups: Iterable[Boxes]) -> bool:
    different = set(groups)
    return all(one is other or one.apart_from(other) for one in different for other in different)
