"""Classifiers: a score for each class, and no box."""

from __future__ import annotations

from functools import partial

from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.tells import sigmoid_unless_done, softmax_unless_done
from boxcam.export.heads.evidence.features import may_be_features
from boxcam.export.heads.evidence.makers import is_computed, is_unit_vector, last_operator, selects
from boxcam.export.heads.observed import ObservedTensor


def _left_out(match: Match) -> str:
    """Further outputs of the whole image, as another head's."""
    others = [one for one in match.question.seen if one is not match.tensors["scores"] and is_computed(one.value)]
    beside = [one for one in others if one.array.ndim <= 2 and one.array.size]
    return ", ".join(f"{one.value.name} {list(one.array.shape)}" for one in beside)


_Classifier = partial(Entry, kind="classes", scores="scores", rest=_left_out)


def _several(match: Match) -> Fit:
    """Numbers of the whole image: no box goes with each of them, no operator chose them and no feature is made so."""
    one, count = match.tensors["scores"], match.sizes["C"]
    others = [other for other in match.question.seen if other is not one]
    if count < 2 or is_unit_vector(one.made) or any(_are_boxes(other, count) for other in others):
        return Fit.NO
    if _is_beside(match):
        return Fit.NO
    return Fit.POSSIBLE if selects(one.made) or may_be_features(one.made, one.name, count) else Fit.LAST


def _is_beside(match: Match) -> bool:
    """Whether numbers without a batch are an output among others: rather how many there are than scores of classes."""
    one, question = match.tensors["scores"], match.question
    return one.array.ndim == 1 and len(question.seen) > 1 and question.scores is None


def _are_boxes(other: ObservedTensor, count: int) -> bool:
    """Whether a tensor has four numbers for each of so many."""
    return other.real and tuple(size for size in other.array.shape if size != 1) == (count, 4)


def _one(match: Match) -> Fit:
    """A single number may be many things; behind a sigmoid it is a probability."""
    if match.sizes["C"] != 1 or _is_beside(match):
        return Fit.NO
    return Fit.LAST if last_operator(match.tensors["scores"].value) == "Sigmoid" else Fit.POSSIBLE


CLASSIFIER = _Classifier(
    title="a score for each class",
    models="classifiers: the box is the whole image, the classes are those with the best scores",
    tensors={"scores": "1?, C"},
    activation=softmax_unless_done,
    fits=_several,
)

ONE_CLASS = _Classifier(
    title="a score for one class",
    models="classifiers of yes or no: one output behind a sigmoid",
    tensors={"scores": "1?, C"},
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
