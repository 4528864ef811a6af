"""How marks on the elements of a tensor pass one operator, from its input to its output and back.

An operator does one of a few things with elements: it computes each output of the input at the same place
(element-wise, broadcast), it moves them (along axes, or into another shape), or it mixes them along some axes.  What
an operator does stands in `boxcam.export.graphs.operators`; here is only what follows for marks.

Marks are an array of bits with an entry for each element.  A dimension along which all entries are alike is kept at
size 1, so that marks of a whole map are one number; for a dimension that only a run can tell there is no other way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.export.graphs.dimensions import known
from boxcam.export.graphs.query import static_shape

Marks = npt.NDArray[np.uint8]
Sizes = tuple[int | None, ...]
Places = npt.NDArray[np.int64]


class Flow(Protocol):
    """How marks pass from one input of an operator to one output."""

    def forward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        """Marks of the output, of those of the input.

        Args:
            marks: of the input.
            before: sizes of the input.
            after: sizes of the output.
        """

    def backward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        """Marks of the input, of those of the output."""


@dataclass(frozen=True)
class Axes:
    """Each output axis follows one axis of the input, or none.

    Attributes:
        order: for each output axis the input's that it follows; None for one along which all elements are of the same
            inputs.  An input axis that none follows is mixed: every output depends on all along it.
        taken: of an input axis, the places that the output has, one after the other; -1 for something else.
        groups: of an input axis, the number of equal parts that are mixed, each within itself, as by a convolution
            with groups.
    """

    order: tuple[int | None, ...]
    taken: Mapping[int, Places] = field(default_factory=dict)
    groups: Mapping[int, int] = field(default_factory=dict)

    def forward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        if marks.size == 1 and not self.taken:
            return marks.reshape((1,) * len(after))
        for axis, places in self.taken.items():
            found = marks if marks.shape[axis] > 1 else marks.repeat(before[axis] or 1, axis)
            picked = found.take(np.maximum(places, 0), axis)
            there = (places >= 0).reshape([-1 if a == axis else 1 for a in range(marks.ndim)])
            marks = np.where(there, picked, np.uint8(0))
        for axis in set(range(marks.ndim)) - set(self.order):
            marks = _any(marks, axis)
        for axis, parts in self.groups.items():
            marks = _grouped(marks, axis, parts, after[self.order.index(axis)])
        kept = [axis for axis in self.order if axis is not None]
        gone = tuple(axis for axis in range(marks.ndim) if axis not in kept)
        marks = marks.squeeze(gone).transpose(np.argsort(np.argsort(kept)))
        marks = np.expand_dims(marks, [place for place, axis in enumerate(self.order) if axis is None])
        return fitted(marks, after)

    def backward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        if marks.size == 1 and not self.taken:
            return marks.reshape((1,) * len(before))
        new = tuple(place for place, axis in enumerate(self.order) if axis is None)
        for place in new:
            marks = _any(marks, place)
        kept = [axis for axis in self.order if axis is not None]
        marks = marks.squeeze(new).transpose(np.argsort(kept))
        marks = np.expand_dims(marks, [axis for axis in range(len(before)) if axis not in kept])
        for axis, parts in self.groups.items():
            marks = _grouped(marks, axis, parts, before[axis])
        for axis, places in self.taken.items():
            marks = _put(marks, axis, places, before[axis] or 1)
        return fitted(marks, before)


def _any(marks: Marks, axis: int) -> Marks:
    """Marks that all along an axis share."""
    if marks.shape[axis] == 1:
        return marks
    found: Marks = np.bitwise_or.reduce(marks, axis, keepdims=True)
    return found


def _grouped(marks: Marks, axis: int, parts: int, size: int | None) -> Marks:
    """Marks along an axis of another size, mixed within each of its equal parts."""
    if marks.shape[axis] == 1:
        return marks
    if size is None or size % parts or marks.shape[axis] % parts:
        return _any(marks, axis)
    shape = [*marks.shape[:axis], parts, marks.shape[axis] // parts, *marks.shape[axis + 1 :]]
    found: Marks = np.bitwise_or.reduce(marks.reshape(shape), axis + 1).repeat(size // parts, axis)
    return found


def _put(marks: Marks, axis: int, places: Places, size: int) -> Marks:
    """Marks along an axis, brought back to the places that they were taken from."""
    if marks.shape[axis] == 1:
        marks = marks.repeat(len(places), axis)
    found = np.zeros([*marks.shape[:axis], size, *marks.shape[axis + 1 :]], np.uint8)
    here = np.flatnonzero(places >= 0)
    np.bitwise_or.at(np.moveaxis(found, axis, 0), places[here], np.moveaxis(marks, axis, 0)[here])
    return found


@dataclass(frozen=True)
class Reshape:
    """The same elements in the same order, in another shape."""

    def forward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        if marks.size > 1 and _same_order(before, after):
            full = np.broadcast_to(marks, [size or 1 for size in before])
            return compact(full.reshape([size or 1 for size in after]))
        return _mixed(marks, after)

    def backward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        return self.forward(marks, after, before)


def _same_order(one: Sizes, other: Sizes) -> bool:
    """Whether two shapes are of the same elements; of a size that is not known, as far as can be seen."""
    unknown = [[axis for axis, size in enumerate(sizes) if size is None] for sizes in (one, other)]
    if not unknown[0] and not unknown[1]:
        return prod(size or 0 for size in one) == prod(size or 0 for size in other)
    if len(unknown[0]) != 1 or len(unknown[1]) != 1:
        return False
    (a,), (b,) = unknown
    halves = ((one[:a], other[:b]), (one[a + 1 :], other[b + 1 :]))
    return all(prod(s or 0 for s in left) == prod(s or 0 for s in right) for left, right in halves)


@dataclass(frozen=True)
class Move:
    """Each output element is one of the input, or something else.

    Attributes:
        places: the flat place in the input, in the shape of the output; -1 for something else.
    """

    places: Places

    def forward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        full = np.broadcast_to(marks, [size or 1 for size in before]).reshape(-1)
        return compact(np.where(self.places >= 0, full[np.maximum(self.places, 0)], np.uint8(0)))

    def backward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        found = np.zeros(prod(size or 1 for size in before), np.uint8)
        here = self.places >= 0
        np.bitwise_or.at(found, self.places[here], np.broadcast_to(marks, self.places.shape)[here])
        return compact(found.reshape([size or 1 for size in before]))


@dataclass(frozen=True)
class Mix:
    """Each output element depends on all of the input, or it is not known on which."""

    def forward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        return _mixed(marks, after)

    def backward(self, marks: Marks, before: Sizes, after: Sizes) -> Marks:
        return _mixed(marks, before)


def _mixed(marks: Marks, sizes: Sizes) -> Marks:
    if marks.size == 1:
        return marks.reshape((1,) * len(sizes))
    return np.full((1,) * len(sizes), np.bitwise_or.reduce(marks, None), np.uint8)


def fitted(marks: Marks, sizes: Sizes) -> Marks:
    """Marks of a tensor of that size: shared along an axis that is broadcast, or whose size only a run tells."""
    for axis, size in enumerate(sizes):
        if marks.shape[axis] not in (1, size):
            marks = _any(marks, axis)
    return compact(marks)


def compact(marks: Marks) -> Marks:
    """The same marks, with dimensions along which all are alike at size 1."""
    if marks.size == 1:
        return marks
    for axis in range(marks.ndim):
        if marks.shape[axis] > 1 and (marks == (first := marks.take([0], axis))).all():
            marks = first
    return marks


def sizes_of(value: ir.Value) -> Sizes:
    """The sizes of a value, None for one that only a run tells; none at all if its rank is not known."""
    shape = static_shape(value) or ()
    return shape if None not in shape else tuple(known(value, axis) for axis in range(len(shape)))
