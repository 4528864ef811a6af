"""What became of the images that were explained, in words."""

from __future__ import annotations

from pathlib import Path

import boxcam
from boxcam.explain.advice import CELL_BY_CELL, averages
from boxcam.plurals import counted

WORDS = {False: ("box", "boxes"), True: ("class", "classes")}
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
    if not empty:
        return f"wrote {written} of {counted(asked, 'explanation')} to {folder}"
    return (
        f"wrote the results of {written} of {counted(asked, 'picture')} to {folder}; no {one} in {empty} of"
        f" {counted(written, 'picture')}"
    )


def summary(explanation: boxcam.Explanation) -> str:
    """What became of an image."""
    count, left, query = len(explanation), explanation.other_boxes, explanation.query
    score, (one, several) = query.score, WORDS[query.classifier]
    options = "--score, --top, --class or --rank" if query.rank else "--score, --top or --class"
    others = f", {left} others left out by {options}" if left else ""
    if not count:
        asked = f"{' of those asked for' if query.classes else ''}{' at a rank asked for' if query.rank else ''}"
        others = others or ("" if asked else ", nor any other that the bundle reports")
        best = "--rank 1 shows the best one, --score 0" if query.classifier and not query.classes else "--score 0 shows"
        lower = f": {best} {several} of any score" if left and score > 0 and not query.rank else ""
        return f"no {one}{asked} with a score of at least {score:g}{others}{lower}"
    missing = query.rank[count:] if count != query.top else []  # of boxes that are sorted by score the last ones
    absent = ""
    if missing:
        least = f" with a score of at least {score:g}" if score > 0 else ""
        absent = f", none at rank {' or '.join(map(str, missing))}{least}"
    found = f"{_without_heat(explanation)}{_completeness(explanation)}"
    return f"{count} {one if count == 1 else several}{found}{absent}{others}"


def _completeness(explanation: boxcam.Explanation) -> str:
    """What the maps add up to, as shares of what the target changes by; nothing for methods without a path."""
    shares = (
        [] if explanation.completeness is None else [f"{s:.2f}" for s in sorted(explanation.completeness) if s == s]
    )
    return f", completeness {' to '.join(dict.fromkeys((shares[0], shares[-1])))}" if shares else ""


def _without_heat(explanation: boxcam.Explanation) -> str:
    """How many maps show nothing, and what that means."""
    boxes = range(len(explanation))
    empty = sum(explanation.depends(k) and not explanation.has_evidence(k) for k in boxes)
    apart = sum(not explanation.depends(k) for k in boxes)
    said = ""
    if empty:
        what, them = ("an empty map", "it") if empty == 1 else ("empty maps", "them")
        better = f"; try --method {CELL_BY_CELL}" if averages(explanation.method) else ""
        said = f", {empty} with {what} ({explanation.method} found nothing at {explanation.layer} for {them}{better})"
    return said + (f", {apart} not depending on {explanation.layer}" if apart else "")
