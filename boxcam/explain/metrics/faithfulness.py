"""Insertion, deletion and OA over the whole image."""

from __future__ import annotations

from boxcam.explain.metrics.curve import area_under
from boxcam.explain.metrics.sample import Sample


def insertion(sample: Sample, fill: str) -> float:
    """The area under IoU · score of the box while the hidden image is shown, the map's highest pixels first.

    Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018
    (arXiv:1806.07421); for boxes by Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps"
    (D-RISE), CVPR 2021 (arXiv:2006.03204). They take the largest IoU times the cosine of vectors of class
    probabilities; what a deployed model reports is one score a box, so that here it is the largest IoU times score of
    the *same class*. A box below the bundle's score threshold is not found. The whole image is shown, in equal steps:
    figures are not comparable with those of `local_insertion`.

    Args:
        sample: a map, and its box.
        fill: what hides the image, a name of `boxcam.explain.metrics.fills.FILLS`: figures of different ones differ.

    Returns:
        0 to 1; the higher, the better.
    """
    return area_under(sample.insertion(fill).weighted)


def deletion(sample: Sample, fill: str) -> float:
    """The area under IoU · score of the box while the image is hidden, the map's highest pixels first.

    As `insertion`, the other way round; the lower, the better.
    """
    return area_under(sample.deletion(fill).weighted)


def overall(sample: Sample, fill: str) -> float:
    """OA, insertion minus deletion: -1 to 1; the higher, the better.

    Truong et al., "Towards Better Explanations for Object Detection" (D-CLOSE), ACML 2023 (arXiv:2306.02744), and
    ODExAI (arXiv:2504.19249). They insert into and delete by one fill each; here it is the same one.
    """
    return insertion(sample, fill) - deletion(sample, fill)
