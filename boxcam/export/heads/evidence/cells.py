"""Where the rows of a tensor lie on the image: of which map and of which cell each of them is.

A head with maps of 80x80, 40x40 and 20x20 cells gives 8400 rows, level by level and each level line by line. How large
the levels are and in which order they come is read off the graph, their strides follow from the size of the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import Array, attribute_of, constant_array, static_shape
from boxcam.export.heads.evidence.columns import axis_before
from boxcam.export.heads.evidence.makers import computed

_DEPTH = 200
_STRIDES = (4, 8, 16, 32, 64, 128, 2, 256, 1)


@dataclass(frozen=True)
class Level:
    """A map whose cells are rows: its height and width, and how many rows in a run each cell has."""

    height: int
    width: int
    rows: int

    @property
    def per_cell(self) -> int:
        return self.rows // (self.height * self.width)


@dataclass(frozen=True, eq=False)
class Cells:
    """Rows by their cells.

    Attributes:
        corners: float32 [N, 2], x and y of each row's cell, counted in cells.
        strides: float32 [N, 1], pixels of the model input per cell.
        levels: the strides, in the order of the levels.
    """

    corners: Array
    strides: Array
    levels: tuple[int, ...]


def levels(value: ir.Value, axis: int) -> tuple[Level, ...]:
    """The maps that a tensor's rows come from, in their order; none if the graph does not tell.

    Args:
        value: of a graph whose sizes are known.
        axis: of the rows, counted from the front.
    """
    found = _levels(value, axis, _DEPTH)
    size = (static_shape(value) or ())[axis : axis + 1]
    return found if found and size and sum(level.rows for level in found) == size[0] else ()


def is_of_map(value: ir.Value, axis: int) -> bool:
    """Whether an axis is the height, the width or the cells of a map, which a layer with weights gave.

    Args:
        value: of a graph whose sizes are known.
        axis: counted from the front.
    """
    for _ in range(_DEPTH):
        node, shape = value.producer(), static_shape(value)
        if node is None or shape is None:
            return False
        if operator_of(node).weighs and not is_mean(node):
            return operator_of(node).channels_first and axis >= 2
        read = computed(node)
        before = _axis_before(node, read[0], value, axis) if read else None
        if before is None:
            return any(level.height * level.width > 1 for level in levels(value, axis))
        value, axis = read[0], before
    return False


def cells(found: tuple[Level, ...], size: tuple[int, int]) -> Cells | None:
    """Where rows lie whose levels are known; None if these do not fit the model's input, or have several rows a cell.

    Args:
        found: the levels.
        size: height and width of the model's input.
    """
    corners, strides, named = [], [], []
    for level in found:
        stride = _stride(level, size)
        if stride is None or level.per_cell != 1:
            return None
        y, x = np.mgrid[: level.height, : level.width]
        corners.append(np.stack([x, y], 2).reshape(-1, 2))
        strides.append(np.full((level.height * level.width, 1), stride))
        named.append(stride)
    if not corners:
        return None
    return Cells(np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32), tuple(named))


def meets_cells(value: ir.Value, rows: int) -> bool:
    """Whether something that varies along the cells is added to, or multiplied with, a tensor's numbers on their way.

    It is what makes boxes of offsets: without it, the numbers say where a box lies relative to its cell, and not where.

    Args:
        value: the boxes, or a tensor that holds them, in a folded graph.
        rows: how many there are.
    """
    todo, seen = [value], set()
    while todo:
        node = todo.pop().producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if operator_of(node).elementwise and any(_varies(read) for read in node.inputs):
            return True
        weights = operator_of(node).weighs and not is_mean(node)
        if not weights and len(seen) < 300:
            todo.extend(computed(node))
    return False


def is_mean(node: ir.Node) -> bool:
    """Whether weights are 0, 1, 2 …: they make the mean of a distribution, as the last layer of an integral box."""
    weights = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return weights is not None and bool(np.array_equal(weights.reshape(-1), np.arange(weights.size)))


def _varies(value: ir.Value | None) -> bool:
    """Whether a value is a constant of more than four different numbers, as the places of cells are."""
    constant = constant_array(value)
    return constant is not None and constant.size > 4 and len(np.unique(constant)) > 2


def _levels(value: ir.Value, axis: int, depth: int) -> tuple[Level, ...]:
    node, shape = value.producer(), static_shape(value)
    if node is None or shape is None or depth == 0 or None in shape:
        return ()
    if node.op_type == "Concat" and int(attribute_of(node, "axis")) % len(shape) == axis:
        parts = [_levels(read, axis, depth - 1) for read in node.inputs if read is not None]
        return tuple(level for part in parts for level in part) if all(parts) else ()
    read = computed(node)
    if not read:
        return ()
    before = _axis_before(node, read[0], value, axis)
    if before is None:
        rows = shape[axis] or 0
        found = _map_size(read[0], rows)
        return () if found is None else (Level(*found, rows),)
    if operator_of(node).weighs and not is_mean(node):
        # A map of one line, whose cells are rows without being laid out anew.
        height, width = (size or 0 for size in shape[-2:])
        line = len(shape) == 4 and axis > 1 and height * width == shape[axis]
        return (Level(height, width, height * width),) if line else ()
    return _levels(read[0], before, depth - 1)


def _axis_before(node: ir.Node, read: ir.Value, value: ir.Value, axis: int) -> int | None:
    """The axis of rows in what an operator reads; None where they are cells of a map there."""
    before, after = static_shape(read), static_shape(value)
    if before is None or after is None:
        return None
    if node.op_type == "Transpose":
        return int((attribute_of(node, "perm") or tuple(reversed(range(len(after)))))[axis])
    if operator_of(node).copies is Copies.IN_ORDER:
        found = axis_before(read, value, axis)
        return found if found is not None and before[found] == after[axis] else None
    place = axis - len(after) + len(before)
    return place if 0 <= place < len(before) and before[place] == after[axis] else None


def _map_size(value: ir.Value, rows: int) -> tuple[int, int] | None:
    """Height and width of the map that a convolution gave, whose cells became so many rows."""
    for _ in range(_DEPTH):
        node, shape = value.producer(), static_shape(value)
        if node is None or shape is None or None in shape:
            return None
        if operator_of(node).channels_first and len(shape) == 4:
            height, width = (size or 0 for size in shape[2:])
            return (height, width) if height * width and rows % (height * width) == 0 else None
        read = computed(node)
        if not read or prod(size or 0 for size in shape) < rows:
            return None
        value = read[0]
    return None


def _stride(level: Level, size: tuple[int, int]) -> int | None:
    """Pixels per cell: a power of two by which the input is as many cells high and wide as the map."""
    for rounded in (ceil, int):
        for stride in _STRIDES:
            if tuple(rounded(full / stride) for full in size) == (level.height, level.width):
                return stride
    return None
