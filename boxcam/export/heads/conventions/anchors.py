"""Offsets from anchors, where the file has the anchors: SSD, RetinaFace, EfficientDet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.fits import decoded
from boxcam.export.heads.conventions.tells import activation, background
from boxcam.export.heads.evidence.cells import levels
from boxcam.export.heads.evidence.makers import is_computed

_VARIANCES = (0.1, 0.2)
"""Of SSD's and RetinaFace's offsets: of the centre, and of the size."""


def offsets(match: Match) -> bool:
    """Whether boxes are offsets: rows of maps, and nothing that varies along the rows takes part in them."""
    one = match.tensors["boxes"]
    return bool(levels(one.made, one.array.ndim - 2)) and not decoded(match, "boxes")


def refuse_offsets(match: Match) -> None:
    """Refuse offsets from anchors that the file does not have.

    Raises:
        SourceError: the boxes are such.
    """
    if match.question.convention is None and offsets(match):
        value = match.tensors["boxes"].value
        raise SourceError(
            f"the boxes {name_and_shape(value)} are offsets from anchors or cells: between the last convolution and"
            " them nothing depends on where a row lies, and the file has no anchors. Compute the boxes with decode=,"
            " a function of yours that has the anchors, or export the model with decoded boxes; if they are boxes after"
            ' all, pass convention="boxes-and-scores".'
        )


def _found(match: Match) -> Iterator[Array]:
    """Constants of the file that have four numbers for each row, as float32 [N, 4]."""
    count = match.sizes["N"]
    graph = match.tensors["boxes"].value.graph
    stored = [] if graph is None else [value.const_value for value in graph.initializers.values()]
    arrays = [tensor.numpy() for tensor in stored if tensor is not None and tensor.size == 4 * count]
    arrays += [one.array for one in match.question.seen if one.array.size == 4 * count and not is_computed(one.value)]
    seen: list[Array] = []
    for array in arrays:
        if (
            array.shape[-2:] == (count, 4)
            and array.dtype.kind == "f"
            and not any(np.array_equal(array.reshape(-1, 4), s) for s in seen)
        ):
            seen.append(array.reshape(-1, 4).astype(np.float32))
            yield seen[-1]


def _are_corners(anchors: Array) -> bool:
    """Whether anchors are corners in pixels: y1 x1 y2 x2."""
    return bool((anchors[:, 2:] > anchors[:, :2]).all() and anchors.max() > 2)


def _are_centred(anchors: Array) -> bool:
    """Whether anchors are centre and size, 0 to 1: some are smaller than their centre is far."""
    inside = bool((anchors >= 0).all() and anchors.max() <= 2 and (anchors[:, :2] <= 1).all())
    return inside and not bool((anchors[:, 2:] > anchors[:, :2]).all())


def _fits(kind: Callable[[Array], bool]) -> Callable[[Match], Fit]:
    def fits(match: Match) -> Fit:
        if match.tensors["scores"].array.shape[-1] == 4 and match.question.scores is None and not _is_scores(match):
            return Fit.NO
        return Fit.CERTAIN if offsets(match) and sum(map(kind, _found(match))) == 1 else Fit.NO

    return fits


def _is_scores(match: Match) -> bool:
    """Four columns are the scores of four classes if no layer of boxes is left for the other tensor."""
    seen = [one for one in match.question.seen if one.array.shape == match.tensors["scores"].array.shape]
    return match.question.classes == 4 and len(seen) == 2 and match.question.boxes is not None


def _anchors(match: Match, kind: Callable[[Array], bool]) -> Array:
    return next(found for found in _found(match) if kind(found))


def _ssd(match: Match) -> Decode:
    """centre = prior + 0.1 x offset x size of the prior, size = size of the prior x exp(0.2 x offset)."""
    priors = _anchors(match, _are_centred)[None]
    boxes, scores = match.piece("boxes"), match.piece("scores")

    def write(op: Ops) -> tuple[ir.Value, ir.Value]:
        rows = boxes.rows(op)
        xy, wh = op.Slice(rows, [0], [2], [2]), op.Slice(rows, [2], [4], [2])
        centre = op.Add(op.Mul(xy, priors[..., 2:] * np.float32(_VARIANCES[0])), priors[..., :2])
        size = op.Mul(op.Exp(op.Mul(wh, np.float32(_VARIANCES[1]))), priors[..., 2:])
        return op.Concat(centre, size, axis=2), scores.rows(op)

    return write


def _efficientdet(match: Match) -> Decode:
    """The same without variances, rows first: dy, dx, dh, dw from y1 x1 y2 x2."""
    anchors = _anchors(match, _are_corners)[None]
    middle, sides = (anchors[..., :2] + anchors[..., 2:]) / 2, anchors[..., 2:] - anchors[..., :2]
    boxes, scores = match.piece("boxes"), match.piece("scores")

    def write(op: Ops) -> tuple[ir.Value, ir.Value]:
        rows = boxes.rows(op)
        centre = op.Add(op.Mul(op.Slice(rows, [0], [2], [2]), sides), middle)
        half = op.Mul(op.Mul(op.Exp(op.Slice(rows, [2], [4], [2])), sides), np.float32(0.5))
        return op.Concat(op.Sub(centre, half), op.Add(centre, half), axis=2), scores.rows(op)

    return write


SSD = Entry(
    title="offsets from priors, as of SSD and RetinaFace",
    models="SSD and RetinaFace whose priors are in the file (centre and size, 0 to 1; variances 0.1 and 0.2)",
    tensors={"boxes": "1, N, 4", "scores": "1, N, C"},
    kind="candidates",
    scores="scores",
    boxes="boxes",
    form="cxcywh",
    scale="normalized",
    activation=activation(queries=False),
    background=background(queries=False),
    fits=_fits(_are_centred),
    decode=_ssd,
    decoding="priors of the file",
)

EFFICIENTDET = Entry(
    title="offsets from anchors, as of EfficientDet",
    models="EfficientDet in PyTorch whose anchors are in the file (y1 x1 y2 x2 in pixels)",
    tensors={"boxes": "1, N, 4", "scores": "1, N, C"},
    kind="candidates",
    scores="scores",
    boxes="boxes",
    form="yxyx",
    scale="pixels",
    activation=activation(queries=False),
    background=background(queries=False),
    fits=_fits(_are_corners),
    decode=_efficientdet,
    decoding="anchors of the file",
)
