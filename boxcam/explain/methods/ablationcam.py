"""Ablation-CAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boxcam.explain.methods.arithmetic import weighted
from boxcam.types import Float

Float64 = npt.NDArray[np.float64]


def ablationcam(activation: Float, target: float, without: Float64) -> Float:
    """Ablation-CAM: ReLU(Σₖ wₖ Aₖ), wₖ = (y - yₖ) / |y|, yₖ the box's target y where channel k is zero.

    Desai and Ramaswamy, "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free
    Localization", WACV 2020. The paper divides by y, a class's score before the softmax, which it takes to be above
    zero. The logit of a box that is less sure than 1/2 is below: divided by its size, a channel that the box hangs on
    counts for it all the same. Where y is zero nothing is divided.

    A channel is zero as in the paper. pytorch-grad-cam does so where the whole layer's smallest number is zero, as
    after a ReLU, and elsewhere sets it to a number far below all others, which makes another map.

    In a detector y is the number that the box's target was, its logit for instance, whether or not a box would be drawn
    there. Of a layer of several feature maps one channel of one map is zero in a run, as in pytorch-grad-cam's ablation
    of a feature pyramid; the other maps are as they are.

    Args:
        activation: float32 [C, h, w].
        target: y.
        without: float64 [C], yₖ.

    Returns:
        float32 [h, w].
    """
    weights = (target - without) / (abs(target) or 1.0)
    (values,) = weighted([weights], activation)
    rectified: Float = np.maximum(values, 0)
    return rectified
