"""Operators whose window slides over a map, in double precision, for checks by finite differences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod

import numpy as np
from onnx.reference.op_run import OpRun

from boxcam.export.graphs.query import Array


class Windows:
    """The windows of a pooling or a convolution: where they begin, and how many there are."""

    def __init__(self, x: Array, attributes: Mapping[str, object]) -> None:
        kernel = _numbers(attributes, "kernel_shape", [])
        count = len(kernel)
        strides, dilations = (_numbers(attributes, name, [1] * count) for name in ("strides", "dilations"))
        pads = _numbers(attributes, "pads", [0] * 2 * count)
        padding, upwards = attributes.get("auto_pad") or "NOTSET", bool(attributes.get("ceil_mode"))
        self.kernel, self.strides, self.dilations = kernel, strides, dilations
        self.around: list[tuple[int, int]] = []
        self.beyond: list[int] = []
        self.counts: list[int] = []
        for axis, size in enumerate(x.shape[2:]):
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            before, after = pads[axis], pads[axis + count]
            if padding == "VALID":
                before = after = 0
            elif padding in ("SAME_UPPER", "SAME_LOWER"):
                total = max((-(-size // strides[axis]) - 1) * strides[axis] + reach - size, 0)
                before = total // 2 if padding == "SAME_UPPER" else total - total // 2
                after = total - before
            room = size + before + after - reach
            number = (-(-room // strides[axis]) if upwards else room // strides[axis]) + 1
            number -= upwards and (number - 1) * strides[axis] >= size + before  # it would begin behind the map
            self.around.append((before, after))
            self.counts.append(number)
            self.beyond.append(max((number - 1) * strides[axis] + reach - size - before - after, 0))

    def padded(self, x: Array, inside: float, beyond: float) -> Array:
        """The map with its padding, and with what windows that are rounded upwards read beyond that."""
        full = np.pad(x, [(0, 0), (0, 0), *self.around], constant_values=inside)
        return np.pad(full, [(0, 0), (0, 0), *((0, more) for more in self.beyond)], constant_values=beyond)

    def places(self, padded: Array) -> Iterator[Array]:
        """For each place in a window what all windows read there."""
        for offset in product(*map(range, self.kernel)):
            at = [
                slice(o * d, o * d + (n - 1) * s + 1, s)
                for o, d, s, n in zip(offset, self.dilations, self.strides, self.counts, strict=True)
            ]
            yield padded[(slice(None), slice(None), *at)]


class MaxPool(OpRun):
    """The largest value of each window."""

    op_domain = ""

    def _run(self, x: Array, **attributes: object) -> tuple[Array]:
        windows = Windows(x, attributes)
        return (np.maximum.reduce(list(windows.places(windows.padded(x, -np.inf, -np.inf)))),)


class AveragePool(OpRun):
    """The mean of each window; padding counts if it is to, what lies beyond it does not."""

    op_domain = ""

    def _run(self, x: Array, **attributes: object) -> tuple[Array]:
        windows = Windows(x, attributes)
        ones = np.ones((1, 1, *x.shape[2:]), x.dtype)
        counted = windows.padded(ones, float(bool(attributes.get("count_include_pad"))), 0.0)
        total, count = (np.add.reduce(list(windows.places(p))) for p in (windows.padded(x, 0.0, 0.0), counted))
        return (total / count,)


class Conv(OpRun):
    """A convolution, as a matrix product for each tap of its window."""

    op_domain = ""

    def _run(
        self, x: Array, weight: Array, bias: Array | None = None, group: int | None = 1, **how: object
    ) -> tuple[Array]:
        group = group or 1
        windows = Windows(x, {**how, "kernel_shape": weight.shape[2:]})
        count, cells = len(x), prod(windows.counts)
        taps = weight.reshape(group, -1, weight.shape[1], prod(weight.shape[2:]))
        result = np.zeros((count, group, taps.shape[1], cells), x.dtype)
        for tap, read in enumerate(windows.places(windows.padded(x, 0.0, 0.0))):
            result += np.ascontiguousarray(taps[..., tap]) @ read.reshape(count, group, weight.shape[1], cells)
        return (_with_bias(result.reshape(count, len(weight), *windows.counts), bias),)


class ConvTranspose(OpRun):
    """A transposed convolution: each cell adds a window, tap by tap."""

    op_domain = ""

    def _run(
        self, x: Array, weight: Array, bias: Array | None = None, group: int | None = 1, **how: object
    ) -> tuple[Array]:
        group, kernel, cells = group or 1, weight.shape[2:], prod(x.shape[2:])
        strides, dilations = (_numbers(how, name, [1] * len(kernel)) for name in ("strides", "dilations"))
        more = _numbers(how, "output_padding", [0] * len(kernel))
        steps = zip(x.shape[2:], kernel, strides, dilations, more, strict=True)
        reach = [(size - 1) * s + (k - 1) * d + 1 + extra for size, k, s, d, extra in steps]
        first, sizes = _cut(how, reach, [size * s for size, s in zip(x.shape[2:], strides, strict=True)])
        room = [max(a, b + c) for a, b, c in zip(reach, first, sizes, strict=True)]
        result = np.zeros((len(x), group * weight.shape[1], *room), x.dtype)
        taps = weight.reshape(group, -1, weight.shape[1], prod(kernel))
        given = x.reshape(len(x), group, taps.shape[1], cells)
        for tap, offset in enumerate(product(*map(range, kernel))):
            steps_at = zip(offset, dilations, strides, x.shape[2:], strict=True)
            at = [slice(o * d, o * d + (n - 1) * s + 1, s) for o, d, s, n in steps_at]
            added = np.ascontiguousarray(taps[..., tap].swapaxes(1, 2)) @ given
            result[(slice(None), slice(None), *at)] += added.reshape(len(x), result.shape[1], *x.shape[2:])
        kept = [slice(start, start + size) for start, size in zip(first, sizes, strict=True)]
        return (_with_bias(result[(slice(None), slice(None), *kept)], bias),)


def _cut(how: Mapping[str, object], reach: Sequence[int], same: Sequence[int]) -> tuple[list[int], list[int]]:
    """Of each axis, what of a transposed convolution's windows is kept: where it begins, and its size.

    Args:
        how: the operator's attributes.
        reach: sizes of what the windows cover.
        same: sizes of inputs times strides.
    """
    padding, count = how.get("auto_pad") or "NOTSET", len(reach)
    as_same = [min(covered, size) for covered, size in zip(reach, same, strict=True)]  # as ONNX Runtime has it
    sizes = _numbers(how, "output_shape", as_same if str(padding).startswith("SAME") else [])[-count:]
    if not sizes:
        pads = _numbers(how, "pads", [0] * 2 * count)
        return pads[:count], [size - a - b for size, a, b in zip(reach, pads[:count], pads[count:], strict=True)]
    totals = [max(covered - size, 0) for covered, size in zip(reach, sizes, strict=True)]
    return [total // 2 if padding == "SAME_UPPER" else total - total // 2 for total in totals], sizes


def _numbers(how: Mapping[str, object], name: str, default: Sequence[int]) -> list[int]:
    return [int(number) for number in how.get(name) or default]  # type: ignore[attr-defined]


def _with_bias(maps: Array, bias: Array | None) -> Array:
    found: Array = maps if bias is None else maps + bias.reshape(-1, *[1] * (maps.ndim - 2))
    return found
