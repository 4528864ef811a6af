"""Detectors of faces with tensors of their own for each level: YuNet and SCRFD."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape, static_shape
from boxcam.export.heads.convention import Decode
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.shapes import Sizes
from boxcam.export.heads.evidence.values import are_probabilities

_STRIDES = (8, 16, 32)


def _levels(*roles: str, shapes: Sequence[str]) -> dict[str, str]:
    """The tensors of all levels: ``A8`` is how many rows that of stride 8 has."""
    return {f"{role}{s}": f"1?, A{s}, {shape}" for role, shape in zip(roles, shapes, strict=True) for s in _STRIDES}


def _sides(question: Question, stride: int) -> tuple[int, int]:
    height, width = question.size
    return -(-height // stride), -(-width // stride)


def _per_cell(question: Question, sizes: Sizes) -> set[int]:
    """How many rows each cell has, of the levels whose rows are known; 0 where they are not those of cells."""
    found = set()
    for stride in _STRIDES:
        if f"A{stride}" in sizes:
            cells = prod(_sides(question, stride))
            count, rest = divmod(sizes[f"A{stride}"], cells) if cells else (0, 0)
            found.add(0 if rest else count)
    return found


def _are_cells(most: int) -> Callable[[Question, Sizes], bool]:
    """Whether the rows of each level are its cells, up to so many of each."""

    def possible(question: Question, sizes: Sizes) -> bool:
        found = _per_cell(question, sizes)
        return len(found) <= 1 and all(1 <= count <= most for count in found)

    return possible


def _solve(match: Match) -> Mapping[str, int] | None:
    """How many rows all levels have, and each cell."""
    (per_cell,) = _per_cell(match.question, match.sizes)
    return {"N": sum(match.sizes[f"A{stride}"] for stride in _STRIDES), "C": 1, "P": per_cell}


def _solve_in_order(match: Match) -> Mapping[str, int] | None:
    """The same, where the tensors of classes come before those of objectness: their shapes do not tell them apart."""
    seen = [id(one) for one in match.question.seen]
    pairs = ((match.tensors[f"cls{s}"], match.tensors[f"obj{s}"]) for s in _STRIDES)
    return _solve(match) if all(seen.index(id(one)) < seen.index(id(other)) for one, other in pairs) else None


def _rows(op: Ops, match: Match, role: str) -> ir.Value:
    """A tensor as [1, N, columns]."""
    piece = match.piece(role)
    return piece.rows(op)


def _corners(match: Match, stride: int) -> Array:
    """The upper left corners of the cells, x and y in cells: float32 [N, 2], each cell as often as it has rows."""
    height, width = _sides(match.question, stride)
    y, x = np.mgrid[:height, :width]
    found: Array = np.stack([x, y], 2).reshape(-1, 2).repeat(match.sizes["P"], axis=0).astype(np.float32)
    return found


def _check_size(match: Match) -> None:
    """The cells are constants: each image cannot have its own.

    Raises:
        SourceError: the model's size is dynamic.
    """
    for stride in _STRIDES:
        value = match.tensors[f"box{stride}"].value
        if match.sizes[f"A{stride}"] not in (static_shape(value) or ()):
            raise SourceError(
                f"the boxes {name_and_shape(value)} are offsets from cells, and their number is dynamic. Fix the size"
                " with shape=, such as shape=(640, 640)."
            )


def _yunet(match: Match) -> Decode:
    """centre = (corner + xy) x stride, size = exp(wh) x stride, score = sqrt(cls x obj): OpenCV's face_detect.cpp."""
    _check_size(match)

    def write(op: Ops) -> tuple[ir.Value, ir.Value]:
        boxes, scores = [], []
        for stride in _STRIDES:
            rows = _rows(op, match, f"box{stride}")
            xy, wh = op.Slice(rows, [0], [2], [2]), op.Slice(rows, [2], [4], [2])
            centre = op.Mul(op.Add(xy, _corners(match, stride)[None]), np.float32(stride))
            boxes.append(op.Concat(centre, op.Mul(op.Exp(wh), np.float32(stride)), axis=2))
            cls, obj = (
                op.Clip(_rows(op, match, f"{role}{stride}"), np.float32(0), np.float32(1)) for role in ("cls", "obj")
            )
            scores.append(op.Sqrt(op.Mul(cls, _spread(op, obj))))
        return op.Concat(*boxes, axis=1), op.Concat(*scores, axis=1)

    return write


