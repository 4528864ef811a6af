"""Cases of activation functions, away from their kinks; for these see test_kinks."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(2)
_x = np.array([[-3.6, -2.3, -1.1, -0.4], [0.3, 0.7, 1.6, 3.4]])
_wide = _x.reshape(2, 2, 2)
_middle = np.array([[-0.45, 0.1], [0.2, 0.43]])


def _cases(operator: str, *attributes: dict[str, Any], opsets: tuple[int, ...] = (13,)) -> list[Case]:
    return [Case(operator, (_x,), attributes=a, opset=o) for a in (attributes or ({},)) for o in opsets]


CASES = [
    *_cases("Relu", opsets=(11, 14)),
    *_cases("LeakyRelu", {}, {"alpha": 0.3}, {"alpha": -0.2}, {"alpha": 0.0}, opsets=(11, 16)),
    Case("PRelu", (_x, np.array([0.1, -0.2, 0.3, 1.5])), opset=16),
    Case("PRelu", (_wide, np.array([[0.1], [-0.2]])), opset=11),
    Case("PRelu", (_x.reshape(1, 2, 2, 2), _rng.random((2, 1, 1))), opset=13),
    *_cases("Elu", {}, {"alpha": 0.4}, {"alpha": -0.4}, opsets=(11, 22)),
    *_cases("Celu", {}, {"alpha": 0.4}, {"alpha": -2.4}, opsets=(12,)),
    *_cases("Selu", {}, {"alpha": 0.7, "gamma": 0.9}, {"gamma": -0.5}, {"alpha": -0.5}, opsets=(11, 22)),
    *_cases("ThresholdedRelu", {}, {"alpha": 0.5}, {"alpha": -2.0}, {"alpha": 0.0}, opsets=(11, 22)),
    *_cases("Shrink", {}, {"lambd": 1.0, "bias": 0.5}, opsets=(11,)),
    *_cases("Sigmoid", opsets=(11, 13)),
    *_cases("Tanh", opsets=(11, 13)),
    *_cases("HardSigmoid", {}, {"alpha": 1 / 6}, {"alpha": 0.3, "beta": 0.4}, opsets=(11, 22)),
    *_cases("HardSwish", opsets=(14, 22)),
    *_cases("Softplus", opsets=(11, 22)),
    *_cases("Softsign", opsets=(11, 22)),
    *_cases("Mish", opsets=(18, 22)),
    *_cases("Gelu", {}, {"approximate": "none"}, {"approximate": "tanh"}, opsets=(20,)),
    *_cases("Swish", {}, {"alpha": 1.7}, opsets=(24,)),
    Case("Clip", (_x,), (np.array(0.0), np.array(3.0)), opset=11),
    Case("Clip", (_x,), (np.array(0.0),), opset=12),
    Case("Clip", (_x,), (np.array(-1.5), np.array(1.2)), opset=13),
    Case("Clip", (_x,), (None, np.array(1.2)), opset=13),
    Case("Clip", (_x,), (np.array(-1.5),), opset=21),
    Case("Clip", (_x,), opset=13, name="Clip-without-bounds"),
]
