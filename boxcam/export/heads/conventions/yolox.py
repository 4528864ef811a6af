"""YOLOX: as its own exporter writes it, offsets from cells, or decoded."""

from __future__ import annotations

import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import name_and_shape
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.dense import BOX, CLASSES_AFTER, OBJECTNESS, Dense, has_objectness
from boxcam.export.heads.conventions.entry import Fit, Match
from boxcam.export.heads.conventions.fits import decoded, dense, lies_right, makers_of
from boxcam.export.heads.evidence import cells


def located(match: Match, role: str = "output") -> cells.Cells:
    """The cells of a tensor's rows.

    Raises:
        SourceError: the graph does not tell them.
    """
    found = cells_of(match, role)
    if found is None:
        raise SourceError(
            f"the boxes of {name_and_shape(match.tensors[role].value)} are offsets from cells, and which cell of"
            " which map each row is of cannot be seen in the graph. Export the model with decoded boxes, or compute"
            " boxes and scores from the outputs with decode=."
        )
    return found


def cells_of(match: Match, role: str = "output") -> cells.Cells | None:
    """The cells of a tensor's rows, if each row is one of a map of the graph."""
    one = match.tensors[role]
    axis = one.array.ndim - 3 + (2 if match.across(role) else 1)
    return cells.cells(cells.levels(one.made, axis), match.question.size)


def _undecoded(match: Match) -> Fit:
    if not lies_right(match) or decoded(match, BOX) or cells_of(match) is None:
        return Fit.NO
    if has_objectness(match):
        return Fit.CERTAIN
    return min(dense(match, "output[4:5+C]"), Fit.POSSIBLE)


def _decoded(match: Match) -> Fit:
    fit = dense(match, CLASSES_AFTER) if has_objectness(match) else Fit.NO
    return Fit.CERTAIN if fit is Fit.LIKELY and "Exp" in makers_of(match, BOX) else Fit.NO


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
    tensors={"output": "1, N, 5+C"},
    kind="candidates",
    scores=CLASSES_AFTER,
    objectness=OBJECTNESS,
    scale="pixels",
    iou=0.45,
    fits=_decoded,
    preset=("yolox",),
)
