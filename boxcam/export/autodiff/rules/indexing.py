"""What takes elements by index, or puts them there: forwards and backwards change places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import length
from boxcam.export.autodiff.rules.shapes import (
    Gradients,
    along,
    arriving,
    boxes,
    like,
    padded,
    real,
    reshaped,
    scattered,
    ungathered,
)
from boxcam.export.graphs.ops import Operand
from boxcam.export.graphs.query import Array


def _beside_gathered(site: Site) -> list[int]:
    """Axes before the one that is indexed; those after it too, if they keep their numbers.

    Computed indices are read as they are, and must not be aligned with an axis of which only a part is at hand. Nor
    must data that is read for its length, whose axes are not the output's where the indices are no vector.
    """
    axis = int(site.attribute("axis", 0)) % site.rank()
    if site.rank(1) != 1 and site.dims()[axis] is None:
        return []
    behind = range(axis + 1, site.rank()) if site.rank(1) == 1 and site.constant(1) is not None else range(0)
    return [*range(axis), *behind]


@rule("Gather", independent=_beside_gathered)
def _gather(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Rows go back to where they come from."""
    g, rank = arriving(gs)[1], site.rank()
    axis = site.axis(site.attribute("axis", 0))
    front, index_rank = rank + axis, site.rank(1)
    if index_rank == 0:
        g = site.op.Unsqueeze(g, [1 + front])
    elif index_rank > 1:
        g = reshaped(site, g, [None] * front + [_product(site.dims(1)), *site.dims()[front + 1 :]], kept=front)
    index, size = site.constant(1), length(site, axis)
    if index is not None and isinstance(size, int):
        return [ungathered(site, g, rank, axis, index.reshape(-1), size)]
    taken = site.op.Reshape(site.x(1), [-1]) if index is None else index.reshape(-1)
    return [scattered(site, g, along(site, taken, axis), axis, size)]


def _product(dims: Sequence[int | None]) -> int | None:
    return None if None in dims else math.prod(d for d in dims if d is not None)


def _same_length(site: Site, index: Sequence[int | None], axis: int) -> list[int]:
    """Axes along which data and indices are equally long, but for one; elsewhere indices may end earlier."""
    rank, data = site.rank(), site.dims()
    return [a for a in range(rank) if a != axis % rank and data[a] is not None and data[a] == index[a]]


