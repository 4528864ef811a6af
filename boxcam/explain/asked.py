"""The best candidates at a place of an image, as if the model had reported them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from boxcam.errors import ArgumentError
from boxcam.explain.candidate import Candidate
from boxcam.explain.contrast import as_reported
from boxcam.explain.finding import Finding
from boxcam.explain.plan import Plan
from boxcam.explain.selection import Selection
from boxcam.explain.why_not import WhyNot
from boxcam.runtime.model import Model, Prediction
from boxcam.types import Corners, Detections


@dataclass(frozen=True, eq=False)
class Asked:
    """What was found at a place.

    Attributes:
        candidates: the best of each class that was asked for.
        prediction: the forward pass as if these had been reported.
    """

    candidates: tuple[Candidate, ...]
    prediction: Prediction


def at_place(plan: Plan, selection: Selection, prediction: Prediction) -> Asked:
    """The best candidates at the place that was asked about, one of each class; of no class given, of the likeliest.

    Raises:
        ArgumentError: the place lies outside of the image, or a candidate is to be contrasted with its own class.
    """
    found = candidates_at(plan.model, prediction, plan.options.place, selection.classes, selection.score)
    same = [one for one in found if one.label == plan.against]
    if same:
        raise ArgumentError(
            f"against={plan.options.against!r} is the class of the candidate there, so there is no contrast. Pass"
            f" another class, or leave {same[0].name} out of classes=."
            if plan.options.classes is not None
            else f"against={plan.options.against!r} is the likeliest class there, so there is no contrast. Pass another"
            " class, or classes= for the one that is missed."
        )
    detections = Detections(
        boxes=np.array([one.box for one in found], np.float32).reshape(-1, 4),
        scores=np.array([one.score for one in found], np.float32),
        labels=np.array([one.label for one in found], np.int64),
        names=tuple(one.name for one in found),
        origin=np.array([one.origin for one in found], np.int64).reshape(len(found), -1),
        logits=np.array([one.logit for one in found], np.float32),
    )
    return Asked(found, as_reported(plan.model, prediction, detections))


def candidates_at(
    model: Model,
    prediction: Prediction,
    place: Corners,
    classes: tuple[int, ...] | None,
    score: float,
) -> tuple[Candidate, ...]:
    """The best candidates at a place, and why the model did not report them.

    Args:
        model: a detector.
        prediction: a forward pass made with ``extra=model.selection.names``.
        place: x1 y1 x2 y2 in image pixels.
        classes: class indices; None for the likeliest one there.
        score: what is reported with a lower score is not shown.

    Raises:
        ArgumentError: the place lies outside of the image, or of what the model sees of it; or a class is never
            reported.
        RunError: there are no candidates in this image.
        EngineError: the bundle does not tell of candidates.
    """
    width, height = prediction.transform.width, prediction.transform.height
    x1, y1, x2, y2 = place
    left, top, right, bottom = prediction.transform.seen
    if x1 >= width or y1 >= height or x2 <= 0 or y2 <= 0:
        raise ArgumentError(
            f"the place {x1:g},{y1:g},{x2:g},{y2:g} lies outside of the image, which is {width} pixels wide and"
            f" {height} high. Pass x1, y1, x2, y2 in its pixels."
        )
    if x1 >= right or y1 >= bottom or x2 <= left or y2 <= top:
        raise ArgumentError(
            f"the model does not see the place {x1:g},{y1:g},{x2:g},{y2:g}: of the image it sees x {left:g} to"
            f" {right:g} and y {top:g} to {bottom:g}. Pass a place in it."
        )
    box = np.array([max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)], np.float32)
    finding = Finding(model, prediction)
    asked = classes if classes is not None else (finding.likeliest(box),)
    why = WhyNot(finding, box, score)
    return tuple(why.tell(label) for label in dict.fromkeys(asked))
