"""Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import check, inside, weighted
from boxcam.types import CellMap, Float, Patch


def gradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Grad-CAM: ReLU(Σₖ αₖ Aₖ), αₖ = (1/Z) Σᵢⱼ Gₖᵢⱼ, Z = H·W.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 (α) and 2 (the map). Z counts the cells of the whole feature map, whatever the patch covers, and the
    map covers all of it: its corner is (0, 0). Where no channel speaks for the box, the map is zero.
    """
    check(activation, patches)
    alphas, count = [], activation[0].size
    for patch in patches:
        gradient, _ = inside(activation, patch)
        alpha = gradient.sum(axis=(1, 2), dtype=np.float64) / count
        alphas.append(alpha if patch.uniform is None else alpha + patch.uniform)
    maps = weighted(alphas, activation)
    np.maximum(maps, 0, out=maps)
    return [CellMap(values, (0, 0)) for values in maps]
