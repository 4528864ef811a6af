"""Operators that join tensors of scores and take them apart."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.export_graphs import Net
from tests.export.trace.ways import Cases

case = Cases()


@case((1, 3), (1, 5), (1, 2))
def concat_of_levels(net: Net, *levels: str) -> str:
    return net.Concat(*levels, axis=-1)


@case((1, 3, 2), (1, 4, 2), (1, 2, 2), dynamic=True)
def concat_of_levels_of_dynamic_sizes(net: Net, *levels: str) -> str:
    return net.Reshape(net.Concat(*levels, axis=1), np.array([1, -1]))


@case((1, 2, 3), (1, 2, 3))
def concat_of_other_axis(net: Net, a: str, b: str) -> str:
    return net.Gather(net.Gather(net.Concat(a, b, axis=0), np.array(1), axis=0), np.array(1), axis=0)


@case((7,), (4,))
def concat_with_an_empty_input(net: Net, a: str, b: str) -> str:
    none = net.Gather(a, net.Reshape(net.NonZero(net.Greater(a, np.float32(2))), np.array([-1])))
    some = net.Gather(b, net.Reshape(net.NonZero(net.Greater(b, np.float32(0.5))), np.array([-1])))
    return net.Concat(none, some, none, axis=0)


@case((1, 6), (3,), column=4)
def concat_of_boxes_and_scores_and_a_filler(net: Net, a: str, unused: str) -> str:
    """What mmdeploy exports: columns x1 y1 x2 y2 score, then one row of zeros for an image without detections."""
    boxes = net.constant(np.random.default_rng(0).random((1, 6, 4)))
    dets = net.Concat(boxes, net.Unsqueeze(a, np.array([2])), axis=2)
    chosen = net.Reshape(net.NonZero(net.Greater(net.Squeeze(a, np.array([0])), np.float32(0.4))), np.array([-1]))
    return net.Concat(net.Gather(dets, chosen, axis=1), np.zeros((1, 1, 5)), axis=1)


@case((10,))
def slice_from_a_negative_start(net: Net, s: str) -> str:
    return net.Slice(s, np.array([-7]), np.array([-2]))


@case((10,))
def slice_from_before_the_first(net: Net, s: str) -> str:
    return net.Slice(s, np.array([-100]), np.array([4]))


@case((4, 9))
def slice_with_steps(net: Net, s: str) -> str:
    ends = np.array([2**63 - 1, 2**63 - 1])
    return net.Flatten(net.Slice(s, np.array([1, 2]), ends, np.array([-2, 1]), np.array([2, 3])), axis=0)


@case((10,))
def slice_backwards(net: Net, s: str) -> str:
    return net.Slice(s, np.array([2**63 - 1]), np.array([-(2**63)]), np.array([0]), np.array([-3]))


@case((10,))
def slice_backwards_from_within(net: Net, s: str) -> str:
    return net.Slice(s, np.array([-3]), np.array([1]), np.array([0]), np.array([-2]))


@case((10,), dynamic=True)
def slice_of_dynamic_sizes(net: Net, s: str) -> str:
    tail = net.Slice(s, np.array([-8]), np.array([2**63 - 1]))
    back = net.Slice(tail, np.array([2**63 - 1]), np.array([-(2**63)]), np.array([0]), np.array([-1]))
    return net.Slice(back, np.array([-100]), np.array([-1]))


@case((3, 10), feeds=({"start": np.array([3], np.int32)}, {"start": np.array([-4], np.int32)}))
def slice_from_a_small_integer(net: Net, s: str) -> str:
    start = net.input("start", [1], TensorProto.INT32)
    return net.Flatten(net.Slice(s, start, net.constant(np.array([99], np.int32)), np.array([1], np.int32)), axis=0)


@case((10,), feeds=({"start": np.array([3])}, {"start": np.array([-4])}, {"start": np.array([-40])}))
def slice_from_a_computed_start(net: Net, s: str) -> str:
    return net.Slice(s, net.input("start", [1], TensorProto.INT64), np.array([2**63 - 1]))


@case((3, 5), feeds=({"start": np.array([1, 2])}, {"start": np.array([-1, -5])}))
def slice_from_a_computed_start_of_a_fixed_axis(net: Net, s: str) -> str:
    ends = net.Add(net.input("start", [2], TensorProto.INT64), np.array([1, 2]))
    ends = net.Where(np.array([True, False]), net.Where(net.Equal(ends, np.array(0)), np.array(99), ends), np.array(99))
    return net.Slice(s, "start", ends, np.array([0, 1]))


@case((2, 9))
def split_given_sizes(net: Net, s: str) -> str:
    a, b, c = net.node("Split", [s, np.array([2, 3, 4])], outputs=3, axis=-1)
    return net.Flatten(net.Concat(c, a, axis=1), axis=0) if b else ""


@case((10, 2))
def split_unevenly(net: Net, s: str) -> str:
    parts = net.node("Split", [s], outputs=4, num_outputs=4)
    return net.Flatten(net.Concat(parts[3], parts[1], axis=0), axis=0)


@case((9, 2), dynamic=True)
def split_of_dynamic_size(net: Net, s: str) -> str:
    parts = net.node("Split", [s], outputs=2, num_outputs=2)
    return net.Flatten(net.Concat(parts[1], parts[0], axis=0), axis=0)
