"""Operators that round scores, and that change their shape."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from tests.export.export_graphs import Net
from tests.export.trace.ways import Cases

case = Cases()


@case((1, 12), error=0.5 / 255 + 1e-6)
def rounded_to_integers(net: Net, s: str) -> str:
    pair = np.float32(1 / 255), np.uint8(0)
    chosen = net.node("TopK", [net.DequantizeLinear(net.QuantizeLinear(s, *pair), *pair), np.array([5])], 2)[0]
    return net.DequantizeLinear(net.QuantizeLinear(chosen, *pair), *pair)


@case((1, 3, 4))
def reshape_to_static(net: Net, s: str) -> str:
    return net.Reshape(net.Transpose(net.Reshape(s, np.array([2, 3, 2])), perm=[2, 0, 1]), np.array([1, 12]))


@case((1, 3, 4))
def reshape_with_zero_and_rest(net: Net, s: str) -> str:
    return net.Reshape(s, np.array([0, -1]))


@case((2, 3, 4), dynamic=True)
def reshape_of_dynamic_sizes(net: Net, s: str) -> str:
    rows = net.Transpose(net.Reshape(s, np.array([0, -1])), perm=[1, 0])
    return net.Reshape(rows, np.array([1, -1]))


@case((2, 3, 4), dynamic=True)
def reshape_to_a_computed_shape(net: Net, s: str) -> str:
    last = net.Slice(net.Shape(s), np.array([2]), np.array([3]))
    wide = net.Reshape(s, net.Concat(last, np.array([-1]), axis=0))
    return net.Reshape(net.Transpose(wide, perm=[1, 0]), np.array([-1]))


@case((2, 3, 4))
def flatten_at_each_axis(net: Net, s: str) -> str:
    two = net.Transpose(net.Flatten(s, axis=2), perm=[1, 0])
    return net.Flatten(net.Transpose(net.Flatten(two, axis=-1), perm=[1, 0]), axis=0)


@case((1, 5, 1))
def squeeze_given_axes(net: Net, s: str) -> str:
    return net.Squeeze(s, np.array([-1]))


@case((1, 5, 1))
def squeeze_all(net: Net, s: str) -> str:
    return net.Squeeze(s)


@case((5, 3))
def unsqueeze_between_and_from_the_end(net: Net, s: str) -> str:
    return net.Reshape(
        net.Transpose(net.Unsqueeze(s, np.array([-1, 0, 2])), perm=[4, 3, 2, 1, 0]), net.constant(np.array([1, -1]))
    )


@case((3, 4))
def transpose_without_perm(net: Net, s: str) -> str:
    return net.Flatten(net.Transpose(s), axis=0)


@case((2, 3, 4))
def transpose_that_is_not_its_own_inverse(net: Net, s: str) -> str:
    return net.Flatten(net.Transpose(s, perm=[1, 2, 0]), axis=0)


@case((6,))
def same_place(net: Net, s: str) -> str:
    double = net.Cast(net.Identity(s), to=TensorProto.DOUBLE)
    return net.Dropout(net.Cast(double, to=TensorProto.FLOAT))
