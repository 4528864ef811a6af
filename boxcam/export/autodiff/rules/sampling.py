"""Reading maps at positions that are computed: RoiAlign and GridSample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.block import Size
from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, length, maps, out_dims, ranked, real_type, together
from boxcam.export.graph import Operand, Ops

# -- RoiAlign


class _Samples(NamedTuple):
    """Where RoiAlign looks along one axis of the map.

    Attributes:
        start: of each proposal, in cells, [R, 1].
        step: length of one output cell, [R, 1].
        each: sample points for one output cell, a number or [R, 1]; none where a proposal is inside out.
        bins: number of output cells.
    """

    start: ir.Value
    step: ir.Value
    each: float | ir.Value
    bins: int


def _samples(site: Site, rois: ir.Value, axis: int) -> _Samples:
    op, first = site.op, 3 - axis  # proposals are x1 y1 x2 y2
    if site.attribute("mode", "avg") != "avg":
        site.unsupported("takes the largest of its sample points; only their mean is supported")
    default = "half_pixel" if site.opset >= 16 else "output_half_pixel"
    aligned = site.attribute("coordinate_transformation_mode", default) == "half_pixel"
    bins = int(site.attribute("output_height" if axis == 2 else "output_width", 1))
    box = op.Mul(rois, float(site.attribute("spatial_scale", 1.0)))
    low, high = (op.Slice(box, [a], [a + 1], [1]) for a in (first, first + 2))
    size = op.Sub(high, low)
    if not aligned:
        size = op.Max(size, 1.0)
    step = op.Div(size, float(bins))
    sampling = site.attribute("sampling_ratio", 0)
    each = float(sampling) if sampling > 0 else op.Ceil(step)
    return _Samples(op.Sub(low, 0.5) if aligned else low, step, each, bins)


def axis_weights(site: Site, rois: ir.Value, axis: int, size: Size, positions: Operand) -> ir.Value:
    """What cells of one axis of the map contribute to the output cells of some proposals.

    RoiAlign is separable: ``pooled = Wy · map · Wxᵀ``.

    Args:
        site: a RoiAlign node; a mean is taken over its sample points.
        rois: [R, 4], of its proposals.
        axis: 2 or 3.
        size: of that axis.
        positions: which cells: int64 [R or 1, w]; those outside of the axis have weight zero.

    Returns:
        [R, bins, w]: mean of the hat functions of the sample points.
    """
    op, found = site.op, _samples(site, rois, axis)
    real = real_type(op)
    extent = float(size) if isinstance(size, int) else op.Cast(size, to=real)
    last = float(size - 1) if isinstance(size, int) else op.Sub(extent, 1.0)
    number: Operand  # of each sample point in its output cell
    divisor: Operand
    if isinstance(found.each, float):
        number, divisor = np.arange(found.each)[None], found.each
    else:
        most = op.ReduceMax(op.Concat(found.each, np.ones((1, 1)), axis=0), [0, 1], keepdims=0)
        number = op.Unsqueeze(op.Cast(op.Range(0, op.Cast(most, to=ir.DataType.INT64), 1), to=real), [0])
        divisor = op.Max(found.each, 1.0)
    inside = op.Div(op.Mul(op.Add(number, 0.5), found.step), divisor)  # [R, samples]; rounded as ONNX Runtime does
    cells = op.Add(found.start, op.Mul(found.step, np.arange(found.bins, dtype=np.float64)[None]))  # [R, bins]
    at = op.Add(op.Unsqueeze(cells, [2]), op.Unsqueeze(inside, [1]))  # [R, bins, samples]
    used = op.And(op.GreaterOrEqual(at, -1.0), op.LessOrEqual(at, extent))
    if not isinstance(found.each, float):
        used = op.And(used, op.Unsqueeze(op.Less(number, found.each), [1]))
    at = op.Unsqueeze(op.Min(op.Max(at, 0.0), last), [3])
    where = op.Unsqueeze(op.Cast(positions, to=real), [1, 2])  # [R or 1, 1, 1, w]
    hat = op.Max(op.Sub(1.0, op.Abs(op.Sub(at, where))), 0.0)
    weights = op.ReduceSum(op.Mul(hat, op.Unsqueeze(op.Cast(used, to=real), [3])), [2], keepdims=0)
    weights = op.Div(weights, op.Unsqueeze(divisor, [2]) if isinstance(divisor, ir.Value) else divisor)
    on = op.And(op.GreaterOrEqual(positions, 0), op.Less(positions, size))
    return op.Mul(weights, op.Unsqueeze(op.Cast(on, to=real), [1]))


def extent(site: Site, rois: ir.Value, axis: int, size: Size) -> tuple[ir.Value, ir.Value]:
    """The first and the last cell of an axis of the map that some proposals may see: int64 [R] each."""
    op, found = site.op, _samples(site, rois, axis)
    last = size - 1 if isinstance(size, int) else op.Sub(size, 1)
    ends = (found.start, op.Add(found.start, op.Mul(found.step, float(found.bins))))
    low, high = op.Min(*ends), op.Max(*ends)  # a proposal may be inside out

    def cell(at: ir.Value, more: int) -> ir.Value:
        whole = op.Squeeze(op.Cast(op.Floor(at), to=ir.DataType.INT64), [1])
        return op.Max(op.Min(op.Add(whole, more) if more else whole, last), 0)

    # The last sample point lies in front of the end, but for rounding, and is interpolated with the cell behind it.
    return cell(op.Sub(low, 1e-3), 0), cell(high, 1)


@rule(
    "RoiAlign", independent=lambda site: (1,), note="mean of the sample points; gradient to the map, not the proposals"
)
def _roi_align(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``dmap = Σ_r Wy[r]ᵀ · g[r] · Wx[r]``; the sum is a product over proposals and output rows at once."""
    op, g, rois = site.op, arrived(gs), site.x(1)
    rows, columns = (
        axis_weights(site, rois, axis, size, np.arange(size)[None] if isinstance(size, int) else _range(site, size))
        for axis, size in ((2, length(site, 2)), (3, length(site, 3)))
    )
    partial = op.Transpose(op.MatMul(g, op.Unsqueeze(columns, [1])), perm=[0, 2, 1, 3, 4])  # [M, C, R, bins, W]
    flat = op.Concat(op.Shape(partial, start=0, end=2), _products(site, rois), op.Shape(partial, start=4), axis=0)
    partial = op.Reshape(partial, flat)  # [M, C, R·bins, W]
    height = op.Shape(rows, start=2)
    if site.dims()[0] == 1:
        rows = op.Reshape(op.Transpose(rows, perm=[2, 0, 1]), op.Concat(height, _products(site, rois), axis=0))
        return [op.Unsqueeze(op.MatMul(rows, partial), [1])]
    images = length(site, 0)
    number = np.arange(images)[:, None] if isinstance(images, int) else op.Transpose(_range(site, images), perm=[1, 0])
    mine = op.Cast(op.Equal(op.Unsqueeze(site.x(2), [0]), number), to=real_type(op))  # [N, R]
    rows = op.Mul(op.Unsqueeze(op.Transpose(rows, perm=[2, 0, 1]), [0]), op.Unsqueeze(mine, [1, 3]))  # [N, H, R, bins]
    rows = op.Reshape(rows, op.Concat(op.Shape(rows, start=0, end=2), _products(site, rois), axis=0))
    return [op.MatMul(op.Unsqueeze(rows, [1]), op.Unsqueeze(partial, [1]))]


