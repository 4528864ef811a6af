"""Local rules of two-stage heads: one proposal is one row, and lies on one part of one map."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from boxcam.export.autodiff.block import Block, Start, Window
from boxcam.export.autodiff.engine import LOCAL, Tape
from boxcam.export.autodiff.local import single_position
from boxcam.export.autodiff.local.common import Found, data_of, mean_over_map, subset
from boxcam.export.autodiff.rules import sampling
from boxcam.export.graphs.query import Array, attribute_of, constant_array


@LOCAL.register("Gather")
def _gather(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """One row of some gathered rows is one row of the data."""
    indices = node.inputs[1]
    assert indices is not None
    op, count = tape.op, tape.rank(indices)
    axis = int(attribute_of(node, "axis", 0)) % tape.rank(data_of(node))
    taken = block.axes[axis : axis + count]  # the axes of the indices among those of the result
    if not single_position.is_point(taken, tape.dims(indices)):
        return None
    chosen = {a: support for a, support in enumerate(taken) if isinstance(support, Window)}
    if chosen:
        row = op.Reshape(tape.gathered(indices, chosen), [-1])
    else:  # one index for all boxes
        row = op.Expand(op.Reshape(tape.whole(indices), [1]), op.Shape(block.boxes.index))
    row = op.Cast(row, to=ir.DataType.INT64)
    length = tape.length(data_of(node), axis)
    row = op.Where(op.Less(row, 0), op.Add(row, length), row)
    axes = (*block.axes[:axis], Window(Start(row), 1), *block.axes[axis + count :])
    value = block.value
    if count != 1:
        value = op.Squeeze(value, list(range(axis + 1, axis + count + 1))) if count else value
        value = op.Unsqueeze(value, [axis + 1])
    return {0: [Block(value, axes, block.boxes)]}


@LOCAL.register("ScatterND")
def _scatter(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """Level assembly: a row comes from the updates if it was written, and from the data otherwise."""
    data, indices, updates = node.inputs[:3]
    support = block.axes[0]
    assert data is not None and indices is not None and updates is not None
    if attribute_of(node, "reduction", "none") != "none" or tape.dims(indices)[-1] != 1:
        return None
    if tape.rank(indices) != 2 or not isinstance(support, Window) or support.size != 1:
        return None
    op = tape.op
    fork = (node, support.start)
    rows = op.Reshape(tape.whole(indices), [1, -1])
    rows = op.Where(op.Less(rows, 0), op.Add(rows, tape.length(data, 0)), rows)
    guarded = op.Concat(np.array([[-1]]), rows, axis=1)  # so that there is a position even if no row was written
    match = op.Cast(op.Equal(guarded, tape.positions.of(support)), to=ir.DataType.INT32)  # [M, 1 + N]
    source = op.Sub(op.ArgMax(match, axis=1, keepdims=0, select_last_index=1), 1)
    written = op.Cast(op.ReduceMax(match, [1], keepdims=0), to=ir.DataType.BOOL)
    result: dict[int, list[Block]] = {}
    if 2 in wanted:
        moved = Block(block.value, (Window(Start(source), 1), *block.axes[1:]), block.boxes)
        result[2] = [subset(tape, moved, fork, "updates", lambda: written)]
    if 0 in wanted:
        result[0] = [subset(tape, block, fork, "data", lambda: op.Not(written))]
    return result


@LOCAL.register("Gemm")
def _gemm(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    weight = constant_array(node.inputs[1])
    if attribute_of(node, "transA", 0) or weight is None or set(wanted) != {0}:
        return None
    matrix = weight if attribute_of(node, "transB", 0) else weight.T
    return _columns(tape, node, block, matrix * float(attribute_of(node, "alpha", 1.0)))


@LOCAL.register("MatMul")
def _matmul(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    weight = constant_array(node.inputs[1])
    if weight is None or weight.ndim != 2 or tape.rank(data_of(node)) < 2:
        return None
    return _columns(tape, node, block, weight.T)


def _columns(tape: Tape, node: ir.Node, block: Block, matrix: Array) -> Found | None:
    """A product with a matrix, of which some columns are asked for: [N, K], N of the output."""
    support = block.axes[-1]
    if not isinstance(support, Window) or support.size != 1 or tape.rank(data_of(node)) != len(block.axes):
        return None
    op = tape.op
    chosen = op.Gather(
        np.ascontiguousarray(matrix), op.Squeeze(tape.positions.nearest(support, len(matrix)), [1]), axis=0
    )
    chosen = op.Unsqueeze(chosen, list(range(1, len(block.axes))))
    return {0: [Block(op.Mul(block.value, chosen), (*block.axes[:-1], None), block.boxes)]}


@LOCAL.register("RoiAlign")
def _roi_align(tape: Tape, node: ir.Node, number: int, block: Block, wanted: Collection[int]) -> Found | None:
    """The gradient of one proposal's features lies where the proposal lies: Wyᵀ · dP · Wx on a window of the map."""
    support, x, rois = block.axes[0], data_of(node), node.inputs[1]
    block = tape.widened(block, block.uniform(), node.outputs[0])
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
        return {0: [mean_over_map(tape, op.Unsqueeze(each, [1]), block, x)]}
    rows = op.Transpose(op.Unsqueeze(weights[0], [1]), perm=[0, 1, 3, 2])  # [M, 1, h, ph]
    value = op.MatMul(op.MatMul(rows, pooled), op.Unsqueeze(weights[1], [1]))
    return {0: [Block(op.Unsqueeze(value, [1]), (None, None, *axes), block.boxes)]}
