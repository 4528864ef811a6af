"""Saliency."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.arithmetic import strongest
from boxcam.types import CellMap, Float, Patch


def saliency(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Saliency: maxₖ |Gₖ|, pixel by pixel.

    Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks: Visualising Image Classification Models and
    Saliency Maps", ICLR workshop 2014 (arXiv:1312.6034), section 3.1: how much the target changes with the colour of
    each pixel that it depends on most, whether for or against. The map covers what the patch covers, or everything if
    the gradient is uniform outside; cells that overhang the image are zero.
    """
    return strongest(activation, patches)
