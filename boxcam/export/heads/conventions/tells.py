"""What entries do not declare, told of the outputs at hand: the unit of boxes, the activation of scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boxcam.errors import SourceError
from boxcam.export.graphs.query import Array, name_and_shape
from boxcam.export.heads.conventions.entry import Match
from boxcam.export.heads.conventions.fits import COCO, probabilities
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.shapes import slot
from boxcam.export.heads.evidence.forms import form_of
from boxcam.export.heads.evidence.makers import is_activation, last_operator
from boxcam.export.heads.evidence.values import add_up, are_probabilities, largest_sizes, may_be_corners, ordered


def scale(match: Match) -> str:
    """See `scale_of`."""
    return scale_of(match.question, match.rows(match.entry.boxes))


def scale_of(question: Question, boxes: Array) -> str:
    """Pixels, unless the boxes are not far from 0 to 1.

    Raises:
        SourceError: there is no box to see it from, and the user does not say it.
    """
    if question.box_scale is not None:
        return question.box_scale
    if question.in_pixels:
        return "pixels"
    sizes = largest_sizes(boxes)
    if not sizes.size:
        raise SourceError(
            "the model found no box in the images that were tried, so it is unknown whether its boxes are in pixels"
            ' of the input or normalized to 0..1. Pass box_scale="pixels" or box_scale="normalized", or an image in'
            " which it finds something with sample=."
        )
    return "normalized" if np.median(sizes) <= 1.5 else "pixels"


def centre_and_size(match: Match) -> str:
    """What the graph computes; centre and size if it does not tell."""
    return form_of(match.span(match.entry.boxes)) or "cxcywh"


def corners_unless_told(match: Match) -> str:
    """What the graph computes; corners if it does not tell, as most models that select their detections have them."""
    return form_of(match.span(match.entry.boxes)) or "xyxy"


def form(match: Match) -> str:
    """What the graph computes; if it does not tell, corners, if all boxes may have them, otherwise centre and size."""
    told = form_of(match.span(match.entry.boxes))
    if told is not None:
        return told
    boxes = match.rows(match.entry.boxes)
    return "xyxy" if boxes.size and ordered(boxes) > 0.99 else "cxcywh"


def table_form(match: Match) -> str:
    """Of a table of what was selected: what the graph computes, unless its boxes of corners and sizes may be corners.

    Where it does not tell, RT-DETR by Ultralytics has centre and size, 0 to 1, and all others have corners.

    Raises:
        SourceError: the last two numbers are differences, and so large that they may be corners.
    """
    told, boxes = form_of(match.span(match.entry.boxes)), match.rows(match.entry.boxes)
    if told == "xywh" and may_be_corners(boxes):
        raise SourceError(
            f"the last two numbers of the boxes of {match.tensors['table'].value.name} are differences, as sizes are,"
            " but they are not smaller than the first two, as those of corners are not."
            ' Pass box_format="xywh" or box_format="xyxy".'
        )
    if told is not None:
        return told
    return "xyxy" if scale(match) == "pixels" or ordered(boxes) > 0.5 else "cxcywh"


def sigmoid_unless_done(match: Match) -> str:
    """A sigmoid, unless the scores are probabilities already."""
    return "none" if probabilities(match, match.entry.scores) else "sigmoid"


def softmax_unless_done(match: Match) -> str:
    """Of a classifier: a softmax, unless the graph ends in an activation."""
    one = match.tensors[slot(match.entry.scores)[0]]
    known = last_operator(one.value)
    done = is_activation(known) or (known is None and are_probabilities(one.array))
    return "none" if done else "softmax"


def activation(queries: bool) -> Callable[[Match], str]:
    """What makes probabilities of scores that stand in a tensor of their own.

    Args:
        queries: whether the rows are a transformer's queries.
    """

    def tell(match: Match) -> str:
        one, rows = match.tensors[slot(match.entry.scores)[0]], match.rows(match.entry.scores)
        classes, known = match.sizes["C"], last_operator(one.value)
        names = match.question.classes
        if is_activation(known) or (known is None and are_probabilities(rows)):
            return "none"
        if names == classes and match.question.void is not None:
            return "softmax"
        unsure = classes == 91 and not queries  # a sigmoid over COCO's numbers, or a softmax over 90 and a background
        if classes == 1 or names == classes or (names is None and classes in COCO and not unsure):
            return "sigmoid"
        if match.entry.names and classes == 92 and names in (None, 91):
            return "softmax"  # of DETR, whose outputs have names of their own
        raise SourceError(
            f"the scores {name_and_shape(one.value)} are logits: are they meant for a sigmoid or a softmax?"
            ' Pass score_activation="sigmoid" or score_activation="softmax".'
        )

    return tell


def background(queries: bool) -> Callable[[Match], str]:
    """Which class stands for nothing, of scores that stand in a tensor of their own."""

    def tell(match: Match) -> str:
        one, rows = match.tensors[slot(match.entry.scores)[0]], match.rows(match.entry.scores)
        made = match.question.score_activation or activation(queries)(match)
        softmax = made == "softmax" or (made == "none" and (add_up(rows) or last_operator(one.value) == "Softmax"))
        if match.question.classes == match.sizes["C"]:
            return match.question.void or "none"
        if not softmax:  # a sigmoid with a class more than there are names: that of RF-DETR stands for nothing
            return "last" if queries and match.question.classes == match.sizes["C"] - 1 else "none"
        if queries:
            return "last"
        raise SourceError(
            f"the scores {name_and_shape(one.value)} are of a softmax, which usually has a background class: is it"
            ' the first or the last? Pass background="first", background="last" or background="none".'
        )

    return tell
