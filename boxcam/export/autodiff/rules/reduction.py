"""Reductions: sums, means, norms, extremes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Independent, Site, rule
from boxcam.export.autodiff.rules.axes import arrived, count, expanded, real_type

Gradient = Callable[[Site, ir.Value, ir.Value, ir.Value], ir.Value]
"""``(site, g, x, y) → dx``, where g and y have the reduced axes with size 1."""


def reduced(site: Site) -> list[int]:
    """The axes that are reduced, counted from the end."""
    axes = site.axes()
    if not axes:
        return [] if site.attribute("noop_with_empty_axes", 0) else list(range(-site.rank(), 0))
    return sorted(site.axis(axis) for axis in axes)


def _kept(site: Site) -> Sequence[int]:
    """Axes that are the same in the output: those that are not reduced, if the reduced ones stay with size 1."""
    gone = [axis + site.rank() for axis in reduced(site)]
    return [a for a in range(site.rank()) if a not in gone] if site.attribute("keepdims", 1) else ()


def _leading(site: Site) -> Sequence[int]:
    """As `_kept`, for rules that read no forward value: also axes before the first one that vanishes."""
    if site.attribute("keepdims", 1):
        return _kept(site)
    known = all(site.dims()[axis] is not None for axis in reduced(site))  # else the input is read for its lengths
    return range(min([axis + site.rank() for axis in reduced(site)], default=site.rank())) if known else ()


def _full(site: Site, value: ir.Value) -> ir.Value:
    """Give the output, or a gradient of it, the reduced axes back."""
    axes = reduced(site)
    return value if site.attribute("keepdims", 1) or not axes else site.op.Unsqueeze(value, axes)


@rule("ReduceSum", independent=_leading)
def _sum(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    return [expanded(site, _full(site, arrived(gs)), reduced(site))]


@rule("ReduceMean", independent=_leading)
def _mean(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
    g = site.op.Div(_full(site, arrived(gs)), count(site, reduced(site)))
    return [expanded(site, g, reduced(site))]


def _total(site: Site, value: ir.Value) -> ir.Value:
    """Sum over the reduced axes."""
    axes = reduced(site)
    return site.op.ReduceSum(value, axes, keepdims=1) if axes else value


def _reduction(*operators: str, independent: Independent = _kept, note: str = "") -> Callable[[Gradient], Gradient]:
    """Register the rule of a reduction by its formula."""

    def put(formula: Gradient) -> Gradient:
        @rule(*operators, independent=independent, note=note)
        def _(site: Site, gs: Sequence[ir.Value | None]) -> Sequence[Contribution]:
            return [formula(site, _full(site, arrived(gs)), site.x(), _full(site, site.y()))]

        return formula

    return put


@_reduction("ReduceMax", "ReduceMin", note="ties share the gradient, as in torch.amax")
def _extreme(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    op = site.op
    chosen = op.Cast(op.Equal(x, y), to=real_type(op))
    return op.Mul(op.Div(g, _total(site, chosen)), chosen)


@_reduction("ReduceL1")
def _l1(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    return site.op.Mul(g, site.op.Sign(x))


@_reduction("ReduceL2", note="zero where the norm is zero")
def _l2(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    op = site.op
    return op.Mul(op.Div(g, op.Where(op.Equal(y, 0.0), 1.0, y)), x)


@_reduction("ReduceSumSquare")
def _sum_square(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    return site.op.Mul(site.op.Mul(g, 2.0), x)


@_reduction("ReduceLogSum")
def _log_sum(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    return expanded(site, site.op.Div(g, site.op.Exp(y)), reduced(site))


@_reduction("ReduceLogSumExp")
def _log_sum_exp(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    return site.op.Mul(g, site.op.Exp(site.op.Sub(x, y)))


@_reduction("ReduceProd")
def _product(site: Site, g: ir.Value, x: ir.Value, y: ir.Value) -> ir.Value:
    """The product of all others, which is not ``y / x`` where x is zero."""
    op = site.op
    zero = op.Equal(x, 0.0)
    filled = op.Where(zero, 1.0, x)
    found = op.ReduceProd(filled, reduced(site), keepdims=1) if reduced(site) else filled
    zeros = op.Cast(zero, to=real_type(op))
    other_zeros = op.Sub(_total(site, zeros), zeros)
    return op.Mul(g, op.Where(op.Greater(other_zeros, 0.0), 0.0, op.Div(found, filled)))
