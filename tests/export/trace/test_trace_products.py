"""Scores that are products of a class probability: the logit of the class is named, and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.bundle import Outputs
from boxcam.errors import TraceError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import record_ranks, run_model
from boxcam.export.trace.trace import Trace, trace
from boxcam.export.verify import detections
from boxcam.targets import LOGIT, SCORE, Target
from tests.export.export_graphs import Arrays, Net

NAMES = Outputs("boxes", "scores", "labels")
BOXES = np.array([[[x, 0, x + 4, 4] for x in (0, 1, 10, 20, 21, 30)]], np.float32)
COUNT, CLASSES = 6, 3
CLASS, OTHER = (1, COUNT, CLASSES), (1, COUNT, 1)

rng = np.random.default_rng(3)
FEEDS: Arrays = {
    "x_class": rng.standard_normal(CLASS).astype(np.float32),
    "x_other": rng.standard_normal(OTHER).astype(np.float32),
}
LOGITS = {name: FEEDS[f"x_{name}"].astype(np.float64) + 0.25 for name in ("class", "other")}
P, Q = (1 / (1 + np.exp(-LOGITS[name])) for name in ("class", "other"))


def probability(net: Net, name: str, shape: tuple[int, ...]) -> str:
    return net.Sigmoid(net.node("Add", [net.input(f"x_{name}", shape), np.float32(0.25)], name=name)[0])


def detected(net: Net, scores: str, threshold: float = 0.05) -> None:
    """NonMaxSuppression of all classes at once, and the scores of what it leaves, [1, K]."""
    kept = net.NonMaxSuppression(
        BOXES,
        net.Transpose(scores, perm=[0, 2, 1]),
        np.array([20]),
        np.float32([0.9]),
        np.float32([threshold]),
    )
    found = net.GatherND(scores, net.Gather(kept, np.array([0, 2, 1]), axis=1))
    net.node("Unsqueeze", [found, np.array([0])], name="scores")


@dataclass(frozen=True)
class Product:
    """How a score [N, C] is made of a class probability and another one, in ONNX and in numpy."""

    build: Callable[[Net, str, str], str]
    numbers: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass
class Products:
    all: dict[str, Product] = field(default_factory=dict)

    def __call__(self, numbers: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., None]:
        return lambda build: self.all.__setitem__(build.__name__, Product(build, numbers))


product = Products()


@product(lambda p, q: p * q)
def class_times_objectness(net: Net, p: str, q: str) -> str:
    return net.Mul(p, q)


@product(lambda p, q: p * q)
def objectness_times_class(net: Net, p: str, q: str) -> str:
    return net.Mul(q, p)


@product(lambda p, q: np.sqrt(p * q))
def root_of_class_times_centreness(net: Net, p: str, q: str) -> str:
    return net.Sqrt(net.Mul(p, q))


@product(lambda p, q: p**0.6 * q**0.4)
def powers_of_both(net: Net, p: str, q: str) -> str:
    return net.Mul(net.Pow(q, np.float32(0.4)), net.Pow(p, np.float32(0.6)))


@product(lambda p, q: np.clip(p * q / 2 * 1.5, 0, 1))
def scaled_and_clipped(net: Net, p: str, q: str) -> str:
    scaled = net.Mul(np.float32(1.5), net.Div(net.Mul(p, q), np.float32(2)))
    return net.Clip(scaled, np.float32(0), np.float32(1))


@product(lambda p, q: p * q)
def expanded_in_front(net: Net, p: str, q: str) -> str:
    flat = net.Reshape(net.Expand(q, np.array([1, COUNT, CLASSES])), np.array([-1]))
    return net.Reshape(net.Mul(flat, net.Reshape(p, np.array([-1]))), np.array(CLASS))


@product(lambda p, q: p * q * (q > 0.5))
def masked(net: Net, p: str, q: str) -> str:
    """YOLO's: what is no object has no class."""
    mask = net.Cast(net.Greater(q, np.float32(0.5)), to=TensorProto.FLOAT)
    return net.Mul(mask, net.Mul(q, p))


@product(lambda p, q: np.where(q > 0.5, p * q, 0))
def filled_with_zeros(net: Net, p: str, q: str) -> str:
    return net.Where(net.Greater(q, np.float32(0.5)), net.Mul(p, q), np.float32(0))


@product(lambda p, q: p * q * q)
def three_factors(net: Net, p: str, q: str) -> str:
    return net.Mul(q, net.Mul(p, q))


