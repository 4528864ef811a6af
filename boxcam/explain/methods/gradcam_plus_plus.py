"""Grad-CAM++."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import Array, by_channel, check, ratio
from boxcam.types import CellMap, Float, Patch


def gradcam_plus_plus(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Grad-CAM++: ReLU(Σₖ wₖ Aₖ), wₖ = Σᵢⱼ αₖᵢⱼ ReLU(Gₖᵢⱼ), α = G² / (2 G² + G³ Σₐᵦ Aₖₐᵦ), 0 where G is.

    Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
    WACV 2018 (arXiv:1710.11063), equations 5 and 7, and 19 (α). They explain exp(y); its factor exp(y), one number
    for the whole map, is left out, as in the code of others. α supposes rectified features: where those of a channel
    add up to less than zero, as after SiLU or at the outputs of an FPN, the denominator may be negative or vanish, and
    weights with it mean little. Where it is exactly zero, α is zero. pytorch-grad-cam adds 1e-6 to the denominator,
    which changes α where gradients are below 1e-2. Unlike Grad-CAM's, the map changes its shape when the target is
    scaled.
    """
    check(activation, patches)
    sums = activation.sum(axis=(1, 2), dtype=np.float64)
    return by_channel(activation, patches, lambda gradient: gradient.sum(lambda cells: alpha_weighted(cells, sums)))


def alpha_weighted(gradients: Array, sums: Array) -> Array:
    """α ReLU(G), which is G / (2 + G ΣA) where G is positive, and else zero: float64 [C, n].

    Args:
        gradients: [C, n], in n cells.
        sums: float64 [C], ΣA.
    """
    rising = np.maximum(gradients, 0).astype(np.float64)
    return ratio(rising, 2 + rising * sums[:, None])