@rule(
    "GatherElements",
    independent=lambda site: _same_length(site, site.out_dims(), int(site.attribute("axis", 0))),
)
def _gather_elements(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [_elements_back(site, arriving(gs)[1], site.x(1), site.axis(site.attribute("axis", 0)))]


@rule(
    "TopK",
    independent=lambda site: _same_length(site, site.out_dims(), int(site.attribute("axis", -1))),
)
def _top_k(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """The values, taken by the indices that were found."""
    return [_elements_back(site, arriving(gs)[1], site.y(1), site.axis(site.attribute("axis", -1)))]


def _elements_back(site: Site, g: ir.Value, index: ir.Value, axis: int) -> ir.Value:
    back = scattered(site, g, index, axis, length(site, axis))
    for other, (have, want) in enumerate(zip(site.out_dims(), site.dims(), strict=True)):
        if other == site.rank() + axis or have == want:
            continue
        if have is None or want is None:
            site.unsupported("whether its indices cover the other axes is not known before the model runs")
        back = padded(site, back, site.rank(), other - site.rank(), 0, want - have)
    return back


def _linear(site: Site, index: Operand, dims: Sequence[int], shape: Sequence[int]) -> ir.Value:
    """Several indices, along a last axis of len(dims), as one index into the axes joined, of the given shape."""
    steps = np.array([math.prod(dims[i + 1 :]) for i in range(len(dims))])
    if isinstance(index, np.ndarray):
        constant = site.op.value(np.reshape((index % np.array(dims) * steps).sum(-1), shape))
        assert constant is not None
        return constant
    op = site.op
    positive = op.Where(op.Less(index, 0), op.Add(index, np.array(dims)), index)
    return op.Reshape(op.ReduceSum(op.Mul(positive, steps), [-1], keepdims=0), list(shape))


def _depth(site: Site) -> int:
    """How many axes GatherND and ScatterND index."""
    depth = site.dims(1)[-1]
    if depth is None:
        site.unsupported("how many axes it indexes is not known before the model runs")
    return depth


@rule("GatherND", note="the shape of the data must be known")
def _gather_nd(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Joins the axes that are indexed to one, and those before them and after them."""
    batch = int(site.attribute("batch_dims", 0))
    end, shape = batch + _depth(site), site.shape()
    batches, dims, rows = math.prod(shape[:batch]), list(shape[batch:end]), math.prod(shape[end:])
    count = _product(site.dims(1)[batch:-1])
    length = math.prod(dims)
    g = reshaped(site, arriving(gs)[1], [batches, count, rows])
    index = site.constant(1)
    unknown = -1 if count is None else count
    if index is not None and batches == 1:
        taken = _flat(index, dims)
        return [like(site, ungathered(site, g, 3, -2, taken, length))]
    linear = _linear(site, site.x(1) if index is None else index, dims, [batches, unknown, 1])
    return [like(site, scattered(site, g, linear, -2, length))]


def _flat(index: Array, dims: Sequence[int]) -> Array:
    return np.asarray(np.ravel_multi_index(tuple((index % np.array(dims)).reshape(-1, len(dims)).T), tuple(dims)))


@dataclass(frozen=True)
class _Scatter:
    """How a scatter puts updates into data, and how what lies there is taken back.

    Attributes:
        zeros: in the shape of the updates.
        put: ``(data, updates, reduction) → data``, of forward values.
        taken: from the gradient of the output, [M, *data], what lies where the updates were put: [M, *updates].
    """

    zeros: Callable[[], ir.Value]
    put: Callable[[Operand, Operand, str], ir.Value]
    taken: Callable[[ir.Value], ir.Value]


def _data_shape(site: Site, g: ir.Value, start: int = 0) -> Operand:
    """The shape of data that is scattered into, which is that of the output; or of its axes from ``start`` on."""
    dims = [d for d in site.dims()[start:] if d is not None]
    return np.array(dims, np.int64) if len(dims) == site.rank() - start else site.op.Shape(g, start=1 + start)


def _through_scatter(site: Site, g: ir.Value, scatter: _Scatter) -> Sequence[Contribution]:
    """The gradient to data and to updates, by the reduction."""
    op, reduction = site.op, str(site.attribute("reduction", "none"))
    shape = _data_shape(site, g)

    def at_updates(value: ir.Value) -> ir.Value:
        return op.Squeeze(scatter.taken(op.Unsqueeze(value, [0])), [0])

    if reduction == "none":
        return [
            lambda: op.Mul(g, scatter.put(op.Expand(1.0, shape), scatter.zeros(), "none")),
            None,
            lambda: scatter.taken(g),
        ]
    if reduction == "add":
        return [g, None, lambda: scatter.taken(g)]
    nothing = op.Expand(0.0, shape)
    if reduction == "mul":  # the product of all others, which is not the product divided by one of them if that is 0
        empty = [op.Equal(site.x(i), 0.0) for i in (0, 2)]
        rest = [op.Where(empty[k], 1.0, site.x(i)) for k, i in enumerate((0, 2))]
        nulls = [real(site, e) for e in empty]
        product, zeros = scatter.put(rest[0], rest[1], "mul"), op.Add(scatter.put(nothing, nulls[1], "add"), nulls[0])
        seen = [(product, zeros), (at_updates(product), at_updates(zeros))]
        factors = [
            op.Where(op.Greater(op.Sub(count, null), 0.5), 0.0, op.Div(all_, one))
            for (all_, count), null, one in zip(seen, nulls, rest, strict=True)
        ]
    else:  # the largest or the smallest; equal ones share, as in PyTorch
        y = site.y()
        chosen = [real(site, op.Equal(site.x(0), y)), real(site, op.Equal(site.x(2), at_updates(y)))]
        count = op.Add(scatter.put(nothing, chosen[1], "add"), chosen[0])
        factors = [op.Div(chosen[0], count), op.Div(chosen[1], at_updates(count))]
    return [lambda: op.Mul(g, factors[0]), None, lambda: op.Mul(scatter.taken(g), factors[1])]


_SCATTER_NOTE = "reduction none: of indices that do not repeat"


@rule("ScatterElements", note=_SCATTER_NOTE)
def _scatter_elements(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op, axis = site.op, site.axis(site.attribute("axis", 0))

    def put(data: Operand, updates: Operand, reduction: str) -> ir.Value:
        return op.ScatterElements(data, site.x(1), updates, axis=axis, reduction=reduction)

    def taken(g: ir.Value) -> ir.Value:
        index = site.x(1)
        return op.GatherElements(_cut(site, g, axis), op.Expand(index, _with_boxes(site, g, index)), axis=axis)

    def zeros() -> ir.Value:
        return op.Expand(0.0, op.Shape(site.x(1)))

    return _through_scatter(site, arriving(gs)[1], _Scatter(zeros, put, taken))


def _cut(site: Site, g: ir.Value, axis: int) -> ir.Value:
    """The gradient, no longer than the indices along the axes that are not indexed."""
    op, rank = site.op, site.rank()
    lengths, data = site.dims(1), site.dims()
    others = [a for a in range(rank) if a != rank + axis and (lengths[a] is None or lengths[a] != data[a])]
    if not others:
        return g
    known = [n for a in others if (n := lengths[a]) is not None]
    ends = known if len(known) == len(others) else op.Gather(op.Shape(site.x(1)), np.array(others))
    return op.Slice(g, [0] * len(others), ends, [a + 1 for a in others])


def _with_boxes(site: Site, g: ir.Value, value: ir.Value) -> ir.Value:
    """The shape of a forward value, with M in front."""
    return site.op.Concat(boxes(site, g), site.op.Shape(value), axis=0)


@rule("ScatterND", note=_SCATTER_NOTE)
def _scatter_nd(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op, depth = site.op, _depth(site)
    arrived = arriving(gs)[1]

    def zeros() -> ir.Value:
        return op.Expand(0.0, op.Concat(op.Shape(site.x(1), end=-1), _data_shape(site, arrived, depth), axis=0))

    def put(data: Operand, updates: Operand, reduction: str) -> ir.Value:
        return op.ScatterND(data, site.x(1), updates, reduction=reduction)

    def taken(g: ir.Value) -> ir.Value:
        index = site.x(1)
        return op.GatherND(g, op.Expand(index, _with_boxes(site, g, index)), batch_dims=1)

    return _through_scatter(site, arrived, _Scatter(zeros, put, taken))


def _summed_axis(site: Site) -> int:
    return int(site.need_constant(1, "axis").reshape(()))


@rule(
    "CumSum",
    independent=lambda site: [a for a in range(site.rank()) if a != _summed_axis(site) % site.rank()],
    note="a constant axis",
)
def _cum_sum(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Sums from the other end."""
    axis = site.axis(_summed_axis(site))
    reverse = 1 - int(site.attribute("reverse", 0))
    exclusive = int(site.attribute("exclusive", 0))
    return [site.op.CumSum(gs[0], np.array(axis), exclusive=exclusive, reverse=reverse)]
