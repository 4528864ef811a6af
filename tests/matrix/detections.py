"""A bundle's detections against the framework's own."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from tests.matrix.deployed import Deployed
from tests.matrix.registry import Found, Subject


class Pairing(Protocol):
    """What detections are compared of: `tests.matrix.measure.Case`."""

    name: str
    subject: Subject
    deployed: Deployed

    def canvas(self, picture: Path) -> torch.Tensor: ...


class Pair(NamedTuple):
    """The number of a detection in the bundle's, and in the framework's; how far apart sides and scores are."""

    mine: int
    theirs: int
    sides: float
    scores: float


def pairs(case: Pairing, picture: Path, found: Found) -> list[Pair]:
    """The framework's detections on a picture with their counterparts in the bundle's.

    Raises:
        AssertionError: one of them has none.
    """
    given, scores, labels = found.arrays()
    prediction = case.deployed.predict(picture)
    mine, transform = prediction.detections, prediction.transform
    boxes = transform.boxes_to_canvas(mine.boxes)
    assert len(mine) == len(scores), f"{case.name}: {len(mine)} boxes, the framework has {len(scores)}"
    # Boxes are cut off at the image's edge, which is before the canvas'.
    corner = np.array([transform.left, transform.top] * 2)
    limit = corner + np.array([transform.resized_width, transform.resized_height] * 2)
    result, left = [], list(range(len(mine)))
    for number, (box, score, label) in enumerate(zip(np.clip(given, corner, limit), scores, labels, strict=True)):
        apart = np.abs(boxes[left] - box).max(1)
        close = np.abs(mine.scores[left] - score)
        fits = (apart < case.subject.pixels) & (close < case.subject.score) & (mine.labels[left] == label)
        assert fits.any(), f"{case.name}: {box} of class {label}, score {score:.4f}, has no counterpart"
        best = int(np.argmin(np.where(fits, close, np.inf)))
        result.append(Pair(left[best], number, float(apart[best]), float(close[best])))
        del left[best]
    return result


def differences(case: Pairing) -> tuple[int, float, float]:
    """How many detections were compared with the framework's own, and the largest difference of sides and scores.

    Raises:
        AssertionError: one of them has no counterpart.
    """
    found: list[Pair] = []
    for picture in case.subject.pictures:
        with torch.no_grad():
            theirs = case.subject.detect(case.canvas(picture))
        found += pairs(case, picture, theirs)
    return len(found), max((p.sides for p in found), default=0.0), max((p.scores for p in found), default=0.0)
