"""Where the other classes of a box lie: of heads of every kind, against their own decoding and by changing logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto

from boxcam.bundle import ClassAxis, Outputs
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import find_value
from boxcam.export.graphs.run import run_model
from boxcam.export.trace.trace import trace
from boxcam.export.verify.check import Run
from boxcam.export.verify.class_axis import Evidence, class_axes
from tests.export.export_graphs import Net
from tests.export.heads import weights

Array = np.ndarray
CLASSES, ANCHORS, FOUND = 4, 3, 12
Head = Callable[[Net, str], "tuple[str, int]"]
"""Writes scores [1, N, C] of an image [1, 3, 24, 24]; returns them and N."""


def conv(net: Net, x: str, channels: int, name: str, stride: int = 4) -> str:
    given = weights(name, channels, 3, stride, stride), weights(f"{name}.bias", channels)
    return net.node("Conv", [x, *given], name=name, strides=[stride] * 2)[0]


def rows(net: Net, logits: str, perm: list[int], shape: list[int]) -> str:
    return net.Reshape(net.Transpose(logits, perm=perm), np.array(shape))


def retinanet(net: Net, x: str) -> tuple[str, int]:
    """Channels are anchors x classes; two levels."""
    levels = [conv(net, x, ANCHORS * CLASSES, "logits", 4), conv(net, x, ANCHORS * CLASSES, "logits2", 8)]
    flat = [rows(net, level, [0, 2, 3, 1], [1, -1, CLASSES]) for level in levels]
    return net.Sigmoid(net.Concat(*flat, axis=1)), ANCHORS * (36 + 9)


def classes_first(net: Net, x: str) -> tuple[str, int]:
    """Channels are classes x anchors."""
    apart = net.Reshape(conv(net, x, CLASSES * ANCHORS, "logits"), np.array([1, CLASSES, ANCHORS, 36]))
    return net.Sigmoid(rows(net, apart, [0, 3, 2, 1], [1, -1, CLASSES])), ANCHORS * 36


def fcos(net: Net, x: str) -> tuple[str, int]:
    """A class each, times centreness, of which few cells have enough for their boxes to be found."""
    scores = net.Sigmoid(rows(net, conv(net, x, CLASSES, "logits"), [0, 2, 3, 1], [1, -1, CLASSES]))
    centre = net.Sigmoid(net.Sub(rows(net, conv(net, x, 1, "centre"), [0, 2, 3, 1], [1, -1, 1]), np.float32(1.75)))
    return net.Sqrt(net.Mul(scores, centre)), 36


def yolo(net: Net, x: str) -> tuple[str, int]:
    """Channels are anchors x (four sides, objectness, classes)."""
    flat = net.Reshape(conv(net, x, ANCHORS * (5 + CLASSES), "logits"), np.array([1, ANCHORS, 5 + CLASSES, 36]))
    table = net.Sigmoid(rows(net, flat, [0, 3, 1, 2], [1, -1, 5 + CLASSES]))
    objectness = net.Slice(table, np.array([4]), np.array([5]), np.array([2]))
    return net.Mul(net.Slice(table, np.array([5]), np.array([5 + CLASSES]), np.array([2])), objectness), ANCHORS * 36


def ultralytics(net: Net, x: str) -> tuple[str, int]:
    """Channels are four sides and the classes."""
    table = rows(net, conv(net, x, 4 + CLASSES, "logits"), [0, 2, 3, 1], [1, -1, 4 + CLASSES])
    return net.Sigmoid(net.Slice(table, np.array([4]), np.array([4 + CLASSES]), np.array([2]))), 36


def detr(net: Net, x: str) -> tuple[str, int]:
    """A row for each query, and a last class for none."""
    logits = net.node("Add", [rows(net, conv(net, x, CLASSES + 1, "c"), [0, 2, 3, 1], [1, 36, -1]), 0.0], name="logits")
    return net.Slice(net.Softmax(logits[0], axis=2), np.array([0]), np.array([CLASSES]), np.array([2])), 36


def two_stages(net: Net, x: str) -> tuple[str, int]:
    """A row for each proposal, and a first class for the background."""
    pooled = net.Reshape(conv(net, x, 8, "c"), np.array([18, 16]))
    logits = net.node("Gemm", [pooled, weights("g", 16, CLASSES + 1)], name="logits")[0]
    kept = net.Slice(net.Softmax(logits, axis=1), np.array([1]), np.array([CLASSES + 1]), np.array([1]))
    return net.Unsqueeze(kept, np.array([0])), 18


def ssd(net: Net, x: str) -> tuple[str, int]:
    """Channels are anchors x (background, classes), with a softmax over each anchor's."""
    flat = rows(net, conv(net, x, ANCHORS * (1 + CLASSES), "logits"), [0, 2, 3, 1], [1, -1, 1 + CLASSES])
    return net.Slice(net.Softmax(flat, axis=2), np.array([1]), np.array([1 + CLASSES]), np.array([2])), ANCHORS * 36


