"""Integers that are moved before they become real numbers: the same numbers, and rounding in one piece."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.graphs.moved_integers import dequantize_before_moves
from boxcam.export.graphs.run import run_model
from tests.export.export_graphs import Net

X = np.random.default_rng(0).uniform(-3, 3, (1, 2, 4, 6)).astype(np.float32)
PAIR = np.float32(0.02), np.uint8(128)
ROWS = np.float32([0.02, 0.04]), np.uint8([128, 100])


def turned(net: Net, q: str) -> str:
    return net.Transpose(q, perm=[0, 2, 1, 3])


def several(net: Net, q: str) -> str:
    flat = net.Reshape(net.Transpose(q, perm=[0, 2, 3, 1]), np.int64([1, -1, 2]))
    return net.Unsqueeze(net.Slice(flat, np.int64([3]), np.int64([17]), np.int64([1]), np.int64([2])), np.int64([0]))


def picked(net: Net, q: str) -> str:
    return net.Gather(net.Flatten(q, axis=2), np.int64([5, 0, 5]), axis=1)


def padded(net: Net, q: str) -> str:
    """With 0, which stands for -2.56."""
    return net.Pad(q, np.int64([0, 0, 1, 1, 0, 0, 1, 1]))


def joined(net: Net, q: str) -> str:
    return net.Concat(q, net.Transpose(q, perm=[0, 1, 2, 3]), axis=1)


def parts(net: Net, q: str) -> str:
    return net.node("Split", [q, np.int64([1, 1])], 2, axis=1)[1]


def as_it_is(net: Net, q: str) -> str:
    return q


def built(move: Callable[[Net, str], str], pair: tuple[np.ndarray, ...], **axis: int) -> ir.Model:
    net = Net(19)
    q = net.QuantizeLinear(net.Relu(net.Neg(net.input("image", X.shape))), *pair, **axis)
    net.node("DequantizeLinear", [move(net, q), *pair], name="real", **axis)
    return net.model(["real"])


def reads(model: ir.Model) -> list[str]:
    """What makes the integers that each DequantizeLinear reads."""
    nodes = [node for node in model.graph if node.op_type == "DequantizeLinear"]
    makers = [None if node.inputs[0] is None else node.inputs[0].producer() for node in nodes]
    return ["" if maker is None else maker.op_type for maker in makers]


@pytest.mark.parametrize(
    ("move", "before", "after"),
    [
        (turned, "Transpose", "QuantizeLinear"),
        (several, "Unsqueeze", "QuantizeLinear"),
        (picked, "Gather", "QuantizeLinear"),
        (as_it_is, "QuantizeLinear", "QuantizeLinear"),
        (padded, "Pad", "Pad"),
        (joined, "Concat", "Concat"),
        (parts, "Split", "Split"),
    ],
)
def test_real_numbers_are_made_first_where_that_changes_none(
    move: Callable[[Net, str], str], before: str, after: str
) -> None:
    model = built(move, PAIR)
    feeds = {"image": X}
    (expected,) = run_model(model, feeds).values()
    assert reads(model) == [before]
    dequantize_before_moves(model.graph)
    assert reads(model) == [after]
    assert [value.name for value in model.graph.outputs] == ["real"]
    (found,) = run_model(model, feeds).values()
    assert found.tolist() == expected.tolist()
    names = [value.name for node in model.graph for value in node.outputs]
    assert len(names) == len(set(names))
    assert not [node for node in model.graph if not any(v.uses() or v.is_graph_output() for v in node.outputs)]


def test_a_scale_for_each_channel_stays_with_its_axis() -> None:
    model = built(turned, ROWS, axis=1)
    model.graph.outputs[0].producer().attributes["axis"] = ir.AttrInt64("axis", 2)  # type: ignore[union-attr]
    dequantize_before_moves(model.graph)
    assert reads(model) == ["Transpose"]


@pytest.mark.parametrize("name", ["block_size", "output_dtype"])
def test_what_says_more_of_its_numbers_stays_where_it_is(name: str) -> None:
    model = built(turned, PAIR)
    model.graph.outputs[0].producer().attributes[name] = ir.AttrInt64(name, 1)  # type: ignore[union-attr]
    dequantize_before_moves(model.graph)
    assert reads(model) == ["Transpose"]


def test_what_else_reads_the_moved_integers_still_does() -> None:
    net = Net(19)
    q = net.QuantizeLinear(net.Relu(net.input("image", X.shape)), *PAIR)
    moved = turned(net, q)
    net.node("DequantizeLinear", [moved, *PAIR], name="real")
    net.node("Cast", [moved], name="whole", to=int(ir.DataType.FLOAT))
    model = net.model(["real", "whole"])
    expected = run_model(model, {"image": X})
    dequantize_before_moves(model.graph)
    assert reads(model) == ["QuantizeLinear"]
    for name, found in run_model(model, {"image": X}).items():
        assert found.tolist() == expected[name].tolist()


def test_constants_are_left_alone() -> None:
    net = Net(19)
    net.input("image", X.shape)
    net.node("DequantizeLinear", [net.Transpose(np.ones((2, 3), np.uint8), perm=[1, 0]), *PAIR], name="real")
    model = net.model(["real"])
    dequantize_before_moves(model.graph)
    assert reads(model) == ["Transpose"]
