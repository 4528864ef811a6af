"""Cuts: what a layer's score graph depends on, what it is given beside the layer, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from boxcam.errors import ExportError
from boxcam.export.graphs.fold import fold_model
from boxcam.export.torchscript.score import build
from boxcam.types import ORIGIN
from tests.export.export_graphs import Net
from tests.export.heads import OnnxSide, assert_exact, built, finished, weights, whole_map_gradients

CLASSES = 2


def pyramid(s: Any, fine: Any, coarse: Any) -> list[Any]:
    """Two levels of an FPN: the finer one's logits depend on both features, the coarser one's on its own."""
    inner = s.conv(coarse, "inner", (3, 3, 1, 1))
    low = s.conv(s.add(s.conv(fine, "lateral", (3, 2, 1, 1)), s.up(inner, (6, 8))), "smooth", (3, 3, 3, 3))
    high = s.conv(inner, "smooth2", (3, 3, 3, 3))
    return [s.conv(s.relu(x), "head", (CLASSES, 3, 3, 3)) for x in (low, high)]


def test_a_backbone_layer_is_differentiated_by_the_finest_feature_of_each_logit() -> None:
    made = built(pyramid, [(1, 2, 6, 8), (1, 3, 3, 4)])
    origin = made.positions()[::5]
    places = assert_exact(pyramid, made, [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(2)], (0, 1), origin)
    assert [place[0] for place in places] == origin[:, 0].tolist()
    # The coarser levels' logits are still local to their own feature.
    assert {part.leaves: part.form for part in made.score.parts}[(0,)] == "whole"
    assert made.score.form == "whole"


def stages(net: Net) -> list[str]:
    """f1 is computed from f0; both feed the head."""
    side = OnnxSide(net)
    first = net.node("Relu", [side.conv(net.input("x", (1, 2, 6, 7)), "a", (3, 2, 3, 3))], name="f0")[0]
    second = net.node("Relu", [side.conv(first, "b", (3, 3, 3, 3))], name="f1")[0]
    logits = side.conv(net.Add(first, second), "c", (CLASSES, 3, 3, 3), name="logits")
    return [first, second, logits]


def partial(s: Any, first: Any, second: Any) -> list[Any]:
    return [s.conv(s.add(first, second), "c", (CLASSES, 3, 3, 3))]


def total(s: Any, first: Any) -> list[Any]:
    second = s.relu(s.conv(first, "b", (3, 3, 3, 3)))
    return partial(s, first, second)


FEED = {"x": np.random.default_rng(1).standard_normal((1, 2, 6, 7)).astype(np.float32)}


def test_a_feature_computed_from_another_is_cut_off_from_it() -> None:
    """Both are sources: the gradient by the first is the partial one, not through the second."""
    net = Net()
    model = fold_model(net.model(stages(net)))
    made = finished(model, FEED, ["f0", "f1"], ["logits"])
    assert made.score.features == ("f0", "f1")
    assert made.score.context == ()
    assert made.score.parts[0].reach == (1, 1)
    maps = [made.found["f0"], made.found["f1"]]
    assert_exact(partial, made, maps, (0, 1))


def test_alone_the_same_feature_gets_the_total_gradient() -> None:
    net = Net()
    model = fold_model(net.model(stages(net)))
    made = finished(model, FEED, ["f0"], ["logits"])
    assert made.score.parts[0].reach == (2, 2)
    assert_exact(total, made, [made.found["f0"]], (0,))


def test_what_goes_around_the_layer_is_context_and_no_more() -> None:
    """At the second feature, the residual (the first one) is handed over; nothing in front of it is computed again."""
    net = Net()
    model = fold_model(net.model(stages(net)))
    made = finished(model, FEED, ["f1"], ["logits"])
    assert made.score.context == ("f0",)
    (part,) = made.score.parts
    assert {str(value.name) for value in part.model.graph.inputs} == {"f0", "f1", ORIGIN}
    origin = made.positions()
    maps = [made.found["f0"], made.found["f1"]]
    values, gradients = whole_map_gradients(partial, maps, (1,), origin)
    features, context = made.inputs(torch.float64)
    patches, places, logits = made.module(origin).double()(features, context, torch.from_numpy(origin))
    np.testing.assert_allclose(logits.numpy(), values, atol=1e-9)
    for patch, (_, _, y, x), (gradient,) in zip(patches, places.tolist(), gradients, strict=True):
        padded = np.pad(gradient[0], [(0, 0), (1, 1), (1, 1)])
        np.testing.assert_allclose(patch.numpy(), padded[:, y + 1 : y + 4, x + 1 : x + 4], atol=1e-9)


def test_the_score_graph_reads_all_of_its_context_from_the_forward_pass() -> None:
    """Altered context alters the logits: it is not computed anew from the image."""
    net = Net()
    made = finished(fold_model(net.model(stages(net))), FEED, ["f1"], ["logits"])
    origin = made.positions()[10:11]
    features, context = made.inputs()
    module = made.module(origin)
    before = module(features, context, torch.from_numpy(origin))[2]
    after = module(features, [context[0] + 1], torch.from_numpy(origin))[2]
    assert not torch.allclose(before, after)


def test_a_feature_that_no_score_depends_on_is_left_out() -> None:
    def head(s: Any, used: Any, unused: Any) -> list[Any]:
        return [s.conv(used, "a", (CLASSES, 2, 3, 3))]

    made = built(head, [(1, 2, 4, 4), (1, 2, 3, 3)])
    assert made.score.features == ("f0",)


@pytest.mark.parametrize("kind", ["aside", "through an index"])
def test_a_layer_that_no_score_depends_on_is_refused(kind: str) -> None:
    net = Net()
    side = OnnxSide(net)
    x = net.input("x", (1, 2, 4, 4))
    net.node("Relu", [x], name="aside")
    logits = side.conv(net.Neg(x), "a", (CLASSES, 2, 3, 3))
    if kind == "through an index":  # the layer chooses, but no gradient flows through a choice
        order = net.Squeeze(net.ArgMax("aside", axis=1, keepdims=0), np.array([0]))
        logits = net.Add(logits, net.Cast(net.Unsqueeze(order, np.array([0, 1])), to=1))
    net.node("Identity", [logits], name="logits")
    model = net.model(["aside", "logits"])
    feeds = {"x": np.ones((1, 2, 4, 4), np.float32)}
    with pytest.raises(ExportError, match="no score depends on aside"):
        build(model, ["logits"], ["aside"], feeds)


def test_the_model_is_left_as_it_was() -> None:
    net = Net()
    model = fold_model(net.model(stages(net)))
    before = [(node.op_type, [v.name for v in node.inputs if v]) for node in model.graph]
    build(model, ["logits"], ["f0"], FEED)
    assert [(node.op_type, [v.name for v in node.inputs if v]) for node in model.graph] == before
    assert [value.name for value in model.graph.outputs] == ["f0", "f1", "logits"]


def test_a_dense_and_a_row_head_on_one_layer_are_two_parts() -> None:
    """One tensor of logits is a map, the other [R, C]; origin is as wide as the wider needs."""

    def head(s: Any, x: Any) -> list[Any]:
        dense = s.conv(s.relu(x), "a", (CLASSES, 2, 3, 3))
        flat = s.gemm(s.flat(s.pooled(x)), "b", (CLASSES, 2))
        return [dense, flat]

    made = built(head, [(1, 2, 4, 5)])
    assert [part.form for part in made.score.parts] == ["windows", "rows"]
    origin = made.positions()
    assert origin.shape[1] == 5
    assert_exact(head, made, [made.feeds["x0"] * np.float32(1.5)], (0,), origin)


def test_weights_of_the_tests_do_not_depend_on_their_order() -> None:
    np.testing.assert_array_equal(weights("a", 2, 3), weights("a", 2, 3))
    assert not np.array_equal(weights("a", 2, 3), weights("b", 2, 3))
