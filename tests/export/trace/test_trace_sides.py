"""The sides of boxes are followed to where they are computed; where this is, is told by hand."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.bundle import Outputs
from boxcam.errors import TraceError, UnknownNameError
from boxcam.export.graphs.run import record_ranks, run_model
from boxcam.export.trace.trace import Trace, names, trace
from boxcam.export.verify import detections
from boxcam.targets import SCORE, TARGETS, of_boxes
from tests.export.export_graphs import Arrays, Net

rng = np.random.default_rng(0)
KEPT = np.array([3, 0, 5, 4])


def decoded(net: Net, count: int = 6) -> list[str]:
    """Four sides [1, N] out of centres and sizes, each computed by a node of its own."""
    x, y, w, h = (net.input(name, (1, count)) for name in "xywh")
    half = {name: net.Mul(value, np.float32(0.5)) for name, value in (("w", w), ("h", h))}
    return [
        net.node("Sub", [x, half["w"]], name="x1")[0],
        net.node("Sub", [y, half["h"]], name="y1")[0],
        net.node("Add", [x, half["w"]], name="x2")[0],
        net.node("Add", [y, half["h"]], name="y2")[0],
    ]


FEEDS: Arrays = {name: rng.uniform(10, 90, (1, 6)).astype(np.float32) for name in "xywh"}
X, Y, W, H = (FEEDS[name][0].astype(np.float64) for name in "xywh")
TRUTH = np.stack([X - W / 2, Y - H / 2, X + W / 2, Y + H / 2], 1)


def run(model: ir.Model, outputs: Outputs, feeds: Arrays) -> tuple[Arrays, dict[str, Trace]]:
    record_ranks(model, feeds)
    found = {side: trace(model.graph, outputs, TARGETS[side]) for side in of_boxes()}
    return run_model(model, feeds), found


def test_each_side_is_followed_to_its_own_tensor() -> None:
    net = Net()
    stacked = net.Concat(*(net.Unsqueeze(side, np.array([2])) for side in decoded(net)), axis=2)
    net.node("Gather", [stacked, KEPT], name="boxes", axis=1)
    outputs = Outputs("boxes", "scores", "labels")
    results, found = run(net.model(["boxes"]), outputs, FEEDS)
    for number, side in enumerate(of_boxes()):
        assert [value.name for value in found[side].logits] == [side]
        assert (found[side].activations, found[side].products) == (("Identity",), (False,))
        assert results[f"origin.{side}"].tolist() == [[0, 0, n] for n in KEPT]
        np.testing.assert_allclose(results[f"value.{side}"], TRUTH[KEPT, number], rtol=1e-6)
        assert detections.values(TARGETS[side], outputs, results, 100).error == 0


def test_sides_in_columns_beside_the_scores() -> None:
    """What mmdeploy exports: [1, K, 5] in one output, and a row of zeros for an image without detections."""
    net = Net()
    sides = [net.Unsqueeze(side, np.array([2])) for side in decoded(net)]
    scores = net.Sigmoid(net.Add(net.input("s", (1, 6, 1)), np.float32(1)))
    both = net.Gather(net.Concat(*sides, scores, axis=2), KEPT, axis=1)
    net.node("Concat", [both, np.zeros((1, 1, 5), np.float32)], name="dets", axis=1)
    outputs = Outputs("dets", "dets", "labels", box_columns=(0, 4), score_column=4)
    feeds = {**FEEDS, "s": rng.standard_normal((1, 6, 1)).astype(np.float32)}
    model = net.model(["dets"])
    results, _ = run(model, outputs, feeds)
    for number, side in enumerate(of_boxes()):
        assert results[f"origin.{side}"].tolist() == [*([0, 0, n] for n in KEPT), [-1, 0, 0]]
        np.testing.assert_allclose(results[f"value.{side}"], [*TRUTH[KEPT, number], 0], rtol=1e-6)
    assert detections.values(TARGETS["x1"], outputs, results, 100).error == 0


def test_boxes_that_are_decoded_at_once_are_followed_to_one_tensor() -> None:
    net = Net()
    deltas = net.input("deltas", (2, 6, 4))
    scaled = net.node("Mul", [deltas, np.float32(16)], name="scaled")[0]
    rows = net.Reshape(scaled, np.array([12, 4]))
    net.node("Gather", [rows, np.array([7, 1])], name="boxes", axis=0)  # [K, 4]
    deltas_given = rng.standard_normal((2, 6, 4)).astype(np.float32)
    results, found = run(net.model(["boxes"]), Outputs("boxes", "s", "l"), {"deltas": deltas_given})
    for number, side in enumerate(of_boxes()):
        assert [value.name for value in found[side].logits] == ["scaled"]
        assert results[f"origin.{side}"].tolist() == [[0, 1, 1, number], [0, 0, 1, number]]
        np.testing.assert_allclose(results[f"value.{side}"], 16 * deltas_given[[1, 0], [1, 1], number])


def test_levels_are_several_ends() -> None:
    net = Net()
    levels = [net.node("Mul", [net.input(f"d{n}", (1, 3 + n, 4)), np.float32(8 << n)], name=f"l{n}")[0] for n in (0, 1)]
    net.node("Gather", [net.Concat(*levels, axis=1), np.array([1, 6])], name="boxes", axis=1)
    feeds = {f"d{n}": rng.standard_normal((1, 3 + n, 4)).astype(np.float32) for n in (0, 1)}
    results, found = run(net.model(["boxes"]), Outputs("boxes", "s", "l"), feeds)
    assert [value.name for value in found["y2"].logits] == ["l0", "l1"]
    assert results["origin.y2"].tolist() == [[0, 0, 1, 3], [1, 0, 3, 3]]
    np.testing.assert_allclose(results["value.y2"], [8 * feeds["d0"][0, 1, 3], 16 * feeds["d1"][0, 3, 3]])


def test_clipping_ends_the_way() -> None:
    """The side that is reported is the clipped one."""
    net = Net()
    boxes = net.Mul(net.input("d", (1, 3, 4)), np.float32(50))
    clipped = net.node("Clip", [boxes, np.float32(0), np.float32(60)], name="clipped")[0]
    net.node("Identity", [clipped], name="boxes")
    feeds = {"d": np.float32([[[-1, 0.5, 2, 1], [0, 0, 1, 1], [1, 1, 3, 2]]])}
    results, found = run(net.model(["boxes"]), Outputs("boxes", "s", "l"), feeds)
    assert [value.name for value in found["x2"].logits] == ["clipped"]
    assert results["value.x1"].tolist() == [0, 0, 50]
    assert results["value.x2"].tolist() == [60, 50, 60]


def test_rounding_to_integers_ends_the_way() -> None:
    net = Net()
    boxes = net.Mul(net.input("d", (1, 3, 4)), np.float32(10))
    whole = net.node("Cast", [boxes], name="whole", to=TensorProto.INT64)[0]
    back = net.node("Cast", [whole], name="back", to=TensorProto.FLOAT)[0]
    net.node("Identity", [back], name="boxes")
    feeds = {"d": np.float32([[[0.11, 0.29, 1.07, 2.0]] * 3])}
    results, found = run(net.model(["boxes"]), Outputs("boxes", "s", "l"), feeds)
    assert [value.name for value in found["y1"].logits] == ["back"]
    assert results["value.y1"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("target", TARGETS)
def test_all_targets_live_in_one_graph(target: str) -> None:
    net = Net()
    stacked = net.Concat(*(net.Unsqueeze(side, np.array([2])) for side in decoded(net)), axis=2)
    net.node("Gather", [stacked, KEPT], name="boxes", axis=1)
    logits = net.node("Add", [net.input("s", (1, 6)), np.float32(1)], name="logits")[0]
    net.node("Gather", [net.Sigmoid(logits), KEPT], name="scores", axis=1)
    model, outputs = net.model(["boxes", "scores"]), Outputs("boxes", "scores", "labels")
    for each in TARGETS:
        assert trace(model.graph, outputs, TARGETS[each]).target is TARGETS[each]
    feeds = {**FEEDS, "s": rng.standard_normal((1, 6)).astype(np.float32)}
    results = run_model(model, feeds)
    assert list(results) == ["boxes", "scores", *(name for each in TARGETS for name in names(outputs, TARGETS[each]))]
    assert results[names(outputs, TARGETS[target])[0]][:, -1].tolist() == KEPT.tolist()
    if target != "logit":
        assert detections.values(TARGETS[target], outputs, results, 100).error == 0


def test_an_unknown_target_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UnknownNameError, match=r"there is no target 'width'\. There are: logit, score, x1"):
        TARGETS["width"]


def test_constant_boxes_are_refused() -> None:
    net = Net()
    net.input("x", (1,))
    net.node("Identity", [np.ones((1, 3, 4), np.float32)], name="boxes")
    with pytest.raises(TraceError, match="the boxes 'boxes' are constant"):
        trace(net.model(["boxes"]).graph, Outputs("boxes", "s", "l"), TARGETS["x1"])


def test_boxes_of_another_rank_are_refused() -> None:
    net = Net()
    net.node("Mul", [net.input("x", (2, 1, 3, 4)), np.float32(2)], name="boxes")
    with pytest.raises(TraceError, match=r"the boxes 'boxes' have shape \[2, 1, 3, 4\], but \[1, K, 4\] or \[K, 4\]"):
        trace(net.model(["boxes"]).graph, Outputs("boxes", "s", "l"), TARGETS["x1"])


# What is wrong is found -------------------------------------------------------------------------------------------

SIDE_ROWS = {"origin.x1": np.array([[0, 0], [0, 1], [-1, 0]]), "boxes": np.float32([[5, 0, 9, 9]] * 3)}
SCORE_ROWS = {"origin.score": np.array([[0, 0], [0, 1], [-1, 0]])}


@pytest.mark.parametrize(("values", "passes"), [([5, 5, 0], True), ([5, 5.01, 0], False), ([5, np.nan, 0], False)])
def test_a_side_has_to_be_the_reported_one(values: list[float], passes: bool) -> None:
    found = {**SIDE_ROWS, "value.x1": np.float32(values)}
    check = detections.values(TARGETS["x1"], Outputs("boxes", "s", "l"), found, 100)
    assert (check.error <= check.limit) is passes


@pytest.mark.parametrize(
    ("scores", "passes"),
    [([0.5, 0.001, 0], True), ([0.5, 0.00101, 0], False), ([0.5, 0.001, 0.2], False), ([0.5, 0.001, -1], True)],
)
def test_a_score_has_to_be_the_reported_one(scores: list[float], passes: bool) -> None:
    found = {**SCORE_ROWS, "value.score": np.float32([0.5, 0.001, 0]), "scores": np.float32([scores])}
    check = detections.values(SCORE, Outputs("boxes", "scores", "l"), found, 100)
    assert (check.error <= check.limit) is passes
