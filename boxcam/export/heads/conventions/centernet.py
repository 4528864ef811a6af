"""CenterNet: a map of centres for each class, and maps of sizes and offsets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import name_and_shape, static_shape
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.evidence.makers import is_activation, last_operator
from boxcam.export.heads.evidence.values import are_probabilities

_MOST = 100
"""Peaks that are looked at, as in ctdet_decode."""
_NEVER = -1e4
"""A logit whose probability is 0."""


def _sizes(match: Match) -> Mapping[str, int]:
    return {"N": min(_MOST, match.sizes["H"] * match.sizes["W"])}


def _activation(match: Match) -> str:
    heat = match.tensors["heat"]
    known = last_operator(heat.value)
    return "none" if is_activation(known) or (known is None and are_probabilities(heat.array)) else "sigmoid"


def _decode(match: Match) -> Decode:
    """Peaks of 3x3 cells; box = (cell + offset ± size / 2) x stride: ``ctdet_decode`` of xingyizhou/CenterNet.

    Raises:
        SourceError: the size of the maps is dynamic.
    """
    heat, size, offset = (match.tensors[role].value for role in ("heat", "size", "offset"))
    height, width = match.sizes["H"], match.sizes["W"]
    if None in (static_shape(heat) or (None,))[2:]:
        raise SourceError(
            f"the centres {name_and_shape(heat)} lie on a map of dynamic size. Fix the size with shape=, such as"
            " shape=(512, 512)."
        )
    stride = np.array([match.question.size[1] / width, match.question.size[0] / height], np.float32)
    y, x = np.mgrid[:height, :width]
    cells = np.stack([x, y], 2).reshape(1, -1, 2).astype(np.float32)
    never = np.float32(_NEVER if (match.question.score_activation or _activation(match)) == "sigmoid" else 0)

    def rows(op: Ops, value: ir.Value, channels: int) -> ir.Value:
        return op.Transpose(op.Reshape(value, np.array([1, channels, height * width])), perm=[0, 2, 1])

    def write(op: Ops) -> tuple[ir.Value, ir.Value]:
        best = op.MaxPool(heat, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        scores = op.Where(op.Equal(best, heat), heat, never)
        centre = op.Mul(op.Add(rows(op, offset, 2), cells), stride)
        boxes = op.Concat(centre, op.Mul(rows(op, size, 2), stride), axis=2)
        return boxes, rows(op, scores, match.sizes["C"])

    return write


CENTERNET = Entry(
    title="maps of centres, sizes and offsets, as of CenterNet",
    models="CenterNet (ctdet): the peaks of the map of centres",
    tensors={"heat": "1, C, H, W", "size": "1, 2, H, W", "offset": "1, 2, H, W"},
    names={
        "heat": ("hm", "heatmap", "heat", "heatmaps"),
        "size": ("wh", "size", "sizes"),
        "offset": ("reg", "offset", "off", "offsets"),
    },
    kind="queries",
    scores="heat",
    boxes="size",
    form="cxcywh",
    activation=_activation,
    fits=lambda match: Fit.CERTAIN,
    solve=_sizes,
    decode=_decode,
    decoding="peaks and offsets",
)
