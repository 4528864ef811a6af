"""Models that select their detections themselves, in tensors of their own for boxes, scores and classes."""

from __future__ import annotations

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.tells import scale

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
    fits=lambda match: _of_one_batch(match),
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


def _of_one_batch(match: Match) -> Fit:
    """With a batch of one in front of all of them, or of none."""
    boxes = match.tensors.get("boxes") or match.tensors["dets"]
    others = [one for one in match.tensors.values() if one is not boxes]
    same = all(one.array.ndim == boxes.array.ndim - 1 for one in others)
    return Fit.CERTAIN if same else Fit.NO
