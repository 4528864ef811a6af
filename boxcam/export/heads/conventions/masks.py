"""Instance segmentation: boxes, classes and coefficients of masks in one tensor. The boxes are explained."""

from __future__ import annotations

from boxcam.export.heads.conventions.dense import BOX, CLASSES_AFTER, OBJECTNESS, Dense
from boxcam.export.heads.conventions.entry import Fit, Match
from boxcam.export.heads.conventions.fits import decoded, lies_right, probabilities


def _yolov5(match: Match) -> Fit:
    """One activation makes objectness and classes; the coefficients begin where it ends."""
    split = 5 + match.sizes["C"]
    made = match.segments["output"]
    begins = any(one.first == split and not one.probability for one in made)
    if not lies_right(match) or not begins or not any(one.end == split and one.probability for one in made):
        return Fit.NO
    sure = probabilities(match, OBJECTNESS) and probabilities(match, CLASSES_AFTER) and decoded(match, BOX)
    return Fit.CERTAIN if sure else Fit.NO


YOLOV5 = Dense(
    title="objectness, class scores and mask coefficients in one tensor, as of YOLOv5 segmentation",
    models="YOLOv5 and v7 segmentation",
    tensors={"masks": "1, M, H, X", "output": "1, N, 5+C+M"},
    kind="candidates",
    scores=CLASSES_AFTER,
    objectness=OBJECTNESS,
    iou=0.45,
    rest=lambda match: f"{match.tensors['masks'].value.name} and the coefficients of masks",
    fits=_yolov5,
)
