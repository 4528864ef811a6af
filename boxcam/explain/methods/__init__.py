"""Methods: how the gradients of some boxes' targets become maps of cells.

A method is one short function of the activation A of one feature map (float32 [C, H, W], the whole map or the
proposal's row) and the patches of all boxes that look at it: each holds G = ∂y/∂A, which outside the patch is zero, or
``uniform`` in each channel. It gives one map for each patch, and sees no image: `placement` puts its maps there.
Means of gradients are taken in float64, products over channels in float32, as the frameworks do; maps are float32
and finite.

Methods that run the model again are one short function each, too: of random masks (`Perturbation`), from the boxes that
are explained and what the model finds on a masked image to the weight of that mask for each box; of masks that are the
channels of a layer (`ChannelMasks`), from the targets behind them to the channels' weights; of a layer's features parts
of which are zero (`FeatureMasks`), from the targets then to the map; of patches that are hidden (`Search`), from
patches and a function that says what hiding some of them leaves of a box to how much each matters.

One method is one file and one row here; the order is that of ``boxcam.methods()``.
"""

from __future__ import annotations

from boxcam.explain.methods.ablationcam import ablationcam
from boxcam.explain.methods.channel_masks import ChannelMasks as ChannelMasks
from boxcam.explain.methods.drise import drise
from boxcam.explain.methods.eigencam import eigencam, eigengradcam
from boxcam.explain.methods.feature_masks import FeatureMasks as FeatureMasks
from boxcam.explain.methods.finercam import finer_hirescam, finercam
from boxcam.explain.methods.gradcam import gradcam
from boxcam.explain.methods.gradcam_plus_plus import gradcam_plus_plus
from boxcam.explain.methods.guided import guided_backprop, guided_gradcam
from boxcam.explain.methods.hirescam import hirescam
from boxcam.explain.methods.integrated_gradients import integrated_gradients
from boxcam.explain.methods.layercam import layercam
from boxcam.explain.methods.method import METHODS as METHODS
from boxcam.explain.methods.method import AnyMethod as AnyMethod
from boxcam.explain.methods.method import Method as Method
from boxcam.explain.methods.odam import odam
from boxcam.explain.methods.patch_search import PASSES, patch_search
from boxcam.explain.methods.perturbation import Objects as Objects
from boxcam.explain.methods.perturbation import Perturbation as Perturbation
from boxcam.explain.methods.reciprocam import reciprocam
from boxcam.explain.methods.regional_gradients import REGIONS, regional_gradients
from boxcam.explain.methods.saliency import saliency
from boxcam.explain.methods.scorecam import scorecam
from boxcam.explain.methods.search import Search as Search
from boxcam.explain.methods.smoothgrad import SAMPLES, smoothgrad
from boxcam.explain.methods.ssgradcam import ssgradcam, ssgradcam_plus_plus
from boxcam.explain.methods.xgradcam import xgradcam

METHODS.register("gradcam")(
    Method(gradcam, "where a map's features for the class are: classifiers, RoI", means=True, features=True)
)
METHODS.register("hirescam")(Method(hirescam, "which cells made the score, for and against: dense heads", signed=True))
METHODS.register("gradcam++")(
    Method(gradcam_plus_plus, "as gradcam, of several objects; rectified features only", features=True, rectified=True)
)
METHODS.register("xgradcam")(
    Method(xgradcam, "as gradcam, active cells count more; rectified features only", features=True, rectified=True)
)
METHODS.register("layercam")(Method(layercam, "which cells speak for the score: fine early layers"))
METHODS.register("odam")(Method(odam, "which cells speak for the box, class and each side: detectors"))
METHODS.register("odam-combined")(
    Method(
        odam, "which cells speak for the class or for any side of the box", targets=("logit", "x1", "y1", "x2", "y2")
    )
)
METHODS.register("ssgradcam")(
    Method(ssgradcam, "gradcam, of the cells that the box depends on: detectors", features=True)
)
METHODS.register("ssgradcam++")(
    Method(
        ssgradcam_plus_plus,
        "gradcam++, of the cells that the box depends on: detectors",
        features=True,
        rectified=True,
    )
)
METHODS.register("eigencam")(
    Method(
        eigencam, "what stands out on the map, the same for all its boxes", means=True, gradient=False, features=True
    )
)
METHODS.register("eigengradcam")(Method(eigengradcam, "the main pattern of what made the score", features=True))
METHODS.register("finer-cam")(
    Method(finercam, "gradcam, of what tells it from similar classes: classifiers", means=True, features=True, rivals=3)
)
METHODS.register("finer-hirescam")(
    Method(finer_hirescam, "hirescam, of what tells it from similar classes: dense heads", rivals=3)
)
METHODS.register("integrated-gradients")(
    Method(integrated_gradients, "what the score gained, place by place, from a blurred image", path=8, signed=True)
)
METHODS.register("regional-gradients")(
    Method(
        regional_gradients, "integrated-gradients, over regions of the box's size", path=8, regions=REGIONS, signed=True
    )
)
METHODS.register("saliency")(Method(saliency, "which pixels matter, for or against; noisy", image=True))
METHODS.register("smooth-grad")(Method(smoothgrad, "saliency, with less noise", image=True, samples=SAMPLES))
METHODS.register("guided-backprop")(
    Method(guided_backprop, "crisp edges of what speaks for it; no gradient", rules="guided", image=True)
)
METHODS.register("guided-gradcam")(
    Method(guided_gradcam, "edges, where gradcam is warm", rules="guided", image=True, times="gradcam")
)
METHODS.register("score-cam")(ChannelMasks(scorecam, "which channels keep the score, without gradients; slow"))
METHODS.register("ablation-cam")(
    FeatureMasks(ablationcam, "which channels the score falls without, without gradients", parts="channel")
)
METHODS.register("recipro-cam")(
    FeatureMasks(reciprocam, "what each cell alone does for the score, without gradients", parts="cell")
)
METHODS.register("patch-search")(
    Search(patch_search, "what the box hangs on, as hiding it shows: detectors", guide="hirescam", trials=PASSES)
)
METHODS.register("d-rise")(Perturbation(drise, "what the box needs to be seen, by hiding the rest; slow", masks=5000))
