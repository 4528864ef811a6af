"""Local rules of maps: windows grow with kernels, and move between maps of different sizes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff import block as blocks
from boxcam.export.autodiff.block import Block, Support, Window
from boxcam.export.autodiff.engine import LOCAL, Tape
from boxcam.export.autodiff.local.common import Found, data_of, evenly, mean_over_map
from boxcam.export.autodiff.rules import convolution
from boxcam.export.autodiff.turned import backward_kernel, kernel_matrix
from boxcam.export.graphs.query import Array, attribute_of, axes_of, constant_array


@LOCAL.register("Conv")
def _convolution(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Windows grow by the kernel; what comes to lie outside of the map is padding, and is dropped."""
    weight, x, y = constant_array(node.inputs[1]), data_of(node), node.outputs[0]
    group = int(attribute_of(node, "group", 1))
    means = x in tape.means and group == 1
    if weight is None or len(block.axes) != 4 or tape.dims(x)[0] != 1 or not (means or _has_window(block)):
        return None
    block = tape.widened(block, [0, *block.uniform()], y)
    window = convolution.spatial(tape.site(node, tape.whole, wanted))
    if means:
        return {0: [mean_over_map(tape, _sum_of_convolution(tape, block, x, y, weight, window), block, x)]}
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
    tape: Tape, block: Block, x: ir.Value, y: ir.Value, weight: Array, window: convolution.Spatial
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
    total = op.MatMul(op.Reshape(sums, [-1, out * window.kernel[0] * window.kernel[1]]), kernel_matrix(op, weight))
    return op.Reshape(total, [-1, 1, channels, 1, 1])


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


def _spread(tape: Tape, block: Block, y: ir.Value, weight: Array, group: int, window: convolution.Spatial) -> ir.Value:
    """The transposed convolution of a block, with all that lies on the padding: [M, 1, C, h, w] of the input."""
    op, channel = tape.op, block.axes[1]
    single = all(isinstance(a, Window) and a.size == 1 for a in block.axes[1:])
    if single and group == 1:
        assert isinstance(channel, Window)
        row = op.Gather(
            _with_holes(weight, window.dilations), tape.positions.nearest(channel, len(weight)), axis=0
        )  # [M, 1, C, kh, kw]
        return op.Mul(block.value, row)
    block = tape.widened(block, [1], y)
    g = op.Squeeze(block.value, [1])
    if set(window.strides) == {1}:
        flipped = backward_kernel(op, weight, group)
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


def _with_holes(weight: Array, dilations: Sequence[int]) -> Array:
    """A dilated kernel written out, with zeros in its holes."""
    if all(d == 1 for d in dilations):
        return weight
    sizes = [d * (k - 1) + 1 for d, k in zip(dilations, weight.shape[2:], strict=True)]
    written = np.zeros((*weight.shape[:2], *sizes), weight.dtype)
    written[:, :, :: dilations[0], :: dilations[1]] = weight
    return written


@LOCAL.register("MaxPool")
def _max_pool(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Pool the window of the input anew, to see which cell each maximum came from."""
    x, y = data_of(node), node.outputs[0]
    if len(block.axes) != 4 or number != 0 or not _has_window(block) or tape.dims(x)[0] != 1:
        return None
    if attribute_of(node, "ceil_mode", 0):
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
    x = data_of(node)
    axes = range(2, tape.rank(x))
    return {0: [evenly(tape, tape.widened(block, axes, node.outputs[0]), x, axes)]}


@LOCAL.register("ReduceMean")
def _reducemean_over_map(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    x = data_of(node)
    axes = [a % tape.rank(x) for a in axes_of(node) or range(tape.rank(x))]
    if not attribute_of(node, "keepdims", 1) or any(a < 2 for a in axes):
        return None
    return {0: [evenly(tape, tape.widened(block, axes, node.outputs[0]), x, axes)]}
