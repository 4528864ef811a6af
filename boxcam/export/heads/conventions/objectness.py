"""Boxes, scores of all classes and one number more for each row, a factor of its scores, in tensors of their own."""

from __future__ import annotations

from functools import partial

from boxcam.export.heads.conventions.anchors import offsets
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.pairs import decoded_form, left_out, pair
from boxcam.export.heads.conventions.tells import activation, background, scale
from boxcam.export.heads.evidence.makers import is_activation, is_transformer, last_operator

_NAMES = ("obj", "ctr", "center", "centre", "iou")
"""What names of an objectness, a centerness or a predicted IoU have in them."""


def _fits(match: Match) -> Fit:
    """An activation makes the factor and the scores; where none makes either, what the number is has to be asked."""
    fit = pair(queries=False)(match)
    made = {role: _operator(match, role) for role in ("scores", "objectness")}
    done = [is_activation(operator) for operator in made.values()]
    if (
        offsets(match)
        or fit is Fit.NO
        or any(done) is not all(done)
        or is_transformer(match.tensors["objectness"].value)
    ):
        return Fit.NO
    if not all(done):
        return fit if all(made.values()) else Fit.NO
    told = {role: any(word in match.tensors[role].name.lower() for word in _NAMES) for role in made}
    return Fit.NO if told["scores"] and not told["objectness"] else Fit.CERTAIN


def _operator(match: Match, role: str) -> str | None:
    """The operator that made a tensor's numbers, also of columns that were cut out of a tensor of several kinds."""
    known = last_operator(match.tensors[role].value)
    made = match.made_by(role)
    if known is None and made and all(one.probability for one in made):
        return made[0].operator
    return known


_Apart = partial(
    Entry,
    title="boxes, scores of every class and objectness apart",
    kind="candidates",
    scores="scores",
    boxes="boxes",
    objectness="objectness",
    form=decoded_form,
    scale=scale,
    activation=activation(queries=False),
    background=background(queries=False),
    rest=left_out,
    fits=_fits,
)

PAIR = _Apart(
    models="YOLOs and FCOS whose objectness or centerness is an output of its own, decoded, without NMS",
    tensors={"boxes": "1?, N, 4", "scores": "1?, N, C", "objectness": "1?, N, 1?"},
)

PAIR_ACROSS = _Apart(
    models="the same with the classes first",
    tensors={"boxes": "1?, N, 4", "scores": "1?, C, N", "objectness": "1?, 1?, N"},
)
