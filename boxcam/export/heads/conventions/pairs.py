"""Boxes in one tensor, and scores of all classes in another, before suppression or of queries."""

from __future__ import annotations

from collections.abc import Callable

from boxcam.export.heads.convention import Convention
from boxcam.export.heads.conventions.anchors import offsets, refuse_offsets
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.fits import decoded
from boxcam.export.heads.conventions.tells import activation, background, form, scale, sigmoid_unless_done
from boxcam.export.heads.evidence.makers import is_computed, is_transformer, last_operator

_BOXES = ("pred_boxes",)
_LOGITS = ("logits", "pred_logits")


def pair(queries: bool) -> Callable[[Match], Fit]:
    def fits(match: Match) -> Fit:
        boxes, scores = match.tensors["boxes"], match.tensors["scores"]
        if boxes.name in _BOXES and scores.name in _LOGITS:
            return Fit.NO  # those of DETR
        across = match.across("scores")
        if across and scores.array.shape[-1] == scores.array.shape[-2]:
            return Fit.NO
        if not across and _are_places(match):
            return Fit.NO
        transformer = is_transformer(scores.value) and not match.question.suppressed
        if transformer is not queries:
            return Fit.NO
        if not queries and offsets(match):
            return Fit.LIKELY  # and refused, unless the user names the convention
        return Fit.LIKELY if queries or is_transformer(boxes.value) or decoded(match, "boxes") else Fit.POSSIBLE

    return fits


def left_out(match: Match) -> str:
    """Further numbers of each row, which are read as nothing."""
    count = match.sizes["N"]
    others = [one for one in match.question.seen if one.real and one not in match.tensors.values()]
    beside = [one for one in others if is_computed(one.value) and count in one.array.shape and count > 1]
    return ", ".join(f"{one.value.name} {list(one.array.shape)}" for one in beside)


def decoded_form(match: Match) -> str:
    """The form of boxes that are no offsets."""
    refuse_offsets(match)
    return form(match)


def _without_batch(match: Match) -> Fit:
    """Rows of the graph's maps, and more than a classifier's one."""
    if match.sizes["N"] < 2 or _are_places(match):
        return Fit.NO
    return Fit.LIKELY if decoded(match, "boxes") else Fit.POSSIBLE


def _is_exclusive(convention: Convention) -> bool:
    """Whether a query has one class, as those of a softmax with a class for nothing have."""
    softmax = convention.activation == "softmax" or last_operator(convention.scores.value) == "Softmax"
    return softmax and convention.background != "none"


def _are_places(match: Match) -> bool:
    """Whether what may be scores are boxes or points, since they meet cells, which no scores do.

    Where neither of two tensors of four columns does, either may be the box, and the user is asked.
    """
    scores, question = match.tensors["scores"], match.question
    if question.scores is not None and scores.value is question.scores.value:
        return False
    return decoded(match, "scores")


DETR = Entry(
    title="queries with boxes, as of DETR",
    models="DETR, RT-DETR: every query reports, nothing is suppressed",
    tensors={"boxes": "1, N, 4", "scores": "1, N, C"},
    names={"boxes": _BOXES, "scores": _LOGITS},
    kind="queries",
    scores="scores",
    boxes="boxes",
    form="cxcywh",
    scale="normalized",
    activation=activation(queries=True),
    background=background(queries=True),
    best_class_only=lambda convention: _is_exclusive(convention),
    fits=lambda match: Fit.CERTAIN,
)

RF_DETR = Entry(
    title="queries with boxes and logits of a sigmoid, as of RF-DETR",
    models="RF-DETR: every query and class reports; a class more than there are names stands for nothing",
    tensors={"boxes": "1, N, 4", "scores": "1, N, C"},
    names={"boxes": ("dets",), "scores": ("labels",)},
    kind="queries",
    scores="scores",
    boxes="boxes",
    form="cxcywh",
    scale="normalized",
    activation=sigmoid_unless_done,
    background=lambda match: "last" if match.question.classes == match.sizes["C"] - 1 else "none",
    fits=lambda match: Fit.NO if match.question.suppressed else Fit.CERTAIN,
    preset=("imagenet", "resize=stretch"),
)

YOLOV4 = Entry(
    title="boxes and scores of every class, as of YOLOv4",
    models="YOLOv4 (pytorch-YOLOv4): `boxes` and `confs`",
    tensors={"boxes": "1, N, 1, 4", "scores": "1, N, C"},
    kind="candidates",
    scores="scores",
    boxes="boxes",
    form=form,
    scale=scale,
    activation=activation(queries=False),
    background=background(queries=False),
    best_class_only=True,
    fits=lambda match: Fit.CERTAIN,
    preset=("resize=stretch", "scale=0-1", "color=RGB"),
)

YOLOV3 = Entry(
    title="boxes and scores of every class, without a batch, as of YOLOv3",
    models="YOLOv3: boxes and scores without a batch",
    tensors={"boxes": "N, 4", "scores": "N, C"},
    kind="candidates",
    scores="scores",
    boxes="boxes",
    form=form,
    scale=scale,
    activation=activation(queries=False),
    background=background(queries=False),
    best_class_only=True,
    fits=lambda match: _without_batch(match),
    rest=left_out,
    preset=("yolo",),
)

QUERIES = Entry(
    title="queries with boxes, as of DETR",
    models="other transformers: every query reports, nothing is suppressed",
    tensors={"boxes": "1, N, 4", "scores": "1, N, C"},
    kind="queries",
    scores="scores",
    boxes="boxes",
    form=form,
    scale=scale,
    activation=activation(queries=True),
    background=background(queries=True),
    best_class_only=lambda convention: _is_exclusive(convention),
    fits=pair(queries=True),
    rest=left_out,
)

PAIR = Entry(
    title="boxes and scores of every class",
    models="boxes and scores apart: mmdeploy and others without NMS",
    tensors={"boxes": "1, N, 4", "scores": "1, N, C"},
    kind="candidates",
    scores="scores",
    boxes="boxes",
    form=lambda match: decoded_form(match),
    scale=scale,
    activation=activation(queries=False),
    background=background(queries=False),
    fits=pair(queries=False),
    rest=left_out,
)

PAIR_ACROSS = Entry(
    title="boxes and scores of every class",
    models="PaddleDetection without NMS: scores with the classes first",
    tensors={"boxes": "1, N, 4", "scores": "1, C, N"},
    kind="candidates",
    scores="scores",
    boxes="boxes",
    form=lambda match: decoded_form(match),
    scale=scale,
    activation=activation(queries=False),
    background=background(queries=False),
    fits=pair(queries=False),
    rest=left_out,
)
