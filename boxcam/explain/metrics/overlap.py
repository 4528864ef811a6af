"""How far boxes are the same."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import Array
from boxcam.types import Detections


def iou(boxes: Array, box: Array) -> Array:
    """Area that boxes have in common with one, over that of both together: float64 [K]; 0 where neither has an area.

    Args:
        boxes: [K, 4], x1 y1 x2 y2.
        box: [4].
    """
    common, area, own = _areas(boxes, box)
    both = area + own - common
    found: Array = np.divide(common, both, out=np.zeros(len(boxes)), where=both > 0)
    return found


def share_covered(boxes: Array, box: Array) -> Array:
    """The share of each of some boxes that lies in one, as COCO compares boxes with crowds: float64 [K]."""
    common, area, _ = _areas(boxes, box)
    found: Array = np.divide(common, area, out=np.zeros(len(boxes)), where=area > 0)
    return found


def best_match(found: Detections, box: Array, label: int) -> tuple[float, float]:
    """IoU and score of the detection of a class that is largest by their product; 0 and 0 if there is none.

    Args:
        found: what the model finds on a changed image.
        box: [4], the box that is looked for.
        label: its class.
    """
    same = found.labels == label
    overlaps, scores = iou(found.boxes[same], box), found.scores[same].astype(np.float64)
    if not len(scores):
        return 0.0, 0.0
    best = int(np.argmax(overlaps * scores))
    return float(overlaps[best]), float(scores[best])


def best_score(found: Detections, box: Array, label: int, least: float) -> float:
    """The highest score of a detection of a class whose IoU is above ``least``; 0 if there is none."""
    there = (found.labels == label) & (iou(found.boxes, box) > least)
    return float(np.max(found.scores[there], initial=0))


def _areas(boxes: Array, box: Array) -> tuple[Array, Array, float]:
    """Common area of each with the one, area of each, and that of the one."""
    boxes, box = boxes.astype(np.float64).reshape(-1, 4), box.astype(np.float64)
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    common = np.prod(np.clip(high - low, 0, None), axis=1)
    area = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    return common, area, float(np.prod(np.clip(box[2:] - box[:2], 0, None)))
