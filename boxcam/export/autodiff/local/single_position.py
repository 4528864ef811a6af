"""Points: gradients that are not zero at one position only, as at a score or at a side of a box.

However an operator moves elements about, one position comes from one position, which integer arithmetic tells.  The
last axes may be stored in full: then the elements behind the position follow each other in both values.
"""

from __future__ import annotations

from math import prod

import onnx_ir as ir

from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import Block, Size, Start, Support, Window
from boxcam.export.autodiff.engine import Tape

Dims = tuple[int | None, ...]
_SHORT = 16
"""An axis that is no longer than this may be stored in full where a part of it would do."""


def is_point(axes: tuple[Support, ...], dims: Dims) -> bool:
    """Whether a gradient of a value of this shape is stored at one position."""
    return all(
        length == 1 if axis is None else isinstance(axis, Window) and axis.size == 1
        for length, axis in zip(dims, axes, strict=True)
    )


def reshaped(tape: Tape, block: Block, x: ir.Value, y: ir.Value) -> Block | None:
    """The gradient of a value that was reshaped, if it is one position of the first axes and all of the last ones.

    None where it is not, or the elements do not follow each other within one axis of the input.
    """
    op, xs, ys = tape.op, tape.dims(x), tape.dims(y)
    if 0 in (*xs, *ys):
        return None
    short = [a for a, axis in enumerate(block.axes) if isinstance(axis, Window) and axis.size != 1]
    if short == [len(ys) - 1] and (ys[-1] or 0) <= _SHORT:  # some of a box's four numbers, say
        block = tape.widened(block, short, y)
    first = len(ys)
    while first and block.axes[first - 1] is None and ys[first - 1] is not None:
        first -= 1
    run = prod(length or 1 for length in ys[first:])
    if not is_point(block.axes[:first], ys[:first]) or not any(isinstance(a, Window) for a in block.axes):
        return None
    if not _fits(run, xs):
        return None
    number: ir.Value | None = None  # of the run that the gradient is stored at
    stride: Size = 1
    front = [a for a in range(first) if isinstance(block.axes[a], Window)]
    for a in reversed(range(first)):
        axis = block.axes[a]
        if isinstance(axis, Window):
            part = op.Mul(tape.positions.start(axis.start), stride)
            number = part if number is None else op.Add(number, part)
        if a > min(front):
            stride = blocks.product(op, [stride, tape.length(y, a)])
    assert number is not None
    axes: list[Support] = [None] * len(xs)
    sizes: list[Size] = [1] * len(xs)
    for b in reversed(range(len(xs))):
        length = xs[b]
        if length == 1:
            continue
        if length is not None and run % length == 0:
            run, sizes[b] = run // length, length
            continue
        position = number
        if b:
            count = op.Max(tape.length(x, b), 1) if length is None else length // run
            position, number = op.Mod(number, count), op.Div(number, count)
        tape.positions.anywhere(position, None if length is None else length // run)
        axes[b], sizes[b] = Window(Start(position).scaled(run), run), run
        run = 1
    value = op.Reshape(block.value, blocks.sizes(op, [0, *sizes]))
    return Block(value, tuple(axes), block.boxes)


def _fits(run: int, dims: Dims) -> bool:
    """Whether so many elements that follow each other are all of the last axes and a whole part of the one before."""
    for length in reversed(dims):
        if run == 1:
            return True
        if length is None or (run % length and length % run):
            return False
        run = max(run // length, 1) if run % length == 0 else 1
    return run == 1
