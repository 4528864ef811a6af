"""Methods: how the gradients of some boxes' targets become maps of cells.

A method is one short function of the activation A of one feature map (float32 [C, H, W], the whole map or the
proposal's row) and the patches of all boxes that look at it: each holds G = ∂y/∂A, which outside the patch is zero, or
``uniform`` in each channel. It gives one map for each patch, and sees no image: `placement` puts its maps there.
Means of gradients are taken in float64, products over channels in float32, as the frameworks do; maps are float32
and finite.

One method is one file and one row here; the order is that of ``boxcam.methods()``.
"""

from __future__ import annotations

from boxcam.explain.methods.gradcam import gradcam
from boxcam.explain.methods.guided import guided_backprop, guided_gradcam
from boxcam.explain.methods.hirescam import hirescam
from boxcam.explain.methods.method import METHODS as METHODS
from boxcam.explain.methods.method import Method as Method
from boxcam.explain.methods.saliency import saliency

METHODS.register("gradcam")(Method(gradcam, means=True))
METHODS.register("hirescam")(Method(hirescam))
METHODS.register("saliency")(Method(saliency, image=True))
METHODS.register("guided-backprop")(Method(guided_backprop, rules="guided", image=True))
METHODS.register("guided-gradcam")(Method(guided_gradcam, rules="guided", image=True, times="gradcam"))
