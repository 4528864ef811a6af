"""What several methods compute: sums over channels, and what of a patch lies on its feature map."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import RunError
from boxcam.types import CellMap, Float, Patch


def strongest(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """The absolute gradient of the channel where it is largest, cell by cell."""
    check(activation, patches)
    maps = []
    for patch in patches:
        gradient, (rows, columns) = inside(activation, patch)
        if patch.uniform is None:
            total: npt.NDArray[Any] = gradient
            values, (y0, x0) = np.zeros(patch.gradient.shape[1:], np.float32), patch.corner
        else:
            outside = float32(np.abs(patch.uniform).max(keepdims=True))
            total = gradient + patch.uniform.astype(np.float64)[:, None, None]
            values, (y0, x0) = np.full(activation.shape[1:], outside, np.float32), (0, 0)
        there = values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        there[:] = float32(np.abs(total).max(axis=0))
        maps.append(CellMap(values, (y0, x0)))
    return maps


@cache
def _threads() -> Any:
    """What sets the number of a BLAS's threads."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def weighted(weights: Sequence[npt.NDArray[Any]], activation: Float) -> Float:
    """Σₖ wₖ Aₖ for each of some boxes, as one product of matrices: [boxes, H, W]."""
    shape = len(weights), *activation.shape[1:]
    if not len(weights):
        return np.zeros(shape, np.float32)
    table, flat = np.array(weights, np.float64), activation.reshape(len(activation), -1)
    # On one thread: those of a BLAS spin on after a product, which slows down the next forward pass by a tenth.
    with np.errstate(over="ignore", invalid="ignore"), _threads().limit(limits=1, user_api="blas"):
        result: Float = table.astype(np.float32) @ flat
    if not np.isfinite(result).all():  # beyond float32, or no number, which is refused
        with np.errstate(invalid="ignore"):
            result = float32(table @ flat.astype(np.float64))
    return result.reshape(shape)


def check(activation: Float, patches: Sequence[Patch]) -> None:
    """Check that shapes and dtypes go together.

    Raises:
        ValueError: they do not.
    """
    if activation.ndim != 3 or activation.dtype != np.float32 or 0 in activation.shape:
        raise ValueError(f"activation: {activation.dtype} {list(activation.shape)}, expected float32 [C, H, W]")
    for patch in patches:
        if len(patch.gradient) != len(activation):
            raise ValueError(f"gradient of {len(patch.gradient)} channels, activation of {len(activation)}")


def inside(activation: Float, patch: Patch) -> tuple[Float, tuple[slice, slice]]:
    """The part of the patch's gradient that lies on the feature map, and where: rows and columns of the map."""
    rows, columns = (
        slice(min(max(corner, 0), size), min(max(corner + extent, 0), size))
        for corner, extent, size in zip(patch.corner, patch.gradient.shape[1:], activation.shape[1:], strict=True)
    )
    y0, x0 = patch.corner
    cut = patch.gradient[:, rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    return cut, (rows, columns)


def float32(values: npt.NDArray[Any]) -> Float:
    """Float32, held within its range.

    Raises:
        RunError: a value is NaN or infinite.
    """
    with np.errstate(over="ignore"):
        result: Float = values.astype(np.float32)
    if np.isfinite(result).all():
        return result
    if not np.isfinite(values).all():
        raise RunError(
            "a map holds NaN or infinite values: the model's feature map or gradient does."
            " Check the model on this image, or choose another layer."
        )
    limit = np.finfo(np.float32).max
    return np.clip(values, -limit, limit).astype(np.float32)
