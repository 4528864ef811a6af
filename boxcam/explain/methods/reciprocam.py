"""Recipro-CAM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from boxcam.explain.methods.arithmetic import float32
from boxcam.types import Float

Float64 = npt.NDArray[np.float64]


def reciprocam(activation: Float, target: float, alone: Float64) -> Float:
    """Recipro-CAM: yᵢⱼ - y₀, yᵢⱼ the box's target where all of the layer is zero but cell i, j; y₀ where all is zero.

    Byun and Lee, "ReciproCAM: Lightweight Gradient-free Class Activation Map for Post-hoc Explanations", CVPR 2024
    workshops (arXiv:2209.14074), as in code of its authors, which keeps one cell (the paper also has a variant that
    spreads the cell over its neighbours by a 3x3 Gaussian). Theirs is the class's probability after a softmax: of a
    classifier that is the target ``score``. It takes the smallest value away; here the value of the empty map is, so
    that a cell that the box does not depend on is zero, and one that speaks against it is below.

    Of a layer of several feature maps, a cell of one of them is kept in a run.

    Args:
        activation: float32 [C, h, w]; the numbers are in ``alone`` already.
        target: y₀.
        alone: float64 [h, w], yᵢⱼ.

    Returns:
        float32 [h, w].
    """
    return float32(alone - target)
