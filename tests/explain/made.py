"""Explanations made by hand, without a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from boxcam.explain.evidence import Part, Query
from boxcam.explain.explanation import Explanation
from boxcam.types import CellMap, Detections, Grid


def explanation(*cells: list[list[float]], names: tuple[str, ...] = (), **query: Any) -> Explanation:
    """Boxes on an image of 8 x 4 pixels, one per map of 2 x 4 cells that are 2 pixels large each."""
    count = len(cells)
    boxes = np.array([[0, 0, 4, 2], [3.5, 1.5, 8, 4], [1, 1, 2, 2]], np.float32)[:count]
    detections = Detections(
        boxes=boxes,
        scores=np.array([0.9, 0.5, 0.4], np.float32)[:count],
        labels=np.array([2, 0, 1], np.int64)[:count],
        names=names or ("third", "first", "second")[:count],
        origin=np.array([[0, 7], [1, 3], [0, 1]], np.int64)[:count],
        logits=np.array([2.2, 0.0, -0.4], np.float32)[:count],
    )
    return Explanation(
        image=np.full((4, 8, 3), 90, np.uint8),
        detections=detections,
        method="gradcam",
        layer="neck",
        engine="torchscript",
        target="logit",
        values=detections.logits,
        parts=tuple(
            (Part("p3", CellMap(np.array(values, np.float32), (0, 0)), Grid(0, 0, 2, 2, (0, 2), (0, 4))),)
            for values in cells
        ),
        guides=None,
        other_boxes=4,
        query=Query(**{"bundle": "net.boxcam", "image": "photos/a.jpg", "score": 0.25, **query}),
    )


EVEN = [[1.0] * 4] * 2
LEFT = [[2.0, 2.0, 0.0, 0.0], [0.0] * 4]
AGAINST = [[-1.0] * 4] * 2
