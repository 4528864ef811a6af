"""Integrated gradients of a layer's features."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.hirescam import hirescam
from boxcam.types import CellMap, Float, Patch


def integrated_gradients(difference: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Integrated gradients: Σₖ ∫ Gₖ ⊙ dAₖ, along the features A of images from a blurred one to the image itself.

    Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017 (arXiv:1703.01365): they take the
    image for A (the layer ``image``), and a black one to start from. Here A is any layer, whose features follow the
    blends of both images; captum's LayerIntegratedGradients goes straight from one feature map to the other instead,
    past features that no image has. The start is the image blurred by 1/25 of its longer side, so that its colours
    count nothing, and its edges do.

    The integral is added up step by step, by the trapezoidal rule. This gives one step.

    Args:
        difference: float32 [C, H, W], what the features change by in the step.
        patches: the mean of the gradients at both of its ends.
    """
    return hirescam(difference, patches)
