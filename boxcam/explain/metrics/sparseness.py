"""Sparseness."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import evidence
from boxcam.types import Float


def sparseness(values: Float) -> float:
    """The Gini index of a map's evidence: 1 − 2 Σₖ (hₖ / Σ h) (N − k + ½) / N, its N pixels sorted from the lowest.

    Hurley and Rickard, "Comparing Measures of Sparsity", IEEE Transactions on Information Theory 2009
    (arXiv:0811.4706); for attributions Chalasani et al., "Concise Explanations of Neural Networks using Adversarial
    Training", ICML 2020 (arXiv:1810.06583). They, and Quantus, take absolute values; here what speaks against the box
    is no evidence. 0 for a uniform map, 1 − 1/N for a single pixel. It says how few pixels a map names, not whether
    they are the right ones.

    Args:
        values: [H, W], a map in image pixels.

    Returns:
        0 to 1, NaN for a map without evidence.

    Raises:
        ArgumentError: it is not a map.

    >>> import numpy as np
    >>> sparseness(np.float32([[0, 0, 0, 5]]))
    0.75
    """
    heat = np.sort(evidence(values), axis=None)
    total, count = heat.sum(), heat.size
    if not total > 0:
        return float("nan")
    weights = (count - np.arange(1, count + 1) + 0.5) / count
    return float(1 - 2 * (heat / total) @ weights)
