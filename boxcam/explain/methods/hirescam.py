"""HiResCAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.methods.arithmetic import check, float32, inside, weighted
from boxcam.types import CellMap, Float, Patch


def hirescam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """HiResCAM: Σₖ Gₖ ⊙ Aₖ, cell by cell.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
    2020 (arXiv:2011.08891), the definition of HiResCAM in section 3. As published there is no ReLU: negative cells
    speak against the box. The map covers the patch only, or the whole feature map if the gradient is uniform outside;
    cells of it that overhang the feature map are zero.
    """
    check(activation, patches)
    everywhere = iter(weighted([patch.uniform for patch in patches if patch.uniform is not None], activation))
    maps = []
    for patch in patches:
        gradient, (rows, columns) = inside(activation, patch)
        product = np.einsum(
            "kij,kij->ij", gradient, activation[:, rows, columns], dtype=np.float64, casting="same_kind"
        )
        if patch.uniform is None:
            values, (y0, x0) = np.zeros(patch.gradient.shape[1:], np.float32), patch.corner
        else:
            values, (y0, x0) = next(everywhere), (0, 0)
        there = values[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        there[:] = float32(there + product)
        maps.append(CellMap(values, (y0, x0)))
    return maps
