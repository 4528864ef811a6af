"""Insertion and deletion as VPS has them."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.curve import Curve, area_under
from boxcam.explain.metrics.sample import Sample

FILL = "black"
SUCCESS = 0.35
"""The confidence above which an explanation of a failure is a success."""
PARTS = ("", "class", "iou")
"""Of what the area is taken: IoU times score, the score, or the IoU of the detection that has the largest product."""


def vps_insertion(sample: Sample, part: str) -> float:
    """The area over the revealed share of the image, which is black at first.

    Chen et al., "Interpreting Object-level Foundation Models via Visual Precision Search", CVPR 2025
    (arXiv:2411.16198), as its code has it (baseline/GroundingDINO_inference.py, evals/eval_AUC_faithfulness.py): the
    area by the trapezoidal rule, of IoU times class score, and of both for the candidate with the largest product. They
    take 49 steps, and every candidate of the model; here a box below the bundle's score threshold counts as 0, and
    steps are those that are asked for. IoU times score is `insertion` with the fill ``black``.

    Args:
        sample: a map, and its box.
        part: one of `PARTS`.

    Returns:
        0 to 1; the higher, the better.
    """
    return _area(sample.insertion(FILL), part)


def vps_deletion(sample: Sample, part: str) -> float:
    """As `vps_insertion`, of an image that becomes black; the lower, the better."""
    return _area(sample.deletion(FILL), part)


def highest_confidence(sample: Sample) -> float:
    """The highest score that the class has on the way, at an IoU above 0.5, while the image is shown.

    From VPS (see `vps_insertion`), for boxes that the model gets wrong: with the right pixels only, it should get them
    right. A second line of their code is named after an IoU of 0.75 and tests 0.5 as well; it has no counterpart here.

    Returns:
        0 to 1; the higher, the better.
    """
    found = sample.insertion(FILL)
    return float(np.max(np.where(found.iou > 0.5, found.score, 0)))


def success(sample: Sample) -> float:
    """Whether that confidence is above 0.35: 1 or 0. The mean over boxes is VPS's success rate."""
    return float(highest_confidence(sample) > SUCCESS)


def _area(curve: Curve, part: str) -> float:
    return area_under({"": curve.weighted, "class": curve.score, "iou": curve.iou}[part])
