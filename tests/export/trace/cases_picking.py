"""Operators that pick scores, and that pad them."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.export_graphs import Net
from tests.export.trace.ways import Cases

case = Cases()


@case((2, 5, 3))
def gather_along_each_axis(net: Net, s: str) -> str:
    rows = net.Gather(s, np.array([4, 0, -1, 2]), axis=1)
    return net.Flatten(net.Gather(rows, np.array([-1, 1]), axis=-1), axis=0)


@case((2, 5))
def gather_a_scalar_index(net: Net, s: str) -> str:
    return net.Gather(s, np.array(-1), axis=0)


@case((5, 2))
def gather_by_indices_of_two_axes(net: Net, s: str) -> str:
    return net.Flatten(net.Gather(s, np.array([[0, 3, 1], [-1, 2, 0]]), axis=0), axis=0)


@case((5, 4), feeds=({"i": np.array([[3, -2]])}, {"i": np.zeros((1, 0), np.int64)}))
def gather_by_computed_indices(net: Net, s: str) -> str:
    picked = net.Gather(s, net.input("i", [1, "n"], TensorProto.INT64), axis=1)
    return net.Reshape(net.Transpose(picked, perm=[1, 2, 0]), np.array([1, -1]))


@case((3, 5), feeds=({"i": np.array(1)}, {"i": np.array(-1)}))
def gather_by_a_computed_scalar(net: Net, s: str) -> str:
    return net.Gather(s, net.input("i", [], TensorProto.INT64), axis=0)


@case((3, 5), feeds=({"i": np.array([1])}, {"i": np.array([-3])}))
def gather_by_one_computed_index(net: Net, s: str) -> str:
    return net.Gather(s, net.input("i", [1], TensorProto.INT64), axis=0)


@case((4,), feeds=({"i": np.array([3, -2, 0], np.int32)}, {"i": np.array([1], np.int32)}))
def gather_by_small_integers(net: Net, s: str) -> str:
    return net.Gather(s, net.input("i", ["n"], TensorProto.INT32))


@case((3, 4), feeds=({"i": np.array([[0, -1, 2, 1], [1, 1, 0, -3]])},))
def gather_elements(net: Net, s: str) -> str:
    return net.Flatten(net.GatherElements(s, net.input("i", [2, 4], TensorProto.INT64), axis=0), axis=0)


@case((3, 4))
def gather_elements_by_constants(net: Net, s: str) -> str:
    return net.Flatten(net.GatherElements(s, np.array([[0, -1], [2, 1], [3, 3]]), axis=-1), axis=0)


@case((3, 4, 2), feeds=({"i": np.array([[2, -1], [0, 1], [-3, 0]])}, {"i": np.zeros((0, 2), np.int64)}))
def gather_nd(net: Net, s: str) -> str:
    return net.Reshape(net.GatherND(s, net.input("i", ["n", 2], TensorProto.INT64)), np.array([-1]))


@case((2, 4, 3))
def gather_nd_with_batches(net: Net, s: str) -> str:
    return net.Flatten(net.GatherND(s, np.array([[[3], [-2]], [[0], [1]]]), batch_dims=1), axis=0)


@case((2, 4, 3), feeds=({"i": np.array([[1, 3]])}, {"i": np.array([[-1, 0]])}))
def gather_nd_by_one_computed_index(net: Net, s: str) -> str:
    return net.GatherND(s, net.input("i", [1, 2], TensorProto.INT64))


@case((1, 4, 6))
def top_k(net: Net, s: str) -> str:
    best, _ = net.node("TopK", [s, np.array([3])], outputs=2, axis=-1)
    worst, _ = net.node("TopK", [best, np.array([2])], outputs=2, axis=1, largest=0)
    return net.Reshape(worst, np.array([1, -1]))


@case((1, 7, 3))
def reduce_max_of_classes(net: Net, s: str) -> str:
    return net.ReduceMax(s, np.array([-1]), keepdims=0)


@case((1, 7, 3))
def reduce_max_that_keeps_its_axis(net: Net, s: str) -> str:
    return net.Squeeze(net.Transpose(net.ReduceMax(s, np.array([1]), keepdims=1), perm=[0, 2, 1]), np.array([2]))


@case((1, 7, 3))
def reduce_min(net: Net, s: str) -> str:
    return net.ReduceMin(s, np.array([2]), keepdims=0)


@case((5, 3), feeds=({"keep": np.array([True, False, False, True, True])}, {"keep": np.zeros(5, bool)}))
def compress_rows(net: Net, s: str) -> str:
    return net.Flatten(net.Compress(s, net.input("keep", [5], TensorProto.BOOL), axis=0), axis=0)


@case((2, 3), dynamic=True)
def compress_of_all_axes(net: Net, s: str) -> str:
    return net.Compress(s, np.array([False, True, True, False, True]))


@case((2, 3))
def pad_with_zeros_and_cut(net: Net, s: str) -> str:
    return net.Flatten(net.Pad(s, np.array([1, -1, 0, 2])), axis=0)


@case((2, 3), dynamic=True)
def pad_one_axis(net: Net, s: str) -> str:
    return net.Reshape(net.Pad(s, np.array([2, 1]), np.float32(0), np.array([-1])), np.array([-1]))


@case((2, 3))
def pad_that_moves_and_keeps_the_size(net: Net, s: str) -> str:
    return net.Flatten(net.Pad(s, np.array([-1, 1, 1, -1])), axis=0)


AMOUNTS = (
    {"amounts": np.array([0, 0, 0, 0])},
    {"amounts": np.array([0, 1, 0, -1])},
    {"amounts": np.array([1, -2, -1, 2])},
)


@case((3, 4), feeds=AMOUNTS)
def pad_by_amounts_that_are_computed(net: Net, s: str) -> str:
    return net.Reshape(net.Pad(s, net.input("amounts", [4], TensorProto.INT64)), np.array([12]))
