"""Sums, products, powers and elementary functions; what takes several operands element by element."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from boxcam.export.autodiff.rule import Contribution, Site, elementwise
from boxcam.export.autodiff.rules.shapes import Gradients, masked, real
from boxcam.export.graphs.ops import Operand


@elementwise("Add", "Sum")
def _add(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [gs[0]] * len(site.node.inputs)


@elementwise("Sub")
def _sub(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [gs[0], lambda: site.op.Neg(gs[0])]


@elementwise("Mean")
def _mean(site: Site, gs: Gradients) -> Sequence[Contribution]:
    count = len(site.node.inputs)
    return [site.op.Mul(gs[0], 1.0 / count)] * count


@elementwise("Mul")
def _mul(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op, g = site.op, gs[0]
    return [lambda: op.Mul(g, site.x(1)), lambda: op.Mul(g, site.x(0))]


@elementwise("Div")
def _div(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """(a / b)' = 1 / b and -a / b²; a is read, and not the quotient, as others are likely to need it too."""
    op, g = site.op, gs[0]
    return [
        lambda: op.Div(g, site.x(1)),
        lambda: op.Neg(op.Div(op.Mul(g, op.Div(site.x(0), site.x(1))), site.x(1))),
    ]


@elementwise("Pow", note="the gradient by the exponent is 0 where the base is not positive")
def _pow(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """(xᵉ)' = e xᵉ⁻¹, 0 for e = 0, and xᵉ log x, 0 for x ≤ 0."""
    op, g = site.op, gs[0]

    constant = site.constant(1)
    fixed = None if constant is None or constant.size != 1 else float(constant.reshape(()))

    def base() -> ir.Value:
        if fixed is not None:
            return _power_of_constant(site, gs, fixed)
        e = _exponent(site)
        slope = op.Mul(e, op.Pow(site.x(0), op.Sub(e, 1.0)))
        return op.Mul(g, op.Where(op.Equal(e, 0.0), 0.0, slope))

    def exponent() -> ir.Value:
        positive = op.Greater(site.x(0), 0.0)
        logarithm = op.Log(op.Where(positive, site.x(0), 1.0))
        return op.Mul(g, masked(site, positive, op.Mul(site.y(), logarithm)))

    return [None if fixed == 0 else base, exponent]


def _exponent(site: Site) -> ir.Value:
    """The exponent, which may be of a type of its own."""
    given = site.node.inputs[1]
    exponent = site.x(1)
    return exponent if given is not None and given.dtype == _type(site) else real(site, exponent)


def _power_of_constant(site: Site, gs: Gradients, e: float) -> ir.Value:
    op, g = site.op, gs[0]
    assert g is not None
    if e == 1:
        return g
    if e == 0.5:
        return op.Div(op.Mul(g, 0.5), site.y())
    return op.Mul(g, op.Mul(site.x(0) if e == 2 else op.Pow(site.x(0), e - 1), e))


def _type(site: Site) -> ir.DataType:
    return ir.DataType.from_numpy(site.op.real)


@elementwise("Max", "Min")
def _extreme(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """Operands that are equal share the gradient evenly, as two do with torch.maximum and torch.minimum."""
    op, g, count = site.op, gs[0], len(site.node.inputs)
    if count == 1:
        return [g]
    xs = [site.x(i) for i in range(count)]
    extreme = op.emit(site.node.op_type, xs, {})[0]
    chosen = [op.Equal(x, extreme) for x in xs]
    share = op.Div(g, op.Sum(*(real(site, one) for one in chosen)))
    return [_passed(site, one, share) for one in chosen]


def _passed(site: Site, where: ir.Value, g: ir.Value) -> Callable[[], ir.Value]:
    return lambda: masked(site, where, g)


@elementwise("Where")
def _where(site: Site, gs: Gradients) -> Sequence[Contribution]:
    op, g = site.op, gs[0]
    return [None, lambda: op.Where(site.x(0), g, 0.0), lambda: op.Where(site.x(0), 0.0, g)]


@elementwise("Mod", note="fmod=1 only: the other mode is for integers")
def _mod(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """a - b trunc(a / b), and trunc is constant between its steps."""
    op, g = site.op, gs[0]
    if not site.attribute("fmod", 0):
        site.unsupported("fmod is 0, which is meant for integers only")

    def divisor() -> ir.Value:
        quotient = op.Div(site.x(0), site.x(1))
        whole = op.Mul(op.Sign(quotient), op.Floor(op.Abs(quotient)))
        return op.Neg(op.Mul(g, whole))

    return [g, divisor]


@elementwise("Identity")
def _identity(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [gs[0]]


@elementwise("Cast", "CastLike", note="from and to floating-point types; to others the gradient is zero")
def _cast(site: Site, gs: Gradients) -> Sequence[Contribution]:
    """The gradient has one type throughout, whatever types the values have."""
    target = site.node.outputs[0].dtype
    return [gs[0] if target is None or target.is_floating_point() else None]


@elementwise("Dropout", note="training_mode is not supported")
def _dropout(site: Site, gs: Gradients) -> Sequence[Contribution]:
    if site.has(2) and site.need_constant(2, "training_mode").item():
        site.unsupported("it has training_mode set, which makes it random")
    return [gs[0]]


def _unary(name: str, slope: Callable[[Site], Operand]) -> None:
    """Register an operator of one operand by its derivative."""

    @elementwise(name)
    def multiplied(site: Site, gs: Gradients) -> Sequence[Contribution]:
        return [site.op.Mul(gs[0], slope(site))]


def _divided(name: str, divisor: Callable[[Site], Operand]) -> None:
    """Register an operator of one operand by one over its derivative."""

    @elementwise(name)
    def quotient(site: Site, gs: Gradients) -> Sequence[Contribution]:
        return [site.op.Div(gs[0], divisor(site))]


def _square(site: Site, value: ir.Value) -> ir.Value:
    return site.op.Mul(value, value)


def _root(site: Site, plus: float, times: float) -> ir.Value:
    """√(plus + times · x²)."""
    op = site.op
    square = _square(site, site.x())
    return op.Sqrt(op.Add(square, plus) if times > 0 else op.Sub(plus, square))


@elementwise("Neg")
def _neg(site: Site, gs: Gradients) -> Sequence[Contribution]:
    return [site.op.Neg(gs[0])]


_unary("Abs", lambda site: site.op.Sign(site.x()))  # 0 at 0, as torch.abs
_unary("Reciprocal", lambda site: site.op.Neg(_square(site, site.y())))
_unary("Exp", lambda site: site.y())
_unary("Sin", lambda site: site.op.Cos(site.x()))
_unary("Cos", lambda site: site.op.Neg(site.op.Sin(site.x())))
_unary("Tan", lambda site: site.op.Add(_square(site, site.y()), 1.0))
_unary("Sinh", lambda site: site.op.Cosh(site.x()))
_unary("Cosh", lambda site: site.op.Sinh(site.x()))
_unary("Erf", lambda site: site.op.Mul(site.op.Exp(site.op.Neg(_square(site, site.x()))), 2 / math.sqrt(math.pi)))
_divided("Sqrt", lambda site: site.op.Mul(site.y(), 2.0))
_divided("Log", lambda site: site.x())
_divided("Asin", lambda site: _root(site, 1.0, -1.0))
_divided("Acos", lambda site: site.op.Neg(_root(site, 1.0, -1.0)))
_divided("Atan", lambda site: site.op.Add(_square(site, site.x()), 1.0))
_divided("Asinh", lambda site: _root(site, 1.0, 1.0))
_divided("Acosh", lambda site: _root(site, -1.0, 1.0))
_divided("Atanh", lambda site: site.op.Sub(1.0, _square(site, site.x())))