def best(net: Net, scores: str, count: int) -> tuple[str, str, str]:
    """The best few of all rows and classes."""
    found, index = net.node("TopK", [net.Reshape(scores, np.array([-1])), np.array([FOUND])], 2, name="scores")
    row, label = net.Div(index, np.array(CLASSES)), net.Mod(index, np.array(CLASSES))
    return row, found, label


def suppressed(net: Net, scores: str, count: int) -> tuple[str, str, str]:
    """What a suppression leaves of each class, of boxes that the image moves."""
    moved = net.Add(anchors(count), net.Mul(net.ReduceMean("x", keepdims=0), np.float32(0.01)))
    given = np.array([FOUND]), np.float32([0.5]), np.float32([0.3])
    chosen = net.NonMaxSuppression(moved, net.Transpose(scores, perm=[0, 2, 1]), *given)
    found = net.GatherND(scores, net.Gather(chosen, np.array([0, 2, 1]), axis=1))
    return net.Gather(chosen, np.array(2), axis=1), found, net.Gather(chosen, np.array(1), axis=1)


def best_class(net: Net, scores: str, count: int) -> tuple[str, str, str]:
    """Each row as its best class."""
    by_row = net.Squeeze(scores, np.array([0]))
    highest, labels = net.ReduceMax(by_row, np.array([1]), keepdims=0), net.ArgMax(by_row, axis=1, keepdims=0)
    found, row = net.node("TopK", [highest, np.array([FOUND])], 2)
    return row, found, net.Gather(labels, row)


def anchors(count: int) -> Array:
    """A box for each row, which tells the row: [1, N, 4]."""
    at = np.arange(count, dtype=np.float32)[:, None]
    return np.concatenate([2 * at, 2 * at, 2 * at + 1, 2 * at + 1], 1)[None]


def detector(head: Head, select: Callable[..., Any], table: Array | None = None) -> ir.Model:
    net = Net()
    scores, count = head(net, net.input("x", (1, 3, 24, 24)))
    row, found, label = select(net, scores, count)
    if table is not None:
        label = net.Gather(table, label)
    net.node("Gather", [anchors(count)[0], row], name="boxes")
    net.node("Identity", [found], name="found")
    net.node("Identity", [label], name="labels")
    return net.model({"boxes": TensorProto.FLOAT, "found": TensorProto.FLOAT, "labels": TensorProto.INT64})


def traced(model: ir.Model, seed: int = 0) -> tuple[Any, Run]:
    way = trace(model.graph, Outputs("boxes", "found", "labels"))
    probe = clone_model(model)
    for value in [v for node in probe.graph for v in node.outputs if v.name in [end.name for end in way.logits]]:
        add_output(probe.graph, value)
    feeds = {"x": np.random.default_rng(seed).normal(size=(1, 3, 24, 24)).astype(np.float32)}
    return way, Run(run_model(probe, feeds), feeds)


