"""NanoDet: class scores, and for each side of a box a distribution over distances."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.dense import Dense
from boxcam.export.heads.conventions.entry import Fit, Match
from boxcam.export.heads.conventions.fits import decoded, lies_right, of_one_kind, probabilities
from boxcam.export.heads.conventions.places import cells_of, located

_SCORES, _SIDES = "output[0:C]", "output[C:C+32]"
BINS = 8
"""Of a distribution over the distance of one side: 0 to 7 strides."""


def _fits(levels: int) -> Callable[[Match], Fit]:
    """A head of so many levels whose sides are logits of distributions."""

    def fits(match: Match) -> Fit:
        if not lies_right(match) or decoded(match, _SIDES) or not of_one_kind(match, _SCORES):
            return Fit.NO
        found, made = cells_of(match), match.made_by(_SIDES)
        split = any(one.first == match.sizes["C"] for one in made) and not any(one.probability for one in made)
        if found is None or not split or not probabilities(match, _SCORES):
            return Fit.NO
        return Fit.CERTAIN if len(found.levels) == levels else Fit.POSSIBLE

    return fits


def _integral(offset: float) -> Callable[[Match], Decode]:
    """Each side is the mean of a softmax over 0 to 7, times the stride, from a point of the cell."""

    def make(match: Match) -> Decode:
        found = located(match)
        sides, scores = match.piece(_SIDES), match.piece(_SCORES)
        points = ((found.corners + np.float32(offset)) * found.strides)[None]

        def write(op: Ops) -> tuple[ir.Value, ir.Value]:
            return integral_boxes(op, sides.rows(op), points, found.strides[None]), scores.rows(op)

        return write

    return make


def integral_boxes(op: Ops, sides: ir.Value, points: Array, strides: Array) -> ir.Value:
    """Corners [1, N, 4] in pixels: each side lies as far from a point as the mean of a distribution says.

    Args:
        op: the writer.
        sides: logits of distributions over 0 to 7, in strides: [1, N, 4 * 8], left, top, right, bottom.
        points: x and y in pixels, float32 [1, N, 2].
        strides: in pixels, float32 [1, N, 1].
    """
    mean = np.arange(BINS, dtype=np.float32)[:, None]
    bins = op.Softmax(op.Reshape(sides, [1, -1, 4, BINS]), axis=-1)
    distances = op.Mul(op.Squeeze(op.MatMul(bins, mean), [3]), strides)
    before, after = op.Slice(distances, [0], [2], [2]), op.Slice(distances, [2], [4], [2])
    return op.Concat(op.Sub(points, before), op.Add(points, after), axis=2)


def _decoding(match: Match) -> str:
    return f"distributions over sides, cells of strides {', '.join(map(str, located(match).levels))}"


PRESET = (
    "resize=stretch",
    "interpolation=bilinear",
    "color=BGR",
    "scale=0-255",
    "mean=103.53,116.28,123.675",
    "std=57.375,57.12,58.395",
)

PLUS = Dense(
    title="class scores and integral boxes in one tensor, as of NanoDet-Plus",
    models="NanoDet-Plus: four levels, sides from the upper left of a cell",
    tensors={"output": "1, N, C+32"},
    kind="candidates",
    scores=_SCORES,
    boxes=_SIDES,
    form="xyxy",
    scale="pixels",
    iou=0.6,
    fits=_fits(4),
    decode=_integral(0),
    decoding=_decoding,
    preset=PRESET,
)

NANODET = Dense(
    title="class scores and integral boxes in one tensor, as of NanoDet",
    models="NanoDet: three levels, sides from the middle of a cell",
    tensors={"output": "1, N, C+32"},
    kind="candidates",
    scores=_SCORES,
    boxes=_SIDES,
    form="xyxy",
    scale="pixels",
    iou=0.6,
    fits=_fits(3),
    decode=_integral(0.5),
    decoding=_decoding,
    preset=PRESET,
)