def built(made: Product) -> ir.Model:
    net = Net()
    p = probability(net, "class", CLASS)
    detected(net, made.build(net, p, probability(net, "other", OTHER)))
    model = net.model(["scores"])
    record_ranks(model, FEEDS)
    return model


def expected(made: Product) -> dict[tuple[int, int], float]:
    """Box and class → score, of all that pass the threshold; no box suppresses another."""
    scores = made.numbers(P, Q)[0]
    return {(n, c): scores[n, c] for n in range(COUNT) for c in range(CLASSES) if scores[n, c] > 0.05}


@pytest.mark.parametrize("name", product.all)
def test_the_logit_of_the_class_is_named(name: str) -> None:
    made, model = product.all[name], built(product.all[name])
    found = trace(model.graph, NAMES)
    assert [value.name for value in found.logits] == ["class"]
    assert (found.activations, found.products) == (("Sigmoid",), (True,))
    results = run_model(model, FEEDS)
    truth = expected(made)
    assert {(n, c) for _, _, n, c in results["origin"].tolist()} == set(truth)
    for (_, _, n, c), logit, score in zip(results["origin"], results["logit"], results["scores"][0], strict=True):
        np.testing.assert_allclose(score, truth[n, c], rtol=1e-6)
        np.testing.assert_allclose(logit, LOGITS["class"][0, n, c], rtol=1e-6)


@pytest.mark.parametrize("name", product.all)
def test_the_score_is_followed_to_where_it_is_computed(name: str) -> None:
    model = built(product.all[name])
    found = trace(model.graph, NAMES, SCORE)
    assert set(found.products) == {False}
    assert set(found.activations) == {"Identity"}
    results = run_model(model, FEEDS)
    np.testing.assert_array_equal(results["value.score"], results["scores"][0])
    assert detections.values(SCORE, NAMES, results, 100).error == 0


@pytest.mark.parametrize("name", product.all)
def test_verification_passes_the_right_logit(name: str) -> None:
    check = detections.products(built(product.all[name]), NAMES, FEEDS)
    assert check.error <= check.limit


def test_verification_passes_logits_whose_sigmoid_is_1() -> None:
    """In float32 it is from 17 on, and no step of 0.5 changes that."""
    feeds = {**FEEDS, "x_class": FEEDS["x_class"] + np.float32(40)}
    model = built(product.all["class_times_objectness"])
    trace(model.graph, NAMES)
    assert (run_model(model, feeds)["logit"] > 20).all()
    check = detections.products(built(product.all["class_times_objectness"]), NAMES, feeds)
    assert check.error <= check.limit


