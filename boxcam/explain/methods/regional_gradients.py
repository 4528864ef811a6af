"""Integrated gradients over regions of the box's size."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.integrated_gradients import integrated_gradients
from boxcam.types import CellMap, Float, Patch

REGIONS = 1 / 8
"""Standard deviations of a region's Gaussian window, as shares of the box's height and width."""


def regional_gradients(difference: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Integrated gradients over regions: w * Σₖ ∫ Gₖ ⊙ dAₖ, where w is a Gaussian window as large as a part of the box.

    After Kapishnikov, Bolukbasi, Viégas and Terry, "XRAI: Better Attributions Through Regions", ICCV 2019
    (arXiv:1906.02825), who sum integrated gradients, from a black and from a white image, over segments of the image.
    Here they are from a blurred image, as those of `integrated_gradients`, and regions are windows around each pixel
    (`boxcam.explain.regions`), with standard deviations of an eighth of the box's width and height, so that nothing has
    to be segmented.

    Args:
        difference: float32 [C, H, W], what the features change by in a step of the path.
        patches: the mean of the gradients at both of its ends.

    Returns:
        One step's map of cells, not yet over regions: these are of the sum of all steps.
    """
    return integrated_gradients(difference, patches)
