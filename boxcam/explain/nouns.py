"""What people call that which is explained: boxes, classes of the whole image, or candidates at a place."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.candidate import Candidate
from boxcam.explain.evidence import Evidence, Query
from boxcam.explain.options import RUNNER_UP
from boxcam.plurals import counted


def nouns(classifier: bool, candidates: bool = False) -> tuple[str, str]:
    """One of them, and several.

    Args:
        classifier: whether they are classes of the whole image.
        candidates: whether a place was asked about.

    >>> nouns(False), nouns(True), nouns(False, candidates=True)
    (('box', 'boxes'), ('class', 'classes'), ('candidate', 'candidates'))
    """
    if candidates:
        return "candidate", "candidates"
    return ("class", "classes") if classifier else ("box", "boxes")


def nouns_of(query: Query) -> tuple[str, str]:
    """One of what was asked for, and several."""
    return nouns(query.classifier, query.at is not None)


def question(evidence: Evidence) -> list[str]:
    """What was asked, other than why the boxes are there: about which place, and rather than for which other class."""
    query, (one, _) = evidence.query, nouns_of(evidence.query)
    asked = []
    if query.at is not None:
        asked.append(f"at {','.join(f'{side:g}' for side in query.at)} in image pixels, drawn dashed")
    if query.against:
        own = "a class" if query.classifier else f"a {one}'s class"
        runner_up = query.against == RUNNER_UP
        rival = "its runner-up" if runner_up else next(iter(evidence.others), query.against)
        asked.append(f"what speaks for {own} rather than for {rival}")
    return asked


def standing(candidates: Sequence[Candidate], score: float) -> str:
    """How many candidates there are, and whether the model reported them.

    Args:
        candidates: one at least.
        score: boxes that were reported with a lower one were not asked for.
    """
    count = counted(len(candidates), "candidate")
    found = [_standing(one, score) for one in candidates]
    if len(set(found)) == 1:
        return f"{count}, {found[0]}"
    worst = max(found, key=("reported", _too_low(score), "not reported").index)
    return f"{count}, {found.count(worst)} {worst}"


def _standing(candidate: Candidate, score: float) -> str:
    if candidate.reason == "reported":
        return "reported"
    # A box that was reported says by how much it overlaps the place; of the others only suppressed ones say as much.
    too_low = candidate.reason in ("threshold", "class") and "by_iou" in candidate.figures
    return _too_low(score) if too_low else "not reported"


def _too_low(score: float) -> str:
    return f"reported below score {score:g}"
