"""Boxes in the graph as torchvision selects them, by operators that can be deployed.

For the time of an export some of torchvision's functions are replaced by others that give the same:

- clipping boxes to the image ends in a Reshape that ONNX Runtime simplifies to one which fails where there are no
  boxes, as on a level of RetinaNet without candidates;
- SSD selects the candidates of one class after the other, in some 20 operators for each of 90 classes;
- two-stage detectors share out the boxes of several images, which is nothing to do for one, and hides in the graph how
  many classes there are and that a box is of its own proposal only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torchvision.models.detection.ssd import SSD
from torchvision.ops import boxes as operators


@contextlib.contextmanager
def deployable(model: Any) -> Iterator[None]:
    """Put the functions in place for a detector, and take them out afterwards."""
    original = operators.clip_boxes_to_image
    operators.clip_boxes_to_image = _clip
    if isinstance(model, SSD):
        model.postprocess_detections = _select.__get__(model)
    heads = getattr(model, "roi_heads", None)
    if heads is not None:
        heads.postprocess_detections = _select_of_proposals.__get__(heads)
    try:
        yield
    finally:
        operators.clip_boxes_to_image = original
        model.__dict__.pop("postprocess_detections", None)
        if heads is not None:
            del heads.postprocess_detections


def _clip(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """``clip_boxes_to_image``: boxes [..., 4], no side of which lies beside an image of some height and width."""
    height, width = size
    limits = (width, height, width, height)
    return torch.stack([side.clamp(0, limit) for side, limit in zip(boxes.unbind(-1), limits)], -1)  # noqa: B905


def _select(
    self: Any, head_outputs: dict[str, torch.Tensor], anchors: list[torch.Tensor], sizes: list[tuple[int, int]]
) -> list[dict[str, torch.Tensor]]:
    """``SSD.postprocess_detections`` for one image: of each class the best candidates, then NMS class by class."""
    boxes = _clip(self.box_coder.decode_single(head_outputs["bbox_regression"][0], anchors[0]), sizes[0])
    scores = torch.softmax(head_outputs["cls_logits"][0], -1)[:, 1:].transpose(0, 1)  # [classes, anchors]
    classes, count = (int(length) for length in scores.shape)
    best, anchor = scores.topk(min(self.topk_candidates, count), dim=1)
    label = torch.arange(1, classes + 1).unsqueeze(1).expand_as(best)
    best, anchor, label = best.flatten(), anchor.flatten(), label.flatten()
    high = torch.where(best > self.score_thresh)[0]
    best, boxes, label = best[high], boxes[anchor[high]], label[high]
    kept = operators.batched_nms(boxes, best, label, self.nms_thresh)[: self.detections_per_img]
    return [{"boxes": boxes[kept], "scores": best[kept], "labels": label[kept]}]


def _select_of_proposals(
    self: Any,
    logits: torch.Tensor,
    deltas: torch.Tensor,
    proposals: list[torch.Tensor],
    sizes: list[tuple[int, int]],
) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
    """``RoIHeads.postprocess_detections`` for one image: a box of each class but the background, then NMS."""
    classes = int(logits.shape[-1])
    boxes = _decode(self.box_coder, deltas.reshape(-1, classes, 4), proposals[0])
    boxes = _clip(boxes, sizes[0])[:, 1:].reshape(-1, 4)
    scores = torch.softmax(logits, -1)[:, 1:]
    label = torch.arange(1, classes).unsqueeze(0).expand_as(scores).reshape(-1)
    scores = scores.reshape(-1)
    high = torch.where(scores > self.score_thresh)[0]
    boxes, scores, label = boxes[high], scores[high], label[high]
    large = operators.remove_small_boxes(boxes, min_size=1e-2)
    boxes, scores, label = boxes[large], scores[large], label[large]
    kept = operators.batched_nms(boxes, scores, label, self.nms_thresh)[: self.detections_per_img]
    return [boxes[kept]], [scores[kept]], [label[kept]]


def _decode(coder: Any, deltas: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
    """``BoxCoder.decode_single`` of deltas [R, C, 4] for proposals [R, 4], without their axes joined in between."""
    dx, dy, dw, dh = (delta / weight for delta, weight in zip(deltas.unbind(2), coder.weights, strict=True))
    x1, y1, x2, y2 = rois.unsqueeze(1).unbind(2)
    width, height = x2 - x1, y2 - y1
    x, y = dx * width + (x1 + 0.5 * width), dy * height + (y1 + 0.5 * height)
    half_width = 0.5 * (torch.exp(dw.clamp(max=coder.bbox_xform_clip)) * width)
    half_height = 0.5 * (torch.exp(dh.clamp(max=coder.bbox_xform_clip)) * height)
    return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], 2)
