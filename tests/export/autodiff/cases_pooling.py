"""Pooling."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(5)


def _pool(operator: str, shape: tuple[int, ...], opset: int = 18, **attributes: Any) -> Case:
    x = _rng.permutation(int(np.prod(shape))).reshape(shape) / 10  # no ties
    return Case(operator, (x - 2.05,), (), attributes, opset)


def _both(shape: tuple[int, ...], opset: int = 18, **attributes: Any) -> list[Case]:
    return [_pool(operator, shape, opset, **attributes) for operator in ("MaxPool", "AveragePool")]


CASES = [
    *_both((2, 3, 6, 5), kernel_shape=[2, 2], strides=[2, 2]),
    *_both((2, 2, 6, 5), 11, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    *_both((1, 2, 5, 5), 13, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    *_both((1, 2, 7, 6), kernel_shape=[3, 2], strides=[2, 3], pads=[1, 0, 0, 1]),
    *_both((1, 2, 6, 6), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    *_both((1, 2, 7, 6), 19, kernel_shape=[2, 2], dilations=[2, 3], strides=[1, 2], pads=[1, 1, 1, 1]),
    *_both((1, 2, 7, 6), kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    *_both((1, 2, 7, 6), kernel_shape=[2, 2], auto_pad="SAME_LOWER"),
    *_both((1, 2, 7, 6), kernel_shape=[3, 3], strides=[2, 2], auto_pad="VALID"),
    *_both((2, 2, 9), kernel_shape=[3], strides=[2], pads=[1, 1]),
    *_both((1, 2, 4, 4, 5), 22, kernel_shape=[2, 2, 2], strides=[2, 2, 2], pads=[0, 0, 0, 0, 0, 1]),
    _pool("AveragePool", (1, 2, 6, 6), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1),
    _pool("AveragePool", (1, 2, 7, 6), 22, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0], ceil_mode=1),
    _pool("GlobalAveragePool", (2, 3, 4, 3)),
    _pool("GlobalAveragePool", (2, 3, 4), 22),
    *(
        _pool("LpPool", (1, 2, 7, 6), opset, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], **more)
        for opset, more in (
            (11, {}),
            (18, {"p": 3, "dilations": [1, 2]}),
            (22, {"p": 1}),
            (22, {"p": 4, "ceil_mode": 1}),
        )
    ),
    _pool("LpPool", (2, 2, 9), 18, kernel_shape=[3], auto_pad="SAME_UPPER", p=3),
    _pool("GlobalLpPool", (2, 3, 4, 3)),
    _pool("GlobalLpPool", (2, 3, 4, 3), 22, p=3),
    _pool("GlobalLpPool", (2, 3, 4), 11, p=1),
    _pool("GlobalMaxPool", (2, 3, 4, 3)),
    _pool("GlobalMaxPool", (2, 3, 2, 2, 3), 22),
]
