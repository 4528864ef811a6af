"""HiResCAM."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.arithmetic import by_cell
from boxcam.types import CellMap, Float, Patch


def hirescam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """HiResCAM: Σₖ Gₖ ⊙ Aₖ, cell by cell.

    Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks",
    2020 (arXiv:2011.08891), the definition of HiResCAM in section 3. As published there is no ReLU: negative cells
    speak against the box. The map covers the patch only, or the whole feature map if the gradient is uniform outside;
    cells of it that overhang the feature map are zero.
    """
    return by_cell(activation, patches, lambda gradient: (gradient.cells, gradient.uniform))
