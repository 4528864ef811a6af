"""Normalisations.  Scale and bias are constants, or computed from something else than the layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, together
from boxcam.export.graphs.ops import Operand, Ops
from boxcam.export.graphs.query import Array

_INPUT_ONLY = "gradient to the input, not to scale and bias"


def _only_input(site: Site) -> None:
    if site.wanted != {0}:
        site.unsupported("its scale or bias depends on the layer, and a gradient is computed to its input only")


def _by_channel(site: Site, index: int) -> Operand:
    """An input with one number for each channel, so that it broadcasts against the value normalised."""
    shape, constant = [-1] + [1] * (site.rank() - 2), site.constant(index)
    return site.op.Reshape(site.x(index), shape) if constant is None else constant.reshape(shape)


def standardized(op: Ops, g: ir.Value, x: ir.Value, axes: Sequence[int], epsilon: float) -> ir.Value:
    """The gradient of ``x̂ = (x - mean x) · r`` with ``r = 1 / √(var x + ε)``, over some axes.

    ``dx = r · (g - mean g - x̂ · mean(g · x̂))``
    """
    centred = op.Sub(x, op.ReduceMean(x, axes, keepdims=1))
    rate, normal = _scaled(op, centred, axes, epsilon)
    shared = op.Mul(normal, op.ReduceMean(op.Mul(g, normal), axes, keepdims=1))
    return op.Mul(op.Sub(op.Sub(g, op.ReduceMean(g, axes, keepdims=1)), shared), rate)


def _scaled(op: Ops, x: ir.Value, axes: Sequence[int], epsilon: float) -> tuple[ir.Value, ir.Value]:
    """``r = 1 / √(mean x² + ε)``, and ``x · r``."""
    square = op.ReduceMean(op.Mul(x, x), axes, keepdims=1)
    rate = op.Reciprocal(op.Sqrt(op.Add(square, float(epsilon))))
    return rate, op.Mul(x, rate)


def _all_but_channels(site: Site) -> Sequence[int]:
    # What is computed for each channel has one axis, and would be taken at positions of the last one.
    constant = site.constant(1) is not None and site.constant(4) is not None
    return [a for a in range(site.rank()) if a != 1 and (constant or a == 0)]


@rule("BatchNormalization", independent=_all_but_channels, note=f"inference; {_INPUT_ONLY}")
def _batch(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    if site.attribute("training_mode", 0) or (site.opset < 14 and len(site.node.outputs) > 1):
        site.unsupported("is in training mode (export the model for inference)")
    _only_input(site)
    op, epsilon = site.op, float(site.attribute("epsilon", 1e-5))
    scale, variance = _by_channel(site, 1), _by_channel(site, 4)
    if isinstance(scale, np.ndarray) and isinstance(variance, np.ndarray):
        return [op.Mul(arrived(gs), scale / np.sqrt(variance.astype(np.float64) + epsilon))]
    return [op.Div(op.Mul(arrived(gs), scale), op.Sqrt(op.Add(variance, epsilon)))]


@rule("InstanceNormalization", independent=lambda site: (0,), note=_INPUT_ONLY)
def _instance(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    _only_input(site)
    g = site.op.Mul(arrived(gs), _by_channel(site, 1))
    axes = list(range(2 - site.rank(), 0))
    return [standardized(site.op, g, site.x(), axes, site.attribute("epsilon", 1e-5))]


@rule("GroupNormalization", independent=lambda site: (0,), note=_INPUT_ONLY)
def _group(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    _only_input(site)
    op, g, groups = site.op, arrived(gs), site.attribute("num_groups")
    size = together(site.dims()[1:])

    def grouped(value: ir.Value) -> ir.Value:
        """[…, C, space …] → […, groups, all of the group]"""
        front = op.Shape(value, start=0, end=1 - site.rank())
        return op.Reshape(value, op.Concat(front, [groups, size if size < 0 else size // groups], axis=0))

    if site.opset >= 21:
        d = grouped(op.Mul(g, _by_channel(site, 1)))
    else:  # one scale for each group
        scale = site.constant(1)
        d = op.Mul(grouped(g), op.Unsqueeze(site.x(1), [1]) if scale is None else scale[:, None])
    back = standardized(op, d, grouped(site.x()), [-1], site.attribute("epsilon", 1e-5))
    return [op.Reshape(back, op.Shape(g))]


def _from_axis(site: Site) -> list[int]:
    return list(range(site.axis(site.attribute("axis", -1)), 0))


def _before_axis(site: Site) -> Sequence[int]:
    return range(site.axis(site.attribute("axis", -1)) + site.rank())


def _rows(site: Site, gs: Sequence[ir.Value | None]) -> ir.Value:
    """The gradient at what is scaled."""
    _only_input(site)
    if gs[0] is None:
        site.unsupported("its mean or deviation is used, and a gradient is computed from its first output only")
    return site.op.Mul(gs[0], site.x(1)) if site.has(1) else gs[0]


@rule("LayerNormalization", independent=_before_axis, note=_INPUT_ONLY)
def _layer(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    return [standardized(site.op, _rows(site, gs), site.x(), _from_axis(site), site.attribute("epsilon", 1e-5))]


@rule("RMSNormalization", independent=_before_axis, note=_INPUT_ONLY)
def _root_mean_square(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``x̂ = x · r`` with ``r = 1 / √(mean x² + ε)``: ``dx = r · (g - x̂ · mean(g · x̂))``."""
    op, g, axes = site.op, _rows(site, gs), _from_axis(site)
    rate, normal = _scaled(op, site.x(), axes, site.attribute("epsilon", 1e-5))
    shared = op.Mul(normal, op.ReduceMean(op.Mul(g, normal), axes, keepdims=1))
    return [op.Mul(op.Sub(g, shared), rate)]


