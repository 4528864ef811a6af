"""Models that select their detections themselves, in tensors of their own for boxes, scores and classes."""

from __future__ import annotations

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.tells import scale

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
    tensors={"boxes": "1?, K, 4", "scores": "1?, K", "labels": "1?, K"},
    integers=("labels",),
    kind="selected",
    scores="scores",
    boxes="boxes",
    labels="labels",
    scale=scale,
    padded=lambda match: _is_padded(match),
    fits=lambda match: _of_one_batch(match),
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
    tensors={"dets": "1?, K, 5", "labels": "1?, K"},
    integers=("labels",),
    kind="selected",
    scores="dets[4]",
    boxes="dets[0:4]",
    labels="labels",
    fits=lambda match: _of_one_batch(match),
)


def _is_padded(match: Match) -> bool:
    """Whether some rows have a score or a box of -1 in the run, or there is a count of those that are meant."""
    fill = bool((match.rows("scores") < 0).any() or (match.rows("boxes") == -1).all(-1).any())
    count = any(one.array.dtype.kind in "iu" and one.array.size == 1 for one in match.question.seen)
    return fill or (count and match.tensors["boxes"].array.ndim == 3)


def _of_one_batch(match: Match) -> Fit:
    """With a batch of one in front of all of them, or of none."""
    boxes = match.tensors.get("boxes") or match.tensors["dets"]
    others = [one for one in match.tensors.values() if one is not boxes]
    same = all(one.array.ndim == boxes.array.ndim - 1 for one in others)
    if not same:
        return Fit.NO
    return Fit.LIKELY if any(one.name in YOLO_NAS.names["boxes"] for one in match.tensors.values()) else Fit.CERTAIN
