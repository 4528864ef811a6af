"""The energy-based pointing game."""

from __future__ import annotations

from boxcam.explain.metrics.arithmetic import Array, check_mask, evidence, region_of, share
from boxcam.types import Float


def energy(values: Float, box: Array, mask: Array | None = None) -> float:
    """The share of a map's evidence inside its object: Σ_object H / Σ H, with H = max(values, 0).

    Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR 2020 workshops
    (arXiv:1910.01279). The box's sides are rounded outwards, and the mask is taken whether or not it
    leaves the box, as in ODAM's code (tools/eval_pointgame.py), which scales the map before, see `evidence`, and adds
    1e-10 to the denominator: there a map without evidence has 0.

    Args:
        values: [H, W], a map in image pixels.
        box: [4], x1 y1 x2 y2 in image pixels.
        mask: bool [H, W], the object's pixels, which are then taken in place of the box.

    Returns:
        0 to 1, NaN for a map without evidence.

    Raises:
        ArgumentError: it is not a map, or the mask is of another size.

    >>> import numpy as np
    >>> energy(np.ones((4, 4), np.float32), np.array([0, 0, 2, 2]))
    0.25
    """
    heat = evidence(values)
    return share(heat, region_of(box, heat.shape) if mask is None else check_mask(mask, heat.shape))
