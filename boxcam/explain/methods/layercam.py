"""LayerCAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import Array, Gradient, by_cell, positive
from boxcam.types import CellMap, Float, Patch


def layercam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """LayerCAM: ReLU(Σₖ ReLU(Gₖ) ⊙ Aₖ), cell by cell.

    Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", IEEE Transactions on Image
    Processing 2021. Gradients against the box count nothing, so that evidence for it is not cancelled by evidence
    against it in the same cell. They scale the maps of early layers by tanh before they add those of several; here a
    map stays raw.
    """
    return positive(by_cell(activation, patches, _weigh))


def _weigh(gradient: Gradient) -> tuple[Array, Array | None]:
    uniform = None if gradient.uniform is None else np.maximum(gradient.uniform, 0)
    return np.maximum(gradient.cells, 0), uniform
