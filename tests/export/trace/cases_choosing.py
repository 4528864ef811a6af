"""Operators that put levels together and choose between scores, and whole ways of detectors."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.export_graphs import Net, branch
from tests.export.trace.ways import Cases

case = Cases()


@case((7, 2), (7, 2))
def scatter_nd_of_rows(net: Net, a: str, b: str) -> str:
    upper = net.Greater(net.Gather(b, np.array(1), axis=1), np.float32(0.5))
    chosen = net.Transpose(net.NonZero(upper), perm=[1, 0])
    moved = net.ScatterND(a, chosen, net.GatherND(b, chosen))
    return net.Flatten(moved, axis=0)


@case((7, 2), (7, 2))
def scatter_nd_of_nothing(net: Net, a: str, b: str) -> str:
    chosen = net.Transpose(net.NonZero(net.Greater(net.Gather(b, np.array(1), axis=1), np.float32(5))), perm=[1, 0])
    return net.Flatten(net.ScatterND(a, chosen, net.GatherND(b, chosen)), axis=0)


@case((3, 4), (2, 2))
def scatter_nd_of_elements(net: Net, a: str, b: str) -> str:
    return net.Flatten(net.ScatterND(a, np.array([[[0, 3], [2, 0]], [[1, 1], [-1, -1]]]), b), axis=0)


@case((6,))
def scatter_nd_into_zeros(net: Net, a: str) -> str:
    zeros = net.ConstantOfShape(np.array([8]))
    return net.ScatterND(zeros, np.array([[6], [1], [3], [0], [7], [2]]), a)


@case((3, 4), (3, 4))
def scatter_elements(net: Net, a: str, b: str) -> str:
    order = net.constant(np.array([[3, 0], [1, 2], [-4, 1]]))
    updates = net.Slice(b, np.array([1]), np.array([3]), np.array([1]))
    return net.Flatten(net.ScatterElements(a, order, updates, axis=1), axis=0)


@case((5, 3), (2, 2))
def scatter_elements_into_a_part(net: Net, a: str, b: str) -> str:
    return net.Flatten(net.ScatterElements(a, np.array([[4, 1], [0, 3]]), b, axis=0), axis=0)


@case((3, 5), (2, 2), dynamic=True, feeds=({"i": np.array([[4, 1], [-5, 3]], np.int32)},))
def scatter_elements_by_small_integers(net: Net, a: str, b: str) -> str:
    written = net.ScatterElements(a, net.input("i", ["m", "n"], TensorProto.INT32), b, axis=1)
    return net.Reshape(written, np.array([-1]))


@case((5, 2), (5, 2))
def scatter_elements_of_nothing(net: Net, a: str, b: str) -> str:
    rows = net.Transpose(net.NonZero(net.Greater(net.Gather(b, np.array(0), axis=1), np.float32(5))), perm=[1, 0])
    indices = net.Expand(rows, np.array([1, 2]))
    return net.Flatten(net.ScatterElements(a, indices, net.GatherND(b, rows), axis=0), axis=0)


@case((6,), (3,))
def scatter_elements_of_one_axis(net: Net, a: str, b: str) -> str:
    return net.ScatterElements(a, np.array([5, 0, 2]), b)


@case((2, 5), (2, 5))
def where_by_value(net: Net, a: str, b: str) -> str:
    return net.Flatten(net.Where(net.Greater(a, b), a, b), axis=0)


@case((2, 5))
def where_filler(net: Net, a: str) -> str:
    return net.Flatten(net.Where(net.Greater(a, np.float32(0.5)), a, np.float32(0)), axis=0)


@case((4, 1), (3,))
def where_of_broadcast_sides(net: Net, a: str, b: str) -> str:
    mask = net.constant(np.arange(12).reshape(4, 3) % 2 == 0)
    return net.Flatten(net.Where(mask, a, b), axis=0)


@case((5,), (5,), feeds=({"flag": np.array(True)}, {"flag": np.array(False)}))
def where_by_a_computed_flag(net: Net, a: str, b: str) -> str:
    return net.Where(net.input("flag", [], TensorProto.BOOL), a, b)


@case((5, 1), (1, 3), dynamic=True)
def where_of_sides_of_dynamic_sizes(net: Net, a: str, b: str) -> str:
    return net.Reshape(net.Where(net.Greater(a, np.float32(0.5)), a, b), np.array([-1]))


@case((3, 1))
def expand_an_axis_and_a_rank(net: Net, s: str) -> str:
    return net.Flatten(net.Expand(s, np.array([2, 1, 4])), axis=0)


@case((2,), feeds=({"n": np.array([4])},))
def expand_one_score_to_all(net: Net, s: str) -> str:
    return net.Expand(net.Slice(s, np.array([1]), np.array([2])), net.input("n", [1], TensorProto.INT64))


@case((3,), feeds=({"n": np.array([4]), "i": np.array([2])}, {"n": np.array([0]), "i": np.array([0])}))
def expand_one_computed_score_to_all(net: Net, s: str) -> str:
    one = net.Gather(s, net.input("i", [1], TensorProto.INT64))
    return net.Expand(one, net.input("n", [1], TensorProto.INT64))


@case((2, 3))
def tile(net: Net, s: str) -> str:
    return net.Flatten(net.Tile(s, np.array([2, 3])), axis=0)


@case((2, 3), dynamic=True)
def tile_of_dynamic_size(net: Net, s: str) -> str:
    return net.Reshape(net.Tile(s, np.array([3, 2])), np.array([-1]))


TAKEN = ({"flag": np.array(True)}, {"flag": np.array(False)})


@case((6,), (6,), feeds=TAKEN)
def if_of_two_levels(net: Net, a: str, b: str) -> str:
    flag = net.input("flag", [], TensorProto.BOOL)
    order = net.constant(np.array([5, 1, 3, 0]))
    return net.If(
        flag,
        then_branch=branch(lambda inner: inner.Gather(a, order), net),
        else_branch=branch(lambda inner: inner.Slice(b, inner.constant(np.array([2])), np.array([6])), net),
    )


@case((6,), feeds=TAKEN)
def if_of_a_constant(net: Net, a: str) -> str:
    flag = net.input("flag", [], TensorProto.BOOL)
    chosen = net.If(
        flag,
        then_branch=branch(lambda inner: inner.Reshape(a, np.array([2, 3])), net),
        else_branch=branch(lambda inner: inner.Identity(np.zeros((2, 3), np.float32)), net),
    )
    return net.Reshape(net.Transpose(chosen, perm=[1, 0]), np.array([-1]))


@case((6,), (4,), feeds=TAKEN)
def if_inside_a_concat(net: Net, a: str, b: str) -> str:
    flag = net.input("flag", [], TensorProto.BOOL)
    chosen = net.If(
        flag,
        then_branch=branch(lambda inner: inner.Identity(a), net),
        else_branch=branch(lambda inner: inner.Concat(b, b, axis=0), net),
    )
    return net.Concat(b, chosen, axis=0)


def suppressed(net: Net, classes: str, boxes: np.ndarray) -> str:
    """NonMaxSuppression of [1, C, N], and the scores of what it leaves: [1, n]."""
    kept = net.NonMaxSuppression(boxes, classes, np.array([20]), np.float32([0.5]), np.float32([0.3]))
    batch, label, box = (net.Gather(kept, np.array([c]), axis=1) for c in range(3))
    flat = net.Reshape(classes, np.array([-1]))
    number = net.Add(net.Mul(net.Add(net.Mul(batch, np.array(3)), label), np.array(8)), box)
    return net.Unsqueeze(net.Gather(flat, net.Squeeze(number, np.array([1]))), np.array([0]))


BOXES = np.array([[[x, 0, x + 4, 4] for x in (0, 1, 10, 20, 21, 30, 40, 41)]], np.float32)


@case((1, 8, 3))
def non_max_suppression_of_sigmoids(net: Net, s: str) -> str:
    return suppressed(net, net.Transpose(s, perm=[0, 2, 1]), BOXES)


@case((1, 8, 4), activation="Softmax")
def non_max_suppression_of_softmax_without_background(net: Net, s: str) -> str:
    classes = net.Slice(s, np.array([0]), np.array([3]), np.array([2]))
    return suppressed(net, net.Transpose(classes, perm=[0, 2, 1]), BOXES)


@case((4, 5), activation="Softmax", axis=0)
def softmax_of_the_first_axis(net: Net, s: str) -> str:
    return net.ReduceMax(s, np.array([0]), keepdims=0)


@case((1, 6, 3), activation="Identity")
def no_activation(net: Net, s: str) -> str:
    return net.ReduceMax(s, np.array([2]), keepdims=0)


@case((1, 3, 2, 2), (1, 3, 2, 1))
def maps_of_two_levels_to_detections(net: Net, *levels: str) -> str:
    """[1, C, H, W] per level → rows → the best 6 → NonMaxSuppression → by score, as dense heads export it."""
    rows = [net.Reshape(net.Transpose(s, perm=[0, 2, 3, 1]), np.array([1, -1, 3])) for s in levels]
    joined = net.Concat(*rows, axis=1)
    best = net.ReduceMax(joined, np.array([-1]), keepdims=0)
    _, order = net.node("TopK", [best, np.array([5])], outputs=2)
    taken = net.Gather(joined, net.Squeeze(order, np.array([0])), axis=1)
    classes = net.Transpose(taken, perm=[0, 2, 1])
    kept = net.NonMaxSuppression(BOXES[:, :5], classes, np.array([20]), np.float32([0.5]), np.float32([0.2]))
    where = net.Gather(kept, np.array([0, 2, 1]), axis=1)
    scores = net.GatherND(taken, where)
    count = net.Min(net.Shape(scores), np.array([4]))
    return net.node("TopK", [scores, count], outputs=2)[0]
