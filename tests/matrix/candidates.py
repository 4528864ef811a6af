"""Candidates of a family: what the opened selection says of boxes that the model did report."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from boxcam.explain.finding import Finding
from boxcam.explain.why_not import WhyNot
from boxcam.runtime.images import read_image
from boxcam.runtime.planting import scores_of
from boxcam.types import Int
from tests.matrix.deployed import Deployed

WITHOUT: dict[str, str] = {}
"""Families whose candidates cannot be had, and words of why."""
_SIDES, _SCORES = 2e-3, 2e-3
"""How far boxes may be apart, as a share of the largest coordinate, and scores."""


def check(deployed: Deployed, picture: Path, most: int = 6) -> int:
    """Compare boxes that were reported with the same ones as candidates, and ask why they were, and others were not.

    Args:
        deployed: the bundle.
        picture: what it looks at.
        most: so many boxes are asked about, from the best to the worst.

    Returns:
        How many boxes were compared.
    """
    model = deployed.model.runtime
    prediction = model.predict(read_image(picture), extra=model.selection.names)
    finding, found = Finding(model, prediction), prediction.detections
    rows = model.selection.opened(prediction.outputs, finding.plantings, _alone(finding, found.origin))
    there = {tuple(place): k for k, place in enumerate(rows.origin.tolist())}
    chosen = [k for k in range(len(found)) if tuple(found.origin[k].tolist()) in there]
    at = [there[tuple(found.origin[k].tolist())] for k in chosen]
    boxes = prediction.transform.boxes_to_image(rows.boxes[at])
    side = max(float(np.abs(found.boxes).max(initial=0)), 1.0)
    assert np.abs(boxes - found.boxes[chosen]).max(initial=0) <= _SIDES * side
    shares = np.array([finding.of_row(tuple(found.origin[k].tolist()))[found.labels[k]] for k in chosen])
    scores = scores_of(shares, rows.scores[at], model.selection.told.form)
    assert np.abs(scores - found.scores[chosen]).max(initial=0) <= _SCORES
    for k in sorted({round(k) for k in np.linspace(0, len(found) - 1, min(most, len(found)))}):
        why = WhyNot(finding, found.boxes[k])
        if np.prod(found.boxes[k][2:] - found.boxes[k][:2]) > 0:
            assert why.tell(int(found.labels[k])).reason == "reported"
        other = why.tell(_other(int(found.labels[k]), finding.classes))
        assert other.why.endswith(".")
        assert np.isfinite([other.score, other.logit, other.iou, *other.box]).all()
    return len(chosen)


def _other(label: int, classes: int) -> int:
    """Another class; the first one may be the background."""
    return max((label + 1) % classes, min(1, classes - 1))


def _alone(finding: Finding, origin: Int) -> Int:
    """One class of each candidate: two would share a softmax."""
    first = {finding.row(tuple(place))[0].tobytes(): place for place in reversed(origin.tolist())}
    return np.array(list(first.values()), np.int64).reshape(-1, origin.shape[1])
