"""Tensors that hold more than boxes and classes: mask coefficients, keypoints, an angle. The boxes are explained."""

from __future__ import annotations

from collections.abc import Mapping

from boxcam.export.heads.conventions.dense import BOX, CLASSES, OBJECTNESS, Dense, has_objectness, without_objectness
from boxcam.export.heads.conventions.entry import Fit, Match
from boxcam.export.heads.conventions.fits import apart, cuts, decoded, lies_right, of_one_kind, probabilities
from boxcam.export.heads.evidence.values import are_probabilities

_TASKS = {"pose": "keypoints", "obb": "an angle", "segment": "mask coefficients"}
"""What the further columns are, by the task that a file of Ultralytics names."""


def _classes(match: Match) -> Mapping[str, int] | None:
    """C and R of [1, 4 + C + R, N]: classes are the probabilities that one operator makes after the box.

    Where the graph does not split the columns, they are as many as there are class names, if these columns are
    probabilities and some of the others are not.
    """
    width = match.sizes["W"]
    split = next((one for one in match.segments["output"] if one.first == 4), None)
    if split is not None and split.probability and split.end < 4 + width:
        objectness = split.end == 5 and has_objectness(match, "output[5:4+W]")
        return None if objectness else {"C": split.end - 4, "R": width - split.end + 4}
    known = match.question.classes
    if known is None or not known < width or len(match.segments["output"]) > 1:
        return None
    rows = match.rows("output")
    mixed = are_probabilities(rows[:, 4 : 4 + known]) and not are_probabilities(rows[:, 4 + known :])
    return {"C": known, "R": width - known} if mixed else None


def _rest(match: Match) -> str:
    first, end = 4 + match.sizes["C"], 4 + match.sizes["W"]
    what = _TASKS.get(match.question.metadata.get("task", ""), "no classes, as the graph makes them otherwise")
    return f"{match.tensors['output'].value.name}[{first}:{end}], {what}"


def _extras(match: Match) -> Fit:
    if not lies_right(match):
        return Fit.NO
    return Fit.LIKELY if decoded(match, BOX) else Fit.POSSIBLE


def _masks(match: Match) -> Fit:
    """The coefficients are made otherwise than the classes: another map may have as many channels by chance."""
    if cuts(match, CLASSES):
        return Fit.NO
    fit = without_objectness(match)
    if not apart(match, CLASSES, "output[4+C:4+C+M]"):  # the graph does not tell the two from each other
        mixed = are_probabilities(match.rows(CLASSES)) and not are_probabilities(match.rows("output[4+C:4+C+M]"))
        return min(fit, Fit.LIKELY) if mixed else Fit.NO
    return Fit.CERTAIN if fit is Fit.LIKELY else fit


def _face(match: Match) -> Fit:
    """The five points are none of the probabilities on both sides of them."""
    points = match.rows("output[5:15]")
    if not lies_right(match) or not of_one_kind(match, "output[15:15+C]") or are_probabilities(points):
        return Fit.NO
    sure = probabilities(match, OBJECTNESS) and probabilities(match, "output[15:15+C]") and decoded(match, BOX)
    joined = any(one.first < 5 and one.end > 5 for one in match.segments["output"])
    return Fit.CERTAIN if sure and not joined else Fit.NO


MASKS = Dense(
    title="boxes, class scores and mask coefficients in one tensor, as of Ultralytics",
    models="Ultralytics segmentation",
    tensors={"masks": "1, M, H, X", "output": "1, 4+C+M, N"},
    kind="candidates",
    scores=CLASSES,
    iou=0.7,
    rest=lambda match: f"{match.tensors['masks'].value.name} and the coefficients of masks",
    fits=_masks,
)

EXTRAS = Dense(
    title="boxes, class scores and more in one tensor, as of Ultralytics",
    models="Ultralytics pose and OBB; segmentation without its second output",
    tensors={"output": "1, 4+W, N"},
    kind="candidates",
    scores=CLASSES,
    iou=0.7,
    rest=_rest,
    solve=_classes,
    fits=_extras,
)

FACE = Dense(
    title="objectness, five points and class scores in one tensor, as of YOLOv5-face",
    models="YOLOv5-face",
    tensors={"output": "1, N, 15+C"},
    kind="candidates",
    scores="output[15:15+C]",
    objectness=OBJECTNESS,
    iou=0.45,
    rest=lambda match: f"{match.tensors['output'].value.name}[5:15], five points",
    fits=_face,
)
