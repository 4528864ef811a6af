"""Reading maps at points between cells: GridSample, DeformConv."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, maps, out_dims, ranked, real_type, together
from boxcam.export.autodiff.rules.convolution import spatial
from boxcam.export.graphs.ops import Operand, Ops
from boxcam.export.graphs.query import Array


class Look(NamedTuple):
    """Which cells of one axis of the map some points see; all of shape [1 or M, N, points].

    Attributes:
        cells: the neighbours (one, two or four), as numbers inside the axis.
        weights: of the neighbours; zero for those outside.
        slopes: how the weights change with the point.
    """

    cells: list[ir.Value]
    weights: list[ir.Value]
    slopes: list[ir.Value]


def neighbours(
    op: Ops, cells: Sequence[ir.Value], weights: Sequence[ir.Value | None], slopes: Sequence[Operand], size: int
) -> Look:
    """Neighbours on an axis of that size; those outside count as zero. A weight of None is 1."""
    inside = [op.And(op.GreaterOrEqual(c, 0.0), op.LessOrEqual(c, size - 1.0)) for c in cells]
    masks = [op.Cast(i, to=real_type(op)) for i in inside]
    return Look(
        [op.Cast(op.Min(op.Max(c, 0.0), size - 1.0), to=ir.DataType.INT64) for c in cells],
        [m if w is None else op.Mul(w, m) for w, m in zip(weights, masks, strict=True)],
        [op.Mul(m, s) for m, s in zip(masks, slopes, strict=True)],
    )


class Points(NamedTuple):
    """Maps, their axes flattened, that are read at points.

    Attributes:
        op: where to write.
        looks: for each axis of the maps.
        space: sizes of these axes.
    """

    op: Ops
    looks: Sequence[Look]
    space: Sequence[int]

    def corners(self) -> list[tuple[int, ...]]:
        """All choices of one neighbour on each axis."""
        return list(product(*(range(len(look.cells)) for look in self.looks)))

    def weight(self, corner: Sequence[int], by: int | None = None) -> ir.Value:
        """Of a neighbour: [1 or M, N, points]; or how it changes along an axis."""
        parts = [
            (look.slopes if axis == by else look.weights)[choice]
            for axis, (look, choice) in enumerate(zip(self.looks, corner, strict=True))
        ]
        return reduce(self.op.Mul, parts)

    def number(self, corner: Sequence[int]) -> ir.Value:
        """Of a neighbour, among all cells: [1 or M, N, 1, points]."""
        op, number = self.op, self.looks[0].cells[corner[0]]
        for look, choice, size in zip(self.looks[1:], corner[1:], self.space[1:], strict=True):
            number = op.Add(op.Mul(number, size), look.cells[choice])
        return op.Unsqueeze(number, [2])

    def to_maps(self, g: ir.Value) -> ir.Value:
        """Add what arrives, [M, N, C, points], to each neighbour by its weight: [M, N, C, cells]."""
        op = self.op
        numbers, values = [], []
        for corner in self.corners():
            values.append(op.Mul(g, op.Unsqueeze(self.weight(corner), [2])))
            numbers.append(op.Expand(self.number(corner), op.Shape(g)))
        cells = together(self.space)
        zero = op.Expand(0.0, op.Concat(op.Shape(g, start=0, end=3), [cells], axis=0))
        joined = [op.Concat(*parts, axis=3) for parts in (numbers, values)]
        return op.ScatterElements(zero, *joined, axis=3, reduction="add")

    def to_points(self, g: ir.Value, x: ir.Value) -> list[ir.Value]:
        """How what is read changes along each axis, times what arrives: [M, N, points], summed over channels.

        Args:
            g: [M, N, C, points].
            x: the maps, [1 or M, N, C, cells].
        """
        totals = [self._seen(g, x, corner) for corner in self.corners()]
        return [
            reduce(
                self.op.Add,
                [self.op.Mul(t, self.weight(c, axis)) for t, c in zip(totals, self.corners(), strict=True)],
            )
            for axis in range(len(self.looks))
        ]

    def read(self, g: ir.Value, x: ir.Value) -> ir.Value:
        """What is read, times what arrives: [M, N, points], summed over channels; arguments as for `to_points`."""
        op = self.op
        return reduce(op.Add, [op.Mul(self._seen(g, x, c), self.weight(c)) for c in self.corners()])

    def _seen(self, g: ir.Value, x: ir.Value, corner: Sequence[int]) -> ir.Value:
        """A neighbour's values times what arrives."""
        op, number = self.op, self.number(corner)
        shape = op.Concat(op.Shape(number, start=0, end=2), op.Shape(x, start=2, end=3), [1], axis=0)
        return op.ReduceSum(op.Mul(g, op.GatherElements(x, op.Expand(number, shape), axis=3)), [2], keepdims=0)