def _range(site: Site, size: ir.Value) -> ir.Value:
    return site.op.Unsqueeze(site.op.Range(0, site.op.Squeeze(size, [0]), 1), [0])


def _products(site: Site, rois: ir.Value) -> ir.Value:
    """Number of proposals times number of output rows, int64 [1]."""
    return site.op.Mul(site.op.Shape(rois, start=0, end=1), int(site.attribute("output_height", 1)))


# -- GridSample


class _Look(NamedTuple):
    """Where GridSample looks along one axis of the map; all of the grid's shape, [1 or M, N, points].

    Attributes:
        cells: the neighbours, two (or, for the nearest one, one), as numbers inside the axis.
        weights: of the neighbours; zero for those outside.
        slopes: how the weights change with the grid.
    """

    cells: list[ir.Value]
    weights: list[ir.Value]
    slopes: list[ir.Value]


def _look(site: Site, at: ir.Value, size: int) -> _Look:
    """Follow one coordinate of the grid, from -1 … 1, to neighbours on an axis."""
    op = site.op
    corners = bool(site.attribute("align_corners", 0))
    factor = (size - 1) / 2 if corners else size / 2
    at = op.Add(op.Mul(at, factor), (size - 1) / 2)
    slope: Operand = factor
    mode, padding = _mode(site), site.attribute("padding_mode", "zeros")
    if padding == "reflection":
        at, turned = _reflected(op, at, *((0.0, size - 1.0) if corners else (-0.5, size - 0.5)))
        slope = op.Mul(turned, factor)
    if padding != "zeros":
        moving = op.And(op.Greater(at, 0.0), op.Less(at, size - 1.0))  # held at the border, as PyTorch has it
        slope = op.Mul(op.Cast(moving, to=real_type(op)), slope)
        at = op.Min(op.Max(at, 0.0), size - 1.0)
    if mode == "nearest":
        return _neighbours(op, [op.Round(at)], [None], [slope], size)
    low = op.Floor(at)
    part = op.Sub(at, low)
    rise = slope if isinstance(slope, ir.Value) else op.Expand(site.real(factor), op.Shape(at))
    return _neighbours(op, [low, op.Add(low, 1.0)], [op.Sub(1.0, part), part], [op.Neg(rise), rise], size)


