"""What a detector says of the object in a scene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import boxcam
from boxcam.explain.metrics.overlap import best_score, iou
from examples.truth.scenes import Scene, describe, draw
from examples.truth.subjects import SPLITS, Subject
from examples.truth.things import CROSS, LABELS

IOU = 0.5


@dataclass(frozen=True)
class Sight:
    """The scores of the two classes at the object's box; 0 for one that is not found there."""

    scores: tuple[float, ...]

    @property
    def cross(self) -> float:
        """The score of the class that a planted cue speaks for."""
        return self.scores[LABELS.index(CROSS)]

    @property
    def label(self) -> str | None:
        """The class with the higher score; None if neither is found."""
        return LABELS[int(np.argmax(self.scores))] if max(self.scores) > 0 else None


def look(model: boxcam.Model, scene: Scene) -> Sight:
    """What a detector says of a scene's object."""
    return _sight(model.detect(draw(scene)), scene)


def rank_of(found: boxcam.Detections, scene: Scene) -> int | None:
    """The place, counted from 1, of the box that calls the object a cross; None if it is not called one."""
    if _sight(found, scene).label != CROSS:
        return None
    overlaps = iou(found.boxes, np.array(scene.body.box))
    fits = [k for k in range(len(found)) if found.names[k] == CROSS and overlaps[k] > IOU]
    return max(fits, key=lambda k: found.scores[k]) + 1


def audited(one: Subject, cue: str, count: int, split: str, label: str = CROSS) -> list[Scene]:
    """Scenes of an object of a class with the cue, on which a detector is measured; none of them was trained on."""
    number = list(SPLITS).index(split)
    return [describe((one.seed, 9 + number, index), cue, photos=SPLITS[split], audit=label) for index in range(count)]


def _sight(found: boxcam.Detections, scene: Scene) -> Sight:
    box = np.array(scene.body.box)
    return Sight(tuple(best_score(found, box, label, IOU) for label in range(len(LABELS))))
