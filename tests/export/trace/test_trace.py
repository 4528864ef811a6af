"""Every selection operator, run by ONNX Runtime; where a score came from is found again by its value."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
from onnx import TensorProto, helper

import tests.export.trace
from boxcam.bundle import Outputs
from boxcam.export.graphs.extract import add_output
from boxcam.export.graphs.run import run_model
from boxcam.export.trace.trace import trace
from boxcam.export.trace.tracer import SELECTION as _RULES
from tests.export.export_graphs import Net
from tests.export.trace.cases_choosing import BOXES
from tests.export.trace.ways import SCORES, Case, Cases, built, check, level, run_traced

CASES: dict[str, Case] = {}
for module in pkgutil.iter_modules(tests.export.trace.__path__):
    if module.name.startswith("cases_"):
        found: Cases = importlib.import_module(f"tests.export.trace.{module.name}").case
        assert not set(found.all) & set(CASES)
        CASES |= found.all


@pytest.mark.parametrize("name", CASES)
def test_origin_names_the_logit_that_made_each_score(name: str) -> None:
    for feeds in CASES[name].feeds:
        check(CASES[name], feeds)


def operators(name: str) -> set[str]:
    return {node.op_type for node in built(CASES[name]).graph.all_nodes()}


COVERED = set().union(*(operators(name) for name in CASES))


@pytest.mark.parametrize("operator", _RULES)
def test_every_rule_has_a_case(operator: str) -> None:
    assert operator in COVERED


def test_boxes_of_equal_class_and_score_are_told_apart() -> None:
    net = Net()
    scores = level(net, 0, (1, 6, 2), "Sigmoid", -1)
    best = net.ReduceMax(scores, np.array([-1]), keepdims=0)
    _, order = net.node("TopK", [best, np.array([3])], outputs=2)
    net.node("ReduceMax", [net.Gather(scores, net.Squeeze(order, np.array([0])), axis=1), np.array([2])], name=SCORES)
    net.nodes[-1].attribute.append(helper.make_attribute("keepdims", 0))
    x = np.full((1, 6, 2), -2, np.float32)
    x[0, 4, 1] = x[0, 1, 1] = 1.5  # the same class and score at two places
    x[0, 3, 0] = 0.5
    results, _ = run_traced(net.model([SCORES]), {"x0": x})
    assert sorted(results["origin"][:2].tolist()) == [[0, 0, 1, 1], [0, 0, 4, 1]]
    assert results["origin"][2].tolist() == [0, 0, 3, 0]
    np.testing.assert_allclose(results["logit"], [1.75, 1.75, 0.75])


def test_no_detection_gives_no_origin() -> None:
    """No box passes the threshold: every output has K = 0, through each operator that mmdeploy's selection has."""
    net = Net()
    levels = [level(net, n, (1, 4, 3), "Sigmoid", -1) for n in range(2)]
    joined = net.Concat(*levels, axis=1)
    kept = net.NonMaxSuppression(
        BOXES, net.Transpose(joined, perm=[0, 2, 1]), np.array([9]), np.float32([0.5]), np.float32([0.999])
    )
    scores = net.GatherND(joined, net.Gather(kept, np.array([0, 2, 1]), axis=1))
    net.node("Unsqueeze", [scores, np.array([0])], name=SCORES)
    results, _ = run_traced(net.model([SCORES]), {f"x{n}": np.zeros((1, 4, 3), np.float32) for n in range(2)})
    assert results[SCORES].shape == (1, 0)
    assert results["origin"].shape == (0, 4)
    assert results["logit"].shape == (0,)


def test_levels_are_numbered_once_each() -> None:
    net = Net()
    a, b = (level(net, n, (1, 3), "Sigmoid", -1) for n in range(2))
    net.node("Concat", [b, a, b, a], name=SCORES, axis=1)
    x = {"x0": np.float32([[1, 2, 3]]), "x1": np.float32([[4, 5, 6]])}
    results, names = run_traced(net.model([SCORES]), x)
    assert names == ("logits1", "logits0")
    assert results["origin"].tolist() == [[n, 0, i] for n in (0, 1, 0, 1) for i in range(3)]
    np.testing.assert_allclose(results["logit"], np.float32([4, 5, 6, 1, 2, 3] * 2) + 0.25)


