"""Classifiers: a score for each class, and no box."""

from __future__ import annotations

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.tells import softmax_unless_done


def _several(match: Match) -> Fit:
    return Fit.LAST if match.sizes["C"] > 1 else Fit.NO


CLASSIFIER = Entry(
    title="a score for each class",
    models="classifiers: the box is the whole image, the classes are those with the best scores",
    tensors={"scores": "1, C"},
    kind="classes",
    scores="scores",
    activation=softmax_unless_done,
    fits=_several,
)
