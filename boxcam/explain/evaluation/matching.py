"""Which object each box shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from boxcam.explain.evaluation.truth import Truth
from boxcam.explain.metrics.overlap import iou, share_covered
from boxcam.types import Detections


@dataclass(frozen=True)
class Matches:
    """Boxes and objects of an image.

    Attributes:
        things: of each box the index of its object; None without one.
        crowded: which of those without one lie in a crowd of their class.
        unjudged: which of those that are left are of classes that the annotations lack.
        missed: how many objects of the model's classes have no box.
    """

    things: tuple[int | None, ...]
    crowded: frozenset[int]
    unjudged: frozenset[int]
    missed: int


def match(found: Detections, truth: Truth, least: float) -> Matches:
    """One object for each box at most, and one box for each object: of the same class, with an IoU above ``least``.

    The pair with the largest IoU comes first, then that of what is left, as in ODAM's code (tools/savefig_odam.py),
    which asks for more than 0.9 and says 0.8 and 0.5 in its comments. A box without an object of which more than
    ``least`` lies in a crowd of its class is neither right nor wrong, as in COCO's evaluation.

    Args:
        found: the boxes.
        truth: what is in the image.
        least: 0 to 1.
    """
    overlaps = [iou(found.boxes, thing.box) for thing in truth.things]
    pairs = sorted(
        (-float(values[k]), k, number)
        for number, values in enumerate(overlaps)
        for k in range(len(found))
        if values[k] > least and found.labels[k] == truth.things[number].label
    )
    things: dict[int, int] = {}
    for _, k, number in pairs:
        if k not in things and number not in things.values():
            things[k] = number
    crowded = {k for k in range(len(found)) if k not in things and _in_a_crowd(found, k, truth, least)}
    rest = {k for k in range(len(found)) if k not in things and k not in crowded}
    unjudged = {k for k in rest if truth.judged is not None and int(found.labels[k]) not in truth.judged}
    known = sum(thing.label >= 0 for thing in truth.things)
    of = tuple(things.get(k) for k in range(len(found)))
    return Matches(of, frozenset(crowded), frozenset(unjudged), known - len(things))


def _in_a_crowd(found: Detections, k: int, truth: Truth, least: float) -> bool:
    crowds: Sequence[float] = [
        float(share_covered(found.boxes[[k]], crowd.box)[0]) for crowd in truth.crowds if crowd.label == found.labels[k]
    ]
    return max(crowds, default=0.0) > least