def _neighbours(
    op: Ops, cells: list[ir.Value], weights: Sequence[ir.Value | None], slopes: Sequence[Operand], size: int
) -> _Look:
    inside = [op.And(op.GreaterOrEqual(c, 0.0), op.LessOrEqual(c, size - 1.0)) for c in cells]
    masks = [op.Cast(i, to=real_type(op)) for i in inside]
    return _Look(
        [op.Cast(op.Min(op.Max(c, 0.0), size - 1.0), to=ir.DataType.INT64) for c in cells],
        [m if w is None else op.Mul(w, m) for w, m in zip(weights, masks, strict=True)],
        [op.Mul(m, s) for m, s in zip(masks, slopes, strict=True)],
    )


def _reflected(op: Ops, at: ir.Value, low: float, high: float) -> tuple[ir.Value, ir.Value]:
    """Fold a coordinate into an interval as often as it takes; and 1 or -1, its direction there."""
    span = high - low
    if span == 0:
        return op.Mul(at, 0.0), op.Mul(at, 0.0)
    away = op.Sub(at, low)
    distance = op.Abs(away)
    turns = op.Floor(op.Div(distance, span))
    rest = op.Sub(distance, op.Mul(turns, span))
    odd = op.Equal(op.Sub(turns, op.Mul(op.Floor(op.Mul(turns, 0.5)), 2.0)), 1.0)
    side = op.Where(op.Less(away, 0.0), -1.0, 1.0)
    folded = op.Add(op.Where(odd, op.Sub(span, rest), rest), low)
    return folded, op.Where(odd, op.Neg(side), side)


def _mode(site: Site) -> str:
    mode = site.attribute("mode", "bilinear")
    if mode in ("bicubic", "cubic"):
        site.unsupported("interpolates by cubics; only linear and nearest are supported")
    return "nearest" if mode == "nearest" else "linear"


class _Grid(NamedTuple):
    """A GridSample node, the map's axes and the grid's points flattened.

    Attributes:
        looks: for each spatial axis.
        cells: number of cells of the map.
        front: M, N and C, int64 [3].
        g: [M, N, C, points].
    """

    looks: list[_Look]
    cells: int
    front: ir.Value
    g: ir.Value

    def corners(self) -> list[tuple[int, ...]]:
        """All choices of one neighbour on each axis."""
        return list(product(*(range(len(look.cells)) for look in self.looks)))


