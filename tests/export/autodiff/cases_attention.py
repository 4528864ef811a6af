"""Attention as one operator."""

from __future__ import annotations

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(0)


def _some(*shape: int) -> np.ndarray:
    return _rng.standard_normal(shape)


_FOUR = (_some(1, 2, 3, 4), _some(1, 2, 5, 4), _some(1, 2, 5, 3))
_THREE = (_some(2, 3, 8), _some(2, 5, 8), _some(2, 5, 6))
_HEADS = {"q_num_heads": 2, "kv_num_heads": 2}
CASES = [
    Case("Attention", _FOUR, opset=23),
    Case("Attention", _FOUR, attributes={"scale": 0.3}, opset=23),
    Case("Attention", _FOUR, (_some(3, 5),), opset=23),
    Case("Attention", _FOUR, (np.tril(np.ones((3, 5), bool), 1),), opset=23),
    Case("Attention", (_some(1, 2, 4, 4), _some(1, 2, 4, 4), _some(1, 2, 4, 3)), attributes={"is_causal": 1}, opset=23),
    Case("Attention", _THREE, attributes=_HEADS, opset=23),
    Case("Attention", _THREE[:1], (_THREE[1], _THREE[2]), attributes=_HEADS, opset=23),
]
