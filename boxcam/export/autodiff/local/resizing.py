"""The local rule of resizing: a window of the output sees a window of the input.

Interpolation is a matrix along each axis.  Where the sizes are known the operator itself tells it; where only a run
tells them, the gradient graph computes the entries that it needs, by the formulas of the ONNX standard.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import Block, Size, Start, Table, Window
from boxcam.export.autodiff.engine import LOCAL, Tape
from boxcam.export.autodiff.local.common import Found, data_of
from boxcam.export.autodiff.rules import resize
from boxcam.export.graphs.query import Array


@LOCAL.register("Resize")
@LOCAL.register("Upsample")
def _resize(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Interpolation is a matrix along each axis; a window of the output sees a window of the input."""
    x, y = data_of(node), node.outputs[0]
    xs, ys = tape.dims(x), tape.dims(y)
    if len(xs) != 4 or xs[:2] != ys[:2]:
        return None
    if None in (*xs[2:], *ys[2:]):
        return _of_open_sizes(tape, node, block, wanted)
    if not any(isinstance(axis, Window) for axis in block.axes[2:]):
        return None
    block = tape.widened(block, [a for a in block.uniform() if a >= 2], y)
    op, axes, value = tape.op, list(block.axes), block.value
    for axis in (2, 3):
        support, size_in, size_out = axes[axis], xs[axis], ys[axis]
        assert size_in is not None and size_out is not None
        if size_in == size_out:
            continue
        matrix = resize.matrix(tape.site(node, tape.whole, wanted), axis, size_in, size_out)
        if not isinstance(support, Window):
            value = op.MatMul(matrix, value) if axis == 2 else op.MatMul(value, np.ascontiguousarray(matrix.T))
            continue
        touched = matrix != 0
        first = np.where(touched.any(0), touched.argmax(0), 0)
        last = np.where(touched.any(0), size_in - 1 - touched[::-1].argmax(0), 0)
        first, last = np.minimum.accumulate(first[::-1])[::-1], np.maximum.accumulate(last)
        first = first.astype(np.int64)
        start, longest = _seen_by(tape, support, first, last.astype(np.int64), size_in)
        told = tape.positions.table(support.start)
        if told is not None and isinstance(longest, int):
            seen = np.minimum(first[np.clip(told.values, 0, size_out - 1)], size_in - longest)
            tape.positions.tell(start, Table(told.position, seen))
        window = Window(Start(start), longest)
        rows, columns = tape.positions.of(window), tape.positions.nearest(support, size_out)
        flat = op.Add(op.Mul(op.Unsqueeze(rows, [2]), size_out), op.Unsqueeze(columns, [1]))
        weights = op.Gather(matrix.reshape(-1), flat, axis=0)  # [M, in, out]
        value = tape.placed(value, weights, axis, 4, support.size)
        axes[axis] = window
    return {0: [tape.limited(Block(value, tuple(axes), block.boxes), x)]}


def _seen_by(tape: Tape, support: Window, first: Array, last: Array, size_in: int) -> tuple[ir.Value, Size]:
    """Where the windows of the input begin that windows of the output see, and how long the longest is.

    Args:
        tape: where to write.
        support: the windows of the output.
        first, last: of each position of the output, which positions of the input it sees; both never decrease.
        size_in: length of the input's axis.
    """
    op, size_out = tape.op, len(first)
    at = tape.positions.nearest(Window(support.start, 1), size_out)
    start = op.Gather(first, op.Squeeze(at, [1]), axis=0)
    if isinstance(support.size, int):
        ends = np.minimum(np.arange(size_out) + support.size - 1, size_out - 1)
        longest = min(int((last[ends] - first).max()) + 1, size_in)
        return op.Min(start, size_in - longest), longest
    end = op.Min(op.Add(tape.positions.start(support.start), op.Sub(support.size, 1)), size_out - 1)
    lengths = op.Sub(op.Gather(last, op.Max(end, 0), axis=0), op.Sub(start, 1))
    found = op.Min(op.ReduceMax(op.Concat(lengths, [1], axis=0), [0], keepdims=1), size_in)
    return op.Min(start, op.Sub(size_in, found)), found


_Source = Callable[[ir.Value], ir.Value]


