"""Forward passes where ONNX's reference implementation is wrong, lacks attributes or has no double precision."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from onnx.reference.op_run import OpRun


def _tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.array(array, order="C"))  # torch takes no array that runs backwards


def _pads(
    size: Any, kernel: Any, strides: Any, dilations: Any, pads: Any, auto_pad: str
) -> tuple[list[int], list[int]]:
    n = len(kernel)
    if auto_pad in ("NOTSET", "VALID"):
        found = list(pads) if pads and auto_pad == "NOTSET" else [0] * 2 * n
        return found[:n], found[n:]
    low, high = [], []
    for length, k, s, d in zip(size, kernel, strides, dilations, strict=True):
        total = max(0, (int(np.ceil(length / s)) - 1) * s + d * (k - 1) + 1 - length)
        less, more = total // 2, (total + 1) // 2
        low.append(less if auto_pad == "SAME_UPPER" else more)
        high.append(more if auto_pad == "SAME_UPPER" else less)
    return low, high


class Conv(OpRun):
    """The reference is wrong for groups of more than one image."""

    def _run(
        self, x, w, b=None, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, pads=None, strides=None
    ):  # type: ignore[no-untyped-def]
        n = x.ndim - 2
        strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
        low, high = _pads(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
        padded = np.pad(x, [(0, 0), (0, 0), *zip(low, high, strict=True)])
        run = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
        bias = None if b is None else _tensor(b)
        return (run(_tensor(padded), _tensor(w), bias, strides, 0, dilations, group).numpy(),)


class ConvTranspose(OpRun):
    """The reference is wrong for groups of more than one image, and for a given output shape."""

    def _run(  # type: ignore[no-untyped-def]
        self, x, w, b=None, auto_pad="NOTSET", dilations=None, group=1, kernel_shape=None, output_padding=None,
        output_shape=None, pads=None, strides=None,
    ):  # fmt: skip
        n = x.ndim - 2
        strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
        more = list(output_padding or [0] * n)
        run = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        bias = None if b is None else _tensor(b)
        full = run(_tensor(x), _tensor(w), bias, strides, 0, 0, group, dilations).numpy()
        full = np.pad(full, [(0, 0), (0, 0), *((0, m) for m in more)])
        if output_shape or auto_pad.startswith("SAME"):
            output_shape = output_shape or [i * s for i, s in zip(x.shape[2:], strides, strict=True)]
            total = [f - o for f, o in zip(full.shape[2:], output_shape, strict=True)]
            low = [t // 2 if auto_pad == "SAME_UPPER" else (t + 1) // 2 for t in total]
            high = [t - b for t, b in zip(total, low, strict=True)]
        else:
            low, high = _pads(x.shape[2:], w.shape[2:], strides, dilations, pads, auto_pad)
        cut = [slice(b, f - e) for b, e, f in zip(low, high, full.shape[2:], strict=True)]
        return (full[(slice(None), slice(None), *cut)],)


class Mean(OpRun):
    """The reference does not broadcast the first operand."""

    def _run(self, *operands):  # type: ignore[no-untyped-def]
        return (sum(operands) / len(operands),)


class MaxPool(OpRun):
    """The reference is wrong for some pads and strides; among equal ones the first is taken."""

    def _run(  # type: ignore[no-untyped-def]
        self, x, auto_pad="NOTSET", ceil_mode=0, dilations=None, kernel_shape=None, pads=None, storage_order=0,
        strides=None,
    ):  # fmt: skip
        n = len(kernel_shape)
        strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
        low, high = _pads(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
        out, grown = [], []
        for size, k, s, d, b, e in zip(x.shape[2:], kernel_shape, strides, dilations, low, high, strict=True):
            room = size + b + e - d * (k - 1) - 1
            count = (-(-room // s) if ceil_mode else room // s) + 1
            count -= ceil_mode and (count - 1) * s >= size + b  # a window that would begin behind the map
            out.append(count)
            grown.append((b, max(e, (count - 1) * s + d * (k - 1) + 1 - size - b)))
        padded = np.pad(x, [(0, 0), (0, 0), *grown], constant_values=-np.inf)
        numbers = np.pad(np.arange(x.size).reshape(x.shape), [(0, 0), (0, 0), *grown])
        seen = []
        for offset in product(*map(range, kernel_shape)):
            at = [
                slice(o * d, o * d + (c - 1) * s + 1, s)
                for o, d, s, c in zip(offset, dilations, strides, out, strict=True)
            ]
            seen.append((slice(None), slice(None), *at))
        values = np.stack([padded[at] for at in seen])
        first = values.argmax(0)[None]
        result = [np.take_along_axis(v, first, 0)[0] for v in (values, np.stack([numbers[at] for at in seen]))]
        return tuple(result[: len(self.onnx_node.output)])


class GlobalMaxPool(OpRun):
    """The reference keeps an axis too many of volumes."""

    def _run(self, x):  # type: ignore[no-untyped-def]
        return (x.max(axis=tuple(range(2, x.ndim)), keepdims=True),)


class BatchNormalization(OpRun):
    """The reference mistakes the axes of a matrix."""

    def _run(self, x, scale, bias, mean, variance, epsilon=1e-5, **_):  # type: ignore[no-untyped-def]
        scale, bias, mean, variance = (v.reshape([-1] + [1] * (x.ndim - 2)) for v in (scale, bias, mean, variance))
        return ((x - mean) / np.sqrt(variance + epsilon) * scale + bias,)


class GroupNormalization(OpRun):
    """The reference knows one scale for each group only, as in opset 18."""

    def _run(self, x, scale, bias, epsilon=1e-5, num_groups=1, **_):  # type: ignore[no-untyped-def]
        groups = x.reshape(x.shape[0], num_groups, -1)
        normal = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + epsilon)
        each = x.shape[1] // scale.size
        scale, bias = (np.repeat(v, each).reshape([-1] + [1] * (x.ndim - 2)) for v in (scale, bias))
        return (normal.reshape(x.shape) * scale + bias,)


class LpNormalization(OpRun):
    """The reference forgets the absolute value; zeros stay zeros, as in ONNX Runtime."""

    def _run(self, x, axis=-1, p=2):  # type: ignore[no-untyped-def]
        norm = np.linalg.norm(x, p, axis, keepdims=True)
        return (x / np.where(norm == 0, 1, norm),)


class MeanVarianceNormalization(OpRun):
    """The reference has single precision only."""

    def _run(self, x, axes=(0, 2, 3)):  # type: ignore[no-untyped-def]
        axes = tuple(axes)
        return ((x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True) + 1e-9),)


class LRN(OpRun):
    """The reference rounds to single precision."""

    def _run(self, x, alpha=1e-4, beta=0.75, bias=1.0, size=1):  # type: ignore[no-untyped-def]
        around = np.zeros_like(x)
        for c in range(x.shape[1]):
            around[:, c] = (x[:, max(0, c - (size - 1) // 2) : c + size // 2 + 1] ** 2).sum(1)
        return (x / (bias + alpha / size * around) ** beta,)


class RoiAlign(OpRun):
    """The reference differs in detail from what ONNX Runtime and torchvision do."""

    def _run(  # type: ignore[no-untyped-def]
        self, x, rois, batch, coordinate_transformation_mode=None, mode="avg", output_height=1, output_width=1,
        sampling_ratio=0, spatial_scale=1.0,
    ):  # fmt: skip
        assert mode == "avg"
        aligned = coordinate_transformation_mode == "half_pixel"
        boxes = torch.tensor(np.concatenate([batch[:, None].astype(x.dtype), rois], 1))
        size = (output_height, output_width)
        return (torchvision.ops.roi_align(_tensor(x), boxes, size, spatial_scale, sampling_ratio, aligned).numpy(),)


class GridSample(OpRun):
    """The reference differs in detail from what ONNX Runtime and PyTorch do."""

    def _run(self, x, grid, align_corners=0, mode="linear", padding_mode="zeros"):  # type: ignore[no-untyped-def]
        mode = {"nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}.get(mode, "bilinear")
        return (F.grid_sample(_tensor(x), _tensor(grid), mode, padding_mode, bool(align_corners)).numpy(),)


class DeformConv(OpRun):
    """The reference rounds to single precision."""

    def _run(  # type: ignore[no-untyped-def]
        self, x, w, offset, b=None, mask=None, dilations=None, group=1, kernel_shape=None, offset_group=1, pads=None,
        strides=None,
    ):  # fmt: skip
        pads, more = list(pads or [0] * 4), [None if v is None else _tensor(v) for v in (b, mask)]
        assert pads[:2] == pads[2:]
        sizes = tuple(strides or (1, 1)), tuple(pads[:2]), tuple(dilations or (1, 1))
        found = torchvision.ops.deform_conv2d(_tensor(x), _tensor(offset), _tensor(w), more[0], *sizes, more[1])
        return (found.numpy(),)


class LpPool(OpRun):
    """The reference knows no double precision."""

    def _run(  # type: ignore[no-untyped-def]
        self, x, auto_pad="NOTSET", ceil_mode=0, dilations=None, kernel_shape=None, p=2, pads=None, strides=None
    ):  # fmt: skip
        n = len(kernel_shape)
        strides, dilations = list(strides or [1] * n), list(dilations or [1] * n)
        low, high = _pads(x.shape[2:], kernel_shape, strides, dilations, pads, auto_pad)
        room = [
            size + b + e - d * (k - 1) - 1
            for size, b, e, d, k in zip(x.shape[2:], low, high, dilations, kernel_shape, strict=True)
        ]
        out = [(-(-r // s) if ceil_mode else r // s) + 1 for r, s in zip(room, strides, strict=True)]
        padded = np.pad(np.abs(x) ** p, [(0, 0), (0, 0), *((b, e + 9) for b, e in zip(low, high, strict=True))])
        total = 0
        for offset in product(*map(range, kernel_shape)):
            at = [
                slice(o * d, o * d + (c - 1) * s + 1, s)
                for o, d, s, c in zip(offset, dilations, strides, out, strict=True)
            ]
            total = total + padded[(slice(None), slice(None), *at)]
        return (total ** (1 / p),)


class GlobalLpPool(OpRun):
    """The reference has none."""

    def _run(self, x, p=2):  # type: ignore[no-untyped-def]
        return ((np.abs(x) ** p).sum(tuple(range(2, x.ndim)), keepdims=True) ** (1 / p),)


FORWARD = [
    BatchNormalization, Conv, ConvTranspose, DeformConv, GlobalLpPool, GlobalMaxPool, GridSample, GroupNormalization,
    LRN, LpNormalization, LpPool, MaxPool, Mean, MeanVarianceNormalization, RoiAlign,
]  # fmt: skip
