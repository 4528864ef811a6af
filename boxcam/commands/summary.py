"""What became of the images that were explained, in words."""

from __future__ import annotations

from pathlib import Path

import boxcam
from boxcam.explain.advice import alternative, speaks_against
from boxcam.explain.nouns import nouns, nouns_of
from boxcam.explain.rounding import is_rounding
from boxcam.explain.totals import totals
from boxcam.plurals import counted, verb

WORDS = {classifier: nouns(classifier) for classifier in (False, True)}
"""What is explained of a detector, and of a classifier: one, and several."""


def total(written: int, empty: int, asked: int, folder: Path, one: str) -> str:
    """What became of all images together.

    Args:
        written: how many have results.
        empty: of how many of these there was nothing to explain.
        asked: how many images were given.
        folder: where the results are.
        one: what is explained of an image, in the singular.
    """
    if not written:  # and no folder is made
        return f"wrote nothing: {counted(asked, 'picture')} given, none explained"
    none = f"; no {one} in {empty} of {counted(written, 'picture')}" if empty else ""
    return f"wrote the results of {written} of {counted(asked, 'picture')} to {folder}{none}"


def lines_of(explanation: boxcam.Explanation) -> list[str]:
    """What became of an image: a line, or one for each candidate at a place."""
    return [one.sentence for one in explanation.candidates] or [summary(explanation)]


def summary(explanation: boxcam.Explanation) -> str:
    """What became of an image of which boxes were explained."""
    count, query = len(explanation), explanation.query
    one, several = nouns_of(query)
    others = _others(explanation)
    if not count:
        return _nothing(explanation, others)
    missing = query.rank[count:] if count != query.top else []  # of boxes that are sorted by score the last ones
    absent = ""
    if missing:
        least = f" with a score of at least {query.score:g}" if query.score > 0 else ""
        absent = f", none at rank {' or '.join(map(str, missing))}{least}"
    found = f"{_without_heat(explanation)}{_completeness(explanation)}"
    return f"{counted(count, one, several)}{found}{absent}{others}"


def _nothing(explanation: boxcam.Explanation, others: str) -> str:
    """What to say where there is nothing to explain."""
    query, left, why = explanation.query, explanation.other_boxes, explanation.left_out
    score, (one, several) = query.score, nouns_of(query)
    asked = " of those asked for" if query.classes else ""
    if query.rank:
        ranks = " or ".join(map(str, query.rank))
        there = left if why is None else left - why.classes
        if min(query.rank) > there:
            return f"no {one} at rank {ranks}, as there {_only(there, one, several)}{asked}"
        asked += f" at rank {ranks}"
    others = others or ("" if asked else ", nor any other that the bundle reports")
    best = "--rank 1 shows the best one, --score 0" if query.classifier and not query.classes else "--score 0 shows"
    scores = left > 0 if why is None else why.score > 0
    lower = f"; {best} {several} of any score" if scores and score > 0 and not query.rank else ""
    least = f" with a score of at least {score:g}" if score > 0 else ""
    return f"no {one}{asked}{least}{others}{lower}"


def _only(number: int, one: str, several: str) -> str:
    return f"{verb(number, 'is', 'are')} only {counted(number, one, several)}" if number else f"is no {one}"


def _others(explanation: boxcam.Explanation) -> str:
    """How many boxes were left out, and by what."""
    left, why, query = explanation.other_boxes, explanation.left_out, explanation.query
    if not left:
        return ""
    counts = (
        []
        if why is None
        else [
            (why.classes, "of other classes"),
            (why.ranks, "at other ranks"),
            (why.same, f"of {'class ' * query.against.isdecimal()}{query.against} itself"),
            (why.score, f"below score {query.score:g}"),
            (why.top, f"beyond --top {query.top}"),
        ]
    )
    reasons = [(number, of) for number, of in counts if number]
    said = ", ".join(of if len(reasons) == 1 else f"{number} {of}" for number, of in reasons)
    return f", {counted(left, 'other')} left out{f' ({said})' if said else ''}"


def _completeness(explanation: boxcam.Explanation) -> str:
    """What the maps add up to, as shares of what the target changes by; nothing for methods without a path."""
    shares = (
        [] if explanation.completeness is None else [f"{s:.2f}" for s in sorted(explanation.completeness) if s == s]
    )
    return f", completeness {' to '.join(dict.fromkeys((shares[0], shares[-1])))}" if shares else ""


def _without_heat(explanation: boxcam.Explanation) -> str:
    """How many maps show nothing, and what that means."""
    boxes = [k for k in range(len(explanation)) if explanation.depends(k)]
    empty = sum(not explanation.has_evidence(k) and not speaks_against(explanation, k) for k in boxes)
    apart = len(explanation) - len(boxes)
    said = ""
    if empty:
        what, them = ("an empty map", "it") if empty == 1 else ("empty maps", "them")
        other = alternative(explanation)
        at = "" if other is None or other.layer is None else f" --layer {other.layer}"
        attempt = "" if other is None else f"; try --method {other.method}{at}"
        said = f", {empty} with {what} ({explanation.method} found nothing at {explanation.layer} for {them}{attempt})"
    noise = sum(is_rounding(explanation, k, totals(explanation, k)) for k in boxes)
    said += f", {noise} with no evidence beyond rounding" if noise else ""
    return said + (f", {apart} not depending on {explanation.layer}" if apart else "")
