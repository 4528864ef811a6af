"""How sure a mean is."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import Array

REPLICATES = 1000


def interval(values: Array, groups: Array, seed: int, replicates: int = REPLICATES) -> tuple[float, float]:
    """The 95 % interval of a mean, by the percentiles of a bootstrap over images.

    Boxes of one image are not independent; so whole images are drawn, with replacement, and the mean is of all boxes of
    those that were drawn (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13).

    Args:
        values: float64 [N].
        groups: [N], which image each is of.
        seed: of the draws.
        replicates: how many means are made.

    Returns:
        The lower and the upper end; NaN and NaN for fewer than two images, which tell nothing of other ones.

    >>> import numpy as np
    >>> interval(np.array([1.0, 1, 1]), np.array([0, 1, 1]), 0)
    (1.0, 1.0)
    """
    names, where = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    sums, counts = np.bincount(where, weights=values), np.bincount(where)
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=replicates)
    low, high = np.percentile((drawn @ sums) / (drawn @ counts), [2.5, 97.5])
    return float(low), float(high)
