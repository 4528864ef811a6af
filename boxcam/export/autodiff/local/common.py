"""What local rules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import onnx_ir as ir

from boxcam.export.autodiff.block import UNIFORM, Block, Start, Support, Window
from boxcam.export.autodiff.engine import Tape

Found = Mapping[int, Sequence[Block]]


def subset(
    tape: Tape, block: Block, fork: tuple[object, ...], branch: object, condition: Callable[[], ir.Value]
) -> Block:
    """The part of a block that is about some of its boxes.

    Args:
        tape: where to write.
        block: of all of them.
        fork: what decides; blocks of the same boxes that meet the same fork are divided alike.
        branch: which way; boxes that went another one at the same fork are others.
        condition: writes which of the boxes went there, bool [M].
    """
    op = tape.op
    boxes = tape.routed(block.boxes, (block.boxes, *fork), branch, condition)
    assert boxes.route is not None
    chosen = boxes.route.chosen
    moved: dict[ir.Value, ir.Value] = {}

    def picked(axis: Support) -> Support:
        if not isinstance(axis, Window):
            return axis
        base = axis.start.base
        if base not in moved:
            moved[base] = tape.positions.retold(op.Gather(base, chosen, axis=0), base, chosen)
        return Window(Start(moved[base], axis.start.factor, axis.start.offset), axis.size)

    real = op.Cast(op.Not(boxes.route.stands_in), to=ir.DataType.from_numpy(op.real))
    value = op.Mul(op.Gather(block.value, chosen, axis=0), real)
    return Block(value, tuple(picked(a) for a in block.axes), boxes)


def data_of(node: ir.Node) -> ir.Value:
    """The first input of a node."""
    value = node.inputs[0]
    assert value is not None
    return value


def evenly(tape: Tape, block: Block, x: ir.Value, axes: Sequence[int]) -> Block:
    """The gradient of a mean over some axes: the same at each of their positions.

    Args:
        tape: where to write.
        block: of the mean, which has these axes in full, and of length 1.
        x: what the mean is of.
        axes: which axes.
    """
    op, value = tape.op, block.value
    lengths = [tape.length(x, a) for a in axes]
    for size in lengths:
        if not isinstance(size, int):
            value = op.Div(value, op.Cast(size, to=ir.DataType.from_numpy(op.real)))
    value = op.Mul(value, 1.0 / prod(size for size in lengths if isinstance(size, int)))
    supports = tuple(UNIFORM if a in axes else axis for a, axis in enumerate(block.axes))
    return Block(value, supports, block.boxes)


def mean_over_map(tape: Tape, total: ir.Value, block: Block, x: ir.Value) -> Block:
    """A gradient that is the same in every cell of a map, with a given sum over them."""
    return evenly(tape, Block(total, (None,) * 4, block.boxes), x, (2, 3))
