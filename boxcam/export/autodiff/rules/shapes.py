"""What the rules share: reshaping gradients, padding them, and adding them up by index.

Axes are counted from the end, so that they are the same in a forward value and in its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Site
from boxcam.export.graphs.ops import Operand
from boxcam.export.graphs.query import Array

Gradients = Sequence[ir.Value | None]


def arriving(gs: Gradients) -> tuple[int, ir.Value]:
    """The output that a gradient arrives at, and the gradient."""
    return next((number, g) for number, g in enumerate(gs) if g is not None)


def real(site: Site, value: ir.Value) -> ir.Value:
    """A truth value or a whole number as 0.0, 1.0 …"""
    return site.op.Cast(value, to=ir.DataType.from_numpy(site.op.real))


def masked(site: Site, mask: ir.Value, g: Operand) -> ir.Value:
    """The gradient where the mask is true, else 0."""
    return site.op.Where(mask, g, 0.0)


def boxes(site: Site, g: ir.Value) -> ir.Value:
    """M, as int64 [1]."""
    return site.op.Shape(g, start=0, end=1)


def common_prefix(site: Site) -> int:
    """How many axes in front are the same in the first input and the first output."""
    one, other = site.dims(0), site.out_dims(0)
    for count, (a, b) in enumerate(zip(one, other, strict=False)):
        if a is None or a != b:
            return count
    return min(len(one), len(other))


def reshaped(site: Site, g: ir.Value, dims: Sequence[int | None], kept: int = 0) -> ir.Value:
    """The gradient in the shape [M, *dims], of which one dimension may be unknown.

    The first ``kept`` axes are those of g and stay what they are there, whatever ``dims`` says.
    """
    if list(dims[kept:]).count(None) > 1:
        site.unsupported(f"a gradient of the shape {list(dims)} has too many dimensions that are not known in advance")
    return site.op.Reshape(g, [0] * (1 + kept) + [-1 if d is None else d for d in dims[kept:]])


def like(site: Site, g: ir.Value, index: int = 0, kept: int = 0) -> ir.Value:
    """The gradient in the shape of an input; see `reshaped`."""
    dims = site.dims(index)
    if dims[kept:].count(None) > 1:
        rest = site.op.Shape(site.x(index), start=kept - len(dims))
        return site.op.Reshape(g, site.op.Concat(np.zeros(1 + kept, np.int64), rest, axis=0))
    return reshaped(site, g, dims, kept)


def sliced(site: Site, g: ir.Value, axis: int, start: int, stop: int) -> ir.Value:
    """Some positions of an axis."""
    return site.op.Slice(g, [start], [stop], [axis])


def padded(site: Site, g: ir.Value, rank: int, axis: int, before: int, after: int) -> ir.Value:
    """Zeros before an axis and after it; g has ``rank`` axes and that of the boxes."""
    if before == after == 0:
        return g
    pads = np.zeros(2 * (rank + 1), np.int64)
    pads[rank + 1 + axis], pads[axis] = before, after
    return site.op.Pad(g, pads)


def resized(site: Site, g: ir.Value, axis: int, length: Operand) -> ir.Value:
    """The shape of g, with another length of one axis: int64."""
    op = site.op
    length = [length] if isinstance(length, int) else length
    front = op.Shape(g, end=axis)
    return op.Concat(*([front, length] if axis == -1 else [front, length, op.Shape(g, start=axis + 1)]), axis=0)


def scattered(site: Site, g: ir.Value, index: ir.Value, axis: int, length: Operand) -> ir.Value:
    """Adds up the positions of an axis by index: ``out[…, index, …] += g[…]``, on an axis of ``length``.

    Args:
        index: broadcasts against g.
    """
    op = site.op
    zeros = op.Expand(0.0, resized(site, g, axis, length))
    return op.ScatterElements(zeros, op.Expand(index, op.Shape(g)), g, axis=axis, reduction="add")


def along(site: Site, index: Operand, axis: int) -> ir.Value:
    """A vector of indices, [n], that broadcasts along an axis, [n, 1 … 1]."""
    value = site.op.value(index)
    assert value is not None
    return value if axis == -1 else site.op.Unsqueeze(value, list(range(1, -axis)))


def ungathered(site: Site, g: ir.Value, rank: int, axis: int, index: Array, length: int) -> ir.Value:
    """Carry a gradient back through ``x[…, index, …]`` with an index known at export.

    1. The index counts up by one: zeros around g.
    2. No position occurs twice: each finds its row of g, or a row of zeros behind its end.
    3. Else rows are added up.
    """
    index = np.where(index < 0, index + length, index).astype(np.int64)
    count = len(index)
    if count and np.array_equal(index, np.arange(index[0], index[0] + count)):
        return padded(site, g, rank, axis, int(index[0]), length - int(index[0]) - count)
    if len(np.unique(index)) < count:
        return scattered(site, g, along(site, index, axis), axis, length)
    source = np.full(length, count, np.int64)
    source[index] = np.arange(count)
    if count < length:
        g = padded(site, g, rank, axis, 0, 1)
    return site.op.Gather(g, source, axis=rank + 1 + axis)
