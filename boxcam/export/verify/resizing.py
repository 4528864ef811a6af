"""Resize in double precision: ONNX's reference implementation, as of onnx 1.17, goes from number to number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from onnx.reference.op_run import OpRun

from boxcam.export.graphs.query import Array
from boxcam.export.verify.taps import cubic, linear

UNKNOWN: Mapping[str, tuple[object, ...]] = {
    "antialias": (1,),
    "coordinate_transformation_mode": ("tf_crop_and_resize",),
    "keep_aspect_ratio_policy": ("not_larger", "not_smaller"),
}
"""What is not computed here, as values of attributes."""

_ROUNDED: Mapping[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda at: np.ceil(at - np.float32(0.5)),
    "round_prefer_ceil": lambda at: np.floor(at + np.float32(0.5)),
    "floor": np.floor,
    "ceil": np.ceil,
}


class Resize(OpRun):
    """Maps of another size, axis by axis; nothing of `UNKNOWN`."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        region: Array | None = None,
        scales: Array | None = None,
        sizes: Array | None = None,
        axes: Sequence[int] | None = None,
        mode: str | None = "nearest",
        **how: object,
    ) -> tuple[Array]:
        chosen = list(range(x.ndim) if axes is None else axes)
        if sizes is None or not len(sizes):
            assert scales is not None
            factors = [float(scale) for scale in scales]
            counts = [_scaled(x.shape[axis], factor) for axis, factor in zip(chosen, factors, strict=True)]
        else:
            counts = [int(size) for size in sizes]
            factors = [count / x.shape[axis] for axis, count in zip(chosen, counts, strict=True)]
        if counts == [x.shape[axis] for axis in chosen]:
            return (x,)  # ONNX Runtime copies what keeps its shape, whatever the scales
        result = x
        for axis, count, scale in zip(chosen, counts, factors, strict=True):
            size = x.shape[axis]
            if count != size or scale != 1:
                result = _along(result, axis, _places(count, size, scale, str(mode), how), str(mode), how)
        return (result,)


def _scaled(size: int, scale: float) -> int:
    return int(np.floor(np.float32(size) * np.float32(scale)))


def _places(count: int, size: int, scale: float, mode: str, how: Mapping[str, object]) -> Array:
    """Where the new cells of an axis lie among the old ones.

    ONNX Runtime reckons in single precision, which decides which cell is the nearest.
    """
    kind = np.float32 if mode == "nearest" else np.float64
    way = how.get("coordinate_transformation_mode") or "half_pixel"
    offset = size / 2 * (1 - count / (scale * size)) if way == "half_pixel_symmetric" else 0.0
    numbers: list[Array] = [np.asarray(number, kind) for number in (np.arange(count), scale, 0.5, offset)]
    to, by, half, start = numbers
    if way == "asymmetric":
        return np.asarray(to / by)
    if way == "align_corners":
        return np.asarray(to * np.asarray(size - 1, kind) / np.asarray(max(count - 1, 1), kind))
    if way == "pytorch_half_pixel" and count == 1:
        return np.zeros(1, kind)
    return np.asarray(start + (to + half) / by - half)


def _along(x: Array, axis: int, at: Array, mode: str, how: Mapping[str, object]) -> Array:
    """Values between the cells of one axis; beyond its ends the last cell's."""
    size = x.shape[axis]
    if mode == "nearest":
        rows = _ROUNDED[str(how.get("nearest_mode") or "round_prefer_floor")](at)
        return x.take(np.clip(rows, 0, size - 1).astype(np.int64), axis)
    given = how.get("cubic_coeff_a")
    taps = (
        linear(np.clip(at, 0, size - 1))
        if mode == "linear"
        else cubic(at, -0.75 if given is None else float(str(given)))
    )
    weights = [weight for _, weight in taps]
    if mode == "cubic" and how.get("exclude_outside"):
        weights = [weight * ((row >= 0) & (row < size)) for row, weight in taps]
        total = np.sum(weights, axis=0)
        weights = [weight / total for weight in weights]
    found = np.zeros(1)
    for (row, _), weight in zip(taps, weights, strict=True):
        cells = x.take(np.clip(row, 0, size - 1).astype(np.int64), axis)
        found = found + cells * weight.reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    return np.asarray(found, x.dtype)
