"""Classifiers: a score for each class, and no box."""

from __future__ import annotations

from functools import partial

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.tells import sigmoid_unless_done, softmax_unless_done
from boxcam.export.heads.evidence.makers import is_unit_vector, last_operator

_Classifier = partial(Entry, kind="classes", scores="scores")


def _several(match: Match) -> Fit:
    if match.sizes["C"] == 1 or is_unit_vector(match.tensors["scores"].made):
        return Fit.NO
    return Fit.LAST


def _one(match: Match) -> Fit:
    """A single number may be many things; behind a sigmoid it is a probability."""
    if match.sizes["C"] != 1:
        return Fit.NO
    return Fit.LAST if last_operator(match.tensors["scores"].value) == "Sigmoid" else Fit.POSSIBLE


CLASSIFIER = _Classifier(
    title="a score for each class",
    models="classifiers: the box is the whole image, the classes are those with the best scores",
    tensors={"scores": "1, C"},
    activation=softmax_unless_done,
    fits=_several,
)

ONE_CLASS = _Classifier(
    title="a score for one class",
    models="classifiers of yes or no: one output behind a sigmoid",
    tensors={"scores": "1, C"},
    activation=sigmoid_unless_done,
    fits=_one,
)

PIXEL = _Classifier(
    title="a score for each class, as a map of one pixel",
    models="fully convolutional classifiers",
    tensors={"scores": "1, C, 1, 1"},
    activation=softmax_unless_done,
    fits=_several,
)

ONE_CLASS_PIXEL = _Classifier(
    title="a score for one class, as a map of one pixel",
    models="fully convolutional classifiers of yes or no",
    tensors={"scores": "1, C, 1, 1"},
    activation=sigmoid_unless_done,
    fits=_one,
)

PIXEL_LAST = _Classifier(
    title="a score for each class, as a map of one pixel, channels last",
    models="the same, of TensorFlow",
    tensors={"scores": "1, 1, 1, C"},
    activation=softmax_unless_done,
    fits=_several,
)
