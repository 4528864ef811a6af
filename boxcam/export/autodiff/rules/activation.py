"""Activation functions.  Where they have a kink, the gradient there is PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, elementwise
from boxcam.export.autodiff.rules.shapes import Gradients, masked
from boxcam.export.graphs.ops import Operand


@elementwise("Relu")
def _relu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """0 at 0.  Reads the output, so that nothing has to be kept of what a convolution before it writes."""
    return [masked(site, site.active(), gs[0])]  # Where, as inf · 0 is not 0: what comes after may divide by this 0


@elementwise("LeakyRelu")
def _leaky_relu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Slope alpha at 0."""
    op, alpha = site.op, float(site.attribute("alpha", 0.01))
    rising = site.active() if alpha > 0 else op.Greater(site.x(), 0.0)
    return [op.Where(rising, gs[0], op.Mul(gs[0], alpha))]


@elementwise("PRelu")
def _prelu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op, g = site.op, gs[0]
    positive = op.Greater(site.x(), 0.0)
    return [
        lambda: op.Where(positive, g, op.Mul(g, site.x(1))),
        lambda: op.Where(positive, 0.0, op.Mul(g, site.x())),
    ]


def _exponential(site: Site, gs: Gradients, scale: float, alpha: float, width: float) -> Sequence[Contribution]:
    """Gradient of ``scale · (x if x > 0 else alpha · (exp(x / width) - 1))``; by y: (y + scale · alpha) / width."""
    op, y = site.op, site.y()
    sign = y if scale > 0 and alpha * width >= 0 else site.x()
    below = op.Mul(op.Add(y, scale * alpha), 1 / width)
    return [op.Mul(gs[0], op.Where(op.Greater(sign, 0.0), scale, below))]


@elementwise("Elu")
def _elu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return _exponential(site, gs, 1.0, float(site.attribute("alpha", 1.0)), 1.0)


@elementwise("Celu")
def _celu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    alpha = float(site.attribute("alpha", 1.0))
    return _exponential(site, gs, 1.0, alpha, alpha)


@elementwise("Selu")
def _selu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    scale = float(site.attribute("gamma", 1.0507009873554805))
    return _exponential(site, gs, scale, float(site.attribute("alpha", 1.6732632423543772)), 1.0)


@elementwise("ThresholdedRelu")
def _thresholded_relu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """x if x > alpha else 0: its output tells which, unless alpha is negative."""
    alpha = float(site.attribute("alpha", 1.0))
    above = site.op.Greater(site.y(), 0.0) if alpha >= 0 else site.op.Greater(site.x(), alpha)
    return [masked(site, above, gs[0])]


