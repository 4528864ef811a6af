"""How alike two maps are."""

from __future__ import annotations

import cv2
import numpy as np

from boxcam.errors import ArgumentError
from boxcam.explain.metrics.arithmetic import Array, Mask, evidence
from boxcam.types import Float

_LARGEST_SIDE = 400
"""Pixels of the longer side at which maps are compared: those of a layer are coarser anyway."""
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def rank_correlation(one: Float, other: Float) -> float:
    """Spearman's rank correlation of the evidence of two maps, pixel by pixel; equal values have their mean rank.

    Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018 (arXiv:1810.03292), who take it of absolute values
    and of values as they are, over the whole image; here it is of max(value, 0), which is what is shown. Difference:
    pixels that are exactly 0 in both maps are left out. A map of a detector is 0 outside of the cells that its box
    depends on, whatever the weights are, and any two maps with the same such cells would be alike. Maps that are larger
    than 400 pixels are averaged down first.

    Args:
        one, other: [H, W], both.

    Returns:
        -1 to 1; NaN if one of them is the same everywhere, and so has no ranks.

    Raises:
        ArgumentError: one is not a map, or they are of different sizes.

    >>> import numpy as np
    >>> rank_correlation(np.float32([[1, 2, 3, 9]]), np.float32([[0, 0.1, 0.2, 0.3]]))
    1.0
    >>> rank_correlation(np.float32([[1, 2, 3, 0, 0]]), np.float32([[3, 1, 2, 0, 0]]))
    -0.5
    """
    heats = _pair(one, other)
    there = np.logical_or(*(heat != 0 for heat in heats))
    a, b = (_ranks(np.maximum(heat[there], 0)) for heat in heats)
    if not len(a):
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / scale, -1, 1)) if scale > 0 else float("nan")


def structural_similarity(one: Float, other: Float) -> float:
    """SSIM of the evidence of two maps, each as a share of its peak, in Gaussian windows of 11 pixels.

    Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE Transactions on Image
    Processing 2004, with its constants; the second measure of Adebayo et al. (see `rank_correlation`). What lies
    outside of the smallest rectangle with all pixels that are not 0 in both is left out, for the same reason as there;
    so are windows that would reach over its edge.

    Args:
        one, other: [H, W], both.

    Returns:
        -1 to 1; NaN for a map without evidence, or if that rectangle has less than 11 pixels a side.

    Raises:
        ArgumentError: one is not a map, or they are of different sizes.

    >>> import numpy as np
    >>> structural_similarity(np.eye(16, dtype=np.float32), np.eye(16, dtype=np.float32) * 5)
    1.0
    """
    heats = _pair(one, other)
    region = _rectangle(np.logical_or(*(heat != 0 for heat in heats)))
    a, b = (np.maximum(heat[region], 0) for heat in heats)
    if min(a.shape) < _WINDOW:
        return float("nan")
    peaks = float(a.max()), float(b.max())
    if not min(peaks) > 0:
        return float("nan")
    a, b = a / peaks[0], b / peaks[1]
    mean_a, mean_b = _smooth(a), _smooth(b)
    var_a, var_b = _smooth(a * a) - mean_a**2, _smooth(b * b) - mean_b**2
    shared = _smooth(a * b) - mean_a * mean_b
    above = (2 * mean_a * mean_b + _C1) * (2 * shared + _C2)
    below = (mean_a**2 + mean_b**2 + _C1) * (var_a + var_b + _C2)
    edge = _WINDOW // 2
    return float((above / below)[edge:-edge, edge:-edge].mean())


def _pair(one: Float, other: Float) -> tuple[Array, Array]:
    """Both as float64, negative values included, small enough.

    Raises:
        ArgumentError: one is not a map, or they are of different sizes.
    """
    if one.shape != other.shape:
        raise ArgumentError(
            f"values= of shapes {list(one.shape)} and {list(other.shape)} cannot be compared. Pass two maps of one"
            " image."
        )
    return _small(one), _small(other)


def _small(values: Float) -> Array:
    evidence(values)  # says what is not a map
    heat: Array = values.astype(np.float64)
    factor = _LARGEST_SIDE / max(heat.shape)
    if factor >= 1:
        return heat
    size = max(1, round(heat.shape[1] * factor)), max(1, round(heat.shape[0] * factor))
    return np.asarray(cv2.resize(heat, size, interpolation=cv2.INTER_AREA))


def _rectangle(there: Mask) -> tuple[slice, slice]:
    """The smallest one that holds all pixels that are true."""
    rows, columns = (np.flatnonzero(there.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return slice(0), slice(0)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _ranks(heat: Array) -> Array:
    """The rank of each pixel, from 0; equal ones have their mean: float64 [H · W]."""
    _, where, counts = np.unique(heat, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    found: Array = (last - (counts - 1) / 2)[where.ravel()]
    return found


def _smooth(values: Array) -> Array:
    return np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT))
