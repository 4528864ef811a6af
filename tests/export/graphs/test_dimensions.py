"""Sizes that the graph computes from others."""

from __future__ import annotations

import time

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import TensorProto
from onnx_ir.passes import common as passes

from boxcam.export.graphs.dimensions import entry, known, settle_shapes
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import all_values, constant_array
from boxcam.export.graphs.run import observe_values, run_model
from tests.export.export_graphs import Net


def forgotten(model: ir.Model) -> dict[str, ir.Value]:
    """The values of a graph by name; of what is computed in floating point only the rank is known."""
    found = {str(value.name): value for value in all_values(model.graph)}
    for value in found.values():
        if not value.is_graph_input() and value.shape is not None and value.dtype == ir.DataType.FLOAT:
            value.shape = ir.Shape([None] * len(value.shape.dims))
    return found


def test_sizes_come_through_shapes_and_elementwise_operators() -> None:
    net = Net()
    x = net.input("x", ("n", 4, 6))
    y = net.input("y", ("n", "m"))
    sizes = net.Shape(x)
    first = net.Unsqueeze(net.Gather(sizes, np.array(0)), np.array([0]))
    last = net.Gather(sizes, np.array([-1]))
    middle = net.Slice(sizes, np.array([1]), np.array([2]))
    flat = net.node("Reshape", [net.Relu(x), net.Concat(first, np.array([24]), axis=0)], name="flat")[0]
    back = net.node("Reshape", [flat, net.Concat(first, last, middle, axis=0)], name="back")[0]
    sum_ = net.node("Add", [np.ones((4,)), net.Exp(back)], name="sum")[0]
    joined = net.node("Concat", [sum_, back], name="joined", axis=1)[0]
    net.node("Reshape", [joined, np.array([0, 0, -1])], name="kept")
    net.node("Concat", [y, y], name="open", axis=1)
    net.node("Reshape", [y, net.Cast(net.Cast(sizes, to=TensorProto.INT32), to=TensorProto.INT64)], name="like")
    model = net.model(["kept", "open", "like"])
    truth = clone_model(model)
    values = forgotten(model)
    expected = {
        "flat": [None, 24],
        "back": [None, 6, 4],
        "sum": [None, 6, 4],
        "joined": [None, 12, 4],
        "kept": [None, 12, None],
        "open": [None, None],
        "like": [None, 4, 6],
    }
    for name, dims in expected.items():
        assert [known(values[name], axis) for axis in range(len(dims))] == dims, name
    feeds = {"x": np.ones((2, 4, 6), np.float32), "y": np.ones((2, 24), np.float32)}
    seen = observe_values(truth, [values[name] for name in expected], feeds)
    for dims, result in zip(expected.values(), seen, strict=True):
        assert all(size in (None, there) for size, there in zip(dims, result.shape, strict=True))


@pytest.mark.parametrize("index", [0, 1])
def test_an_entry_that_only_a_run_knows_is_not_known(index: int) -> None:
    net = Net()
    sizes = net.Shape(net.input("x", ("n", "m")))
    net.node("Slice", [sizes, net.input("start", [1], TensorProto.INT64), np.array([9])], name="cut")
    net.node("Slice", [sizes, np.array([9]), np.array([-9]), np.array([0]), np.array([-1])], name="turned")
    values = forgotten(net.model(["cut", "turned"]))
    assert entry(values["cut"], index) is None
    assert entry(values["turned"], index) is None


def test_shapes_that_keep_axes_are_settled() -> None:
    net = Net()
    x = net.input("x", ("n", 4, 6))
    sizes = net.Shape(x)
    first, second = (net.Slice(sizes, np.array([i]), np.array([i + 1])) for i in (0, 1))
    last = net.Gather(net.Shape(x, start=1), np.array([1]))
    net.node("Reshape", [x, net.Concat(first, np.array([-1]), axis=0)], name="flat")
    net.node("Reshape", [x, net.Concat(np.array([2]), first, np.array([-1]), axis=0)], name="moved")
    net.node("Reshape", [net.Relu(x), net.Concat(first, last, second, axis=0)], name="another")
    net.node("Reshape", [x, net.Concat(first, np.array([-1]), axis=0)], name="empty", allowzero=1)
    net.node("Reshape", [x, net.input("given", [2], TensorProto.INT64)], name="fed")
    names = ["flat", "moved", "another", "empty", "fed"]
    model = net.model(names)
    feeds = {"x": np.arange(72, dtype=np.float32).reshape(3, 4, 6), "given": np.array([8, 9])}
    before = run_model(model, feeds)
    assert settle_shapes(model.graph)
    asked = {node.outputs[0].name: node.inputs[1] for node in model.graph if node.op_type == "Reshape"}
    settled = {name: constant_array(value) for name, value in asked.items()}
    assert {name for name, array in settled.items() if array is not None} == {"flat"}
    np.testing.assert_array_equal(settled["flat"], [0, -1])
    after = run_model(model, feeds)
    for name in names:
        np.testing.assert_array_equal(after[name], before[name])
    passes.ShapeInferencePass()(model)
    assert [known(next(v for v in all_values(model.graph) if v.name == "flat"), a) for a in (0, 1)] == [None, 24]
    assert not settle_shapes(model.graph)


@pytest.mark.parametrize("known_before", [True, False])
def test_paths_that_part_and_meet_again_are_walked_once(known_before: bool) -> None:
    """25 times x = Relu(x) + Sigmoid(x): 2²⁵ paths from the last sum to the input."""
    lines = [
        f"l{k} = Relu (s{k})\n r{k} = Sigmoid (s{k})\n s{k + 1} = Add (l{k}, r{k})\n z{k} = Shape (s{k})"
        for k in range(25)
    ]
    size = "7" if known_before else "n"
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1, {size}, k] s0) => (float[1, a, b] s25) {{ {" ".join(lines)} }}
    """
    graph = ir.from_proto(onnx.parser.parse_model(text)).graph
    for node in graph:
        if node.op_type != "Shape":
            node.outputs[0].shape = ir.Shape([1, None, None])
    last = graph.outputs[0]
    began = time.perf_counter()
    assert known(last, 1) == (7 if known_before else None)
    assert known(last, 2) is None
    assert time.perf_counter() - began < 1


def test_what_is_too_deep_by_one_path_is_found_by_a_shorter_one() -> None:
    """A size behind 59 operators by one input of a sum, and behind 2 by the other, is told."""
    chain = " ".join(f"c{k + 1} = Relu (c{k})" for k in range(70))
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    g (float[1, 7] c0, float[1, n] other) => (float[1, m] y) {{
        {chain}
        short = Relu (c12)
        y = Concat <axis = 0> (c70, short)
    }}
    """
    graph = ir.from_proto(onnx.parser.parse_model(text)).graph
    for node in graph:
        node.outputs[0].shape = ir.Shape([None, None])
    assert known(graph.outputs[0], 1) == 7
