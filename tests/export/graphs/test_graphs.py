"""Helpers over the ONNX IR."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from boxcam.errors import ExportError, UnsupportedOperatorError
from boxcam.export.graphs.extract import add_output, cut_part
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, ancestors, axes_of, constant_array, find_value, static_shape
from boxcam.export.graphs.run import observe_values, record_ranks, run_model
from tests.export.export_graphs import Net, branch

X = np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32)


def folded_net(opset: int = 18) -> tuple[ir.Model, dict[str, np.ndarray]]:
    """Conv, BatchNormalization and an Identity in front of two outputs, with a constant sub-graph."""
    net = Net(opset)
    rng = np.random.default_rng(1)
    y = net.Conv(net.input("image", (1, 2, 4, 5)), rng.standard_normal((3, 2, 1, 1)))
    mean, variance = rng.standard_normal(3), 0.5 + rng.random(3)
    normal = net.node("BatchNormalization", [y, np.ones(3), mean, mean, variance], name="normal")[0]
    shape = net.Concat(np.array([1]), net.Add(np.array([2]), np.array([1])), np.array([-1]), axis=0)
    net.node("Reshape", [net.Identity(normal), shape], name="flat")
    net.node("Identity", [normal], name="same")
    return net.model(["flat", "normal", "same"]), {"image": X}


def test_folding_keeps_names_and_values_of_the_outputs() -> None:
    model, feeds = folded_net()
    folded = fold_model(model)
    assert [value.name for value in folded.graph.outputs] == ["flat", "normal", "same"]
    assert [value.name for value in folded.graph.inputs] == ["image"]
    before, after = run_model(model, feeds), run_model(folded, feeds)
    for name, expected in before.items():
        np.testing.assert_allclose(after[name], expected, atol=1e-5)


def test_folding_leaves_no_constant_work_and_no_batch_norm() -> None:
    model, _ = folded_net()
    assert {"BatchNormalization", "Add", "Concat"} <= {node.op_type for node in model.graph}
    left = [node.op_type for node in fold_model(model).graph]
    assert left.count("Conv") == 1
    assert not {"BatchNormalization", "Add", "Concat"} & set(left)


def test_folding_leaves_the_model_as_it_was() -> None:
    model, _ = folded_net()
    before = [node.op_type for node in model.graph]
    fold_model(model)
    assert [node.op_type for node in model.graph] == before


def test_folding_stores_equal_weights_once() -> None:
    net = Net()
    x = net.input("x", (1, 2, 4, 4))
    names = [net.Conv(x, np.full((3, 2, 1, 1), 0.5)) for _ in range(2)]
    folded = fold_model(net.model(names))
    weights = [node.inputs[1] for node in folded.graph if node.op_type == "Conv"]
    assert weights[0] is weights[1]


def test_folding_keeps_operators_of_onnx_runtime_and_refuses_others() -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft", name="odd")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2,))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2,))]
    imports = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(helper.make_graph([node], "g", inputs, outputs), opset_imports=imports, ir_version=9)
    folded = fold_model(ir.from_proto(proto))
    assert [node.domain for node in folded.graph] == ["com.microsoft"]
    assert folded.opset_imports == {"": 18, "com.microsoft": 1}
    proto.graph.node[
        0
    ].domain = "com.microsoft.nchwc"  # an operator that ONNX Runtime runs only after it made it itself
    proto.graph.node[0].op_type = "ReorderInput"
    with pytest.raises(ExportError):
        fold_model(ir.from_proto(proto))


def test_folding_refuses_an_opset_that_is_too_old() -> None:
    model, _ = folded_net(opset=6)
    with pytest.raises(ExportError, match=r"opset 6, which is too old\. Export it with opset 7 or newer"):
        fold_model(model)


# Cutting ----------------------------------------------------------------------------------------------------------


def chain() -> ir.Model:
    net = Net()
    a = net.node("Relu", [net.input("x", (2, 3))], name="a")[0]
    b = net.node("Mul", [a, np.float32([1, 2, 3])], name="b")[0]
    c = net.node("Add", [b, a], name="c")[0]
    net.node("Exp", [c], name="d")
    return net.model(["d"])


def named(model: ir.Model, *names: str) -> list[ir.Value]:
    found = [find_value(model.graph, name) for name in names]
    assert all(value is not None for value in found)
    return [value for value in found if value is not None]


def test_a_cut_computes_what_lies_between() -> None:
    model = chain()
    part = cut_part(model, named(model, "a", "b"), named(model, "c"))
    assert [node.op_type for node in part.graph] == ["Add"]
    found = run_model(part, {"a": np.ones((2, 3), np.float32), "b": np.full((2, 3), 5, np.float32)})
    np.testing.assert_array_equal(found["c"], np.full((2, 3), 6))
    assert [node.op_type for node in model.graph] == ["Relu", "Mul", "Add", "Exp"]


def test_a_cut_takes_constants_along_and_leaves_out_what_it_does_not_use() -> None:
    model = chain()
    part = cut_part(model, named(model, "a", "x"), named(model, "b"))
    assert [value.name for value in part.graph.inputs] == ["a"]
    assert len(part.graph.initializers) == 1
    found = run_model(part, {"a": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(found["b"], [[1, 2, 3]] * 2)


def test_a_cut_that_lacks_something_is_refused_and_names_it() -> None:
    model = chain()
    with pytest.raises(ExportError, match="'x' is computed before the layer"):
        cut_part(model, named(model, "b"), named(model, "c"))


def test_ancestors_come_in_order_and_stop_where_they_are_told() -> None:
    model = chain()
    a, c, d = named(model, "a", "c", "d")
    assert [node.op_type for node in ancestors([d])] == ["Relu", "Mul", "Add", "Exp"]
    assert [node.op_type for node in ancestors([d, c], [a])] == ["Mul", "Add", "Exp"]


def with_branch() -> ir.Model:
    net = Net()
    x, flag = net.input("x", (3,)), net.input("flag", [], TensorProto.BOOL)
    a = net.node("Neg", [x], name="a")[0]
    net.node(
        "If",
        [flag],
        name="chosen",
        then_branch=branch(lambda inner: inner.Exp(inner.Abs(a)), net),
        else_branch=branch(lambda inner: inner.Identity(x), net),
    )
    net.node("Mul", ["chosen", np.float32(2)], name="y")
    return net.model(["y"])


def test_ancestors_go_through_what_a_branch_captures_not_into_it() -> None:
    model = with_branch()
    assert [node.op_type for node in ancestors(named(model, "y"))] == ["Neg", "If", "Mul"]


def test_a_cut_that_would_have_to_take_a_branch_along_is_refused() -> None:
    model = with_branch()
    with pytest.raises(ExportError, match=r"If .* between the layer and the logits"):
        cut_part(model, named(model, "a", "x", "flag"), named(model, "y"))
    part = cut_part(model, named(model, "chosen"), named(model, "y"))
    assert [node.op_type for node in part.graph] == ["Mul"]


# Reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("opset", "given"), [(11, "attribute"), (18, "input"), (18, "none")])
def test_axes_are_read_from_where_the_opset_has_them(opset: int, given: str) -> None:
    net = Net(opset)
    x = net.input("x", (1, 3, 1))
    if given == "attribute":
        net.Squeeze(x, axes=[0, -1])
    else:
        net.Squeeze(x, *([np.array([0, -1])] if given == "input" else []))
    node = next(iter(ir.from_proto(net.proto(["Squeeze_1" if given != "input" else "Squeeze_2"])).graph))
    assert axes_of(node) == (None if given == "none" else [0, -1])


def test_computed_axes_are_refused() -> None:
    net = Net()
    axes = net.input("axes", (1,), TensorProto.INT64)
    out = net.Squeeze(net.input("x", (1, 3, 1)), axes)
    node = next(iter(ir.from_proto(net.proto([out])).graph))
    with pytest.raises(UnsupportedOperatorError, match=r"Squeeze .* computes its axes"):
        axes_of(node)


def test_a_constant_is_an_array_and_an_input_with_a_default_is_not() -> None:
    net = Net()
    net.input("w", (2,))
    net.node("Add", [net.constant(np.float32([1, 2]), "w"), np.float32([3, 4])], name="y")
    model = ir.from_proto(net.proto(["y"]))
    node = next(iter(model.graph))
    assert constant_array(node.inputs[0]) is None
    np.testing.assert_array_equal(constant_array(node.inputs[1]), [3, 4])
    assert constant_array(None) is None


def test_ranks_that_inference_cannot_tell_are_recorded_from_a_run() -> None:
    net = Net()
    x = net.input("x", (2, 3))
    shape = net.input("shape", ["n"], TensorProto.INT64)
    net.node("Reshape", [x, shape], name="y")
    model = net.model(["y"])
    (y,) = named(model, "y")
    assert static_shape(y) is None
    record_ranks(model, {"x": np.zeros((2, 3), np.float32), "shape": np.array([1, 3, 2])})
    assert static_shape(y) == (None, None, None)
    assert y.dtype == ir.DataType.FLOAT


def test_values_are_observed_as_a_run_computes_them() -> None:
    model = chain()
    x = np.float32([[-1, 0, 1], [2, 3, 4]])
    a, c = observe_values(model, named(model, "a", "c"), {"x": x})
    np.testing.assert_array_equal(a, np.maximum(x, 0))
    np.testing.assert_array_equal(c, np.maximum(x, 0) * [2, 3, 4])
    assert [value.name for value in model.graph.outputs] == ["d"]


# Writing ----------------------------------------------------------------------------------------------------------


def test_written_nodes_compute_and_constants_are_stored_once() -> None:
    model = chain()
    op = Ops(model.graph, "more")
    (a,) = named(model, "a")
    total = op.ReduceSum(op.Add(op.Mul(a, 0.5), 0.5), [1], keepdims=0)
    again = op.Mul(total, 0.5)
    add_output(model.graph, again)
    add_output(model.graph, again)
    model.graph.sort()
    found = run_model(model, {"x": np.float32([[1, 2, 3], [-1, 0, 1]])})
    np.testing.assert_allclose(found[str(again.name)], [(3 + 1.5) / 2, (0.5 + 1.5) / 2])
    assert sum(name.startswith("more/") for name in model.graph.initializers) == 2  # 0.5 and the axes
    assert len(model.graph.outputs) == 2


def test_two_writers_do_not_take_each_others_names() -> None:
    model = chain()
    (a,) = named(model, "a")
    names = [str(Ops(model.graph, "same").Relu(a).name) for _ in range(3)]
    assert len(set(names)) == 3


def test_names_are_new_in_a_graph_that_was_written_into_and_folded() -> None:
    net = Net()
    net.node("Relu", [net.input("image", (2, 3))], name="out")
    model = ir.from_proto(helper.make_model(net.graph({"out": TensorProto.FLOAT}), ir_version=9))
    first = Ops(model.graph, "boxcam.part")
    model.graph.outputs[0] = first.Add(model.graph.outputs[0], np.array([[7.0, 8.0, 9.0]]))
    again = ir.from_proto(ir.to_proto(model))  # as folding does, by a file
    before = {value.name for value in (*all_values(again.graph), *again.graph.initializers.values())}
    made = Ops(again.graph, "boxcam.part").Add(again.graph.outputs[0], np.array([[1.0, 2.0, 3.0]]))
    node = made.producer()
    assert node is not None
    assert not {made.name, node.inputs[1].name} & before
