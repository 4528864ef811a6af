"""Axes of gradients and of forward values, as several rules need them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.block import Size, sizes
from boxcam.export.autodiff.rule import Site
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape, static_shape


def arrived(gs: Sequence[ir.Value | None]) -> ir.Value:
    """The gradient at the first output, of operators that have one output to differentiate."""
    g = gs[0]
    assert g is not None
    return g


def out_dims(site: Site) -> tuple[int | None, ...]:
    """Shape of the first output, None for dimensions that are not known before the model runs."""
    dims = static_shape(site.node.outputs[0])
    return (None,) * site.out_rank() if dims is None else dims


def maps(site: Site, output: bool = False) -> list[int]:
    """The spatial sizes of the first input, or of the output: those behind batch and channels.

    Raises:
        UnsupportedOperatorError: one is not known before the model runs.
    """
    found = [size for size in (out_dims(site) if output else site.dims())[2:] if size is not None]
    if len(found) + 2 < site.rank():
        value = site.node.outputs[0] if output else site.node.inputs[0]
        site.unsupported(f"the size of its maps, {name_and_shape(value)}, is not known before the model runs")
    return found


def merged(site: Site, g: ir.Value) -> ir.Value:
    """[M, N, …] → [M·N, …]: the boxes and the batch as one axis, for operators that know one leading axis."""
    op, rest = site.op, out_dims(site)[1:]
    return op.Reshape(g, op.Concat([-1], op.Shape(g, start=2), axis=0) if None in rest else [-1, *rest])


def divided(site: Site, value: ir.Value, g: ir.Value) -> ir.Value:
    """[M·N, …] → [M, N, …], the inverse of `merged`; M and N are those of g."""
    op, rest = site.op, site.dims()[1:]
    tail = op.Shape(value, start=1) if None in rest else np.array(rest, np.int64)
    return op.Reshape(value, op.Concat(op.Shape(g, start=0, end=2), tail, axis=0))


def ranked(op: Ops, value: ir.Value, rank: int) -> ir.Value:
    """A forward value with a leading axis for the boxes: of size 1, where the value is the same for all of them.

    Rules need this where they have to name all axes; what position-wise rules read may or may not have that axis.
    """
    return op.Expand(value, [1] * (rank + 1))


def length(site: Site, axis: int, index: int = 0) -> Size:
    """How long an axis of an input is; not for axes along which the operator is independent."""
    axis = site.axis(axis, index)
    size = site.dims(index)[axis]
    if size is not None:
        return size
    return site.op.Shape(site.x(index), start=axis, **({"end": axis + 1} if axis < -1 else {}))


def expanded(site: Site, value: ir.Value, axes: Sequence[int]) -> ir.Value:
    """Repeat what has size 1 along some axes of the first input to the full length of these axes."""
    if not axes:
        return value
    shape: list[Size] = [1] * site.rank()
    for axis in axes:
        shape[site.axis(axis)] = length(site, axis)
    return site.op.Expand(value, sizes(site.op, shape))


def count(site: Site, axes: Sequence[int]) -> Array | ir.Value:
    """How many positions some axes of the first input have together, as a floating-point number."""
    number: Array | ir.Value = site.real(1.0)
    for axis in axes:
        size = length(site, axis)
        if isinstance(size, int) and isinstance(number, np.ndarray):
            number = site.real(number * size)
        else:
            factor = site.real(size) if isinstance(size, int) else site.op.Cast(size, to=real_type(site.op))
            number = site.op.Mul(number, factor)
    return number


def real_type(op: Ops) -> ir.DataType:
    """The floating-point type of a graph, for Cast."""
    return ir.DataType.from_numpy(op.real)


def along(op: Ops, g: ir.Value, axis: int, rank: int, matrix: Array) -> ir.Value:
    """Multiply one axis of a gradient by a matrix, [new, old].

    Args:
        g: [M, b1 … bn].
        axis: counted from the end, of the n axes.
        rank: n.
        matrix: the same for all boxes.
    """
    matrix = matrix.astype(op.real)
    if axis == -1:
        return op.MatMul(g, np.ascontiguousarray(matrix.T))
    if axis == -2:
        return op.MatMul(matrix, g)
    order = [a for a in range(rank + 1) if a != rank + 1 + axis]
    order.append(rank + 1 + axis)
    moved = op.MatMul(op.Transpose(g, perm=order), np.ascontiguousarray(matrix.T))
    return op.Transpose(moved, perm=[order.index(a) for a in range(rank + 1)])


def unbroadcast(site: Site, value: ir.Value, have: Sequence[int | None], want: Sequence[int | None]) -> ir.Value:
    """Sum a gradient, [M, *have], over the axes along which an operand of shape ``want`` was repeated."""
    op, extra = site.op, len(have) - len(want)
    repeated = [a for a, size in enumerate(want) if size == 1 != have[extra + a]]
    if repeated:
        value = op.ReduceSum(value, [1 + extra + a for a in repeated], keepdims=1)
    return op.ReduceSum(value, [1 + a for a in range(extra)], keepdims=0) if extra else value


def together(dims: Sequence[int | None]) -> int:
    """How many positions some axes have, for Reshape: -1 (infer it, which fails without any box) if it is not known."""
    return -1 if None in dims else math.prod(size for size in dims if size is not None)
