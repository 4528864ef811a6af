"""Local gradient rules: how operators move and widen the windows of a block.

A local rule has the same mathematics as the operator's plain rule, and is checked against it: what it adds is where the
positions of a window come from.  It declines (returns None) what it cannot do better than the plain rule.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod

import numpy as np
import onnx_ir as ir

from boxcam.export import graph as onnx
from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import UNIFORM, Block, Boxes, Size, Start, Support, Window
from boxcam.export.autodiff.engine import LOCAL, Tape
from boxcam.export.autodiff.rules import convolution, resize, sampling

Found = Mapping[int, Sequence[Block]]
Dims = tuple[int | None, ...]


def subset(tape: Tape, block: Block, condition: ir.Value) -> Block:
    """The part of a block that is about some of its boxes: ``condition`` is bool [M]."""
    op = tape.op
    chosen, stands_in = tape.positions.chosen(condition)
    moved: dict[ir.Value, ir.Value] = {}

    def picked(axis: Support) -> Support:
        if not isinstance(axis, Window):
            return axis
        base = axis.start.base
        if base not in moved:
            moved[base] = op.Gather(base, chosen, axis=0)
        return Window(Start(moved[base], axis.start.factor, axis.start.offset), axis.size)

    boxes = Boxes(op.Where(stands_in, -1, op.Gather(block.boxes.index, chosen, axis=0)))
    return Block(op.Gather(block.value, chosen, axis=0), tuple(picked(a) for a in block.axes), boxes)


# -- layout


@LOCAL.register("Reshape")
@LOCAL.register("Flatten")
@LOCAL.register("Squeeze")
@LOCAL.register("Unsqueeze")
def _view(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Axes that a change of shape leaves alone keep their windows; the others are widened."""
    x, y = _input(node), node.outputs[0]
    xs, ys = tape.dims(x), tape.dims(y)
    same = {a: b for a in range(len(ys)) if (b := _same_axis(ys, a, xs)) is not None}
    mixed = [a for a in range(len(ys)) if a not in same]
    if any(isinstance(block.axes[a], Window) for a in mixed):
        tape.barriers.setdefault(onnx.describe(node))
    block = tape.widened(block, mixed, y)
    axes: list[Support] = [None] * len(xs)
    for a, b in same.items():
        axes[b] = block.axes[a]
    shape = [_stored(tape, axes[b], x, b) for b in range(len(xs))]
    value = tape.op.Reshape(block.value, blocks.sizes(tape.op, [0, *shape]))
    return {0: [Block(value, tuple(axes), block.boxes)]}


def _same_axis(ys: Dims, a: int, xs: Dims) -> int | None:
    """The axis of the input that is the same as axis ``a`` of the output."""
    for b in range(len(xs)):
        before, after = (ys[:a], xs[:b]), (ys[a + 1 :], xs[b + 1 :])
        if xs[b] == ys[a] and _equal(*before) and _equal(*after):
            return b
    return None


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
    perm = [int(a) for a in onnx.attribute(node, "perm", range(rank)[::-1])]
    back = [perm.index(a) for a in range(rank)]
    value = tape.op.Transpose(block.value, perm=[0, *(a + 1 for a in back)])
    return {0: [Block(value, tuple(block.axes[a] for a in back), block.boxes)]}


