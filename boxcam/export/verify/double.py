"""Operators in double precision, for checks by finite differences.

ONNX's reference implementation rounds some operators to single precision, goes through others window by window, or
sample by sample, in Python, and copies all windows of a convolution. These are the same operators in numpy, whole
arrays at a time; those whose windows slide are in `sliding`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from onnx.reference.op_run import OpRun

from boxcam.export.graphs.query import Array
from boxcam.export.verify.resizing import Resize
from boxcam.export.verify.sliding import AveragePool, Conv, ConvTranspose, MaxPool
from boxcam.export.verify.taps import cubic, linear, nearest

Whole = npt.NDArray[np.int64]


class Erf(OpRun):
    """The error function in the precision of its input: ONNX's own reference implementation rounds it to float32."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(math.erf, otypes=[np.float64])(x).astype(x.dtype),)


class Gelu(OpRun):
    """GELU in the precision of its input: ONNX's own reference implementation makes it of its own `Erf`."""

    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate == "tanh":
            return (x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),)
        return (x / 2 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)).astype(x.dtype)),)


class GatherElements(OpRun):
    """Elements at indices along one axis: ONNX's own takes no more than 64 of them."""

    op_domain = ""

    def _run(self, x: Array, indices: Whole, axis: int = 0) -> tuple[Array]:
        along = axis % x.ndim
        there = tuple(slice(None) if a == along else slice(size) for a, size in enumerate(indices.shape))
        return (np.take_along_axis(x[there], indices.astype(np.int64) % x.shape[along], along),)


class GridSample(OpRun):
    """Values of maps [N, C, H, W] between cells, as PyTorch and ONNX Runtime read them."""

    op_domain = ""

    def _run(
        self, x: Array, grid: Array, align_corners: int = 0, mode: str = "linear", padding_mode: str = "zeros"
    ) -> tuple[Array]:
        sizes = x.shape[:1:-1]  # across, down, as the grid's columns
        ends = [(0.0, size - 1.0) if align_corners else (-0.5, size - 0.5) for size in sizes]
        at = [(grid[..., a] + 1) / 2 * (end - start) + start for a, (start, end) in enumerate(ends)]
        smooth = mode in ("cubic", "bicubic")
        if not smooth:
            at = [_within(a, size, end, padding_mode) for a, size, end in zip(at, sizes, ends, strict=True)]
        taps = [cubic(a) if smooth else nearest(a) if mode == "nearest" else linear(a) for a in at]
        result = 0.0
        for (column, across), (row, down) in product(*taps):
            if smooth:
                column, row = (
                    _within(a, size, end, padding_mode) for a, size, end in zip((column, row), sizes, ends, strict=True)
                )
            result = result + _cells(x, row, column) * (across * down)[:, None]
        return (np.asarray(result, x.dtype),)


def _within(at: Array, size: int, ends: tuple[float, float], padding: str) -> Array:
    """Positions brought back onto a map, by its border or by reflection."""
    if padding == "reflection":
        start, end = ends
        if end == start:
            return np.zeros_like(at)
        at = np.abs(at - start) % (2 * (end - start))
        at = start + np.minimum(at, 2 * (end - start) - at)
    return at if padding == "zeros" else np.clip(at, 0, size - 1)


def _cells(x: Array, row: Array, column: Array) -> Array:
    """Cells of maps [N, C, H, W] at whole positions [N, …], as [N, C, …]; zero outside."""
    height, width = x.shape[2:]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    r, c = (np.where(inside, a, 0).astype(np.int64) for a in (row, column))
    images = np.arange(len(x)).reshape(-1, *[1] * (row.ndim - 1))
    found = np.moveaxis(x, 1, -1)[images, r, c] * inside[..., None]
    return np.asarray(np.moveaxis(found, -1, 1))


