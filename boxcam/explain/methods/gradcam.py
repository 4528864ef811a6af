"""Grad-CAM."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.arithmetic import by_channel
from boxcam.types import CellMap, Float, Patch


def gradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Grad-CAM: ReLU(Σₖ αₖ Aₖ), αₖ = (1/Z) Σᵢⱼ Gₖᵢⱼ, Z = H·W.

    Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017,
    equations 1 (α) and 2 (the map). Z counts the cells of the whole feature map, whatever the patch covers, and the
    map covers all of it: its corner is (0, 0). Where no channel speaks for the box, the map is zero.
    """
    count = activation[0].size
    return by_channel(activation, patches, lambda gradient: gradient.sum() / count)
