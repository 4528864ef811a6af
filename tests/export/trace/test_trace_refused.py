"""Scores that cannot be followed back to a logit are refused, and the operator is named."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto

from boxcam.bundle import Outputs
from boxcam.errors import TraceError
from boxcam.export.trace.trace import trace
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


def test_adding_up_what_is_scattered_is_refused() -> None:
    net = Net()
    a = level(net, 0, (4,), "Sigmoid", -1)
    updates = net.Slice(a, np.array([0]), np.array([1]))
    refused(net, net.ScatterND(a, np.array([[1]]), updates, reduction="add"), "ScatterND .* adds up")


def test_the_maximum_of_two_axes_is_refused() -> None:
    net = Net()
    a = level(net, 0, (4, 3, 2), "Sigmoid", -1)
    refused(net, net.ReduceMax(a, np.array([1, 2]), keepdims=0), "maximum over several axes")


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
