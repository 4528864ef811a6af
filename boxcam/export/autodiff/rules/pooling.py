"""Pooling."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.block import Size
from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import along, arrived, count, expanded, maps, out_dims, ranked, together
from boxcam.export.autodiff.rules.convolution import spatial
from boxcam.export.graphs.query import Array


def _planes(site: Site) -> Collection[int]:
    return (0, 1)


def _space(site: Site) -> list[int]:
    return list(range(2 - site.rank(), 0))


@rule("AveragePool", independent=_planes)
def _average_pool(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """A linear map, and separable: a matrix for each axis."""
    value = arrived(gs)
    for position, axis in enumerate(_space(site)):
        value = along(site.op, value, axis, site.rank(), average(site, position))
    return [value]


def average(site: Site, position: int) -> Array:
    """The weights of an AveragePool along one of its spatial axes: [in, out]."""
    window, n = spatial(site), site.rank() - 2
    size = maps(site)[position]
    cells = _cells(site, position)
    counted = (cells >= 0) & (cells < size)
    if site.attribute("count_include_pad", 0):  # cells of the pads count, those that ceil_mode adds behind them do not
        counted = cells < size + window.pads[n + position]
    return np.asarray(_members(site, position) / np.maximum(counted.sum(1), 1))


def _cells(site: Site, position: int) -> Array:
    """The cells that each window covers along one of the spatial axes, some of them outside: [out, kernel]."""
    window, out = spatial(site), maps(site, output=True)[position]
    start = np.arange(out) * window.strides[position] - window.pads[position]
    return np.asarray(start[:, None] + np.arange(window.kernel[position]) * window.dilations[position])


def _members(site: Site, position: int) -> Array:
    """How often a cell is in a window, along one of the spatial axes: [in, out]."""
    inside = _cells(site, position)[None] == np.arange(maps(site)[position])[:, None, None]
    return np.asarray(inside.sum(2))


@rule("LpPool", independent=_planes)
def _lp_pool(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``y = (Σ |x|^p)^(1/p)``: ``dx = sign(x) |x|^(p-1) · Σ_windows g · y^(1-p)``; 0 where a window is all zero."""
    value = _by_norm(site, arrived(gs))
    for position, axis in enumerate(_space(site)):
        value = along(site.op, value, axis, site.rank(), _members(site, position))
    return [site.op.Mul(value, _signed(site))]


@rule("GlobalLpPool", independent=_planes)
def _global_lp_pool(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    return [site.op.Mul(_by_norm(site, arrived(gs)), _signed(site))]


def _by_norm(site: Site, g: ir.Value) -> ir.Value:
    """``g · y^(1-p)``."""
    op, y, p = site.op, site.y(), float(site.attribute("p", 2))
    if p == 1:
        return g
    zero = op.Equal(y, 0.0)
    return op.Where(zero, 0.0, op.Mul(g, op.Pow(op.Where(zero, 1.0, y), 1 - p)))


def _signed(site: Site) -> ir.Value:
    """``sign(x) |x|^(p-1)``."""
    op, x, p = site.op, site.x(), float(site.attribute("p", 2))
    if p == 2:
        return x
    return op.Sign(x) if p == 1 else op.Mul(op.Sign(x), op.Pow(op.Abs(x), p - 1))


@rule("GlobalAveragePool", independent=_planes)
def _global_average_pool(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    axes = _space(site)
    return [expanded(site, site.op.Div(arrived(gs), count(site, axes)), axes)]


_MAX_POOL = ("auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "strides")


@rule("MaxPool", independent=_planes, note="among equal ones the first takes the gradient, as in PyTorch")
def _max_pool(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    op, g, n = site.op, arrived(gs), site.rank() - 2
    x = ranked(op, site.x(), site.rank())  # [1 or M, N, C, …]
    flat = op.Reshape(x, op.Concat([-1], op.Shape(x, start=2), axis=0))
    attributes = {name: site.attribute(name) for name in _MAX_POOL if name in site.node.attributes}
    _, index = op.emit("MaxPool", [flat], attributes, outputs=2)  # of the whole tensor's cells
    cells, pooled = together(site.dims()[2:]), together(out_dims(site)[2:])
    planes = op.Shape(g, start=0, end=3)
    plane: Size = cells if cells >= 0 else op.ReduceProd(op.Shape(x, start=-n), keepdims=1)
    index = op.Reshape(op.Mod(index, plane), op.Concat(op.Shape(x, start=0, end=3), [pooled], axis=0))
    values = op.Reshape(g, op.Concat(planes, [pooled], axis=0))
    zero = op.Expand(0.0, op.Concat(planes, np.array([plane]) if isinstance(plane, int) else plane, axis=0))
    back = op.ScatterElements(zero, op.Expand(index, op.Shape(values)), values, axis=3, reduction="add")
    return [op.Reshape(back, op.Concat(planes, op.Shape(x, start=-n), axis=0))]


@rule("GlobalMaxPool", independent=_planes, note="among equal ones the first takes the gradient, as in PyTorch")
def _global_max_pool(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    op, g, x, n = site.op, arrived(gs), site.x(), site.rank() - 2
    cells = together(site.dims()[2:])
    flat = op.Reshape(x, op.Concat(op.Shape(x, start=0, end=-n), [cells], axis=0))
    first = op.ArgMax(flat, axis=-1, keepdims=1)
    numbers = np.arange(cells) if cells >= 0 else op.Range(0, op.Squeeze(op.Shape(flat, start=-1)), 1)
    values = op.Reshape(g, op.Concat(op.Shape(g, start=0, end=3), [1], axis=0))
    back = op.Where(op.Equal(first, numbers), values, 0.0)
    return [op.Reshape(back, op.Concat(op.Shape(g, start=0, end=3), op.Shape(x, start=-n), axis=0))]
