"""RoiAlign: reading maps at positions that proposals give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.block import Size
from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, length, real_type
from boxcam.export.graphs.ops import Operand


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
        site.unsupported("takes the largest of its sample points, and only their mean is supported")
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

    # The last sample point lies before the end, but for rounding, and is interpolated with the cell behind it.
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
    # ONNX Runtime gives what was in the memory for a product of nothing, as of a level without proposals: so one zero.
    partial = op.Pad(op.Reshape(partial, flat), np.array([0, 0, 0, 0, 0, 0, 1, 0]))  # [M, C, R·bins + 1, W]
    height = op.Shape(rows, start=2)
    if site.dims()[0] == 1:
        rows = op.Reshape(op.Transpose(rows, perm=[2, 0, 1]), op.Concat(height, _products(site, rois), axis=0))
        return [op.Unsqueeze(op.MatMul(op.Pad(rows, np.array([0, 0, 0, 1])), partial), [1])]
    images = length(site, 0)
    number = np.arange(images)[:, None] if isinstance(images, int) else op.Transpose(_range(site, images), perm=[1, 0])
    mine = op.Cast(op.Equal(op.Unsqueeze(site.x(2), [0]), number), to=real_type(op))  # [N, R]
    rows = op.Mul(op.Unsqueeze(op.Transpose(rows, perm=[2, 0, 1]), [0]), op.Unsqueeze(mine, [1, 3]))  # [N, H, R, bins]
    rows = op.Reshape(rows, op.Concat(op.Shape(rows, start=0, end=2), _products(site, rois), axis=0))
    rows = op.Pad(rows, np.array([0, 0, 0, 0, 0, 1]))
    return [op.MatMul(op.Unsqueeze(rows, [1]), op.Unsqueeze(partial, [1]))]


def _range(site: Site, size: ir.Value) -> ir.Value:
    return site.op.Unsqueeze(site.op.Range(0, site.op.Squeeze(size, [0]), 1), [0])


def _products(site: Site, rois: ir.Value) -> ir.Value:
    """Number of proposals times number of output rows, int64 [1]."""
    return site.op.Mul(site.op.Shape(rois, start=0, end=1), int(site.attribute("output_height", 1)))
