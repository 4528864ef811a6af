"""What several methods compute: sums over channels, and what of a patch lies on its feature map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import RunError
from boxcam.types import CellMap, Float, Patch

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Gradient:
    """The gradient of one box's target on a feature map of H·W cells.

    Attributes:
        cells: [C, h, w], in the cells of the patch that lie on the map, what is uniform included.
        uniform: float64 [C], in every other cell; None if it is zero there.
        others: how many other cells there are.
        rows, columns: of the map, where ``cells`` lie.
    """

    cells: Array
    uniform: Array | None
    others: int
    rows: slice
    columns: slice

    def sum(self, change: Callable[[Array], Array] = lambda values: values) -> Array:
        """Σᵢⱼ of a function of the gradient that is zero where the gradient is: float64 [C].

        Args:
            change: the function, of gradients [C, n] in n cells.
        """
        found: Array = change(self.cells.reshape(len(self.cells), -1)).sum(axis=1, dtype=np.float64)
        if self.uniform is not None and self.others:
            found = found + self.others * change(self.uniform[:, None])[:, 0]
        return found

    @property
    def largest(self) -> Array:
        """maxᵢⱼ |Gₖᵢⱼ|: float64 [C]."""
        found: Array = np.abs(self.cells).max(axis=(1, 2), initial=0).astype(np.float64)
        if self.uniform is not None and self.others:
            found = np.maximum(found, np.abs(self.uniform))
        return found


def gradient_of(activation: Float, patch: Patch) -> Gradient:
    """The gradient that a patch stands for.

    Raises:
        RunError: a value is NaN or infinite, also one that a method would leave out, such as the negative ones.
    """
    cells, (rows, columns) = inside(activation, patch)
    check_finite(cells)
    if patch.uniform is not None:
        check_finite(patch.uniform)
    others = activation[0].size - cells[0].size
    if patch.uniform is None:
        return Gradient(cells, None, others, rows, columns)
    uniform = patch.uniform.astype(np.float64)
    return Gradient(cells + uniform[:, None, None], uniform, others, rows, columns)


def by_channel(activation: Float, patches: Sequence[Patch], weigh: Callable[[Gradient], Array]) -> list[CellMap]:
    """ReLU(Σₖ wₖ Aₖ): a weight for each channel. The map covers the whole feature map: its corner is (0, 0).

    Args:
        activation: float32 [C, H, W].
        patches: of boxes that look at it.
        weigh: gives w, float64 [C].
    """
    check(activation, patches)
    maps = weighted([weigh(gradient_of(activation, patch)) for patch in patches], activation)
    np.maximum(maps, 0, out=maps)
    return [CellMap(values, (0, 0)) for values in maps]


def by_cell(
    activation: Float, patches: Sequence[Patch], weigh: Callable[[Gradient], tuple[Array, Array | None]]
) -> list[CellMap]:
    """Σₖ wₖᵢⱼ Aₖᵢⱼ: a weight for each channel in each cell, which is zero where the gradient is.

    The map covers the patch only, or the whole feature map if the gradient is uniform outside; cells of it that
    overhang the feature map are zero. Sums over channels are taken in float64.

    Args:
        activation: float32 [C, H, W].
        patches: of boxes that look at it.
        weigh: gives w in ``gradient.cells``, [C, h, w], and in every other cell, [C], or None.
    """
    check(activation, patches)
    products, outside = [], []
    for patch in patches:
        gradient = gradient_of(activation, patch)
        weights, others = weigh(gradient)
        there = activation[:, gradient.rows, gradient.columns]
        products.append(np.einsum("kij,kij->ij", weights, there, dtype=np.float64, casting="same_kind"))
        if others is not None:
            outside.append(others)
    everywhere = iter(weighted(outside, activation))
    maps = []
    for patch, product in zip(patches, products, strict=True):
        _, (rows, columns) = inside(activation, patch)
        if patch.uniform is None:
            values, (y0, x0) = np.zeros(patch.gradient.shape[1:], np.float32), patch.corner
        else:
            values, (y0, x0) = next(everywhere), (0, 0)
        values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] = float32(product)
        maps.append(CellMap(values, (y0, x0)))
    return maps


def positive(maps: Sequence[CellMap]) -> list[CellMap]:
    """ReLU: what speaks for the box."""
    return [CellMap(np.maximum(cells.values, 0), cells.corner) for cells in maps]


def ratio(over: Array, under: Array) -> Array:
    """over / under in float64, and 0 where ``under`` is."""
    shape = np.broadcast_shapes(over.shape, under.shape)
    with np.errstate(invalid="ignore"):  # of features that are infinite, which are refused where they are multiplied
        result: Array = np.divide(over, under, out=np.zeros(shape), where=under != 0, dtype=np.float64)
    return result


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


def one_thread() -> AbstractContextManager[Any]:
    """One thread for products: those of a BLAS spin on afterwards, and slow down the next forward pass by a tenth."""
    found: AbstractContextManager[Any] = _threads().limit(limits=1, user_api="blas")
    return found


def weighted(weights: Sequence[npt.NDArray[Any]], activation: Float) -> Float:
    """Σₖ wₖ Aₖ for each of some boxes, as one product of matrices: [boxes, H, W]."""
    shape = len(weights), *activation.shape[1:]
    if not len(weights):
        return np.zeros(shape, np.float32)
    table, flat = np.array(weights, np.float64), activation.reshape(len(activation), -1)
    with np.errstate(over="ignore", invalid="ignore"), one_thread():
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
            raise ValueError(f"channels: {len(patch.gradient)} of the gradient, {len(activation)} of the activation")


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
    check_finite(values)
    limit = np.finfo(np.float32).max
    return np.clip(values, -limit, limit).astype(np.float32)


def check_finite(values: npt.NDArray[Any]) -> None:
    """Refuse what is no number.

    Raises:
        RunError: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise RunError(
            "a map holds NaN or infinite values: the model's feature map or gradient does."
            " Check the model on this image, or choose another layer."
        )
