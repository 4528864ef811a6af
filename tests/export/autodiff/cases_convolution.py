"""Convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.export.autodiff.differences import Case

_rng = np.random.default_rng(1)


def _conv(x: tuple[int, ...], w: tuple[int, ...], opset: int = 18, bias: bool = False, **attributes: Any) -> Case:
    constants = (_rng.standard_normal(w), *([_rng.standard_normal(w[0])] if bias else []))
    return Case("Conv", (_rng.standard_normal(x),), constants, attributes, opset)


def _back(x: tuple[int, ...], w: tuple[int, ...], opset: int = 18, **attributes: Any) -> Case:
    return Case("ConvTranspose", (_rng.standard_normal(x),), (_rng.standard_normal(w),), attributes, opset)


def _fold(x: tuple[int, ...], image: list[int], block: list[int], **attributes: Any) -> Case:
    sizes = np.array(image), np.array(block)
    return Case(
        "Col2Im", (_rng.standard_normal(x),), sizes, attributes, name=f"Col2Im-{x}-{image}-{block}-{attributes}"
    )


CASES = [
    _fold((2, 12, 12), [4, 5], [2, 2]),
    _fold((1, 18, 6), [5, 4], [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    _fold((1, 12, 12), [6, 7], [3, 2], strides=[1, 2], dilations=[2, 3], pads=[0, 1, 1, 2]),
    _conv((2, 3, 6, 5), (4, 3, 3, 3), pads=[1, 1, 1, 1]),
    _conv((2, 3, 6, 5), (4, 3, 1, 1), opset=11, bias=True),
    _conv((2, 4, 6, 5), (6, 2, 3, 2), opset=13, group=2, pads=[2, 0, 1, 1]),
    _conv((1, 4, 7, 6), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1], bias=True),
    _conv((2, 2, 9, 8), (3, 2, 3, 3), dilations=[2, 1], pads=[2, 1, 2, 1]),
    _conv((2, 2, 4, 4), (3, 2, 3, 3), pads=[3, 4, 3, 4]),  # wider than the kernel reaches
    _conv((2, 4, 7, 6), (6, 2, 3, 3), opset=22, group=2, pads=[1, 1, 1, 1], strides=[2, 2]),
    _conv((1, 3, 8, 9), (4, 3, 3, 3), pads=[0, 0, 1, 1], strides=[2, 3]),
    _conv((1, 3, 8, 9), (4, 3, 1, 1), strides=[2, 2]),
    _conv((1, 3, 9, 8), (4, 3, 3, 2), pads=[1, 0, 1, 0], strides=[3, 2], dilations=[2, 3]),
    _conv((1, 4, 7, 6), (4, 1, 3, 3), opset=11, group=4, auto_pad="SAME_UPPER", strides=[2, 2]),
    _conv((1, 4, 7, 6), (4, 1, 3, 3), group=4, auto_pad="SAME_LOWER", strides=[2, 2]),
    _conv((1, 2, 7, 6), (3, 2, 4, 2), auto_pad="SAME_UPPER"),
    _conv((1, 2, 7, 6), (3, 2, 4, 2), auto_pad="SAME_LOWER"),
    _conv((1, 2, 7, 6), (3, 2, 3, 3), auto_pad="VALID", strides=[2, 1]),
    _conv((2, 3, 9), (4, 3, 3), pads=[1, 1]),
    _conv((2, 4, 9), (4, 2, 3), group=2, strides=[2], pads=[0, 1]),
    _conv((1, 2, 4, 5, 4), (3, 2, 3, 2, 3), pads=[1, 0, 1, 1, 1, 1]),
    _conv((1, 2, 5, 4, 4), (3, 2, 2, 2, 2), strides=[2, 2, 1], kernel_shape=[2, 2, 2]),
    Case("Conv", (_rng.random((1, 2, 4, 4)),), (_rng.random((3, 2, 3, 3)),), {"pads": [1, 1, 1, 1]}, name="Conv-again"),
    _back((1, 4, 3, 4), (4, 2, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]),
    _back((2, 4, 3, 4), (4, 3, 2, 2), opset=11, strides=[2, 2]),
    _back((2, 4, 3, 4), (4, 3, 3, 3), opset=13, group=2, pads=[1, 0, 1, 2]),
    _back((1, 3, 4, 4), (3, 2, 3, 3), opset=22, strides=[2, 3], dilations=[2, 1]),
    _back((1, 3, 4, 4), (3, 2, 3, 3), strides=[2, 2], pads=[0, 1, 1, 0]),
    _back((1, 3, 4, 4), (3, 2, 3, 3), strides=[3, 3], output_padding=[2, 2], pads=[1, 1, 1, 1]),
    _back((1, 3, 4, 4), (3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    _back((1, 3, 4, 4), (3, 2, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    _back((1, 3, 4, 4), (3, 2, 3, 3), strides=[2, 2], output_shape=[8, 8]),
    _back((2, 3, 5), (3, 2, 4), strides=[2], pads=[1, 1]),
    _back((1, 2, 3, 2, 3), (2, 2, 2, 2, 2), strides=[2, 1, 2]),
]