@elementwise("Shrink")
def _shrink(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op = site.op
    return [masked(site, op.Greater(op.Abs(site.x()), float(site.attribute("lambd", 0.5))), gs[0])]


@elementwise("Sigmoid")
def _sigmoid(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """σ(x) (1 - σ(x)) = e / (1 + e)², e = exp(-|x|).

    Where σ(x) is nearly 1, 1 - σ(x) has no digits left; and ONNX Runtime's Sigmoid is off by 1e-7, whatever its size.
    """
    op = site.op
    e = op.Exp(op.Neg(op.Abs(site.x())))
    width = op.Add(e, 1.0)
    return [op.Mul(gs[0], op.Div(e, op.Mul(width, width)))]


@elementwise("Tanh")
def _tanh(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op, y = site.op, site.y()
    return [op.Mul(gs[0], op.Sub(1.0, op.Mul(y, y)))]


def _between(site: Site, value: ir.Value, low: Operand, high: Operand) -> ir.Value:
    """Inside of bounds, and not at them."""
    op = site.op
    return op.And(op.Greater(value, low), op.Less(value, high))


@elementwise("HardSigmoid")
def _hard_sigmoid(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """0 at both bounds."""
    slope = site.op.Mul(gs[0], float(site.attribute("alpha", 0.2)))
    return [masked(site, _between(site, site.y(), 0.0, 1.0), slope)]


@elementwise("HardSwish")
def _hard_swish(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """0 up to -3, 1 from 3 on, and x / 3 + 1/2 in between."""
    op, x = site.op, site.x()
    inner = op.Where(op.Less(x, 3.0), op.Add(op.Div(x, 3.0), 0.5), 1.0)
    return [op.Mul(gs[0], masked(site, op.Greater(x, -3.0), inner))]


@elementwise("Softplus")
def _softplus(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [site.op.Mul(gs[0], site.op.Sigmoid(site.x()))]


@elementwise("Softsign")
def _softsign(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """1 / (1 + |x|)²."""
    op = site.op
    width = op.Add(op.Abs(site.x()), 1.0)
    return [op.Div(gs[0], op.Mul(width, width))]


@elementwise("Swish")
def _swish(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """x s with s = σ(a x): s + a x s (1 - s)."""
    op, x, alpha = site.op, site.x(), float(site.attribute("alpha", 1.0))
    inner = op.Mul(x, alpha)
    s = op.Sigmoid(inner)
    return [op.Mul(gs[0], op.Add(s, op.Mul(inner, op.Mul(s, op.Sub(1.0, s)))))]


@elementwise("Mish")
def _mish(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """x t with t = tanh(softplus(x)): t + x σ(x) (1 - t²)."""
    op, x = site.op, site.x()
    t = op.Tanh(op.Softplus(x))
    return [op.Mul(gs[0], op.Add(t, op.Mul(op.Mul(x, op.Sigmoid(x)), op.Sub(1.0, op.Mul(t, t)))))]


@elementwise("Gelu")
def _gelu(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """x Φ(x): Φ(x) + x φ(x), or the same of the approximation x (1 + tanh(c (x + k x³))) / 2."""
    op, x = site.op, site.x()
    square = op.Mul(x, x)
    if str(site.attribute("approximate", "none")) == "tanh":
        c, k = math.sqrt(2 / math.pi), 0.044715
        t = op.Tanh(op.Mul(op.Mul(x, op.Add(op.Mul(square, k), 1.0)), c))
        inner = op.Mul(op.Add(op.Mul(square, 3 * k), 1.0), c)
        slope = op.Add(op.Add(t, 1.0), op.Mul(op.Mul(x, inner), op.Sub(1.0, op.Mul(t, t))))
        return [op.Mul(gs[0], op.Mul(slope, 0.5))]
    below = op.Mul(op.Add(op.Erf(op.Mul(x, math.sqrt(0.5))), 1.0), 0.5)
    density = op.Mul(op.Exp(op.Mul(square, -0.5)), 1 / math.sqrt(2 * math.pi))
    return [op.Mul(gs[0], op.Add(below, op.Mul(x, density)))]


@elementwise("Clip", note="at its bounds the gradient is 0 if the lower one is 0 (ReLU6), else 1 (torch.clamp)")
def _clip(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """What is 0 below is taken for a ReLU or ReLU6, and its output tells what was cut; else for torch.clamp."""
    op, g = site.op, gs[0]
    low, high = _bound(site, 1, "min"), _bound(site, 2, "max")
    bounded = g
    if isinstance(low, float) and low == 0:
        inside = op.Greater(site.y(), 0.0) if high is None else _between(site, site.y(), 0.0, high)
        return [masked(site, inside, g)]
    if low is not None:
        bounded = masked(site, op.GreaterOrEqual(site.x(), low), bounded)
    if high is not None:
        bounded = masked(site, op.LessOrEqual(site.x(), high), bounded)
    return [bounded]


def _bound(site: Site, index: int, name: str) -> float | ir.Value | None:
    """A bound of Clip, which is an input or, in early opsets, an attribute."""
    constant = site.constant(index)
    if constant is not None:
        return float(np.asarray(constant).reshape(()))
    if site.has(index):
        return site.x(index)
    given = site.attribute(name)
    return None if given is None else float(given)
