"""Boxes in the graph as torchvision selects them, by operators that can be deployed.

For the time of an export two of torchvision's functions are replaced by others that give the same:

- clipping boxes to the image ends in a Reshape that ONNX Runtime simplifies to one which fails where there are no
  boxes, as on a level of RetinaNet without candidates;
- SSD selects the candidates of one class after the other, in some 20 operators for each of 90 classes.
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
    try:
        yield
    finally:
        operators.clip_boxes_to_image = original
        model.__dict__.pop("postprocess_detections", None)


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
