"""PicoDet and NanoDet with tensors of their own for each level: class scores, and distributions over the sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape, static_shape
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.nanodet import BINS, PRESET, integral_boxes
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.shapes import Sizes
from boxcam.export.heads.evidence.makers import is_activation, last_operator
from boxcam.export.heads.evidence.values import are_probabilities

_THREE, _FOUR = (8, 16, 32), (8, 16, 32, 64)


def _tensors(strides: tuple[int, ...]) -> dict[str, str]:
    """Those of all levels: ``A8`` is how many cells that of stride 8 has."""
    scores = {f"cls{stride}": f"1?, A{stride}, C" for stride in strides}
    return scores | {f"box{stride}": f"1?, A{stride}, {4 * BINS}" for stride in strides}


def _cells(question: Question, stride: int) -> tuple[int, int]:
    """Rows and columns of a level."""
    height, width = question.size
    return -(-height // stride), -(-width // stride)


def _are_cells(strides: tuple[int, ...]) -> Callable[[Question, Sizes], bool]:
    """Whether each level has as many rows as cells, of the levels whose rows are known."""

    def possible(question: Question, sizes: Sizes) -> bool:
        counts = {stride: sizes[f"A{stride}"] for stride in strides if f"A{stride}" in sizes}
        return all(count == prod(_cells(question, stride)) for stride, count in counts.items())

    return possible


def _solve(strides: tuple[int, ...]) -> Callable[[Match], Mapping[str, int] | None]:
    """How many rows all levels have."""
    return lambda match: {"N": sum(match.sizes[f"A{stride}"] for stride in strides)}


def _fits(strides: tuple[int, ...]) -> Callable[[Match], Fit]:
    """Probabilities, and numbers that are none yet: a softmax has still to make distributions of them. All levels."""

    def fits(match: Match) -> Fit:
        others = [one for one in match.question.seen if one not in match.tensors.values()]
        if any(one.array.shape[-1:] == (4 * BINS,) for one in others):
            return Fit.NO
        scores, sides = ([match.tensors[f"{role}{stride}"] for stride in strides] for role in ("cls", "box"))
        done = any(is_activation(last_operator(one.value)) or are_probabilities(one.array) for one in sides)
        return Fit.NO if done or not all(are_probabilities(one.array) for one in scores) else Fit.CERTAIN

    return fits


def _decode(strides: tuple[int, ...]) -> Callable[[Match], Decode]:
    """Each side is the mean of a softmax over 0 to 7, times the stride, from the middle of the cell.

    PaddleDetection's deploy/third_engine/demo_onnxruntime/infer_demo.py, and NanoDet's demo_ncnn.

    Raises:
        SourceError: the model's size is dynamic.
    """

    def make(match: Match) -> Decode:
        for stride in strides:
            value = match.tensors[f"box{stride}"].value
            if match.sizes[f"A{stride}"] not in (static_shape(value) or ()):
                raise SourceError(
                    f"the boxes {name_and_shape(value)} are distances from cells, and their number is dynamic. Fix the"
                    " size with shape=, such as shape=(416, 416)."
                )

        def write(op: Ops) -> tuple[ir.Value, ir.Value]:
            boxes, scores = [], []
            for stride in strides:
                steps = np.full((1, 1, 1), stride, np.float32)
                sides = match.piece(f"box{stride}").rows(op)
                boxes.append(integral_boxes(op, sides, _middles(match, stride), steps))
                scores.append(match.piece(f"cls{stride}").rows(op))
            return op.Concat(*boxes, axis=1), op.Concat(*scores, axis=1)

        return write

    return make


def _middles(match: Match, stride: int) -> Array:
    """The middles of a level's cells, x and y in pixels: float32 [1, N, 2]."""
    rows, columns = _cells(match.question, stride)
    y, x = np.mgrid[:rows, :columns]
    found: Array = ((np.stack([x, y], 2).reshape(1, -1, 2) + 0.5) * stride).astype(np.float32)
    return found


def _entry(strides: tuple[int, ...], title: str, models: str, preset: tuple[str, ...]) -> Entry:
    others = [str(stride) for stride in strides[1:]]
    return Entry(
        title=title,
        models=models,
        tensors=_tensors(strides),
        kind="candidates",
        scores="cls8",
        boxes="box8",
        iou=0.6,
        fits=_fits(strides),
        solve=_solve(strides),
        possible=_are_cells(strides),
        decode=_decode(strides),
        decoding=f"distributions over sides, with those of strides {', '.join(others[:-1])} and {others[-1]}",
        preset=preset,
    )


PICODET = _entry(
    _FOUR,
    "class scores and integral boxes of each of four levels, as of PicoDet",
    "PicoDet (PaddleDetection), exported without its postprocessing",
    ("paddle",),
)

NANODET = _entry(
    _THREE,
    "class scores and integral boxes of each of three levels, as of NanoDet",
    "NanoDet with outputs for each level",
    PRESET,
)
