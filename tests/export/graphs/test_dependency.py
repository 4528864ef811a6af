"""Along which inputs a gradient flows."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.export.graphs.dependency import depends, differentiable_inputs, gradient_reaches
from boxcam.export.graphs.query import all_values
from tests.export.export_graphs import Net, branch


def by_name(model: ir.Model) -> dict[str, ir.Value]:
    return {str(value.name): value for value in all_values(model.graph)}


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes", "flows"),
    [
        ("Mul", ["a", "b"], {}, ["a", "b"]),
        ("Gather", ["a", "i"], {}, ["a"]),
        ("ScatterND", ["a", "i", "b"], {}, ["a", "b"]),
        ("Where", ["flag", "a", "b"], {}, ["a", "b"]),
        ("RoiAlign", ["a", "b", "i"], {}, ["a"]),
        ("Clip", ["a", "b", "b"], {}, ["a"]),
        ("Slice", ["a", "i", "i"], {}, ["a"]),
        ("NonMaxSuppression", ["a", "b"], {}, []),
        ("ArgMax", ["a"], {}, []),
        ("Shape", ["a"], {}, []),
        ("Cast", ["a"], {"to": TensorProto.INT64}, []),
        ("Cast", ["a"], {"to": TensorProto.BOOL}, []),
        ("Cast", ["a"], {"to": TensorProto.DOUBLE}, ["a"]),
        ("CastLike", ["a", "b"], {}, ["a"]),
        ("QuantizeLinear", ["a", "b", "i"], {}, ["a"]),
        ("CumSum", ["a", "i"], {}, ["a"]),
        ("Pow", ["a", "b"], {}, ["a", "b"]),
        ("Resize", ["a", None, "b"], {}, ["a"]),
    ],
)
def test_a_gradient_flows_through_values_not_through_choices(
    operator: str, inputs: list[str | None], attributes: dict[str, int], flows: list[str]
) -> None:
    net = Net()
    for name in ("a", "b"):
        net.input(name, (1, 2, 4, 4))
    net.input("i", (1,), TensorProto.INT64)
    net.input("flag", (1,), TensorProto.BOOL)
    out = net.node(operator, inputs, **attributes)[0]
    node = next(iter(ir.from_proto(net.proto([out])).graph))
    assert [value.name for value in differentiable_inputs(node)] == flows


def test_sources_are_cut_from_each_other() -> None:
    net = Net()
    a = net.node("Relu", [net.input("x", (2,))], name="a")[0]
    b = net.node("Relu", [a], name="b")[0]
    net.node("Exp", [b], name="c")
    net.node("Neg", [a], name="d")
    values = by_name(net.model(["c", "d"]))
    graph = values["a"].producer().graph  # type: ignore[union-attr]
    assert isinstance(graph, ir.Graph)
    assert {v.name for v in gradient_reaches(graph, [values["a"], values["b"]])} == {"a", "b", "c", "d"}
    assert {v.name for v in gradient_reaches(graph, [values["b"]])} == {"b", "c"}


def test_dependence_includes_indices_and_what_a_branch_captures() -> None:
    net = Net()
    x, flag = net.input("x", (4,)), net.input("flag", [], TensorProto.BOOL)
    order = net.node("ArgMax", [net.node("Relu", [x], name="a")[0]], name="order")[0]
    other = net.node("Neg", [x], name="other")[0]
    net.node("Gather", [x, order], name="picked")
    net.node(
        "If",
        [flag],
        name="chosen",
        then_branch=branch(lambda inner: inner.Exp("a"), net),
        else_branch=branch(lambda inner: inner.Identity(other), net),
    )
    model = net.model(["picked", "chosen"])
    values = by_name(model)
    assert {v.name for v in depends(model.graph, values["a"])} == {"a", "order", "picked", "chosen"}
    assert "picked" not in {v.name for v in gradient_reaches(model.graph, [values["a"]])}


def test_constants_depend_on_nothing() -> None:
    net = Net()
    net.node("Add", [net.constant(np.ones(2)), np.ones(2)], name="fixed")
    net.node("Add", [net.input("x", (2,)), "fixed"], name="sum")
    model = net.model(["sum"])
    values = by_name(model)
    assert values["fixed"] not in depends(model.graph, values["x"])