@LOCAL.register("Concat")
def _concat(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found:
    """Along a full axis each input gets its slice; a single position belongs to one input only."""
    op, rank = tape.op, len(block.axes)
    axis = int(onnx.attribute(node, "axis")) % rank
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
                inside = op.Squeeze(tape.positions.inside(Window(start, 1), length), [1])
                result[index] = [subset(tape, moved, inside)]
            else:
                result[index] = [tape.masked(moved, value)]
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
    x, y = _input(node), node.outputs[0]
    given = [onnx.array(node.inputs[i]) if i < len(node.inputs) else None for i in range(1, 5)]
    if given[0] is None or given[1] is None:
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
    axis = int(onnx.attribute(node, "axis", 0)) % len(block.axes)
    sizes = [tape.dims(y)[axis] for y in node.outputs[:number]]
    if None in sizes:
        return None
    offset = sum(size for size in sizes if size is not None)
    return {0: [_part_of(tape, block, _input(node), node.outputs[number], {axis: offset})]}


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
    pads = onnx.array(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None or onnx.attribute(node, "mode", "constant") != "constant" or len(node.inputs) > 3:
        return None
    rank, x = len(block.axes), _input(node)
    touched = [a for a in range(rank) if pads[a] or pads[rank + a]]
    if any(not isinstance(block.axes[a], Window) for a in touched):
        return None
    axes = list(block.axes)
    for a in touched:
        support = axes[a]
        assert isinstance(support, Window)
        axes[a] = Window(support.start.moved(-int(pads[a])), support.size)
    return {0: [tape.masked(Block(block.value, tuple(axes), block.boxes), x)]}


# -- rows


@LOCAL.register("Gather")
def _gather(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """One row of some gathered rows is one row of the data."""
    indices = node.inputs[1]
    axis = int(onnx.attribute(node, "axis", 0)) % tape.rank(_input(node))
    support = block.axes[axis] if axis < len(block.axes) else None
    if indices is None or tape.rank(indices) != 1 or not isinstance(support, Window) or support.size != 1:
        return None
    op = tape.op
    row = op.Squeeze(tape.gathered(indices, {0: support}), [1])
    length = tape.length(_input(node), axis)
    row = op.Where(op.Less(row, 0), op.Add(row, length), row)
    axes = (*block.axes[:axis], Window(Start(row), 1), *block.axes[axis + 1 :])
    return {0: [Block(block.value, axes, block.boxes)]}


@LOCAL.register("ScatterND")
def _scatter(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Level assembly: a row comes from the updates if it was written, and from the data otherwise."""
    data, indices, updates = node.inputs[:3]
    support = block.axes[0]
    assert data is not None and indices is not None and updates is not None
    if onnx.attribute(node, "reduction", "none") != "none" or tape.dims(indices)[-1] != 1:
        return None
    if tape.rank(indices) != 2 or not isinstance(support, Window) or support.size != 1:
        return None
    op = tape.op
    rows = op.Reshape(tape.whole(indices), [1, -1])
    rows = op.Where(op.Less(rows, 0), op.Add(rows, tape.length(data, 0)), rows)
    guarded = op.Concat(np.array([[-1]]), rows, axis=1)  # so that there is a position even if no row was written
    match = op.Cast(op.Equal(guarded, tape.positions.of(support)), to=ir.DataType.INT32)  # [M, 1 + N]
    source = op.Sub(op.ArgMax(match, axis=1, keepdims=0, select_last_index=1), 1)
    written = op.Cast(op.ReduceMax(match, [1], keepdims=0), to=ir.DataType.BOOL)
    result: dict[int, list[Block]] = {}
    if 2 in wanted:
        moved = Block(block.value, (Window(Start(source), 1), *block.axes[1:]), block.boxes)
        result[2] = [subset(tape, moved, written)]
    if 0 in wanted:
        result[0] = [subset(tape, block, op.Not(written))]
    return result


@LOCAL.register("Gemm")
def _gemm(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    weight = onnx.array(node.inputs[1])
    if onnx.attribute(node, "transA", 0) or weight is None or set(wanted) != {0}:
        return None
    matrix = weight if onnx.attribute(node, "transB", 0) else weight.T
    return _columns(tape, node, block, matrix * float(onnx.attribute(node, "alpha", 1.0)))


@LOCAL.register("MatMul")
def _matmul(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    weight = onnx.array(node.inputs[1])
    if weight is None or weight.ndim != 2 or tape.rank(_input(node)) < 2:
        return None
    return _columns(tape, node, block, weight.T)


def _columns(tape: Tape, node: ir.Node, block: Block, matrix: onnx.Array) -> Found | None:
    """A product with a matrix, of which some columns are asked for: [N, K], N of the output."""
    support = block.axes[-1]
    if not isinstance(support, Window) or support.size != 1 or tape.rank(_input(node)) != len(block.axes):
        return None
    op = tape.op
    chosen = op.Gather(np.ascontiguousarray(matrix), op.Squeeze(tape.positions.of(support), [1]), axis=0)  # [M, K]
    chosen = op.Unsqueeze(chosen, list(range(1, len(block.axes))))
    return {0: [Block(op.Mul(block.value, chosen), (*block.axes[:-1], None), block.boxes)]}


@LOCAL.register("RoiAlign")
def _roi_align(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """The gradient of one proposal's features lies where the proposal lies: Wyᵀ · dP · Wx on a window of the map."""
    support, x, rois = block.axes[0], _input(node), node.inputs[1]
    if not isinstance(support, Window) or support.size != 1 or any(a is not None for a in block.axes[1:]):
        return None
    if rois is None or tape.dims(x)[0] != 1:
        return None
    op, positions = tape.op, tape.positions
    own = op.Squeeze(tape.gathered(rois, {0: support}), [1])  # [M, 4]
    site = tape.site(node, tape.whole, wanted)
    weights, axes = [], []
    for axis in (2, 3):
        length = tape.length(x, axis)
        first, last = sampling.extent(site, own, axis, length)  # int64 [M]
        longest = op.ReduceMax(op.Concat(op.Add(op.Sub(last, first), 1), [1], axis=0), [0], keepdims=1)
        window = Window(Start(first), longest)
        weights.append(sampling.axis_weights(site, own, axis, length, positions.of(window)))
        axes.append(window)
    pooled = op.Squeeze(block.value, [1])  # [M, C, ph, pw]
    if x in tape.means:
        seen = [op.ReduceSum(w, [2], keepdims=0) for w in weights]  # [M, ph], [M, pw]
        each = op.MatMul(op.MatMul(op.Unsqueeze(seen[0], [1, 2]), pooled), op.Unsqueeze(seen[1], [1, 3]))
        return {0: [_mean(tape, op.Unsqueeze(each, [1]), block, x)]}
    rows = op.Transpose(op.Unsqueeze(weights[0], [1]), perm=[0, 1, 3, 2])  # [M, 1, h, ph]
    value = op.MatMul(op.MatMul(rows, pooled), op.Unsqueeze(weights[1], [1]))
    return {0: [Block(op.Unsqueeze(value, [1]), (None, None, *axes), block.boxes)]}


# -- maps


@LOCAL.register("Conv")
def _convolution(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Windows grow by the kernel; what comes to lie outside of the map is padding, and is dropped."""
    weight, x, y = onnx.array(node.inputs[1]), _input(node), node.outputs[0]
    if weight is None or len(block.axes) != 4 or not _has_window(block) or tape.dims(x)[0] != 1:
        return None
    block = tape.widened(block, [0, *block.uniform()], y)
    window = convolution.spatial(tape.site(node, tape.whole, wanted))
    group = int(onnx.attribute(node, "group", 1))
    if x in tape.means and group == 1 and None not in tape.dims(x):
        return {0: [_mean(tape, _sum_of_convolution(tape, block, x, y, weight, window), block, x)]}
    axes = [None, None, *_grown(tape, block, window)]
    value = _spread(tape, block, y, weight, group, window)
    for a, support in enumerate(axes):
        if a >= 2 and support is None:
            low, spread = window.pads[a - 2], _spread_length(window, a - 2, tape.dims(y)[a])
            length = tape.dims(x)[a]
            if spread is None or length is None:
                return None
            value = _cut_out(tape, value, a, low, length, spread)
    found = tape.masked(Block(value, tuple(axes), block.boxes), x)
    return {0: [tape.limited(found, x)]}


def _sum_of_convolution(
    tape: Tape, block: Block, x: ir.Value, y: ir.Value, weight: onnx.Array, window: convolution.Spatial
) -> ir.Value:
    """The gradient of a convolution's input, summed over the map without being computed: [M, 1, C, 1, 1].

    ``Σ_p dx[c, p] = Σ_t Σ_o w[o, c, t] · Σ_q g[o, q]``, the last sum over the cells q whose tap t is on the map: once
    per channel and tap, instead of once per cell of the window.
    """
    op, real = tape.op, ir.DataType.from_numpy(tape.op.real)
    block = tape.widened(block, [1], y)
    taps = []
    for i, support in enumerate(block.axes[2:]):
        if isinstance(support, Window):
            cells = tape.positions.of(support)  # [M, h]
        else:
            cells = op.Unsqueeze(tape.positions.count(tape.length(y, 2 + i)), [0])
        first = op.Sub(op.Mul(cells, window.strides[i]), window.pads[i])
        reached = op.Add(op.Unsqueeze(first, [1]), np.arange(window.kernel[i])[None, :, None] * window.dilations[i])
        inside = op.And(op.GreaterOrEqual(reached, 0), op.Less(reached, tape.length(x, 2 + i)))
        taps.append(op.Unsqueeze(op.Cast(inside, to=real), [1]))  # [M, 1, k, h]
    g = op.Squeeze(block.value, [1])
    sums = op.MatMul(op.MatMul(taps[0], g), op.Transpose(taps[1], perm=[0, 1, 3, 2]))  # [M, O, kh, kw]
    out, channels = weight.shape[:2]
    matrix = np.ascontiguousarray(weight.transpose(0, 2, 3, 1).reshape(-1, channels))
    total = op.MatMul(op.Reshape(sums, [-1, out * window.kernel[0] * window.kernel[1]]), matrix)
    return op.Reshape(total, [-1, 1, channels, 1, 1])


def _mean(tape: Tape, total: ir.Value, block: Block, x: ir.Value) -> Block:
    """A gradient that is the same in every cell of a map, with a given sum over them."""
    return _evenly(tape, Block(total, (None,) * 4, block.boxes), x, (2, 3), mean=True)


def _has_window(block: Block) -> bool:
    return any(isinstance(axis, Window) for axis in block.axes[2:])


def _grown(tape: Tape, block: Block, window: convolution.Spatial) -> list[Support]:
    """The windows of the input that the kernel sees from windows of the output; full axes stay full."""
    axes: list[Support] = []
    for i, support in enumerate(block.axes[2:]):
        if not isinstance(support, Window):
            axes.append(None)
            continue
        grown = blocks.multiply(tape.op, blocks.add(tape.op, support.size, -1), window.strides[i])
        size = blocks.add(tape.op, grown, window.reach[i] + 1)
        axes.append(Window(support.start.scaled(window.strides[i]).moved(-window.pads[i]), size))
    return axes


def _spread(
    tape: Tape, block: Block, y: ir.Value, weight: onnx.Array, group: int, window: convolution.Spatial
) -> ir.Value:
    """The transposed convolution of a block, with all that lies on the padding: [M, 1, C, h, w] of the input."""
    op, channel = tape.op, block.axes[1]
    single = all(isinstance(a, Window) and a.size == 1 for a in block.axes[1:])
    if single and group == 1:
        assert isinstance(channel, Window)
        row = op.Gather(_with_holes(weight, window.dilations), tape.positions.of(channel), axis=0)  # [M, 1, C, kh, kw]
        return op.Mul(block.value, row)
    block = tape.widened(block, [1], y)
    g = op.Squeeze(block.value, [1])
    if set(window.strides) == {1}:
        flipped = convolution.transposed_weight(weight, group)
        value = op.Conv(g, flipped, group=group, dilations=window.dilations, pads=window.reach * 2)
    else:
        value = op.ConvTranspose(g, weight, group=group, dilations=window.dilations, strides=window.strides)
    return op.Unsqueeze(value, [1])


def _spread_length(window: convolution.Spatial, i: int, length: int | None) -> int | None:
    return None if length is None else (length - 1) * window.strides[i] + window.reach[i] + 1


def _cut_out(tape: Tape, value: ir.Value, axis: int, low: int, length: int, spread: int) -> ir.Value:
    """The part of a full axis that is no padding; cells that no kernel reached are zero."""
    op = tape.op
    if low or low + length < spread:
        value = op.Slice(value, [low], [low + length], [axis + 1])
    missing = low + length - spread
    if missing > 0:
        pads = np.zeros(10, np.int64)
        pads[5 + axis + 1] = missing
        value = op.Pad(value, pads)
    return value


def _with_holes(weight: onnx.Array, dilations: Sequence[int]) -> onnx.Array:
    """A dilated kernel written out, with zeros in its holes."""
    if all(d == 1 for d in dilations):
        return weight
    sizes = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:], strict=True)]
    written = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    written[:, :, :: dilations[0], :: dilations[1]] = weight
    return written


@LOCAL.register("Resize")
@LOCAL.register("Upsample")
def _resize(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Interpolation is a matrix along each axis; a window of the output sees a window of the input."""
    x, y = _input(node), node.outputs[0]
    xs, ys = tape.dims(x), tape.dims(y)
    if len(xs) != 4 or not _has_window(block) or xs[:2] != ys[:2] or None in (*xs[2:], *ys[2:]):
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
        start, longest = _seen_by(tape, support, first.astype(np.int64), last.astype(np.int64), size_in)
        window = Window(Start(start), longest)
        rows, columns = tape.positions.of(window), tape.positions.nearest(support, size_out)
        flat = op.Add(op.Mul(op.Unsqueeze(rows, [2]), size_out), op.Unsqueeze(columns, [1]))
        weights = op.Gather(matrix.reshape(-1), flat, axis=0)  # [M, in, out]
        value = tape.placed(value, weights, axis, 4, support.size)
        axes[axis] = window
    return {0: [tape.limited(Block(value, tuple(axes), block.boxes), x)]}


def _seen_by(tape: Tape, support: Window, first: onnx.Array, last: onnx.Array, size_in: int) -> tuple[ir.Value, Size]:
    """Where the windows of the input begin that windows of the output see, and how long the longest is.

    Args:
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


@LOCAL.register("MaxPool")
def _max_pool(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Pool the window of the input anew, to see which cell each maximum came from."""
    x, y = _input(node), node.outputs[0]
    if len(block.axes) != 4 or number != 0 or not _has_window(block) or tape.dims(x)[0] != 1:
        return None
    if onnx.attribute(node, "ceil_mode", 0):
        return None
    block = tape.widened(block, [0, 1, *block.uniform()], y)
    window = convolution.spatial(tape.site(node, tape.whole, wanted))
    op, axes = tape.op, (None, None, *_grown(tape, block, window))
    windows = {a: w for a, w in enumerate(axes) if isinstance(w, Window)}
    seen = op.Squeeze(tape.gathered(x, windows), [1])
    for a, w in windows.items():
        inside = op.Unsqueeze(tape.positions.inside(w, tape.length(x, a)), [1, 5 - a])
        seen = op.Where(inside, seen, float("-inf"))
    pads = [0 if 2 + i % 2 in windows else p for i, p in enumerate(window.pads)]
    attributes = {"strides": window.strides, "dilations": window.dilations, "pads": pads}
    index = op.emit("MaxPool", [seen], {"kernel_shape": window.kernel, **attributes}, 2)[1]
    zeros = op.Reshape(op.Expand(np.zeros((), op.real), op.Shape(seen)), [-1])
    flat = op.Reshape(index, [-1]), op.Reshape(block.value, [-1])
    scattered = op.ScatterElements(zeros, *flat, axis=0, reduction="add")
    value = op.Unsqueeze(op.Reshape(scattered, op.Shape(seen)), [1])
    return {0: [tape.limited(tape.masked(Block(value, axes, block.boxes), x), x)]}


@LOCAL.register("GlobalAveragePool")
def _global_average(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """The mean over a map passes its gradient to all cells alike: it is stored once."""
    x = _input(node)
    return {0: [_evenly(tape, block, x, range(2, tape.rank(x)), mean=True)]}


def _evenly(tape: Tape, block: Block, x: ir.Value, axes: Sequence[int], mean: bool) -> Block:
    op, value = tape.op, block.value
    if mean:
        count = [tape.length(x, a) for a in axes]
        known = [c for c in count if isinstance(c, int)]
        for size in count:
            if not isinstance(size, int):
                value = op.Div(value, op.Cast(size, to=ir.DataType.from_numpy(op.real)))
        value = op.Mul(value, 1.0 / prod(known))
    supports = tuple(UNIFORM if a in axes else axis for a, axis in enumerate(block.axes))
    return Block(value, supports, block.boxes)


@LOCAL.register("ReduceMean")
def _reduce_mean(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    x = _input(node)
    axes = [a % tape.rank(x) for a in onnx.axes(node) or range(tape.rank(x))]
    if not onnx.attribute(node, "keepdims", 1) or any(a < 2 for a in axes):
        return None
    return {0: [_evenly(tape, block, x, axes, mean=True)]}


def _input(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value