def test_the_activation_of_each_tensor_of_logits_is_recorded() -> None:
    net = Net()
    a, b, c = (level(net, n, (1, 3), kind, -1) for n, kind in enumerate(("Softmax", "Sigmoid", "Identity")))
    net.node("Concat", [a, b, c], name=SCORES, axis=1)
    found = trace(net.model([SCORES]).graph, Outputs("boxes", SCORES, "labels"))
    assert found.activations == ("Softmax", "Sigmoid", "Identity")
    assert [value.name for value in found.logits] == ["logits0", "logits1", "logits2"]


def test_class_scores_that_share_a_tensor_with_boxes_are_not_looked_for_among_them() -> None:
    """A slice of [1, 6, 5], of which rows 2 to 5 are scores: its class is only known in a run, and is never 0 or 1."""
    net = Net()
    x = net.input("x", (1, 3, 1, 5))
    logits = net.node("Conv", [x, np.random.default_rng(0).normal(size=(4, 3, 1, 1))], name="logits")[0]
    flat = net.Sigmoid(net.Reshape(logits, np.array([1, 4, 5])))
    boxes = net.Sub(net.Reshape(net.Conv(x, np.ones((2, 3, 1, 1))), np.array([1, 2, 5])), np.float32(1))
    whole = net.Concat(boxes, flat, axis=1)
    scores = net.Slice(whole, np.array([2]), np.array([6]), np.array([1]))
    best, index = net.node("TopK", [net.Reshape(scores, np.array([-1])), np.array([3])], 2, name="scores")
    model = net.model({best: TensorProto.FLOAT, index: TensorProto.INT64})
    traced = trace(model.graph, Outputs("boxes", "scores", "labels"))
    assert [value.name for value in traced.logits] == ["logits"]
    feed = np.random.default_rng(1).normal(size=(1, 3, 1, 5)).astype(np.float32)
    found = run_model(model, {"x": feed})
    np.testing.assert_allclose(1 / (1 + np.exp(-found["logit"])), found["scores"], atol=1e-6)
    expected = np.stack([found[index] // 5, found[index] % 5])
    np.testing.assert_array_equal(found["origin"][:, [2, 4]].T, expected)


def test_rows_that_are_padded_by_a_computed_amount_are_fillers() -> None:
    net = Net()
    x = net.input("x", (1, 3, 1, 4))
    logits = net.node("Conv", [x, np.random.default_rng(0).normal(size=(1, 3, 1, 1))], name="logits")[0]
    flat = net.Reshape(net.Sigmoid(logits), np.array([-1]))
    kept = net.Compress(flat, net.Greater(flat, np.float32(0.5)), axis=0)
    missing = net.Sub(np.array([6]), net.Shape(kept))
    scores = net.node("Pad", [kept, net.Concat(np.array([0]), missing, axis=0)], name="scores")[0]
    model = net.model({scores: TensorProto.FLOAT})
    traced = trace(model.graph, Outputs("boxes", "scores", "labels"))
    feed = np.random.default_rng(2).normal(size=(1, 3, 1, 4)).astype(np.float32)
    add_output(model.graph, traced.logits[0])
    found = run_model(model, {"x": feed})
    chosen = np.flatnonzero(found["logits"].reshape(-1) > 0)
    assert 0 < len(chosen) < 4
    np.testing.assert_array_equal(found["origin"][:, 4][: len(chosen)], chosen)
    np.testing.assert_array_equal(found["origin"][:, 0], [0] * len(chosen) + [-1] * (6 - len(chosen)))
    np.testing.assert_array_equal(found["logit"][: len(chosen)], found["logits"].reshape(-1)[chosen])
