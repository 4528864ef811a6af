"""What each column of a tensor is made of: a graph joins boxes, scores and more along an axis, and splits it.

    output [1, 84, 8400] = Concat(boxes [1, 4, 8400], Sigmoid(classes) [1, 80, 8400])

has two segments: columns 0 to 4 by a Mul, and 4 to 84 by a Sigmoid.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_ir as ir

from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import attribute_of, constant_array, static_shape
from boxcam.export.heads.evidence.makers import computed, is_activation, is_mask

_DEPTH = 200


@dataclass(frozen=True, eq=False)
class Span:
    """Some columns of a value: those from first to end along an axis."""

    value: ir.Value
    axis: int
    first: int
    end: int


@dataclass(frozen=True, eq=False)
class Part(Span):
    """Columns of what an operator gives."""

    node: ir.Node


@dataclass(frozen=True, eq=False)
class Segment:
    """Columns of a tensor that one operator made.

    Attributes:
        first, end: which columns of the tensor.
        made: the same in the value that the operator gives.
    """

    first: int
    end: int
    made: Span

    @property
    def operator(self) -> str:
        """The operator that computes it; empty for a constant."""
        node = self.made.value.producer()
        return "" if node is None else node.op_type

    @property
    def probability(self) -> bool:
        return is_activation(self.operator)


def segments(value: ir.Value, axis: int) -> list[Segment]:
    """The columns of a tensor by what makes them, in their order; one segment if the graph does not split them.

    Args:
        value: of a graph whose sizes are known.
        axis: of the columns, counted from the front.
    """
    shape = static_shape(value)
    width = None if shape is None else shape[axis]
    if width is None:
        return []
    found: list[Segment] = []
    start = 0
    for span in _walk(Span(value, axis, 0, width), _DEPTH):
        count = span.end - span.first
        last = found[-1].made if found else None
        if last is not None and last.value is span.value and (last.axis, last.end) == (span.axis, span.first):
            joined = Span(span.value, span.axis, last.first, span.end)
            found[-1] = Segment(found[-1].first, start + count, joined)
        else:
            found.append(Segment(start, start + count, span))
        start += count
    return found


def copied(span: Span) -> list[Span]:
    """What some columns are copies of, in their order: the span itself where they are computed."""
    return list(_walk(span, _DEPTH))


def sources(span: Span) -> list[Span]:
    """The outputs of layers with weights, and the columns of them, that some columns are computed from."""
    return [part for part in passed(span) if operator_of(part.node).weighs]


def passed(span: Span) -> Iterator[Part]:
    """The operators that compute some columns, back to layers with weights: each with the columns that it gives."""
    todo, seen = [span], set()
    while todo:
        for part in _walk(todo.pop(), _DEPTH):
            node = part.value.producer()
            key = (id(part.value), part.axis, part.first, part.end)
            if node is None or key in seen:
                continue
            seen.add(key)
            yield Part(part.value, part.axis, part.first, part.end, node)
            operator = operator_of(node)
            if not operator.weighs and (operator.keeps_places or operator.probability):
                todo += [Span(v, axis, *ends) for v in computed(node) for axis, ends in _read(part, v)]


def unscaled(column: Span) -> Span | None:
    """Where one column is computed, but for its layout, bounds, constant factors and masks.

    None if that is not one place.
    """
    for _ in range(_DEPTH):
        found = list(_walk(column, _DEPTH))
        node = found[0].value.producer() if len(found) == 1 else None
        if node is None:
            return None
        read = [value for value in computed(node) if not is_mask(value)]
        scaled = len(read) == 1 and node.op_type in ("Mul", "Div", "Where")
        if not read or not (scaled or node.op_type == "Clip"):
            return found[0]
        inside = [Span(read[0], axis, *ends) for axis, ends in _read(found[0], read[0])]
        if not inside:
            return found[0]
        column = inside[0]
    return None


def operands(column: Span) -> list[Span]:
    """What the operator of one column computes it from: columns without their constant factors, constants as they are.

    An operand of which one number goes into all columns is the whole of its value.
    """
    node = column.value.producer()
    found: list[Span] = []
    for value in () if node is None else node.inputs:
        if value is not None:
            inside = part_read(column, value)
            found.append(unscaled(inside) or inside)
    return found


def part_read(part: Span, value: ir.Value) -> Span:
    """The columns of an operand that some columns are computed from; no columns where its numbers go into all."""
    return next((Span(value, axis, *ends) for axis, ends in _read(part, value)), Span(value, 0, 0, 0))


def _read(part: Span, value: ir.Value) -> Iterator[tuple[int, tuple[int, int]]]:
    """Which columns of an operand some columns of the result of an operator that keeps places are computed from."""
    after, before = static_shape(part.value), static_shape(value)
    if after is None or before is None:
        return
    axis = part.axis - len(after) + len(before)
    if axis >= 0 and before[axis] == after[part.axis]:
        yield axis, (part.first, part.end)


def _walk(span: Span, depth: int) -> Iterator[Span]:
    """What some columns are copies of, in their order."""
    node = span.value.producer()
    shape = static_shape(span.value)
    if node is None or shape is None or depth == 0 or not node.inputs or node.inputs[0] is None:
        yield span
        return
    before: Span | None = None
    if node.op_type == "Concat":
        yield from _joined(span, node, len(shape), depth)
        return
    if node.op_type == "ScatterND":
        yield from _written(span, node, len(shape), depth)
        return
    copies = operator_of(node).copies
    if node.op_type == "Transpose":
        perm = attribute_of(node, "perm") or tuple(reversed(range(len(shape))))
        before = Span(node.inputs[0], int(perm[span.axis]), span.first, span.end)
    elif copies is Copies.IN_ORDER:
        axis = axis_before(node.inputs[0], span.value, span.axis)
        before = None if axis is None else Span(node.inputs[0], axis, span.first, span.end)
    elif (taken := _axis_taken(node, len(shape))) is not None:
        before = Span(node.inputs[0], span.axis + (span.axis >= taken), span.first, span.end)
    elif copies is Copies.SELECTED:
        start = _start(node, span)
        before = None if start is None else Span(node.inputs[0], span.axis, span.first + start, span.end + start)
    if before is None:
        yield span
    else:
        yield from _walk(before, depth - 1)


def _axis_taken(node: ir.Node, rank: int) -> int | None:
    """The axis that is gone where a Gather takes one element of it, as of ``y[0]``; None if none is."""
    if node.op_type != "Gather" or node.inputs[1] is None:
        return None
    index, before = constant_array(node.inputs[1]), static_shape(node.inputs[0])  # type: ignore[arg-type]
    if index is None or index.ndim or before is None:
        return None
    axis = int(attribute_of(node, "axis", 0)) % (rank + 1)
    return axis if before[axis] == 1 else None  # of several, which one it takes would be lost


def cut_out(value: ir.Value) -> Span | None:
    """The column that a tensor without an axis of columns is cut out of: by an index, or by a slice of one."""
    node = value.producer()
    while node is not None and node.op_type in ("Identity", "Cast") and node.inputs[0] is not None:
        value, node = node.inputs[0], node.inputs[0].producer()
    if node is None or not node.inputs or node.inputs[0] is None:
        return None
    before, after = static_shape(node.inputs[0]), static_shape(value)
    if before is None or after is None:
        return None
    if node.op_type == "Gather" and len(before) == len(after) + 1 and node.inputs[1] is not None:
        index, axis = constant_array(node.inputs[1]), int(attribute_of(node, "axis", 0)) % len(before)
        if index is None or index.ndim or before[axis] in (None, 1):
            return None
        column = int(index) % int(before[axis] or 1)
        return Span(node.inputs[0], axis, column, column + 1)
    if node.op_type in ("Squeeze", "Reshape", "Flatten") and tuple(before) == (*after, 1):
        return Span(node.inputs[0], len(after), 0, 1)
    return None


def _joined(span: Span, node: ir.Node, rank: int, depth: int) -> Iterator[Span]:
    """The inputs of a Concat: one after the other if it joins columns; of joined rows the first stand for all."""
    inputs = [value for value in node.inputs if value is not None]
    if int(attribute_of(node, "axis")) % rank != span.axis:
        first = next((value for value in inputs if value.producer() is not None), inputs[0])
        yield from _walk(Span(first, span.axis, span.first, span.end), depth - 1)
        return
    sizes = [(static_shape(value) or (None,) * rank)[span.axis] for value in inputs]
    if None in sizes:
        yield span
        return
    start = 0
    for value, size in zip(inputs, sizes, strict=True):
        assert size is not None
        low, high = max(span.first, start), min(span.end, start + size)
        if low < high:
            yield from _walk(Span(value, span.axis, low - start, high - start), depth - 1)
        start += size


def _written(span: Span, node: ir.Node, rank: int, depth: int) -> Iterator[Span]:
    """The operands of a ScatterND at constant places, as of ``y[..., 0:2] = x``: some columns are of x, others of y."""
    data, indices, updates = node.inputs[:3]
    chosen = None if indices is None else constant_array(indices)
    if data is None or updates is None or chosen is None or chosen.shape[-1] != rank:
        yield span
        return
    columns = np.unique(chosen[..., span.axis])
    sizes = static_shape(updates) or ()
    fits = len(sizes) == rank and sizes[span.axis] == len(columns) == columns[-1] - columns[0] + 1
    first, end = (int(columns[0]), int(columns[-1]) + 1) if fits else (span.first, span.first)
    if not fits and np.isin(np.arange(span.first, span.end), columns).any():
        yield span
        return
    for low, high, inside in ((span.first, first, False), (first, end, True), (end, span.end, False)):
        low, high = max(low, span.first), min(high, span.end)
        if low < high:
            part = Span(updates, span.axis, low - first, high - first) if inside else Span(data, span.axis, low, high)
            yield from _walk(part, depth - 1)


def axis_before(before: ir.Value, after: ir.Value, axis: int) -> int | None:
    """The axis of a tensor that an axis was before a Reshape: as many numbers lie behind each step along it.

    An axis [A * C] that became [A, C] is found for C too: its columns are then those of the first of A anchors.
    """
    old, new = static_shape(before), static_shape(after)
    if old is None or new is None or old == new:
        return axis if old is not None and old == new else None
    size, behind = new[axis], _behind(new, axis)
    if size is None or behind is None:
        return None
    fitting = [i for i in range(len(old)) if _behind(old, i) == behind and (old[i] or 0) > 0]
    exact = [i for i in fitting if old[i] == size]
    wider = [i for i in fitting if (old[i] or 0) % max(size, 1) == 0 and (old[i] or 0) >= size]
    return next(iter([*exact, *wider]), None)


def _behind(shape: tuple[int | None, ...], axis: int) -> int | None:
    """How many numbers lie behind each step along an axis; None if that is not known."""
    sizes = shape[axis + 1 :]
    return None if None in sizes else prod(size or 0 for size in sizes)


def _start(node: ir.Node, span: Span) -> int | None:
    """Where columns begin in what a Slice, a Split or a Gather takes them from; None if that is not told."""
    data = node.inputs[0]
    shape = None if data is None else static_shape(data)
    if shape is None:
        return None
    if node.op_type == "Split":
        if int(attribute_of(node, "axis", 0)) % len(shape) != span.axis:
            return 0
        sizes = [(static_shape(output) or (None,) * len(shape))[span.axis] for output in node.outputs]
        before = sizes[: list(node.outputs).index(span.value)]
        return None if None in before else sum(size or 0 for size in before)
    if node.op_type in ("Gather", "GatherElements"):
        return _gather_start(node, span, shape)
    return _slice_start(node, span, shape) if node.op_type == "Slice" else None


def _gather_start(node: ir.Node, span: Span, shape: tuple[int | None, ...]) -> int | None:
    """The same of a Gather: of rows, or of columns by constants."""
    indices, after = node.inputs[1], static_shape(span.value)
    if int(attribute_of(node, "axis", 0)) % len(shape) != span.axis:
        return 0 if after is not None and len(after) == len(shape) and after[span.axis] == shape[span.axis] else None
    constant = constant_array(indices)
    if constant is None or constant.ndim != 1 or node.op_type != "Gather":
        return None
    chosen = constant[span.first : span.end] % (shape[span.axis] or 1)
    return int(chosen[0]) - span.first if chosen.size and bool((np.diff(chosen) == 1).all()) else None


def _slice_start(node: ir.Node, span: Span, shape: tuple[int | None, ...]) -> int | None:
    constants = [constant_array(value) for value in node.inputs[1:]]
    if any(constant is None for constant in constants):
        return None
    known = [constant.reshape(-1) for constant in constants if constant is not None]
    starts, _, *more = [[int(number) for number in numbers] for numbers in known]
    axes = [axis % len(shape) for axis in (more[0] if more else range(len(starts)))]
    steps = more[1] if len(more) > 1 else [1] * len(starts)
    if span.axis not in axes:
        return 0
    place, size = axes.index(span.axis), shape[span.axis]
    if steps[place] != 1 or size is None:
        return None
    start = starts[place]
    return max(start + size, 0) if start < 0 else start
