"""Methods of the guided gradient."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.arithmetic import strongest
from boxcam.types import CellMap, Float, Patch


def guided_backprop(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Guided backpropagation: maxₖ |Gₖ| of the guided gradient, pixel by pixel.

    Springenberg et al., "Striving for Simplicity: The All Convolutional Net", ICLR workshop 2015 (arXiv:1412.6806),
    section 3.4. They show G itself as colours; here its channels become one number as in `saliency`, so that both may
    be compared. Activations other than ReLU: see `boxcam.export.autodiff.guided`.
    """
    return strongest(activation, patches)


def guided_gradcam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """Guided Grad-CAM: maxₖ |Gₖ| of the guided gradient, times Grad-CAM's map at the same pixel.

    Selvaraju et al. 2017, section 3.2: Grad-CAM, of another layer, is enlarged to the image and multiplied with guided
    backpropagation. As it is nowhere negative, it does not matter that the channels become one number before. This
    gives the first factor; who knows both layers multiplies it with the second.
    """
    return strongest(activation, patches)