def _but_one(site: Site) -> Sequence[int]:
    axis = site.axis(site.attribute("axis", -1)) + site.rank()
    return [a for a in range(site.rank()) if a != axis]


@rule("LpNormalization", independent=_but_one, note="zero where the norm is zero")
def _lp(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``y = x / n``: ``dx = (g - Σ(g·y) · ∂n/∂x) / n``, where ``∂n/∂x`` is y for p = 2 and the sign for p = 1."""
    op, g, x, y = site.op, arrived(gs), site.x(), site.y()
    axes = [site.axis(site.attribute("axis", -1))]
    first = site.attribute("p", 2) == 1
    norm = (op.ReduceL1 if first else op.ReduceL2)(x, axes, keepdims=1)
    shared = op.ReduceSum(op.Mul(g, y), axes, keepdims=1)
    back = op.Sub(g, op.Mul(op.Sign(x) if first else y, shared))
    zero = op.Equal(norm, 0.0)
    return [op.Where(zero, 0.0, op.Div(back, op.Where(zero, 1.0, norm)))]


_VARIANCE_AXES = [0, 2, 3]
_DEVIATION_EPSILON = 1e-9  # of the operator's definition


def _mean_variance_axes(site: Site) -> list[int]:
    return [site.axis(axis) for axis in site.attribute("axes", _VARIANCE_AXES)]


def _but_mean_variance(site: Site) -> Sequence[int]:
    taken = [axis + site.rank() for axis in _mean_variance_axes(site)]
    return [a for a in range(site.rank()) if a not in taken]


@rule("MeanVarianceNormalization", independent=_but_mean_variance)
def _mean_variance(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``y = c / (s + ε)`` with ``c = x - mean x``, ``s = √mean c²``.

    ``dx = (g - mean g) / (s + ε) - c · mean(g · c) / (s · (s + ε)²)``
    """
    op, g, x, axes = site.op, arrived(gs), site.x(), _mean_variance_axes(site)
    centred = op.Sub(x, op.ReduceMean(x, axes, keepdims=1))
    deviation = op.Sqrt(op.ReduceMean(op.Mul(centred, centred), axes, keepdims=1))
    divisor = op.Add(deviation, _DEVIATION_EPSILON)
    straight = op.Div(op.Sub(g, op.ReduceMean(g, axes, keepdims=1)), divisor)
    shared = op.ReduceMean(op.Mul(g, centred), axes, keepdims=1)
    return [op.Sub(straight, op.Mul(centred, op.Div(shared, op.Mul(deviation, op.Mul(divisor, divisor)))))]


@rule("LRN", independent=lambda site: (0,))
def _local_response(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    """``y = x · d^-β`` with ``d = b + α/n · B·x²``, where B sums over n neighbouring channels.

    ``dx = g · d^-β - 2·α·β/n · x · Bᵀ·(g · y / d)``
    """
    op, g, x = site.op, arrived(gs), site.x()
    size, channels = site.attribute("size"), site.dims()[1]
    if channels is None:
        site.unsupported("the number of its channels is not known before the model runs")
    alpha, beta, bias = (site.attribute(n, v) for n, v in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)))
    offset = np.arange(channels)[None] - np.arange(channels)[:, None]
    band = (offset >= -((size - 1) // 2)) & (offset <= size // 2)

    def summed(value: ir.Value, matrix: Array) -> ir.Value:
        front = op.Shape(value, start=0, end=2 - site.rank())
        rows = op.Reshape(value, op.Concat(front, [together(site.dims()[2:])], axis=0))
        flat = op.MatMul(matrix.astype(op.real), rows)
        return op.Reshape(flat, op.Shape(value))

    d = op.Add(op.Mul(summed(op.Mul(x, x), band), float(alpha / size)), float(bias))
    power = op.Pow(d, float(-beta))
    inner = summed(op.Div(op.Mul(g, op.Mul(x, power)), d), band.T)
    return [op.Sub(op.Mul(g, power), op.Mul(op.Mul(x, inner), float(2 * alpha * beta / size)))]
