"""Spatially sensitive Grad-CAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import Array, Gradient, by_cell, check, positive, ratio
from boxcam.explain.methods.gradcam_plus_plus import alpha_weighted
from boxcam.types import CellMap, Float, Patch


def ssgradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """SSGrad-CAM: ReLU(Σₖ αₖ Sₖ ⊙ Aₖ), αₖ = (1/Z) Σᵢⱼ Gₖᵢⱼ as in Grad-CAM, Sₖ = |Gₖ| / maxᵢⱼ |Gₖᵢⱼ|.

    Yamauchi and Ishikawa, "Spatial Sensitive Grad-CAM: Visual Explanations for Object Detection by Incorporating
    Spatial Sensitivity", ICIP 2022: Grad-CAM, which also weighs each cell by how much the target depends on it, so
    that other objects of the same features are left out. A channel without a gradient has S = 0.
    """
    count = activation[0].size
    return _under_space_maps(activation, patches, lambda gradient: gradient.sum() / count)


def ssgradcam_plus_plus(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """SSGrad-CAM++: ReLU(Σₖ wₖ Sₖ ⊙ Aₖ), w of Grad-CAM++ with the sum of A over the box's cells, S of SSGrad-CAM.

    Yamauchi, "Spatial Sensitive Grad-CAM++: Improved Visual Explanation for Object Detectors via Weighted Combination
    of Gradient Map", CVPR 2024 workshops: wₖ = Σᵢⱼ ReLU(Gₖᵢⱼ) G² / (2 G² + G³ Σₐᵦ Aₖₐᵦ Mₖₐᵦ), where M is 1 at the
    cells of the detection. Here these are the cells that the channel's gradient reaches, which are known exactly; code
    that others publish takes the box, or the cell that it comes from. What `gradcam_plus_plus` says of features that
    are not rectified holds here, too.
    """

    def weigh(gradient: Gradient) -> Array:
        there = activation[:, gradient.rows, gradient.columns]
        sums = np.where(gradient.cells != 0, there, 0).sum(axis=(1, 2), dtype=np.float64)
        if gradient.uniform is not None:
            others = activation.sum(axis=(1, 2), dtype=np.float64) - there.sum(axis=(1, 2), dtype=np.float64)
            sums += np.where(gradient.uniform != 0, others, 0)
        return gradient.sum(lambda cells: alpha_weighted(cells, sums))

    return _under_space_maps(activation, patches, weigh)


def _under_space_maps(activation: Float, patches: Sequence[Patch], weigh: Callable[[Gradient], Array]) -> list[CellMap]:
    """ReLU(Σₖ wₖ Sₖ ⊙ Aₖ), of weights that a function gives of a gradient."""
    check(activation, patches)

    def in_cells(gradient: Gradient) -> tuple[Array, Array | None]:
        scale = ratio(weigh(gradient), gradient.largest)
        uniform = None if gradient.uniform is None else np.abs(gradient.uniform) * scale
        return np.abs(gradient.cells) * scale[:, None, None], uniform

    return positive(by_cell(activation, patches, in_cells))
