"""How well a map, cut at a threshold, is the object's mask."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import Array, check_mask, evidence
from boxcam.types import Float

THRESHOLDS = tuple(step / 10 for step in range(1, 10))


def mask_iou(values: Float, mask: Array) -> tuple[float, ...]:
    """IoU of the object's mask with what of a map is above 0.1, 0.2 … 0.9 of its peak.

    Zhao and Chan 2023 (see `compactness`), and its code (tools/eval_mask_IoU.py), which subtracts the map's smallest
    value before, see `evidence`. "Above" leaves out what is equal.

    Args:
        values: [H, W], a map in image pixels.
        mask: bool [H, W], the object's pixels.

    Returns:
        One for each of `THRESHOLDS`, 0 to 1; NaN for a map without evidence.

    Raises:
        ArgumentError: it is not a map, or the mask is of another size.

    >>> import numpy as np
    >>> mask_iou(np.float32([[1.0, 0.45, 0.0]]), np.array([[True, True, False]]))
    (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5)
    """
    heat, object_ = evidence(values), check_mask(mask, values.shape)
    peak = heat.max()
    if not peak > 0:
        return (float("nan"),) * len(THRESHOLDS)
    found = []
    for threshold in THRESHOLDS:
        above = heat / peak > threshold
        found.append(float(np.sum(above & object_) / np.sum(above | object_)))
    return tuple(found)
