"""What several metrics compute: the evidence of a map, regions of pixels, and where a map is highest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import ArgumentError
from boxcam.types import Float

Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


def evidence(values: Float) -> Array:
    """What of a map speaks for its box, max(values, 0): float64 [H, W].

    ODAM's code also subtracts the map's smallest value and divides by what is then the largest. The division changes
    no metric here; the subtraction does where a map has no pixel without evidence, and is left out.

    Raises:
        ArgumentError: it is not a map of two axes with finite values.
    """
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ArgumentError(
            f"values= of shape {list(values.shape)} is not a map. Pass finite numbers, [H, W], such as"
            " explanation.map(0)."
        )
    return np.maximum(values, 0).astype(np.float64)


def region_of(box: Array, shape: tuple[int, ...]) -> Mask:
    """The pixels that a box touches: bool [H, W].

    Sides are rounded outwards and cut at the image's edge, as ODAM's code does.

    Args:
        box: [4], x1 y1 x2 y2 in image pixels.
        shape: height and width of the image.
    """
    x1, y1 = np.maximum(np.floor(box[:2]), 0).astype(int)
    x2, y2 = np.maximum(np.ceil(box[2:]), 0).astype(int)
    region = np.zeros(shape, np.bool_)
    region[y1:y2, x1:x2] = True
    return region


def check_mask(mask: Array, shape: tuple[int, ...]) -> Mask:
    """A mask as bool [H, W].

    Raises:
        ArgumentError: it is of another size than the map.
    """
    if mask.shape != shape:
        raise ArgumentError(
            f"mask= is of shape {list(mask.shape)} and the map of {list(shape)}. Pass a mask as large as the image."
        )
    return mask.astype(np.bool_)


def share(heat: Array, region: Mask, of: Mask | None = None) -> float:
    """The share of a map's evidence that lies in a region; NaN if there is none at all.

    Args:
        heat: float64 [H, W], nowhere negative.
        region: bool [H, W].
        of: count only the evidence in here; everywhere by default.
    """
    total = float(heat.sum() if of is None else heat[of].sum())
    return float(heat[region].sum()) / total if total > 0 else float("nan")


def highest(heat: Array) -> tuple[Array, Array]:
    """Rows and columns of the pixels where a map is highest; none if it is nowhere positive."""
    peak = heat.max()
    rows, columns = np.nonzero(heat == peak) if peak > 0 else (np.zeros(0, int), np.zeros(0, int))
    return rows, columns