def test_verification_fails_the_objectness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising it moves the other classes of the box too."""

    def wrong(graph: ir.Graph, outputs: Outputs, target: Target = LOGIT) -> Trace:
        found = trace(graph, outputs, target)
        if target is not LOGIT:
            return found
        by_name = {str(value.name): value for value in all_values(graph)}
        found.origin.name = "origin.right"
        node = ir.node("Mul", [found.origin, ir.Value(name="first")])
        first = ir.Value(name="first", const_value=ir.tensor(np.array([1, 1, 1, 0]), name="first"))
        graph.register_initializer(first)
        node.replace_input_with(1, first)
        node.outputs[0].name, node.outputs[0].dtype = "origin", ir.DataType.INT64
        graph.append(node)
        return replace(found, logits=(by_name["other"],), origin=node.outputs[0])

    monkeypatch.setattr(detections, "trace", wrong)
    check = detections.products(built(product.all["class_times_objectness"]), NAMES, FEEDS)
    assert check.error > 0.1


def test_verification_fails_another_class(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(graph: ir.Graph, outputs: Outputs, target: Target = LOGIT) -> Trace:
        found = trace(graph, outputs, target)
        if target is not LOGIT:
            return found
        found.origin.name = "origin.right"
        add = ir.node("Add", [found.origin, None])
        one = ir.Value(name="one", const_value=ir.tensor(np.array([0, 0, 0, 1]), name="one"))
        size = ir.Value(name="size", const_value=ir.tensor(np.array([9, 9, 9, CLASSES]), name="size"))
        for value in (one, size):
            graph.register_initializer(value)
        add.replace_input_with(1, one)
        mod = ir.node("Mod", [add.outputs[0], size])
        add.outputs[0].name, mod.outputs[0].name = "origin.next", "origin"
        graph.extend([add, mod])
        return replace(found, origin=mod.outputs[0])

    monkeypatch.setattr(detections, "trace", wrong)
    assert detections.products(built(product.all["class_times_objectness"]), NAMES, FEEDS).error == np.inf


# Other shapes of products -----------------------------------------------------------------------------------------


def test_the_best_class_times_an_objectness() -> None:
    """YOLOX as mmdet writes it: the best class is taken first, then both have one number for each box."""
    net = Net()
    p, q = probability(net, "class", CLASS), probability(net, "other", OTHER)
    best = net.ReduceMax(p, np.array([-1]), keepdims=0)
    net.node("Mul", [net.Squeeze(q, np.array([2])), best], name="scores")
    model = net.model(["scores"])
    trace(model.graph, NAMES)
    results = run_model(model, FEEDS)
    np.testing.assert_allclose(results["scores"][0], (P.max(-1) * Q[..., 0])[0], rtol=1e-6)
    assert results["origin"].tolist() == [[0, 0, n, int(LOGITS["class"][0, n].argmax())] for n in range(COUNT)]


def test_classes_and_objectness_in_one_tensor() -> None:
    """YOLOv5: one activation for boxes, objectness (column 4) and classes."""
    net = Net()
    raw = net.node("Add", [net.input("x", (1, COUNT, 5 + CLASSES)), np.float32(0.25)], name="raw")[0]
    active = net.Sigmoid(raw)
    objectness = net.Slice(active, np.array([4]), np.array([5]), np.array([2]))
    classes = net.Slice(active, np.array([5]), np.array([2**63 - 1]), np.array([2]))
    detected(net, net.Mul(classes, objectness))
    model = net.model(["scores"])
    x = np.random.default_rng(5).standard_normal((1, COUNT, 5 + CLASSES)).astype(np.float32)
    record_ranks(model, {"x": x})
    assert detections.products(model, NAMES, {"x": x}).error == 0
    trace(model.graph, NAMES)
    results = run_model(model, {"x": x})
    p = 1 / (1 + np.exp(-x.astype(np.float64) - 0.25))[0]
    assert len(results["origin"]) > 6
    for (_, _, n, column), score in zip(results["origin"], results["scores"][0], strict=True):
        assert column >= 5
        np.testing.assert_allclose(score, p[n, 4] * p[n, column], rtol=1e-6)


def test_factors_that_were_selected_before_the_product_are_told_by_their_tensors() -> None:
    net = Net()
    p, q = probability(net, "class", CLASS), probability(net, "other", OTHER)
    where = net.constant(np.array([[0, 2, 1], [0, 0, 2], [0, 5, 0]]))
    chosen = net.GatherND(p, where)
    other = net.Gather(net.Reshape(q, np.array([-1])), net.constant(np.array([2, 0, 5])))
    net.node("Mul", [other, chosen], name="scores")
    model = net.model(["scores"])
    trace(model.graph, NAMES)
    results = run_model(model, FEEDS)
    assert results["origin"].tolist() == [[0, 0, 2, 1], [0, 0, 0, 2], [0, 0, 5, 0]]


def test_a_softmax_times_a_centreness() -> None:
    net = Net()
    p = net.Softmax(net.node("Add", [net.input("x_class", CLASS), np.float32(0.25)], name="class")[0], axis=-1)
    detected(net, net.Mul(p, probability(net, "other", OTHER)))
    model = net.model(["scores"])
    record_ranks(model, FEEDS)
    check = detections.products(model, NAMES, FEEDS)
    assert check.error <= check.limit
    found = trace(model.graph, NAMES)
    assert (found.activations, found.products) == (("Softmax",), (True,))


def test_one_class_times_objectness_is_refused_and_its_score_is_traced() -> None:
    net = Net()
    p = net.Sigmoid(net.node("Add", [net.input("x", OTHER), np.float32(0.25)], name="class")[0])
    detected(net, net.Mul(p, probability(net, "other", OTHER)))
    model, feeds = net.model(["scores"]), {**FEEDS, "x": FEEDS["x_class"][..., :1]}
    record_ranks(model, feeds)
    with pytest.raises(TraceError, match=r"cannot be told apart.*\[1, 6, 1\] and .*targets=.score"):
        trace(clone_model(model).graph, NAMES)
    trace(model.graph, NAMES, SCORE)
    results = run_model(model, feeds)
    np.testing.assert_array_equal(results["value.score"], results["scores"][0])
    assert results["value.score"].size
