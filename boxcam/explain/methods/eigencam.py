"""Eigen-CAM, and Eigen-CAM of what speaks for a box."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import Array, check, check_finite, float32, gradient_of, one_thread
from boxcam.types import CellMap, Float, Patch


def eigencam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Eigen-CAM: ReLU(Σₖ vₖ (Aₖ - mean Aₖ)), v the first principal component of the cells' features.

    Muhammad and Yeasin, "Eigen-CAM: Class Activation Map using Principal Components", IJCNN 2020 (arXiv:2008.00299).
    It uses no gradient: it shows what stands out on the feature map that the box comes from, and all boxes of that map
    get the same. The paper projects the features as they are; here they are centred first, as in pytorch-grad-cam:
    otherwise v is mostly their mean. The sign of v is arbitrary: here Σₖ vₖ ≥ 0, so that the map rises where the
    features together do. Cells below the mean are zero. The map covers the whole feature map.
    """
    check(activation, patches)
    if not patches:
        return []
    values = _projection(activation.reshape(len(activation), -1).T.astype(np.float64)).reshape(activation.shape[1:])
    return [CellMap(values.copy(), (0, 0)) for _ in patches]


def eigengradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Eigen-Grad-CAM: ReLU(Σₖ vₖ (Xₖ - mean Xₖ)), X = G ⊙ A, v the first principal component of the cells' X.

    Eigen-CAM (Muhammad and Yeasin 2020) of HiResCAM's products before channels are added; pytorch-grad-cam
    introduced it. Σₖ vₖ ≥ 0, so that the map rises where HiResCAM's does. The map covers the whole feature map.
    """
    check(activation, patches)
    maps = []
    for patch in patches:
        gradient = gradient_of(activation, patch)
        if gradient.uniform is None:
            products = np.multiply(
                gradient.cells, activation[:, gradient.rows, gradient.columns], dtype=np.float64, casting="same_kind"
            )
            found = _projection(products.reshape(len(products), -1).T, gradient.others)
            outside, inner = (found[-1], found[:-1]) if gradient.others else (np.float32(0), found)
            values = np.full(activation.shape[1:], outside, np.float32)
            values[gradient.rows, gradient.columns] = inner.reshape(products.shape[1:])
        else:
            products = activation * gradient.uniform[:, None, None]
            products[:, gradient.rows, gradient.columns] = (
                activation[:, gradient.rows, gradient.columns] * gradient.cells
            )
            values = _projection(products.reshape(len(products), -1).T).reshape(activation.shape[1:])
        maps.append(CellMap(values, (0, 0)))
    return maps


def _projection(rows: Array, zeros: int = 0) -> Float:
    """The positive part of centred rows' first principal component.

    Rows of zeros are all alike, and weigh as one row that is longer by the root of their number.

    Args:
        rows: float64 [n, C].
        zeros: how many rows of zeros there are in addition.

    Returns:
        float32 [n], and one more, that of the rows of zeros, if there are any.
    """
    if zeros:
        rows = np.concatenate([rows, np.zeros((1, rows.shape[1]))])
    weights = np.ones(len(rows))
    weights[-1] = zeros or 1
    check_finite(rows)
    scale = np.abs(rows).max(initial=0) or 1.0
    centred = rows / scale
    centred -= weights @ centred / weights.sum()
    weighed = centred * np.sqrt(weights)[:, None]
    with one_thread():
        if len(rows) < rows.shape[1]:  # the smaller of both matrices
            left = np.linalg.eigh(weighed @ weighed.T)[1][:, -1]
            axis = left @ weighed
            axis /= np.linalg.norm(axis) or 1.0
        else:
            axis = np.linalg.eigh(weighed.T @ weighed)[1][:, -1]
    if axis.sum() < 0:
        axis = -axis
    return float32(np.maximum(centred @ axis, 0) * scale)
