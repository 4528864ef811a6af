"""Blocks: gradients that are zero but for a few positions, the same shape for every box.

The gradient of one logit is a single 1 at the logit's place.  On its way back through a head it grows by a few cells
with every convolution, and in a two-stage head it stays within one row of a thousand.  A block holds only what is not
zero: for each axis all positions, or a window of them that begins elsewhere for each box.  Rules that work position by
position take blocks as they are; the others in `boxcam.export.autodiff.local` know how an operator moves and widens
them.  An operator that knows neither gets the axis in full, which is slower and as exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array

Size = int | ir.Value
"""A number of positions: known at export, or an int64 [1] of the graph."""


@dataclass(frozen=True)
class Start:
    """Where the windows of M boxes begin along one axis: ``factor · base + offset``; it may lie outside of the axis.

    Attributes:
        base: int64 [M].
        factor, offset: kept apart, so that two windows with one base and factor are known to lie side by side.
    """

    base: ir.Value
    factor: int = 1
    offset: int = 0

    def moved(self, offset: int) -> Start:
        """The start some positions further on."""
        return replace(self, offset=self.offset + offset)

    def scaled(self, factor: int) -> Start:
        """The start, times a number."""
        return Start(self.base, self.factor * factor, self.offset * factor)


@dataclass(frozen=True, eq=False)
class Table:
    """The values that a start can have: it is a function of a position, such as that of a box's logit on its map.

    Two starts that are functions of one position are compared at export, for all boxes that there may be.

    Attributes:
        position: which one; equal for tables of the same.
        values: int64 [N], by the position.
    """

    position: object
    values: Array


@dataclass(frozen=True)
class Window:
    """Some positions of one axis: ``size`` of them, from ``start`` on.

    A gradient is zero at those of them that lie outside of the axis.
    """

    start: Start
    size: Size


@dataclass(frozen=True)
class Uniform:
    """All positions of one axis, and the gradient is the same at each: it is stored once."""


UNIFORM = Uniform()
Support = Window | Uniform | None
"""What of an axis is stored; None: all of it."""


@dataclass(frozen=True, eq=False)
class Boxes:
    """Which boxes a block is about.

    There is always one, since ONNX Runtime cannot broadcast against no boxes at all: if there is none, a stand-in,
    whose gradient is zero.

    Attributes:
        index: int64 [M], their numbers among the K boxes that were asked for; -1 for a stand-in.
        route: which boxes of which group they are; None for all that a walk began with.
        parts: the groups that it was put together from, of which no two share a box; none if it was not.
        kept: int64 [M], which boxes of the parts, one after the other, are in it: no stand-ins.
    """

    index: ir.Value
    route: Route | None = None
    parts: tuple[Boxes, ...] = ()
    kept: ir.Value | None = None

    @property
    def lineage(self) -> list[Boxes]:
        """The group, the one that it is a part of, and so on to all."""
        return [self] if self.route is None else [self, *self.route.parent.lineage]

    @property
    def atoms(self) -> tuple[Boxes, ...]:
        """The groups that were not put together, of which it consists."""
        return self.parts or (self,)

    def common(self, other: Boxes) -> Boxes:
        """The smallest group that both are parts of."""
        return next(one for one in self.lineage if any(one is another for another in other.lineage))

    def apart_from(self, other: Boxes) -> bool:
        """Whether no box can be in both groups: at one fork they took different branches."""
        if self.parts or other.parts:
            return all(one.apart_from(another) for one in self.atoms for another in other.atoms)
        for (fork, branch), (other_fork, other_branch) in zip(self._way(), other._way(), strict=False):
            if fork != other_fork:
                return False
            if branch != other_branch:
                return True
        return False

    def _way(self) -> list[tuple[object, object]]:
        """The turns by which these boxes came here, the first one first."""
        return [] if self.route is None else [*self.route.parent._way(), (self.route.fork, self.route.branch)]


@dataclass(frozen=True, eq=False)
class Route:
    """Some of the boxes of a group: those that went one way at a fork.

    Attributes:
        parent: the group.
        chosen: int64 [M], their positions in it.
        stands_in: bool [1], whether the only one is a stand-in.
        fork: what decided; equal for groups that share no box if their branches differ.
        branch: which way.
    """

    parent: Boxes
    chosen: ir.Value
    stands_in: ir.Value
    fork: object
    branch: object


@dataclass(frozen=True, eq=False)
class Block:
    """The gradient of M logits with respect to one value of the forward graph.

    Attributes:
        value: [M, b1 … bn].
        axes: for each axis of the forward value, what of it is stored.
        boxes: whose gradient it is.
    """

    value: ir.Value
    axes: tuple[Support, ...]
    boxes: Boxes

    @property
    def dense(self) -> bool:
        """Whether all of the gradient is stored."""
        return all(axis is None for axis in self.axes)

    def windowed(self) -> list[int]:
        """Axes that are stored in part."""
        return [i for i, axis in enumerate(self.axes) if isinstance(axis, Window)]

    def uniform(self) -> list[int]:
        """Axes along which the gradient is stored once."""
        return [i for i, axis in enumerate(self.axes) if axis is UNIFORM]


class Positions:
    """Arithmetic of starts and windows, as nodes of the gradient graph; what was written once is used again."""

    def __init__(self, op: Ops) -> None:
        self.op = op
        self._done: dict[object, ir.Value] = {}
        self._tables: dict[ir.Value, Table] = {}

    def tell(self, base: ir.Value, table: Table) -> None:
        """Tell which values the base of starts can have."""
        self._tables[base] = table

    def anywhere(self, base: ir.Value, count: Size | None) -> ir.Value:
        """A base that is any of so many positions, told as such where their number is known."""
        if isinstance(count, int):
            self.tell(base, Table(base, np.arange(count)))
        return base

    def table(self, start: Start) -> Table | None:
        """Which values a start can have; None where that is not known."""
        found = self._tables.get(start.base)
        return None if found is None else replace(found, values=found.values * start.factor + start.offset)

    def retold(self, base: ir.Value, of: ir.Value, how: object) -> ir.Value:
        """A base that has values of another one, told as such: bases that were moved alike stay comparable."""
        found = self._tables.get(of)
        if found is not None:
            self.tell(base, replace(found, position=(found.position, how)))
        return base

    def start(self, start: Start) -> ir.Value:
        """int64 [M]."""
        key = ("start", start)
        if key not in self._done:
            value = start.base
            if start.factor != 1:
                value = self.op.Mul(value, start.factor)
            self._done[key] = self.op.Add(value, start.offset) if start.offset else value
        return self._done[key]

    def count(self, size: Size) -> ir.Value:
        """0, 1 … size - 1: int64 [size]."""
        key = ("count", size)
        if key not in self._done:
            if isinstance(size, int):
                counted = self.op.value(np.arange(size))
                assert counted is not None
                self._done[key] = counted
            else:
                scalar = self.op.Squeeze(size, [0])
                self._done[key] = self.op.Range(0, scalar, 1)
        return self._done[key]

    def of(self, window: Window) -> ir.Value:
        """The positions: int64 [M, size]."""
        key = ("of", window)
        if key not in self._done:
            start = self.op.Unsqueeze(self.start(window.start), [1])
            still = isinstance(window.size, int) and window.size == 1
            self._done[key] = start if still else self.op.Add(start, self.op.Unsqueeze(self.count(window.size), [0]))
        return self._done[key]

    def inside(self, window: Window, length: Size) -> ir.Value:
        """Which of the positions lie on an axis of that length: bool [M, size]."""
        key = ("inside", window, length)
        if key not in self._done:
            op, at = self.op, self.of(window)
            self._done[key] = op.And(op.GreaterOrEqual(at, 0), op.Less(at, length))
        return self._done[key]

    def nearest(self, window: Window, length: Size) -> ir.Value:
        """The positions, those outside moved to the nearest one inside: int64 [M, size]."""
        key = ("nearest", window, length)
        if key not in self._done:
            op = self.op
            last = length - 1 if isinstance(length, int) else op.Sub(length, 1)
            self._done[key] = op.Min(op.Max(self.of(window), 0), last)
        return self._done[key]

    def chosen(self, condition: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Which of some boxes a condition, bool [M], holds for; if for none, the first one as a stand-in.

        Returns:
            int64 [N], N ≥ 1; and whether it is a stand-in, bool [1].
        """
        op = self.op
        index = op.Reshape(op.NonZero(condition), [-1])
        count = op.Shape(index)
        index = op.Concat(index, op.Slice([0], count, [1], [0]), axis=0)
        return index, op.Equal(count, 0)

    def placement(self, window: Window, inside: Window | Size) -> ir.Value:
        """Puts a window into a larger one, or into the whole axis: 0 or 1, [M, larger, size]."""
        key = ("placement", window, inside)
        if key not in self._done:
            op = self.op
            if isinstance(inside, Window):
                rows = op.Unsqueeze(self.of(inside), [2])
            else:
                rows = op.Unsqueeze(self.count(inside), [0, 2])
            same = op.Equal(rows, op.Unsqueeze(self.of(window), [1]))
            self._done[key] = op.Cast(same, to=ir.DataType.from_numpy(op.real))
        return self._done[key]


def add(op: Ops, size: Size, more: int) -> Size:
    """A size, some positions larger."""
    if more == 0:
        return size
    return size + more if isinstance(size, int) else op.Add(size, more)


def multiply(op: Ops, size: Size, factor: int) -> Size:
    """A size, times a number."""
    if factor == 1:
        return size
    return size * factor if isinstance(size, int) else op.Mul(size, factor)


def product(op: Ops, parts: Sequence[Size]) -> Size:
    """Several sizes multiplied."""
    result: Size = prod(part for part in parts if isinstance(part, int))
    for part in parts:
        if not isinstance(part, int):
            result = op.Mul(part, result)
    return result


def sizes(op: Ops, parts: Sequence[Size]) -> ir.Value:
    """Several sizes as one int64 vector, for Reshape and the like."""
    if all(isinstance(part, int) for part in parts):
        vector = op.value(np.array(parts, np.int64))
        assert vector is not None
        return vector
    groups: list[ir.Value | Array] = []
    for part in parts:
        if isinstance(part, int) and groups and isinstance(groups[-1], np.ndarray):
            groups[-1] = np.append(groups[-1], part)
        else:
            groups.append(np.array([part], np.int64) if isinstance(part, int) else part)
    return op.Concat(*groups, axis=0)
