"""Local rules of operators that move elements: windows move with them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import prod

import onnx_ir as ir

from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import UNIFORM, Block, Size, Start, Support, Window
from boxcam.export.autodiff.engine import LOCAL, Tape
from boxcam.export.autodiff.local import single_position
from boxcam.export.autodiff.local.common import Found, data_of, subset
from boxcam.export.graphs.query import attribute_of, constant_array, describe_node

Dims = tuple[int | None, ...]


@LOCAL.register("Reshape")
@LOCAL.register("Flatten")
@LOCAL.register("Squeeze")
@LOCAL.register("Unsqueeze")
def _view(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Axes that a change of shape leaves alone keep their windows; a single position is found again; others widen."""
    x, y = data_of(node), node.outputs[0]
    xs, ys = tape.dims(x), tape.dims(y)
    point = single_position.reshaped(tape, block, x, y)
    if point is not None:
        return {0: [point]}
    axes: list[Support] = [None] * len(xs)
    mixed = []
    for a, support in enumerate(block.axes):
        same = _same_axis(ys, a, xs)
        parts = _joined_axes(ys, a, xs) if same is None else None
        if same is not None:
            axes[same] = support
        elif parts is not None and isinstance(support, Window) and support.size == 1:
            for b, start in _unravelled(tape, support.start, parts, x).items():
                axes[b] = Window(start, 1)
        else:
            mixed.append(a)
    if any(isinstance(block.axes[a], Window) for a in mixed):
        tape.barriers.setdefault(describe_node(node))
    block = tape.widened(block, mixed, y)
    shape = [_stored(tape, axes[b], x, b) for b in range(len(xs))]
    value = tape.op.Reshape(block.value, blocks.sizes(tape.op, [0, *shape]))
    return {0: [Block(value, tuple(axes), block.boxes)]}


def _same_axis(ys: Dims, a: int, xs: Dims) -> int | None:
    """The axis of the input that is the same as axis ``a`` of the output."""
    several = max(xs.count(None), ys.count(None)) > 1  # which of them is which cannot be told
    for b in range(len(xs)):
        before, after = (ys[:a], xs[:b]), (ys[a + 1 :], xs[b + 1 :])
        if several:
            sure = [None not in (*one, *other) and _equal(one, other) for one, other in (before, after)]
            same = all(sure) if ys[a] is None else any(sure)
        else:
            same = _equal(*before) and _equal(*after)
        if xs[b] == ys[a] and same:
            return b
    return None


def _joined_axes(ys: Dims, a: int, xs: Dims) -> range | None:
    """The axes of the input that axis ``a`` of the output was put together from."""
    for begin in range(len(xs)):
        for end in range(begin + 1, len(xs) + 1):
            around = (*ys[:a], *xs[:begin], *ys[a + 1 :], *xs[end:])
            parts = xs[begin:end]
            if None in parts or ys[a] is None:  # as long as each other where all around them is
                fits = None in parts and ys[a] is None and None not in around
            else:
                fits = prod(d or 1 for d in parts) == ys[a]
            if fits and _equal(ys[:a], xs[:begin]) and _equal(ys[a + 1 :], xs[end:]):
                return range(begin, end)
    return None


def _unravelled(tape: Tape, start: Start, parts: range, x: ir.Value) -> dict[int, Start]:
    """A position in axes that were joined, by axis; axes of length 1 have none."""
    op, rest, found = tape.op, tape.positions.start(start), {}
    for b in reversed(parts):
        length = tape.length(x, b)
        if length == 1:
            continue
        if not isinstance(length, int):
            length = op.Max(length, 1)  # of no positions there is a stand-in
        found[b] = Start(tape.positions.anywhere(op.Mod(rest, length), length))
        rest = op.Div(rest, length)
    return found


def _equal(one: Dims, other: Dims) -> bool:
    unknown = one.count(None), other.count(None)
    known = prod(d for d in one if d is not None) == prod(d for d in other if d is not None)
    return known and unknown[0] == unknown[1] <= 1


def _stored(tape: Tape, axis: Support, value: ir.Value, number: int) -> Size:
    """How many positions of an axis a block stores."""
    if axis is UNIFORM:
        return 1
    return axis.size if isinstance(axis, Window) else tape.length(value, number)


