"""XGrad-CAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import Array, Gradient, by_channel, check, ratio
from boxcam.types import CellMap, Float, Patch


def xgradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """XGrad-CAM: ReLU(Σₖ wₖ Aₖ), wₖ = Σᵢⱼ Gₖᵢⱼ Aₖᵢⱼ / Σᵢⱼ Aₖᵢⱼ.

    Fu et al., "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation of CNNs", BMVC 2020
    (arXiv:2008.02312): the mean gradient, each cell counting as much as it is active. The weights suppose rectified
    features: where those of a channel nearly cancel, its weight has no bound. A channel that adds up to exactly zero
    has none. Before the ReLU, the map adds up to Σ G ⊙ A, as HiResCAM's does. pytorch-grad-cam adds 1e-7 to the
    denominator.
    """
    check(activation, patches)
    sums = activation.sum(axis=(1, 2), dtype=np.float64)

    def weigh(gradient: Gradient) -> Array:
        cells = activation[:, gradient.rows, gradient.columns]
        products = np.einsum("kij,kij->k", gradient.cells, cells, dtype=np.float64, casting="same_kind")
        if gradient.uniform is not None:
            products += gradient.uniform * (sums - cells.sum(axis=(1, 2), dtype=np.float64))
        return ratio(products, sums)

    return by_channel(activation, patches, weigh)
