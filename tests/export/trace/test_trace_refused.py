"""Scores that cannot be followed back to a logit are refused, and the operator is named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto

from boxcam.bundle import Outputs
from boxcam.errors import TraceError
from boxcam.export.graphs.run import record_ranks
from boxcam.export.trace.trace import trace
from boxcam.targets import SCORE
from tests.export.export_graphs import Net, branch
from tests.export.trace.ways import SCORES, level


def refused(net: Net, scores: str, message: str, column: int | None = None) -> None:
    net.node("Identity", [scores], name=SCORES)
    with pytest.raises(TraceError, match=message):
        trace(net.model([SCORES]).graph, Outputs("boxes", SCORES, "labels", score_column=column))


def test_a_product_of_equal_factors_is_refused_and_named() -> None:
    net = Net()
    a, b = (level(net, n, (1, 4), "Sigmoid", -1) for n in range(2))
    product = net.node("Mul", [a, b], name="product")[0]
    refused(net, product, r"computed by Mul \(node_product\).*cannot be told apart.*single class.*targets=.score")


def test_a_product_with_the_square_of_an_objectness_is_refused() -> None:
    net = Net()
    a, b = level(net, 0, (1, 4), "Sigmoid", -1), level(net, 1, (1, 4), "Sigmoid", -1)
    refused(net, net.Pow(a, b), "computed by Pow .* from two computed values.*targets=.score")


def test_a_mean_of_probabilities_is_refused() -> None:
    net = Net()
    a, b = (level(net, n, (1, 4), "Sigmoid", -1) for n in range(2))
    refused(net, net.Div(net.Add(a, b), np.float32(2)), "computed by Add .*after the class.*targets=.score")


def test_another_function_of_a_probability_is_refused() -> None:
    net = Net()
    refused(net, net.Exp(level(net, 0, (1, 4), "Sigmoid", -1)), "computed by Exp .*after the class.*targets=.score")


def test_constant_scores_are_refused() -> None:
    net = Net()
    net.input("x", (1, 4))
    refused(net, net.Reshape(net.constant(np.ones((2, 2))), np.array([1, 4])), "constant")


def test_scores_without_logits_are_refused() -> None:
    net = Net()
    refused(net, net.Reshape(net.input("x", (2, 2)), np.array([1, 4])), "input 'x' without passing a logit")


def test_an_activated_input_is_no_logit() -> None:
    net = Net()
    refused(net, net.Sigmoid(net.input("x", (1, 4))), "input 'x' without passing a logit")


def added_up(net: Net) -> str:
    a = level(net, 0, (4,), "Sigmoid", -1)
    updates = net.Slice(a, np.array([0]), np.array([1]))
    return net.ScatterND(a, np.array([[1]]), updates, reduction="add")


def maximum_of_two_axes(net: Net) -> str:
    return net.ReduceMax(level(net, 0, (4, 3, 2), "Sigmoid", -1), np.array([1, 2]), keepdims=0)


def reflected(net: Net) -> str:
    return net.Pad(level(net, 0, (4,), "Sigmoid", -1), np.array([1, 1]), mode="reflect")


COMPUTED = [(added_up, "ScatterND"), (maximum_of_two_axes, "ReduceMax"), (reflected, "Pad")]


@pytest.mark.parametrize(("build", "operator"), COMPUTED)
def test_what_is_computed_of_scores_is_refused_and_the_score_itself_can_be_traced_as_is_advised(
    build: Callable[[Net], str], operator: str
) -> None:
    net = Net()
    refused(
        net, build(net), rf'computed by {operator} \(.*, after the class.*\. Use targets="score", which explains the'
    )
    net = Net()
    net.node("Identity", [build(net)], name=SCORES)
    model = net.model([SCORES])
    record_ranks(model, {"x0": np.zeros((4, 3, 2)[: 3 if operator == "ReduceMax" else 1], np.float32)})
    found = trace(model.graph, Outputs("boxes", SCORES, "labels"), SCORE)
    assert [value.producer().op_type for value in found.logits] == [operator]  # type: ignore[union-attr]
    assert found.activations == ("Identity",)


@pytest.mark.parametrize("operator", ["ScatterND", "ReduceMax", "Pad"])
def test_before_the_activation_the_same_make_the_logits(operator: str) -> None:
    net = Net()
    a = net.input("x0", (4, 3, 2)[: 3 if operator == "ReduceMax" else 1])
    logits = {
        "ScatterND": lambda: net.ScatterND(a, np.array([[1]]), np.ones(1, np.float32), reduction="add"),
        "ReduceMax": lambda: net.ReduceMax(a, np.array([1, 2]), keepdims=0),
        "Pad": lambda: net.Pad(a, np.array([1, 1]), mode="reflect"),
    }[operator]()
    net.node("Sigmoid", [logits], name=SCORES)
    found = trace(net.model([SCORES]).graph, Outputs("boxes", SCORES, "labels"))
    assert [str(value.name) for value in found.logits] == [logits]
    assert found.activations == ("Sigmoid",)


def test_computed_steps_are_refused() -> None:
    net = Net()
    steps = net.input("steps", [1], TensorProto.INT64)
    a = level(net, 0, (4,), "Sigmoid", -1)
    refused(net, net.Slice(a, np.array([0]), np.array([4]), np.array([0]), steps), "computes its axes or steps")


def test_scores_of_several_images_or_classes_are_refused() -> None:
    net = Net()
    refused(net, level(net, 0, (1, 4, 3), "Sigmoid", -1), r"have shape \[1, 4, 3\]")


def test_logits_inside_of_a_branch_are_refused() -> None:
    net = Net()
    x, flag = net.input("x", (1, 4)), net.input("flag", [], TensorProto.BOOL)
    chosen = net.If(
        flag,
        then_branch=branch(lambda inner: inner.Sigmoid(inner.Add(x, np.float32(1))), net),
        else_branch=branch(lambda inner: inner.Identity(np.zeros((1, 4), np.float32)), net),
    )
    refused(net, chosen, "inside an If")


def test_rounding_that_cannot_be_followed_is_refused() -> None:
    net = Net()
    scales, zeros = np.float32([0.1, 0.2, 0.3, 0.4]), np.zeros(4, np.uint8)
    integers = net.QuantizeLinear(level(net, 0, (1, 4), "Sigmoid", -1), scales, zeros, axis=1)
    refused(net, net.DequantizeLinear(integers, scales, zeros, axis=1), "a scale per channel.* without its scores")
