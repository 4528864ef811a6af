"""Models that select their detections themselves, in tensors of their own for boxes, scores and classes."""

from __future__ import annotations

import numpy as np

from boxcam.export.heads.conventions.entry import Entry, Fit, Match, is_selected
from boxcam.export.heads.conventions.fits import decoded, probabilities
from boxcam.export.heads.conventions.tells import corners_unless_told, form, scale, sigmoid_unless_done
from boxcam.export.heads.evidence.integers import from_integers
from boxcam.export.heads.evidence.makers import is_computed, suppresses
from boxcam.export.heads.evidence.values import are_classes, are_probabilities, largest_sizes
from boxcam.export.heads.observed import ObservedTensor

YOLO_NAS_PRESET = ("yolo", "fit=636x636")
"""Of models of 640x640: the longer side to 636, the rest grey (super-gradients, training/processing/processing.py:
``default_yolo_nas_coco_processing_params``)."""

TENSORFLOW = Entry(
    title="TensorFlow Object Detection API",
    models="TensorFlow Object Detection API (tf2onnx)",
    tensors={"scores": "1?, K", "boxes": "1?, K, 4", "labels": "1?, K"},
    names={"scores": ("detection_scores",), "boxes": ("detection_boxes",), "labels": ("detection_classes",)},
    kind="selected",
    scores="scores",
    boxes="boxes",
    labels="labels",
    form="yxyx",
    scale="normalized",
    fits=lambda match: Fit.CERTAIN,
)

SEPARATE = Entry(
    title="boxes, scores and labels, as of torchvision",
    models="torchvision; D-FINE, DEIM and RT-DETR with their postprocessing",
    tensors={"boxes": "1?, K, 4", "scores": "1?, K, 1?", "labels": "1?, K, 1?"},
    whole=("labels",),
    kind="selected",
    scores="scores",
    boxes="boxes",
    labels="labels",
    form=corners_unless_told,
    scale=scale,
    padded=lambda match: _is_padded(match),
    fits=lambda match: _apart(match),
)

ONE_CLASS = Entry(
    title="boxes and a score for each, of one class",
    models="detectors of one class",
    tensors={"boxes": "1?, K, 4", "scores": "1?, K, 1?"},
    kind="selected",
    scores="scores",
    boxes="boxes",
    form=form,
    scale=scale,
    activation=sigmoid_unless_done,
    padded=lambda match: _is_padded(match),
    fits=lambda match: _of_one_class(match),
)

YOLO_NAS = Entry(
    title="boxes, scores and labels filled up to a fixed number, as of YOLO-NAS",
    models="YOLO-NAS with `OutputFormat.BATCH`: rows that fill the tensors up are no detections",
    tensors={"count": "1, 1", "boxes": "1, K, 4", "scores": "1, K", "labels": "1, K"},
    names={
        "count": ("num_predictions", "graph2_num_predictions", "num_dets"),
        "boxes": ("pred_boxes", "graph2_pred_boxes"),
        "scores": ("pred_scores", "graph2_pred_scores"),
        "labels": ("pred_classes", "graph2_pred_classes"),
    },
    integers=("count", "labels"),
    kind="selected",
    scores="scores",
    boxes="boxes",
    labels="labels",
    padded=True,
    fits=lambda match: Fit.CERTAIN,
    preset=YOLO_NAS_PRESET,
)

MMDEPLOY = Entry(
    title="boxes with score, and labels, as of mmdeploy",
    models="mmdeploy",
    tensors={"dets": "1?, K, 5", "labels": "1?, K, 1?"},
    whole=("labels",),
    kind="selected",
    scores="dets[4]",
    boxes="dets[0:4]",
    labels="labels",
    form=corners_unless_told,
    fits=lambda match: _of_one_batch(match),
)


def is_tensorflow(match: Match) -> bool:
    """Whether the outputs have the names of TensorFlow's Object Detection API, whatever others there are."""
    return {name for names in TENSORFLOW.names.values() for name in names} <= {one.name for one in match.question.seen}


def _is_padded(match: Match) -> bool:
    """Whether some rows have a score or a box of -1 in the run, or there is a count of those that are meant."""
    fill = bool((match.rows("scores") < 0).any() or (match.rows("boxes") == -1).all(-1).any())
    return fill or (_count(match) is not None and match.tensors["boxes"].array.ndim == 3)


def _count(match: Match) -> ObservedTensor | None:
    """What says how many rows are meant: a whole number of its own."""
    others = (one for one in match.question.seen if one not in match.tensors.values() and one.array.size == 1)
    rows = len(match.rows("boxes"))
    return next((one for one in others if are_classes(one.array) and 0 <= float(one.array.max()) <= rows), None)


def _of_one_batch(match: Match) -> Fit:
    """With a batch of one in front of all of them, or of none; real numbers may be labels, if the graph shows it."""
    boxes = match.tensors.get("boxes") or match.tensors["dets"]
    lead = boxes.array.shape[:-1]
    others = [one for one in match.tensors.values() if one is not boxes]
    if any(one.array.shape not in (lead, (*lead, 1)) for one in others):
        return Fit.NO
    labels = match.tensors.get("labels")
    if labels is not None and labels.real and not from_integers(labels.made):
        return Fit.LIKELY
    return Fit.LIKELY if any(one.name in YOLO_NAS.names["boxes"] for one in match.tensors.values()) else Fit.CERTAIN


def _apart(match: Match) -> Fit:
    """Of real numbers, scores are no labels, and a count beside normalized boxes is as TensorFlow Lite's."""
    fit, scores = _of_one_batch(match), match.rows("scores")
    if not match.tensors["labels"].real or fit is Fit.NO:
        return fit
    if not are_probabilities(np.maximum(scores, 0)) or from_integers(match.tensors["scores"].made):
        return Fit.NO
    if is_tensorflow(match):
        return Fit.NO  # its classes are real numbers
    count, sizes = _count(match), largest_sizes(match.rows("boxes"))
    lite = count is not None and count.real and sizes.size and np.median(sizes) <= 1.5
    return Fit.POSSIBLE if lite else fit


def _of_one_class(match: Match) -> Fit:
    """One score for each box, and nothing that may be its class.

    Boxes before suppression with a column of scores are those of `pairs`.
    """
    boxes, scores = match.tensors["boxes"], match.tensors["scores"]
    lead = boxes.array.shape[:-1]
    single = scores.array.shape == lead
    if not single and scores.array.shape != (*lead, 1):
        return Fit.NO
    others = [one for one in match.question.seen if one not in (boxes, scores) and is_computed(one.value)]
    beside = [one for one in others if one.array.shape[: len(lead)] == lead and one.array.size]
    if any(not one.real or are_classes(one.array) for one in beside if one.array.size == len(match.rows("scores"))):
        return Fit.NO  # these are labels
    if boxes.name in YOLO_NAS.names["boxes"] or from_integers(scores.made) or len(match.rows("boxes")) < 1:
        return Fit.NO
    chosen = is_selected(match) if single else suppresses(boxes.made) or suppresses(scores.made)
    if not chosen and not single:
        return Fit.NO
    values = match.rows("scores")
    real = bool((values != np.round(values)).any()) if len(values) else False
    if not chosen and not real:
        return Fit.NO
    shown = probabilities(match, "scores") and (chosen or decoded(match, "boxes")) and not beside
    return Fit.POSSIBLE if not shown else Fit.CERTAIN if chosen else Fit.LIKELY