@rule("GridSample", independent=lambda site: (0,), note="linear and nearest")
def _grid_sample(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    op, g, space = site.op, arrived(gs), maps(site)
    n = len(space)
    grid = ranked(op, site.x(1), n + 2)  # [1 or M, N, …, n]
    points = together(out_dims(site)[2:])
    grid = op.Reshape(grid, op.Concat(op.Shape(grid, start=0, end=2), [points, n], axis=0))
    coordinates = op.emit("Split", [grid, [1] * n], {"axis": -1}, outputs=n)  # x first, which is the last axis
    looks = [_look(site, op.Squeeze(at, [-1]), size) for at, size in zip(reversed(coordinates), space, strict=True)]
    front = op.Shape(g, start=0, end=3)
    flat = op.Reshape(g, op.Concat(front, [points], axis=0))
    found = _Grid(looks, together(space), front, flat)
    return [lambda: _to_map(site, found), lambda: _to_grid(site, found, g)]


def _number(site: Site, grid: _Grid, corner: Sequence[int]) -> ir.Value:
    """Of a neighbour, among all cells: [1 or M, N, 1, points]."""
    op, number = site.op, grid.looks[0].cells[corner[0]]
    for look, choice, size in zip(grid.looks[1:], corner[1:], maps(site)[1:], strict=True):
        number = op.Add(op.Mul(number, size), look.cells[choice])
    return op.Unsqueeze(number, [2])


def _product(op: Ops, parts: Sequence[ir.Value]) -> ir.Value:
    return reduce(op.Mul, parts)


def _to_map(site: Site, grid: _Grid) -> ir.Value:
    """Add what arrives to each neighbour, by its weight."""
    op = site.op
    numbers, values = [], []
    for corner in grid.corners():
        weight = _product(op, [look.weights[c] for look, c in zip(grid.looks, corner, strict=True)])
        values.append(op.Mul(grid.g, op.Unsqueeze(weight, [2])))
        numbers.append(op.Expand(_number(site, grid, corner), op.Shape(grid.g)))
    zero = op.Expand(0.0, op.Concat(grid.front, [grid.cells], axis=0))
    joined = [op.Concat(*parts, axis=3) for parts in (numbers, values)]
    back = op.ScatterElements(zero, *joined, axis=3, reduction="add")
    return op.Reshape(back, op.Concat(grid.front, maps(site), axis=0))


def _to_grid(site: Site, grid: _Grid, g: ir.Value) -> ir.Value:
    """How the interpolated value changes with each coordinate, times what arrives, summed over channels."""
    op, n = site.op, len(grid.looks)
    if _mode(site) == "nearest":
        return op.Expand(0.0, op.Concat(op.Shape(g, start=0, end=2), op.Shape(g, start=3), [n], axis=0))
    x = ranked(op, site.x(), n + 2)
    x = op.Reshape(x, op.Concat(op.Shape(x, start=0, end=3), [grid.cells], axis=0))  # [1 or M, N, C, cells]
    along: list[list[ir.Value]] = [[] for _ in range(n)]
    for corner in grid.corners():
        number = _number(site, grid, corner)
        number = op.Expand(
            number, op.Concat(op.Shape(number, start=0, end=2), op.Shape(x, start=2, end=3), [1], axis=0)
        )
        seen = op.Mul(grid.g, op.GatherElements(x, number, axis=3))
        total = op.ReduceSum(seen, [2], keepdims=0)  # [M, N, points]
        for axis in range(n):
            factors = [
                (look.slopes if a == axis else look.weights)[c]
                for a, (look, c) in enumerate(zip(grid.looks, corner, strict=True))
            ]
            along[axis].append(op.Mul(total, _product(op, factors)))
    columns = [op.Unsqueeze(reduce(op.Add, parts), [-1]) for parts in reversed(along)]
    shape = op.Concat(op.Shape(g, start=0, end=2), op.Shape(g, start=3), [n], axis=0)
    return op.Reshape(op.Concat(*columns, axis=-1), shape)