HEADS: dict[str, tuple[Head, Any, list[ClassAxis]]] = {
    "RetinaNet": (retinanet, best, [ClassAxis(1, 1)] * 2),
    "RetinaNet with suppression": (retinanet, suppressed, [ClassAxis(1, 1)] * 2),
    "classes first": (classes_first, best, [ClassAxis(1, ANCHORS)]),
    "FCOS": (fcos, suppressed, [ClassAxis(1, 1)]),
    "YOLO": (yolo, best_class, [ClassAxis(1, 1)]),
    "YOLO of sides and classes": (ultralytics, suppressed, [ClassAxis(1, 1)]),
    "DETR": (detr, best_class, [ClassAxis(2, 1)]),
    "DETR, all classes of a query": (detr, best, [ClassAxis(2, 1)]),
    "two stages": (two_stages, suppressed, [ClassAxis(1, 1)]),
    "SSD": (ssd, suppressed, [ClassAxis(1, 1)]),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_axis_and_the_step(name: str) -> None:
    head, select, expected = HEADS[name]
    model = detector(head, select)
    way, run = traced(model)
    assert list(class_axes(model, way, "labels", CLASSES, run)) == expected


def with_more(model: ir.Model, ends: list[str]) -> ir.Model:
    """The detector with an input for each tensor of logits that is added to it."""
    copy = clone_model(model)
    for number, name in enumerate(ends):
        value = find_value(copy.graph, name)
        assert value is not None
        more = ir.Value(name=f"more.{number}", type=value.type, shape=value.shape)
        users = tuple(value.uses())
        total = Ops(copy.graph, "test").Add(value, more)
        for user, index in users:
            user.replace_input_with(index, total)
        copy.graph.inputs.append(more)
    copy.graph.sort()
    return copy


@pytest.mark.parametrize("name", HEADS)
def test_a_higher_logit_there_makes_the_same_box_one_of_that_class(name: str) -> None:
    model = detector(*HEADS[name][:2])
    way, run = traced(model)
    told = class_axes(model, way, "labels", CLASSES, run)
    ends = [str(value.name) for value in way.logits]
    changed, seen = with_more(model, ends), run.found
    checked = set()
    for box, (number, *place) in enumerate(seen["origin"].tolist()[:3]):
        axis, label = told[number], int(seen["labels"][box])
        assert axis is not None
        for other in {*range(CLASSES)} - {label}:
            at = place[: seen[ends[number]].ndim]
            at[axis.axis] += (other - label) * axis.step
            more = {f"more.{end}": np.zeros_like(seen[name]) for end, name in enumerate(ends)}
            more[f"more.{number}"][tuple(at)] = 30
            found = run_model(changed, {**run.feeds, **more})
            same = (found["boxes"] == seen["boxes"][box]).all(1) & (found["origin"][:, 0] == number)
            assert other in found["labels"][same & (found["origin"][:, 1 : 1 + len(at)] == at).all(1)]
            checked.add((box, other))
    assert len(checked) >= CLASSES - 1


def test_classes_that_are_numbered_otherwise_are_not_told() -> None:
    model = detector(retinanet, best, np.array([2, 0, 1, 3]))
    way, run = traced(model)
    assert class_axes(model, way, "labels", CLASSES, run) == (None, None)
    model = detector(retinanet, best, np.arange(CLASSES) + 1)  # from 1, the last of which has no name
    way, run = traced(model)
    assert class_axes(model, way, "labels", CLASSES, run) == (None, None)
    assert class_axes(model, way, "labels", CLASSES + 1, run) != (ClassAxis(1, 1),) * 2


@pytest.mark.parametrize("select", [best, suppressed, best_class])
@pytest.mark.parametrize("head", [yolo, ultralytics, retinanet, fcos])
@pytest.mark.parametrize("first", [0, 1])
def test_a_name_too_many_makes_no_class_of_what_stands_beside(head: Head, select: Any, first: int) -> None:
    """A filler before the names, as of classes that count from 1, or behind them: of an objectness, a side."""
    model = detector(head, select, np.arange(CLASSES) + first)
    way, run = traced(model)
    assert set(class_axes(model, way, "labels", CLASSES + 1, run)) == {None}


def test_a_softmax_may_have_a_background_with_a_name_that_is_never_reported() -> None:
    model = detector(ssd, suppressed, np.arange(CLASSES) + 1)
    way, run = traced(model)
    assert class_axes(model, way, "labels", CLASSES + 1, run) == (ClassAxis(1, 1),)


def test_steps_beyond_all_maps_are_not_tried() -> None:
    evidence = Evidence((1, 1 << 18), 2)
    evidence.add(np.array([[0, 5]]), np.array([0]))
    assert {way.axis for way in evidence._left or []} == {1}
    assert max(way.step for way in evidence._left or []) == 1 << 16


def test_what_two_boxes_leave_and_what_a_third_does() -> None:
    """Of [1, 6, 5], two classes: rows or columns, until a box is there that cannot lie along rows."""
    evidence = Evidence((1, 6, 5), 2)
    evidence.add(np.array([[0, 2, 1], [0, 3, 2]]), np.array([0, 1]))
    assert evidence.told is None
    assert not evidence.is_settled
    assert {way.axis for way in evidence._left or []} == {1, 2}
    asked = evidence.asked(np.random.default_rng(0))
    assert ((asked >= 0) & (asked < [1, 6, 5])).all()
    evidence.add(np.array([[0, 2, 2], [0, 5, 0], [0, 5, 2], [0, 0, 1]]), np.array([1, 0, 1, 0]))
    assert {(way.axis, way.step) for way in evidence._left or []} <= {(2, 1), (2, 2)}


def test_no_box_tells_nothing_and_classes_out_of_bounds_end_it() -> None:
    evidence = Evidence((1, 6, 5), 2)
    evidence.add(np.zeros((0, 3), np.int64), np.zeros(0, np.int64))
    assert evidence.told is None
    assert not evidence.is_settled
    assert evidence.asked(np.random.default_rng(0)).shape == (0, 3)
    evidence.add(np.array([[0, 2, 1]]), np.array([2]))
    assert evidence.is_settled
    assert evidence.told is None
