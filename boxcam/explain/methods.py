"""CAM methods: how the gradient of one box's target becomes a map of cells.

A method is one short function of the activation A (float32 [C, H, W], the whole feature map or the proposal's row)
and the patch that holds G = ∂y/∂A (zero outside the patch). It sees no image: `placement` puts its map there.
Sums are taken in float64; the map is float32 and finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import BoxcamError
from boxcam.registry import Registry
from boxcam.types import CellMap, Float, Patch

Method = Callable[[Float, Patch], CellMap]
METHODS: Registry[Method] = Registry("method")


@METHODS.register("gradcam")
def gradcam(activation: Float, patch: Patch) -> CellMap:
    """Grad-CAM: ReLU(Σₖ αₖ Aₖ), αₖ = (1/Z) Σᵢⱼ Gₖᵢⱼ, Z = H·W.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 (α) and 2 (the map). Z counts the cells of the whole feature map, whatever the patch covers, and the
    map covers all of it: its corner is (0, 0). Where no channel speaks for the box, the map is zero.
    """
    gradient, _ = _inside(activation, patch)
    alpha = gradient.sum(axis=(1, 2), dtype=np.float64) / (activation.shape[1] * activation.shape[2])
    weighted = np.einsum("k,kij->ij", alpha, activation, optimize=True)  # in float64, as alpha is
    return CellMap(_float32(np.maximum(weighted, 0)), (0, 0))


@METHODS.register("hirescam")
def hirescam(activation: Float, patch: Patch) -> CellMap:
    """HiResCAM: Σₖ Gₖ ⊙ Aₖ, cell by cell.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
    2020 (arXiv:2011.08891), the definition of HiResCAM in section 3. As published there is no ReLU: negative cells
    speak against the box. The map covers the patch only; cells of it that overhang the feature map are zero.
    """
    gradient, (rows, columns) = _inside(activation, patch)
    y0, x0 = patch.corner
    values = np.zeros(patch.gradient.shape[1:], np.float64)
    values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0] = np.einsum(
        "kij,kij->ij", gradient, activation[:, rows, columns], dtype=np.float64, casting="same_kind"
    )
    return CellMap(_float32(values), patch.corner)


def _inside(activation: Float, patch: Patch) -> tuple[Float, tuple[slice, slice]]:
    """The part of the patch's gradient that lies on the feature map, and where: rows and columns of the map.

    Raises:
        ValueError: the shapes or dtypes do not go together.
    """
    if activation.ndim != 3 or activation.dtype != np.float32 or 0 in activation.shape:
        raise ValueError(f"activation: {activation.dtype} {list(activation.shape)}, expected float32 [C, H, W]")
    if patch.gradient.shape[0] != activation.shape[0]:
        raise ValueError(f"gradient of {patch.gradient.shape[0]} channels, activation of {activation.shape[0]}")
    rows, columns = (
        slice(min(max(corner, 0), size), min(max(corner + extent, 0), size))
        for corner, extent, size in zip(patch.corner, patch.gradient.shape[1:], activation.shape[1:], strict=True)
    )
    y0, x0 = patch.corner
    cut = patch.gradient[:, rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
    return cut, (rows, columns)


def _float32(values: npt.NDArray[Any]) -> Float:
    """Float32, held within its range.

    Raises:
        BoxcamError: a value is NaN or infinite.
    """
    if not np.isfinite(values).all():
        raise BoxcamError(
            "a map holds NaN or infinite values: the model's feature map or gradient does."
            " Check the model on this image, or choose another layer."
        )
    limit = np.finfo(np.float32).max
    return np.clip(values, -limit, limit).astype(np.float32)
