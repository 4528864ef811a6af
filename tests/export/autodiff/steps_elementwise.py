"""Steps of a random graph that leave each number in its place."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.autodiff.eager import Eager
from tests.export.autodiff.step import step

_SMOOTH = ("Tanh", "Sigmoid", "Erf", "Softplus", "Neg", "Exp", "Sin", "Cos", "Atan", "Mish", "Identity", "Sinh")
_KINKED: dict[str, tuple[float, ...]] = {
    "Relu": (0,), "LeakyRelu": (0,), "Elu": (0,), "Selu": (0,), "Celu": (0,), "Abs": (0,), "HardSwish": (-3, 3),
    "HardSigmoid": (-2.5, 2.5), "ThresholdedRelu": (1,), "Softsign": (0,), "Shrink": (-0.5, 0.5),
}  # fmt: skip


@step
def smooth(g: Eager, x: str) -> str:
    return g.node(g.one(_SMOOTH), [x])[0]


@step
def kinked(g: Eager, x: str) -> str:
    kind = g.one([kind for kind in _KINKED if g.shape(x) or kind != "Softsign"])  # the reference's takes no scalar
    return g.node(kind, [g.clear(x, *_KINKED[kind])])[0]


@step
def clipped(g: Eager, x: str) -> str:
    low, high = g.one([(0.0, 6.0), (-0.5, 0.5), (0.0, None), (None, 0.3)])
    clear = g.clear(x, *(p for p in (low, high) if p is not None))
    return g.Clip(clear, *(None if p is None else np.array(p) for p in (low, high)))


@step
def of_positive(g: Eager, x: str) -> str:
    return g.node(g.one(["Sqrt", "Log", "Reciprocal"]), [g.positive(x)])[0]


@step
def power(g: Eager, x: str) -> str:
    base = g.positive(x)
    if g.yes():
        return g.Pow(base, np.array(g.one([0.5, 2.0, 3.0, -1.0, 1.0])))
    return g.Pow(base, g.Tanh(x))


@step
def joined(g: Eager, x: str) -> str:
    other = g.partner(x)
    pair = [x, other] if g.yes() else [other, x]
    kind = g.one(["Add", "Sub", "Mul", "Div", "Sum", "Mean"])
    if kind == "Div":
        last = pair[1] if isinstance(pair[1], str) else g.constant(pair[1])
        return g.Div(pair[0], g.positive(last))
    more = [x] if kind in ("Sum", "Mean") and g.yes() else []
    return g.node(kind, [*pair, *more])[0]


@step
def extreme(g: Eager, x: str) -> str:
    """Of a value and another that differs from it everywhere."""
    other = g.clear(g.Sub(g.Sin(x), x), 0.0)
    return g.node(g.one(["Max", "Min"]), [g.Add(other, x), x])[0]


@step
def chosen(g: Eager, x: str) -> str:
    condition = g.normal(*g.shape(x)[g.number(0, len(g.shape(x))) :]) > 0
    other = g.partner(x)
    return g.Where(condition, *([x, other] if g.yes() else [other, x]))


@step
def cast_and_dropped(g: Eager, x: str) -> str:
    return g.Dropout(x) if g.yes() else g.Cast(x, to=TensorProto.DOUBLE)
