"""Cases of operators that work element by element: sums, products, powers, elementary functions."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(1)


def _u(*shape: int, low: float = -1, high: float = 1) -> np.ndarray:
    return _rng.uniform(low, high, shape)


def _apart(*shape: int) -> np.ndarray:
    """Away from 0, of both signs."""
    return _u(*shape, low=0.3, high=2) * _rng.choice([-1, 1], shape)


def _ranks(*shape: int, low: float = -2, high: float = 2) -> np.ndarray:
    """Numbers of which no two are close to each other."""
    count = int(np.prod(shape))
    return _rng.permutation(np.linspace(low, high, count)).reshape(shape)


_BINARY = [
    Case(name, tuple(values), opset=opset)
    for name in ("Add", "Sub", "Mul", "Div")
    for opset, values in (
        (11, (_apart(2, 3), _apart(2, 3))),
        (13, (_apart(2, 1, 3), _apart(4, 1))),
        (14, (_apart(3, 1), _apart(2, 3, 4))),
        (21, (_apart(3), _apart())),
    )
]

_VARIADIC = [
    Case(name, tuple(_ranks(24).reshape(2, 3, 4)[cut] for cut in cuts), opset=opset)
    for name in ("Sum", "Mean", "Max", "Min")
    for opset, cuts in (
        (13, (np.s_[:], np.s_[0, 1:2] if name in ("Sum", "Mean") else np.s_[::-1, 1:2])),
        (11, (np.s_[:],)),
        (21, (np.s_[:1], np.s_[1:, 1:2], np.s_[1, 2])),
    )
]

_POWERS = [
    Case("Pow", (_u(2, 3, low=0.5, high=2), _u(3, low=-2, high=3))),
    Case("Pow", (_u(3, 1, low=0.5, high=2), _u(2, 1, 4, low=-2, high=3)), opset=13),
    Case("Pow", (_apart(2, 3),), (np.array(2.0),), opset=13),
    Case("Pow", (_apart(2, 3),), (np.array(3.0),), opset=12),
    Case("Pow", (_apart(2, 3),), (np.array([1.0]),), opset=15),
    Case("Pow", (_u(2, 3, low=0.5, high=2),), (np.array(0.5),), opset=21),
    Case("Pow", (_apart(2, 3),), (np.array(3, np.int64),), opset=13),  # an exponent of another type
    Case("Pow", (_apart(4, 3),), (np.array([2, 0, 3], np.int64),), opset=15),
    Case("Pow", (_apart(2, 3),), (np.array([0.0, 1.0, 2.0]),)),
    Case("Pow", (_apart(2, 3),), (np.array(0.0),), name="Pow-exponent-0"),
]

_CHOICES = [
    Case("Where", (_u(2, 3), _u(3)), (_u(2, 1) > 0,), order=(1, 2), opset=11),
    Case("Where", (_u(2, 3) > 0, _u(1, 3), _u(4, 2, 1)), opset=16),
    Case("Mod", (_apart(3, 4) * 5, _apart(4)), attributes={"fmod": 1}, opset=11),
    Case("Mod", (_apart(4) * 5, _apart(2, 4)), attributes={"fmod": 1}, opset=13),
]

_UNARY = [
    Case(name, (values,), opset=opset)
    for names, values, opset in (
        (("Neg", "Abs", "Reciprocal"), _apart(2, 3), 13),
        (("Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh"), _apart(2, 3) * 0.7, 13),
        (("Sqrt", "Log"), _u(2, 3, low=0.2, high=3), 13),
        (("Asin", "Acos", "Atanh"), _u(2, 3, low=-0.9, high=0.9), 22),
        (("Acosh",), _u(2, 3, low=1.2, high=3), 22),
        (("Erf", "Identity"), _apart(2, 3), 13),
        (("Neg", "Sqrt", "Exp", "Identity"), _u(3, low=0.2, high=3), 11),
        (("Abs", "Sin", "Reciprocal"), _apart(), 11),
    )
    for name in names
]

_TYPES = [
    Case("Cast", (_u(2, 3),), attributes={"to": TensorProto.DOUBLE}, opset=13),
    Case("Cast", (_u(2, 3),), attributes={"to": TensorProto.DOUBLE, "saturate": 1}, opset=21),
    Case("CastLike", (_u(2, 3),), (np.zeros(1),), opset=19),
    Case("Dropout", (_u(2, 3),), opset=11, attributes={"ratio": 0.3}),
    Case("Dropout", (_u(2, 3),), (np.array(0.3), np.array(False)), opset=13),
    Case("Dropout", (_u(2, 3),), (np.array(0.3),), outputs=2, opset=22),
]

CASES = [*_BINARY, *_VARIADIC, *_POWERS, *_CHOICES, *_UNARY, *_TYPES]
