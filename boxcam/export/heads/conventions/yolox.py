"""YOLOX: as its own exporter writes it, offsets from cells, or decoded."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.dense import (
    BOX,
    CLASSES_AFTER,
    OBJECTNESS,
    Dense,
    has_objectness,
    objectness_told,
)
from boxcam.export.heads.conventions.entry import Fit, Match
from boxcam.export.heads.conventions.fits import decoded, dense, lies_right, makers_of
from boxcam.export.heads.conventions.places import cells_of, located


def _undecoded(match: Match) -> Fit:
    if not lies_right(match) or decoded(match, BOX) or cells_of(match) is None:
        return Fit.NO
    if has_objectness(match):
        return Fit.CERTAIN if objectness_told(match) else Fit.POSSIBLE
    return min(dense(match, "output[4:5+C]"), Fit.POSSIBLE)


def _decoded(match: Match) -> Fit:
    fit = dense(match, CLASSES_AFTER) if has_objectness(match) else Fit.NO
    if fit is not Fit.LIKELY or "Exp" not in makers_of(match, BOX):
        return Fit.NO
    return Fit.CERTAIN if objectness_told(match) else Fit.POSSIBLE


def _from_cells(match: Match) -> Decode:
    """centre = (xy + corner) x stride, size = exp(wh) x stride, as YOLOX's demo/ONNXRuntime has it."""
    found = located(match)
    boxes, scores = match.piece(BOX), match.piece(CLASSES_AFTER)

    def write(op: Ops) -> tuple[ir.Value, ir.Value]:
        rows = boxes.rows(op)
        xy, wh = op.Slice(rows, [0], [2], [2]), op.Slice(rows, [2], [4], [2])
        centre = op.Mul(op.Add(xy, found.corners[None]), found.strides[None])
        return op.Concat(centre, op.Mul(op.Exp(wh), found.strides[None]), axis=2), scores.rows(op)

    return write


UNDECODED = Dense(
    title="offsets from cells, objectness and class scores in one tensor, as of YOLOX",
    models="YOLOX, as its exporter writes it: boxes are computed from cells and strides",
    tensors={"output": "1, N, 5+C"},
    kind="candidates",
    scores=CLASSES_AFTER,
    objectness=OBJECTNESS,
    form="cxcywh",
    scale="pixels",
    iou=0.45,
    fits=_undecoded,
    decode=_from_cells,
    decoding=lambda match: f"cells of strides {', '.join(map(str, located(match).levels))}",
    preset=("yolox",),
)

DECODED = Dense(
    title="objectness and class scores in one tensor, as of YOLOX with decoded boxes",
    models="YOLOX, exported with decoded boxes",
    tensors={"output": "1?, N, 5+C"},
    kind="candidates",
    scores=CLASSES_AFTER,
    objectness=OBJECTNESS,
    scale="pixels",
    iou=0.45,
    fits=_decoded,
    preset=("yolox",),
)

UNDECODED_ACROSS, DECODED_ACROSS = (
    replace(one, title=f"{one.title}, transposed", models=models, tensors={"output": "1, 5+C, N"})
    for one, models in (
        (UNDECODED, "YOLOX, not decoded and transposed"),
        (DECODED, "YOLOX, exported with decoded boxes and transposed"),
    )
)
