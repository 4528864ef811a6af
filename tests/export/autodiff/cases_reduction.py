"""Reductions."""

from __future__ import annotations

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(3)
_OPERATORS = (
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare",
    "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


def _x(*shape: int) -> np.ndarray:
    """Positive and all different: no kinks, no ties."""
    return 0.5 + _rng.permutation(int(np.prod(shape))).reshape(shape) / 10


def _cases(operator: str) -> list[Case]:
    sum_opset = 11 if operator == "ReduceSum" else 13  # the last one with axes as attribute
    signed = -1.0 if operator in ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp") else 1.0
    return [
        Case(operator, (_x(2, 3, 4),), (np.array([1]),), {"keepdims": 0}),
        Case(operator, (signed * _x(2, 3, 4),), (np.array([-1, 0]),)),
        Case(operator, (_x(2, 3),), (np.array([-2]),), {"keepdims": 0}, 21),
        Case(operator, (_x(2, 3),), (), {"keepdims": 0}),
        Case(operator, (_x(2, 3),), (None,), {}),
        Case(operator, (_x(2, 3, 4),), (), {"axes": [2, -2], "keepdims": 0}, sum_opset),
        Case(operator, (signed * _x(2, 3),), (), {"axes": [0]}, 11),
        Case(operator, (_x(4),), (np.array([0]),), {"keepdims": 0}),
    ]


CASES = [
    *(case for operator in _OPERATORS for case in _cases(operator)),
    *(
        Case(operator, (_x(2, 3),), (np.zeros(0, np.int64),), {"noop_with_empty_axes": 1}, name=f"{operator}-noop")
        for operator in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceProd")
    ),
    Case(
        "ReduceProd", (np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0], [1.5, 2.0, 3.0]]),), (np.array([1]),), name="zeros"
    ),
]