class DeformConv(OpRun):
    """A convolution whose taps are moved, and read between cells; nothing beyond the map, as torchvision does."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        weight: Array,
        offset: Array,
        bias: Array | None = None,
        mask: Array | None = None,
        dilations: Sequence[int] | None = None,
        group: int = 1,
        kernel_shape: Sequence[int] | None = None,
        offset_group: int = 1,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
    ) -> tuple[Array]:
        (count, channels), (down, across) = x.shape[:2], weight.shape[2:]
        size = offset.shape[2:]
        moved = offset.reshape(count, offset_group, down * across, 2, *size)
        seen = None if mask is None else mask.reshape(count, offset_group, down * across, *size)
        maps = x.reshape(count, offset_group, channels // offset_group, *x.shape[2:])
        shared = weight.reshape(group, -1, *weight.shape[1:])
        result = np.zeros((count, group, shared.shape[1], *size), x.dtype)
        grid = [np.arange(n) * s - p for n, s, p in zip(size, strides or (1, 1), list(pads or (0, 0))[:2], strict=True)]
        step = dilations or (1, 1)
        for tap, (i, j) in enumerate(product(range(down), range(across))):
            read = np.empty((count, offset_group, maps.shape[2], *size), x.dtype)
            for part in range(offset_group):
                rows = grid[0][:, None] + i * step[0] + moved[:, part, tap, 0]
                columns = grid[1] + j * step[1] + moved[:, part, tap, 1]
                found = sum(
                    _cells(maps[:, part], row, column) * (a * b)[:, None]
                    for (row, a), (column, b) in product(linear(rows), linear(columns))
                )
                read[:, part] = found if seen is None else found * seen[:, part, tap][:, None]
            inputs = read.reshape(count, group, channels // group, *size)
            result += np.einsum("goc,ngchw->ngohw", shared[..., i, j], inputs, optimize=True)
        result = result.reshape(count, -1, *size)
        return (result if bias is None else result + bias[:, None, None],)


class RoiAlign(OpRun):
    """Means of samples within proposals, as ONNX Runtime and torchvision take them."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        rois: Array,
        batch: Whole,
        coordinate_transformation_mode: str = "half_pixel",
        mode: str = "avg",
        output_height: int = 1,
        output_width: int = 1,
        sampling_ratio: int = 0,
        spatial_scale: float = 1.0,
    ) -> tuple[Array]:
        aligned = coordinate_transformation_mode == "half_pixel"
        result = np.zeros((len(rois), x.shape[1], output_height, output_width), x.dtype)
        for number, (roi, image) in enumerate(zip(rois, batch, strict=True)):
            x1, y1, x2, y2 = roi * spatial_scale - (0.5 if aligned else 0.0)
            down = _samples(y1, y2, output_height, sampling_ratio, aligned)
            across = _samples(x1, x2, output_width, sampling_ratio, aligned)
            rows, columns = _interpolation(down, x.shape[2]), _interpolation(across, x.shape[3])
            bins = [m.reshape(n, -1, m.shape[1]).mean(1) for m, n in ((rows, output_height), (columns, output_width))]
            result[number] = np.einsum("ph,chw,qw->cpq", bins[0], x[int(image)], bins[1], optimize=True)
        return (result,)


def _samples(start: float, end: float, bins: int, ratio: int, aligned: bool) -> Array:
    """Where samples lie along one axis, the same number for each bin."""
    length = end - start if aligned else max(end - start, 1.0)
    each = ratio if ratio > 0 else max(math.ceil(length / bins), 1)
    return np.asarray(start + (np.arange(bins * each) + 0.5) * length / (bins * each))


def _interpolation(at: Array, size: int) -> Array:
    """Weights [samples, size] that read a line of cells between them; a cell beyond its ends reads nothing."""
    there = (at >= -1) & (at <= size)
    at = np.clip(at, 0, size - 1)
    low = np.minimum(np.floor(at).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    weights = np.zeros((len(at), size))
    rows = np.arange(len(at))
    np.add.at(weights, (rows, low), (1 - (at - low)) * there)
    np.add.at(weights, (rows, high), (at - low) * there)
    return weights


OPERATORS: Sequence[type[OpRun]] = (
    *(AveragePool, Conv, ConvTranspose, DeformConv, Erf),
    *(GatherElements, Gelu, GridSample, MaxPool, Resize, RoiAlign),
)
"""Those that take the place of ONNX's own."""
