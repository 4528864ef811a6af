"""Whole selections as other exporters write them, both to the logit and to the sides of a box, told by numpy."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.bundle import Outputs
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.run import record_ranks, run_model
from boxcam.export.trace.trace import Trace, trace
from boxcam.export.verify import detections
from boxcam.targets import TARGETS
from tests.export.export_graphs import Arrays, Net

COUNT, CLASSES, KEEP, THRESHOLD = 7, 3, 5, 0.35
rng = np.random.default_rng(8)
CORNERS = np.stack([12.0 * np.arange(COUNT), np.full(COUNT, 3.0)], 1)  # far from each other: none suppresses another
RAW = np.concatenate([CORNERS, CORNERS + rng.uniform(4, 9, (COUNT, 2))], 1).astype(np.float32)
X = rng.standard_normal((COUNT, CLASSES)).astype(np.float32)
SCORES = 1 / (1 + np.exp(-X.astype(np.float64) - 0.25))


def best() -> list[tuple[int, int]]:
    """Box and class of what is above the threshold, best first, as many as are kept."""
    found = [(SCORES[n, c], n, c) for n in range(COUNT) for c in range(CLASSES) if SCORES[n, c] > THRESHOLD]
    return [(n, c) for _, n, c in sorted(found, reverse=True)[:KEEP]]


def logits(net: Net) -> str:
    return net.node("Add", [net.input("x", (1, COUNT, CLASSES)), np.float32(0.25)], name="logits")[0]


def run(model: ir.Model, outputs: Outputs) -> tuple[Arrays, dict[str, Trace]]:
    feeds = {"x": X[None], "boxes_in": RAW[None]}
    model = fold_model(model)
    record_ranks(model, feeds)
    found = {target: trace(model.graph, outputs, TARGETS[target]) for target in TARGETS}
    return run_model(model, feeds), found


def check(results: Arrays, outputs: Outputs, expected: list[tuple[int, int]], scale: float = 1.0) -> None:
    real = results["origin"][:, 0] >= 0
    assert [tuple(row) for row in results["origin"][real][:, -2:].tolist()] == expected
    np.testing.assert_allclose(results["logit"][real], [X[n, c] + np.float32(0.25) for n, c in expected], rtol=1e-6)
    for target in TARGETS.names()[1:]:
        assert detections.values(TARGETS[target], outputs, results, 100).error == 0
    rows = results["origin.x2"][:, 0] >= 0
    np.testing.assert_allclose(results["value.x2"][rows], [scale * RAW[n, 2] for n, _ in expected], rtol=1e-6)
    np.testing.assert_allclose(results["value.y1"][rows], [scale * RAW[n, 1] for n, _ in expected], rtol=1e-6)


def test_paddle_detections_in_one_table() -> None:
    """Rows of class, score, x1, y1, x2, y2: NonMaxSuppression, GatherND, TopK, and a Concat with the classes."""
    net = Net()
    classes = net.Transpose(net.Sigmoid(logits(net)), perm=[0, 2, 1])
    boxes = net.node("Div", [net.input("boxes_in", (1, COUNT, 4)), np.float32([2, 2, 2, 2])], name="scaled")[0]
    kept = net.NonMaxSuppression(boxes, classes, np.array([50]), np.float32([0.5]), np.float32([THRESHOLD]))
    scores = net.GatherND(classes, kept)
    count = net.Min(net.Shape(scores), np.array([KEEP]))
    top, order = net.node("TopK", [scores, count], outputs=2, axis=0)
    chosen = net.Gather(kept, order, axis=0)
    kind = net.Cast(net.Slice(chosen, np.array([1]), np.array([2]), np.array([1])), to=TensorProto.FLOAT)
    where = net.Concat(
        net.Slice(chosen, np.array([0]), np.array([1]), np.array([1])),
        net.Slice(chosen, np.array([2]), np.array([3]), np.array([1])),
        axis=1,
    )
    net.node("Concat", [kind, net.Unsqueeze(top, np.array([1])), net.GatherND(boxes, where)], name="table", axis=1)
    outputs = Outputs("table", "table", "table", box_columns=(2, 6), score_column=1)
    results, found = run(net.model(["table"]), outputs)
    assert [value.name for value in found["x1"].logits] == ["scaled"]
    expected = best()
    assert len(expected) == KEEP
    assert results["table"][:, 0].tolist() == [c for _, c in expected]
    check(results, outputs, expected, scale=0.5)


def test_tensorflow_detections_padded_to_a_fixed_number() -> None:
    """Normalised y1 x1 y2 x2, one NonMaxSuppression for each class, rows by NonZero, filled up with zeros."""
    net = Net()
    active = net.Sigmoid(logits(net))
    given = net.input("boxes_in", (1, COUNT, 4))
    turned = net.Gather(given, np.array([1, 0, 3, 2]), axis=2)
    boxes = net.Squeeze(net.Mul(turned, np.float32(0.01)), np.array([0]))
    parts, places = [], []
    for kind in range(CLASSES):
        own = net.Reshape(
            net.Slice(active, np.array([kind]), np.array([kind + 1]), np.array([2])), np.array([1, 1, -1])
        )
        kept = net.NonMaxSuppression(
            net.Unsqueeze(boxes, np.array([0])), own, np.array([9]), np.float32([0.5]), np.float32([THRESHOLD])
        )
        index = net.Squeeze(net.Slice(kept, np.array([2]), np.array([3]), np.array([1])), np.array([1]))
        parts.append(net.Gather(net.Reshape(own, np.array([-1])), index))
        places.append(net.Gather(boxes, index, axis=0))
    scores, chosen = net.Concat(*parts, axis=0), net.Concat(*places, axis=0)
    positive = net.Transpose(net.NonZero(net.Greater(scores, np.float32(0))), perm=[1, 0])
    scores, chosen = net.GatherND(scores, positive), net.GatherND(chosen, positive)
    top, order = net.node("TopK", [scores, net.Min(net.Shape(scores), np.array([KEEP]))], outputs=2)
    filled = net.Pad(top, np.array([0, 3]))
    rows = net.Concat(net.Gather(chosen, order, axis=0), np.zeros((3, 4)), axis=0)
    upright = net.Gather(rows, np.array([1, 0, 3, 2]), axis=1)
    net.node("Unsqueeze", [filled, np.array([0])], name="scores")
    net.node("Mul", [net.Unsqueeze(upright, np.array([0])), np.float32(100)], name="boxes")
    outputs = Outputs("boxes", "scores", "labels")
    results, found = run(net.model(["boxes", "scores"]), outputs)
    assert results["scores"].shape == (1, KEEP + 3)
    assert results["origin"][KEEP:, 0].tolist() == [-1] * 3
    expected = best()
    real = results["origin"][:KEEP]
    assert [tuple(row) for row in real[:, -2:].tolist()] == expected
    assert [value.name for value in found["x2"].logits] == ["boxes"]  # the scale is the last thing that is computed
    for target in TARGETS.names()[1:]:
        assert detections.values(TARGETS[target], outputs, results, 100).error == 0
    np.testing.assert_allclose(results["value.x2"][:KEEP], [RAW[n, 2] for n, _ in expected], rtol=1e-5)


def test_ultralytics_table_padded_as_one_list() -> None:
    """Rows of box, score and class: flattened, filled up with zeros, cut into rows anew, and written into a batch."""
    rows = COUNT + 2
    net = Net()
    active = net.Sigmoid(logits(net))
    boxes = net.node("Mul", [net.input("boxes_in", (1, COUNT, 4)), np.float32(2)], name="scaled")[0]
    scores = net.ReduceMax(active, np.array([2]), keepdims=0)
    kinds = net.Unsqueeze(net.Squeeze(net.ArgMax(active, axis=2, keepdims=0), np.array([0])), np.array([1]))
    kept = net.NonMaxSuppression(
        boxes, net.Unsqueeze(scores, np.array([1])), np.array([9]), np.float32([0.5]), np.float32([THRESHOLD])
    )
    index = net.Squeeze(net.Gather(kept, np.array([2]), axis=1), np.array([1]))
    score = net.Reshape(net.Gather(net.Squeeze(scores, np.array([0])), index), np.array([-1, 1]))
    place = net.Gather(net.Squeeze(boxes, np.array([0])), index)
    table = net.Concat(place, score, net.Cast(net.Gather(kinds, index), to=TensorProto.FLOAT), axis=1)
    missing = net.Mul(net.Sub(np.array(rows), net.Gather(net.Shape(table), np.array(0))), np.array(6))
    pads = net.Concat(np.array([0]), net.Unsqueeze(missing, np.array([0])), axis=0)
    filled = net.Reshape(net.Pad(net.Reshape(table, np.array([-1])), pads), np.array([1, rows, 6]))
    net.node("ScatterND", [np.zeros((1, rows, 6)), np.array([[0]]), filled], name="table")
    outputs = Outputs("table", "table", "table", box_columns=(0, 4), score_column=4)
    results, found = run(net.model(["table"]), outputs)
    each = [(SCORES[n].max(), n, int(SCORES[n].argmax())) for n in range(COUNT) if SCORES[n].max() > THRESHOLD]
    expected = [(n, c) for _, n, c in sorted(each, reverse=True)]
    assert 1 < len(expected) < rows
    assert results["origin"][len(expected) :, 0].tolist() == [-1] * (rows - len(expected))
    assert [value.name for value in found["logit"].logits] == ["logits"]
    assert [value.name for value in found["x1"].logits] == ["scaled"]
    check(results, outputs, expected, scale=2)


@pytest.mark.parametrize("classes_first", [True, False])
def test_the_best_class_of_each_box(classes_first: bool) -> None:
    """ReduceMax for the score, ArgMax for the label, NonMaxSuppression of all classes together."""
    net = Net()
    active = net.Sigmoid(logits(net))
    scores = net.Transpose(active, perm=[0, 2, 1]) if classes_first else active
    axis = 1 if classes_first else 2
    most = net.ReduceMax(scores, np.array([axis]), keepdims=0)
    label = net.ArgMax(scores, axis=axis, keepdims=0)
    boxes = net.node("Mul", [net.input("boxes_in", (1, COUNT, 4)), np.float32(1)], name="scaled")[0]
    kept = net.NonMaxSuppression(
        boxes, net.Unsqueeze(most, np.array([1])), np.array([KEEP]), np.float32([0.5]), np.float32([THRESHOLD])
    )
    index = net.Squeeze(net.Slice(kept, np.array([2]), np.array([3]), np.array([1])), np.array([1]))
    net.node("Gather", [most, index], name="scores", axis=1)
    net.node("Gather", [boxes, index], name="boxes", axis=1)
    net.node("Gather", [label, index], name="labels", axis=1)
    model = net.model({"boxes": TensorProto.FLOAT, "scores": TensorProto.FLOAT, "labels": TensorProto.INT64})
    outputs = Outputs("boxes", "scores", "labels")
    results, _ = run(model, outputs)
    order = sorted(((SCORES[n].max(), n) for n in range(COUNT) if SCORES[n].max() > THRESHOLD), reverse=True)[:KEEP]
    expected = [(n, int(SCORES[n].argmax())) for _, n in order]
    assert len(expected) == KEEP
    assert results["labels"][0].tolist() == [c for _, c in expected]
    check(results, outputs, expected)