# -- GridSample


def _look(site: Site, at: ir.Value, size: int) -> Look:
    """Follow one coordinate of the grid, from -1 … 1, to neighbours on an axis."""
    op = site.op
    corners = bool(site.attribute("align_corners", 0))
    factor = (size - 1) / 2 if corners else size / 2
    at = op.Add(op.Mul(at, factor), (size - 1) / 2)
    slope: Operand = factor
    padding, limits = site.attribute("padding_mode", "zeros"), (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    if site.attribute("mode", "linear") in ("bicubic", "cubic"):
        return _cubic(op, at, factor, size, padding, limits)
    if padding == "reflection":
        at, turned = _reflected(op, at, *limits)
        slope = op.Mul(turned, factor)
    if padding != "zeros":
        moving = op.And(op.Greater(at, 0.0), op.Less(at, size - 1.0))  # held at the border, as PyTorch has it
        slope = op.Mul(op.Cast(moving, to=real_type(op)), slope)
        at = op.Min(op.Max(at, 0.0), size - 1.0)
    if _nearest(site):
        return neighbours(op, [op.Round(at)], [None], [slope], size)
    low = op.Floor(at)
    part = op.Sub(at, low)
    rise = slope if isinstance(slope, ir.Value) else op.Expand(site.real(factor), op.Shape(at))
    return neighbours(op, [low, op.Add(low, 1.0)], [op.Sub(1.0, part), part], [op.Neg(rise), rise], size)


_CUBIC = -0.75
"""The coefficient of the cubics, of ONNX and PyTorch."""


def _cubic(op: Ops, at: ir.Value, factor: float, size: int, padding: str, limits: tuple[float, float]) -> Look:
    """Four neighbours; it is these that are moved into the map, and not the point."""
    a, low = _CUBIC, op.Floor(at)
    cells, weights, slopes = [], [], []
    for step in (-1, 0, 1, 2):
        cell = op.Add(low, float(step))
        away = op.Sub(at, cell)
        t, side = op.Abs(away), factor if step <= 0 else -factor
        if step in (0, 1):  # (a + 2) t³ - (a + 3) t² + 1
            weight = op.Add(op.Mul(op.Mul(t, t), op.Sub(op.Mul(t, a + 2), a + 3)), 1.0)
            slope = op.Mul(t, op.Sub(op.Mul(t, 3 * (a + 2)), 2 * (a + 3)))
        else:  # a t³ - 5a t² + 8a t - 4a
            weight = op.Mul(op.Sub(op.Mul(op.Add(op.Mul(op.Sub(t, 5.0), t), 8.0), t), 4.0), a)
            slope = op.Mul(op.Add(op.Mul(op.Sub(op.Mul(t, 3.0), 10.0), t), 8.0), a)
        if padding == "reflection":
            cell = op.Round(_reflected(op, cell, *limits)[0])
        cells.append(cell if padding == "zeros" else op.Min(op.Max(cell, 0.0), size - 1.0))
        weights.append(weight)
        slopes.append(op.Mul(slope, side))
    return neighbours(op, cells, weights, slopes, size)


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


def _nearest(site: Site) -> bool:
    return bool(site.attribute("mode", "linear") == "nearest")


@rule("GridSample", independent=lambda site: (0,))
def _grid_sample(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    op, g, space = site.op, arrived(gs), maps(site)
    n, count = len(space), together(out_dims(site)[2:])
    grid = ranked(op, site.x(1), n + 2)  # [1 or M, N, …, n]
    grid = op.Reshape(grid, op.Concat(op.Shape(grid, start=0, end=2), [count, n], axis=0))
    coordinates = op.emit("Split", [grid, [1] * n], {"axis": -1}, outputs=n)  # x first, which is the last axis
    looks = [_look(site, op.Squeeze(at, [-1]), size) for at, size in zip(reversed(coordinates), space, strict=True)]
    points, front = Points(op, looks, space), op.Shape(g, start=0, end=3)
    flat = op.Reshape(g, op.Concat(front, [count], axis=0))

    def to_grid() -> ir.Value:
        shape = op.Concat(op.Shape(g, start=0, end=2), op.Shape(g, start=3), [n], axis=0)
        if _nearest(site):
            return op.Expand(0.0, shape)
        x = ranked(op, site.x(), n + 2)
        x = op.Reshape(x, op.Concat(op.Shape(x, start=0, end=3), [together(space)], axis=0))
        along = points.to_points(flat, x)
        return op.Reshape(op.Concat(*(op.Unsqueeze(a, [-1]) for a in reversed(along)), axis=-1), shape)

    return [lambda: op.Reshape(points.to_maps(flat), op.Concat(front, space, axis=0)), to_grid]


# -- DeformConv


class _Sizes(NamedTuple):
    """Sizes of a DeformConv: ``groups`` of channels share a kernel, ``parts`` of them their offsets; ``taps`` and
    ``cells`` are those of the kernel and of the output.
    """

    images: int
    channels: int
    groups: int
    parts: int
    taps: int
    cells: int


@rule("DeformConv", note="gradient to the input, the offsets and the mask, not to computed weights; known sizes")
def _deform_conv(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """A product with the kernel, of what is read at moved points: ``y[o] = Σ_c,t w[o, c, t] · mask[t] · x[c](p_t)``."""
    if 1 in site.wanted:
        site.unsupported("its weights depend on the layer, and a gradient is computed to its input and offsets only")
    op, g, space, out = site.op, arrived(gs), maps(site), maps(site, output=True)
    window, weight = spatial(site), site.need_constant(1, "weight")
    images, channels = site.shape()[:2]
    groups, parts = int(site.attribute("group", 1)), int(site.attribute("offset_group", 1))
    size = _Sizes(images, channels, groups, parts, int(np.prod(window.kernel)), int(np.prod(out)))
    front = [size.images * parts, channels // parts]
    count = size.taps * size.cells
    moved = op.Reshape(site.x(2), [1, front[0], size.taps, 2, size.cells])  # y first
    looks = []
    for axis in (0, 1):
        offsets = op.Reshape(op.Slice(moved, [axis], [axis + 1], [3]), [1, front[0], count])
        at = op.Add(offsets, _taps(window.strides, window.dilations, window.pads, window.kernel, out, axis))
        low = op.Floor(at)
        part = op.Sub(at, low)
        looks.append(neighbours(op, [low, op.Add(low, 1.0)], [op.Sub(1.0, part), part], [-1.0, 1.0], space[axis]))
    points = Points(op, looks, space)
    read = op.Reshape(_to_columns(op, g, weight, size), [-1, *front, count])  # the gradient of what is read
    mask = op.Reshape(site.x(4), [1, front[0], 1, count]) if site.has(4) else None
    arriving = read if mask is None else op.Mul(read, mask)
    x = op.Reshape(site.x(), [1, *front, together(space)])

    def to_offsets() -> ir.Value:
        along = [op.Reshape(a, [-1, front[0], size.taps, 1, size.cells]) for a in points.to_points(arriving, x)]
        return op.Reshape(op.Concat(*along, axis=3), [-1, *site.shape(2)])

    return [
        lambda: op.Reshape(points.to_maps(arriving), [-1, images, channels, *space]),
        None,
        to_offsets,
        lambda: op.ReduceSum(g, [1, 3, 4], keepdims=0),
        lambda: op.Reshape(points.read(read, x), [-1, *site.shape(4)]),
    ]


def _to_columns(op: Ops, g: ir.Value, weight: Array, size: _Sizes) -> ir.Value:
    """The product with the kernel, backwards: [M, N, channels · taps · cells of the output]."""
    each = len(weight) // size.groups
    matrix = weight.reshape(size.groups, each, -1).swapaxes(1, 2)  # [groups, channels of one · taps, outputs of one]
    grouped = op.Reshape(g, [-1, size.images, size.groups, each, size.cells])
    return op.MatMul(np.ascontiguousarray(matrix), grouped)


def _taps(
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    kernel: Sequence[int],
    out: Sequence[int],
    axis: int,
) -> Array:
    """Where the taps of a kernel lie along an axis before they are moved: [taps · cells of the output]."""
    tap, cell = np.indices(kernel)[axis].reshape(-1, 1), np.indices(out)[axis].reshape(1, -1)
    found = cell * strides[axis] - pads[axis] + tap * dilations[axis]
    return np.asarray(found.reshape(-1), np.float64)
