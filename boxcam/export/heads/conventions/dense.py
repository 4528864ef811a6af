"""Boxes and scores of classes in one tensor, a row for each cell or query, before suppression."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.fits import (
    COCO,
    apart,
    dense,
    makers_of,
    of_one_layer,
    of_one_tower,
    probabilities,
    queries,
)
from boxcam.export.heads.conventions.tells import centre_and_size, scale, sigmoid_unless_done

BOX, CLASSES = "output[0:4]", "output[4:4+C]"
OBJECTNESS, CLASSES_AFTER = "output[4]", "output[5:5+C]"

Dense = partial(
    Entry,
    boxes=BOX,
    form=centre_and_size,
    scale=scale,
    activation=sigmoid_unless_done,
    best_class_only=True,
    preset=("yolo",),
)
"""An entry of one tensor whose first four columns are centre and size, and each row of which has one class."""


def has_objectness(match: Match, after: str = CLASSES_AFTER) -> bool:
    """Whether the graph joins a probability of its own between the box and the classes; that of YOLOv6 is always 1.

    Args:
        match: what is asked.
        after: the columns of the classes.
    """
    if not apart(match, OBJECTNESS, after) or not apart(match, BOX, OBJECTNESS):
        return False
    one = all(made.operator == "" for made in match.made_by(OBJECTNESS)) and bool((match.rows(OBJECTNESS) == 1).all())
    return (one or probabilities(match, OBJECTNESS)) and probabilities(match, after)


def objectness_told(match: Match) -> bool:
    """Whether an objectness is told from a class of a head of its own, which one column may be too.

    The graph tells it if the number is always 1, if one layer computes it and the box, or if the branch of the box ends
    in it and the branch of the classes does not, as of YOLOX. Otherwise the number of classes may: that of COCO.
    """
    if _coco(match, match.sizes["C"], match.sizes["C"] + 1):
        return True
    constant = all(made.operator == "" for made in match.made_by(OBJECTNESS))
    branch = of_one_tower(match, BOX, OBJECTNESS) and not of_one_tower(match, OBJECTNESS, CLASSES_AFTER)
    return constant or branch or of_one_layer(match, BOX, OBJECTNESS)


def _coco(match: Match, classes: int, others: int) -> bool:
    """Whether there are as many classes as COCO has, and not so in the other reading, where there are no names."""
    return classes in COCO and others not in COCO and match.question.classes is None


def without_objectness(match: Match) -> Fit:
    """How sure it is that classes follow the box."""
    fit = dense(match, CLASSES)
    # Then the first number of the scores may be an objectness:
    other = of_one_layer(match, BOX, CLASSES) or has_objectness(match, "output[5:4+C]")
    return min(fit, Fit.POSSIBLE) if other else fit


def with_objectness(match: Match) -> Fit:
    """How sure it is that an objectness and the classes follow the box."""
    if has_objectness(match):
        fit = dense(match, CLASSES_AFTER)
        if objectness_told(match):
            return fit
        return Fit.NO if "Exp" in makers_of(match, BOX) else min(fit, Fit.POSSIBLE)  # a YOLOX, if it is one
    fit = dense(match, "output[4:5+C]")
    if of_one_layer(match, BOX, "output[4:5+C]"):
        return Fit.CERTAIN if fit is Fit.LIKELY else fit
    coco = _coco(match, match.sizes["C"], match.sizes["C"] + 1)
    return fit if coco and not match.across("output") else min(fit, Fit.POSSIBLE)


def _rows(match: Match) -> Fit:
    """Without a transformer."""
    if queries(match) and not match.question.suppressed:
        return Fit.NO
    fit = without_objectness(match)
    return min(fit, Fit.POSSIBLE) if _coco(match, match.sizes["C"] - 1, match.sizes["C"]) else fit


def _queries(match: Match) -> Fit:
    return dense(match, CLASSES) if queries(match) and not match.question.suppressed else Fit.NO


ULTRALYTICS = Dense(
    title="boxes and class scores in one tensor, as of Ultralytics",
    models="Ultralytics: YOLOv8, 9, 11, 12",
    tensors={"output": "1?, 4+C, N"},
    kind="candidates",
    scores=CLASSES,
    iou=0.7,
    fits=without_objectness,
)

ULTRALYTICS_ROWS = Dense(
    title="boxes and class scores in one tensor, as of Ultralytics, transposed",
    models="the same, transposed",
    tensors={"output": "1?, N, 4+C"},
    kind="candidates",
    scores=CLASSES,
    iou=0.7,
    fits=_rows,
)

RTDETR_ULTRALYTICS = Dense(
    title="queries with boxes and class scores in one tensor, as of RT-DETR by Ultralytics",
    models="RT-DETR by Ultralytics: the rows of a transformer are not suppressed",
    tensors={"output": "1?, N, 4+C"},
    kind="queries",
    scores=CLASSES,
    fits=_queries,
    preset=("yolo", "resize=stretch"),
)

YOLOV5 = Dense(
    title="objectness and class scores in one tensor, as of YOLOv5",
    models="YOLOv5, 6, 7",
    tensors={"output": "1?, N, 5+C"},
    kind="candidates",
    scores=CLASSES_AFTER,
    objectness=OBJECTNESS,
    iou=0.45,
    fits=with_objectness,
)

YOLOV5_ACROSS = replace(
    YOLOV5,
    title=f"{YOLOV5.title}, transposed",
    models="the same, transposed",
    tensors={"output": "1, 5+C, N"},
)
