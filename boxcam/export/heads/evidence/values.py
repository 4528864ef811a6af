"""What the numbers of one run look like."""

from __future__ import annotations

import numpy as np

from boxcam.export.graphs.query import Array

_MANY = 5


def ordered(boxes: Array) -> float:
    """The share of boxes that may be x1 y1 x2 y2: the last two numbers are not below the first two."""
    return float((boxes[..., 2:] >= boxes[..., :2]).all(-1).mean()) if boxes.size else 1.0


def may_be_corners(boxes: Array) -> bool:
    """Whether most boxes have no size that is less than its place, as corners have none; of a few, that is chance."""
    real = boxes[(boxes != 0).any(-1) & (boxes != -1).any(-1)]  # the rest fills a table up
    return len(real) >= _MANY and ordered(real) > 0.5


def are_classes(values: Array) -> bool:
    """Whether numbers may be those of classes, or of images: they are whole, -1 for none."""
    return bool(((values == np.round(values)) & (values >= -1)).all())


def are_probabilities(values: Array) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def add_up(rows: Array) -> bool:
    """Whether each row of probabilities, [..., C], adds up to 1, as those of a softmax do."""
    return bool(rows.shape[-1] > 1 and are_probabilities(rows) and np.abs(rows.sum(-1) - 1).max(initial=0) < 1e-3)


def largest_sizes(boxes: Array) -> Array:
    """The largest number of each box; boxes of zeros, and of -1, which fill a table up, are none."""
    sizes: Array = np.abs(boxes).max(-1, initial=0)
    real: Array = sizes[(sizes > 0) & ~(boxes == -1).all(-1)]
    return real
