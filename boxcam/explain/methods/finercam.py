"""Finer-CAM."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.gradcam import gradcam
from boxcam.explain.methods.hirescam import hirescam
from boxcam.types import CellMap, Float, Patch

GAMMA = 1.0
"""How much of the similar classes is taken away."""


def finercam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Finer-CAM: Grad-CAM of y - (γ/n) Σ_d y_d, the logits of the n = 3 classes that are the most similar.

    Zhang et al., "Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation", CVPR 2025
    (arXiv:2501.11309): the weights of the channels come from the difference of the class's logit and that of similar
    classes, so that features which they share are left out. As in their code, similar are the classes whose logits are
    the nearest to the box's own, and γ is 1. Several similar classes count equally here; in their code (and in
    pytorch-grad-cam's) each counts by its probability, which is differentiated with it. With one similar class, both
    are the same. In a detector the other logits are those of the same cell, anchor or proposal
    (`boxcam.explain.rivals`).

    Args:
        activation: float32 [C, H, W].
        patches: the gradients of the difference.
    """
    return gradcam(activation, patches)


def finer_hirescam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Finer-CAM's difference of logits, explained by HiResCAM: Σₖ Gₖ ⊙ Aₖ, cell by cell.

    Zhang et al. 2025 put their difference to any CAM (section 3.3). In dense heads Grad-CAM averages the gradient over
    a map of which few cells matter, as `gradcam` says; HiResCAM does not. What is negative speaks for the similar
    classes.

    Args:
        activation: float32 [C, H, W].
        patches: the gradients of the difference.
    """
    return hirescam(activation, patches)