def _spread(op: Ops, factor: ir.Value) -> ir.Value:
    """An objectness [1, N, 1] as a product's factor that is not the class's: it is spread over classes, of which one is
    left."""
    return op.Slice(op.Expand(factor, np.array([1, 1, 2])), [0], [1], [2])


def _scrfd(match: Match) -> Decode:
    """Each side is a distance from the cell's corner, in strides: insightface's scrfd.py."""
    _check_size(match)

    def write(op: Ops) -> tuple[ir.Value, ir.Value]:
        boxes, scores = [], []
        for stride in _STRIDES:
            sides = op.Mul(_rows(op, match, f"box{stride}"), np.float32(stride))
            points = _corners(match, stride)[None] * np.float32(stride)
            before, after = op.Slice(sides, [0], [2], [2]), op.Slice(sides, [2], [4], [2])
            boxes.append(op.Concat(op.Sub(points, before), op.Add(points, after), axis=2))
            scores.append(_rows(op, match, f"score{stride}"))
        return op.Concat(*boxes, axis=1), op.Concat(*scores, axis=1)

    return write


def _probabilities(*roles: str) -> Callable[[Match], bool]:
    def fits(match: Match) -> bool:
        return all(are_probabilities(match.rows(f"{role}{s}")) for role in roles for s in _STRIDES)

    return fits


def _fits_yunet(match: Match) -> Fit:
    return Fit.CERTAIN if _probabilities("cls", "obj")(match) else Fit.NO


def _fits_scrfd(match: Match) -> Fit:
    """One score a row; there may be points, too."""
    for stride in _STRIDES:
        rows = match.sizes[f"A{stride}"]
        if sum(one.array.shape[-2:] == (rows, 1) for one in match.question.seen) != 1:
            return Fit.NO
    return Fit.CERTAIN if _probabilities("score")(match) else Fit.NO


def _rest(match: Match) -> str:
    taken = [id(one) for one in match.tensors.values()]
    return ", ".join(str(one.value.name) for one in match.question.seen if id(one) not in taken)


YUNET = Entry(
    title="classes, objectness and boxes of each level, as of YuNet",
    models="YuNet (OpenCV's face detector): score sqrt(cls x obj)",
    tensors=_levels("cls", "obj", "box", shapes=("1", "1", "4")),
    kind="candidates",
    scores="cls8",
    boxes="box8",
    form="cxcywh",
    scale="pixels",
    iou=0.3,
    fits=_fits_yunet,
    solve=_solve_in_order,
    possible=_are_cells(1),
    decode=_yunet,
    decoding="and those of strides 16 and 32, from cells",
    rest=_rest,
    preset=("resize=fit", "pad=top-left", "pad_value=0", "scale=0-255", "color=BGR"),
)

SCRFD = Entry(
    title="scores and boxes of each level, as of SCRFD",
    models="SCRFD (insightface), with points or without",
    tensors=_levels("score", "box", shapes=("1", "4")),
    kind="candidates",
    scores="score8",
    boxes="box8",
    iou=0.4,
    fits=_fits_scrfd,
    solve=_solve,
    possible=_are_cells(2),
    decode=_scrfd,
    decoding="and those of strides 16 and 32, distances from cells",
    rest=_rest,
    preset=("resize=fit", "pad=top-left", "pad_value=0", "scale=0-255", "color=RGB", "mean=127.5", "std=128"),
)