@LOCAL.register("Transpose")
def _transpose(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found:
    rank = len(block.axes)
    perm = [int(a) for a in attribute_of(node, "perm", range(rank)[::-1])]
    back = [perm.index(a) for a in range(rank)]
    value = tape.op.Transpose(block.value, perm=[0, *(a + 1 for a in back)])
    return {0: [Block(value, tuple(block.axes[a] for a in back), block.boxes)]}


@LOCAL.register("Concat")
def _concat(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found:
    """Along a full axis each input gets its slice; a single position belongs to one input only."""
    op, rank = tape.op, len(block.axes)
    axis = int(attribute_of(node, "axis")) % rank
    if block.axes[axis] is UNIFORM:
        block = tape.widened(block, [axis], node.outputs[0])
    support = block.axes[axis]
    result: dict[int, list[Block]] = {}
    offset: Size = 0
    for index, value in enumerate(node.inputs):
        assert value is not None
        length = tape.length(value, axis)
        end = _plus(tape, offset, length)
        if index in wanted and isinstance(support, Window):
            start = _before(tape, support.start, offset)
            axes = (*block.axes[:axis], Window(start, support.size), *block.axes[axis + 1 :])
            moved = Block(block.value, axes, block.boxes)
            if support.size == 1:

                def inside(start: Start = start, length: Size = length) -> ir.Value:
                    return op.Squeeze(tape.positions.inside(Window(start, 1), length), [1])

                result[index] = [subset(tape, moved, (node, support.start), index, inside)]
            else:
                result[index] = [tape.limited(tape.masked(moved, value), value)]
        elif index in wanted:
            part = op.Slice(block.value, _vector(offset), _vector(end), [axis + 1])
            result[index] = [Block(part, block.axes, block.boxes)]
        offset = end
    return result


def _plus(tape: Tape, one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return tape.op.Add(one, other)


def _vector(size: Size) -> list[int] | ir.Value:
    return [size] if isinstance(size, int) else size


def _before(tape: Tape, start: Start, offset: Size) -> Start:
    if isinstance(offset, int):
        return start.moved(-offset)
    return Start(tape.op.Sub(tape.positions.start(start), offset))


@LOCAL.register("Slice")
def _slice(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    x, y = data_of(node), node.outputs[0]
    given = [constant_array(node.inputs[i]) if i < len(node.inputs) else None for i in range(1, 5)]
    computed = [i for i, array in enumerate(given, 1) if array is None and i < len(node.inputs) and node.inputs[i]]
    if given[0] is None or given[1] is None or computed:
        return None
    rank = len(block.axes)
    axes = [int(a) % rank for a in (range(len(given[0])) if given[2] is None else given[2])]
    steps = [1] * len(axes) if given[3] is None else [int(s) for s in given[3]]
    offsets = {}
    for axis, begin, step in zip(axes, given[0], steps, strict=True):
        length = tape.dims(x)[axis]
        if step != 1 or (length is None and begin < 0):
            return None
        size = length if length is not None else int(begin)
        offsets[axis] = min(max(int(begin) + size if begin < 0 else int(begin), 0), size)
    return {0: [_part_of(tape, block, x, y, offsets)]}


@LOCAL.register("Split")
def _split(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    axis = int(attribute_of(node, "axis", 0)) % len(block.axes)
    sizes = [tape.dims(y)[axis] for y in node.outputs[:number]]
    if None in sizes:
        return None
    offset = sum(size for size in sizes if size is not None)
    return {0: [_part_of(tape, block, data_of(node), node.outputs[number], {axis: offset})]}


def _part_of(tape: Tape, block: Block, x: ir.Value, y: ir.Value, offsets: Mapping[int, int]) -> Block:
    """The gradient of a value, of which a part was taken: windows move, full axes are filled with zeros."""
    rank = len(block.axes)
    axes, value = list(block.axes), block.value
    for axis, offset in offsets.items():
        support = axes[axis]
        whole, part = tape.length(x, axis), tape.length(y, axis)
        if whole == part:
            continue
        if isinstance(support, Window):
            axes[axis] = Window(support.start.moved(offset), support.size)
            continue
        if support is UNIFORM:
            value = tape.widened(Block(value, tuple(axes), block.boxes), [axis], y).value
            axes[axis] = None
        after = _minus(tape, whole, part, offset)
        zeros: list[Size] = [0] * (2 * (rank + 1))
        zeros[axis + 1], zeros[rank + 1 + axis + 1] = offset, after
        value = tape.op.Pad(value, blocks.sizes(tape.op, zeros))
    return Block(value, tuple(axes), block.boxes)


def _minus(tape: Tape, whole: Size, part: Size, offset: int) -> Size:
    if isinstance(whole, int) and isinstance(part, int):
        return whole - part - offset
    return tape.op.Sub(tape.op.Sub(whole, part), offset)


@LOCAL.register("Pad")
def _pad(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Windows move; what lies on the padding is dropped."""
    pads = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None or attribute_of(node, "mode", "constant") != "constant" or len(node.inputs) > 3:
        return None
    rank, x = len(block.axes), data_of(node)
    touched = [a for a in range(rank) if pads[a] or pads[rank + a]]
    if any(not isinstance(block.axes[a], Window) for a in touched):
        return None
    axes = list(block.axes)
    for a in touched:
        support = axes[a]
        assert isinstance(support, Window)
        axes[a] = Window(support.start.moved(-int(pads[a])), support.size)
    return {0: [tape.limited(tape.masked(Block(block.value, tuple(axes), block.boxes), x), x)]}