def _of_open_sizes(tape: Tape, node: ir.Node, block: Block, wanted: Collection[int]) -> Found | None:
    """The same where sizes are known in a run only; None for what is not plain nearest or linear interpolation."""
    x, y = data_of(node), node.outputs[0]
    form = resize.plain_form(tape.site(node, tape.whole, wanted))
    if form is None:
        return None
    block = tape.widened(block, [a for a in block.uniform() if a >= 2], y)
    op, axes, value = tape.op, list(block.axes), block.value
    for axis in (2, 3):
        scale = form.scales.get(axis)
        if scale == 1.0:
            continue
        size_in, size_out = tape.length(x, axis), tape.length(y, axis)
        if isinstance(size_in, int) and size_in == size_out:
            continue
        source = _source(tape, form, scale, size_in, size_out)
        support = axes[axis]
        if isinstance(support, Window):
            window = _window_seen(tape, support, source, form, scale, size_out)
            rows, columns = tape.positions.of(window), tape.positions.nearest(support, size_out)
            weights = _weights(tape, rows, source(columns), form.nearest)
            value = tape.placed(value, weights, axis, 4, support.size)
            axes[axis] = window
        else:
            rows, columns = tape.positions.count(size_in), tape.positions.count(size_out)
            matrix = _weights(tape, rows, source(columns), form.nearest)
            turned = op.Transpose(matrix, perm=[1, 0])
            value = op.MatMul(matrix, value) if axis == 2 else op.MatMul(value, turned)
    return {0: [Block(value, tuple(axes), block.boxes)]}


def _source(tape: Tape, form: resize.PlainForm, scale: float | None, size_in: Size, size_out: Size) -> _Source:
    """From positions of the output to where they read the input, as real numbers; nearest: whole ones."""
    op, real = tape.op, ir.DataType.from_numpy(tape.op.real)

    def number(size: Size) -> ir.Value | float:
        return float(size) if isinstance(size, int) else op.Cast(size, to=real)

    factor = op.Div(number(size_out), number(size_in)) if scale is None else scale
    last_in, last_out = (op.Sub(number(size), 1.0) for size in (size_in, size_out))

    def read(columns: ir.Value) -> ir.Value:
        at = op.Cast(columns, to=real)
        if form.coordinates == "asymmetric":
            at = op.Div(at, factor)
        elif form.coordinates == "align_corners":
            at = op.Div(op.Mul(at, last_in), op.Max(last_out, 1.0))
        else:
            at = op.Sub(op.Div(op.Add(at, 0.5), factor), 0.5)
            if form.coordinates == "pytorch_half_pixel":
                at = op.Where(op.Greater(last_out, 0.0), at, 0.0)
        if form.nearest:
            at = _ROUNDED[form.nearest](tape, at)
        return op.Min(op.Max(at, 0.0), last_in)

    return read


_ROUNDED: dict[str, Callable[[Tape, ir.Value], ir.Value]] = {
    "floor": lambda tape, at: tape.op.Floor(at),
    "ceil": lambda tape, at: tape.op.Ceil(at),
    "round_prefer_floor": lambda tape, at: _rounded(tape, at, 0.5 + _HALF),
    "round_prefer_ceil": lambda tape, at: _rounded(tape, at, 0.5 - _HALF),
}
_HALF = 1e-6
"""How far from the middle between two positions ONNX Runtime takes what float32 made of it for the middle."""


def _rounded(tape: Tape, at: ir.Value, up: float) -> ir.Value:
    """Up where more than a part of 1 is above the whole number, down elsewhere."""
    op = tape.op
    down = op.Floor(at)
    above = op.Greater(op.Sub(at, down), up)
    return op.Add(down, op.Cast(above, to=ir.DataType.from_numpy(op.real)))


def _window_seen(
    tape: Tape, support: Window, source: _Source, form: resize.PlainForm, scale: float | None, size_out: Size
) -> Window:
    """The windows of the input that windows of the output see; they may stick out of the map, where nothing is."""
    op = tape.op
    begin = op.Squeeze(tape.positions.nearest(Window(support.start, 1), size_out), [1])
    first = op.Cast(op.Floor(source(begin)), to=ir.DataType.INT64)
    # With aligned corners (in - 1) / (out - 1) is no more than 1 / scale only where the scale is whole.
    even = scale is not None and (form.coordinates != "align_corners" or scale == max(int(scale), 1))
    if even and scale is not None and isinstance(support.size, int):
        return Window(Start(first), math.ceil((support.size - 1) / scale) + (1 if form.nearest else 2))
    end = op.Add(tape.positions.start(support.start), blocks.add(op, support.size, -1))
    end = op.Min(end, op.Sub(size_out, 1))
    last = op.Cast(op.Ceil(source(op.Max(end, 0))), to=ir.DataType.INT64)
    lengths = op.Add(op.Sub(last, first), 1)
    return Window(Start(first), op.ReduceMax(op.Concat(lengths, [1], axis=0), [0], keepdims=1))


def _weights(tape: Tape, rows: ir.Value, source: ir.Value, nearest: str) -> ir.Value:
    """How much of each row of the input each position of the output reads: […, in, out]; beyond the map nothing."""
    op, real = tape.op, ir.DataType.from_numpy(tape.op.real)
    apart = op.Sub(op.Unsqueeze(op.Cast(rows, to=real), [-1]), op.Unsqueeze(source, [-2]))
    if nearest:
        return op.Cast(op.Equal(apart, 0.0), to=real)
    return op.Max(op.Sub(1.0, op.Abs(apart)), 0.0)
