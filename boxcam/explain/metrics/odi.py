"""ODAM's object discrimination index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.metrics.arithmetic import Array, Mask, check_mask, evidence, region_of, share
from boxcam.types import Float


def odi(values: Float, own: Array, others: Sequence[Array]) -> float:
    """How much of a map's evidence on objects lies on other ones: Σ_others H / Σ_all H. The lower, the better.

    Zhao and Chan 2023 (see `compactness`), the object discrimination index, and its code (tools/eval_odi.py): both sums
    are over the union of regions, those of objects of any class, no crowds. What belongs to both the object and another
    one counts as the other's. Difference from that code: with no other object in the image, or no evidence on any
    object, there is nothing to tell apart, which is NaN here and 0, the best value, there.

    Args:
        values: [H, W], a map in image pixels.
        own: the object's box, [4] in image pixels, or its mask, bool [H, W].
        others: those of all other objects.

    Returns:
        0 to 1, or NaN.

    Raises:
        ArgumentError: it is not a map, or a mask is of another size.

    >>> import numpy as np
    >>> odi(np.float32([[3, 0, 1, 5]]), np.array([0, 0, 1, 1]), [np.array([2, 0, 3, 1])])
    0.25
    """
    heat = evidence(values)
    if not others:
        return float("nan")
    other: Mask = np.logical_or.reduce([_region(one, heat.shape) for one in others])
    return share(heat, other, other | _region(own, heat.shape))


def _region(one: Array, shape: tuple[int, ...]) -> Mask:
    return region_of(one, shape) if one.ndim == 1 else check_mask(one, shape)
