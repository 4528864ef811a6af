"""Detectors whose selection is laid out in other ways: what the graphs of candidates have to get by with."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.explain.whynot.detectors import FLOAT, INT64, Family, Reader
from tests.explain.whynot.scene import CLASSES, COLUMNS, FINE, LOWEST
from tests.export.export_graphs import branch

_NAMES: dict[str, Any] = {"boxes": "boxes", "scores": "scores"}
_CHOSEN: dict[str, Any] = {**_NAMES, "labels": "labels"}


def _rows(net: Reader) -> str:
    """All boxes: [1, N, 4]."""
    return net.node("Transpose", [net.corners(FINE)], perm=[0, 2, 1], name="boxes")[0]


def _one_class(net: Reader) -> dict[str, int]:
    """Probabilities [1, N, 1]."""
    _rows(net)
    logits = net.head(FINE, 5, 6, 1 / 16, LOWEST)
    net.node("Sigmoid", [net.Transpose(logits, perm=[0, 2, 1])], name="scores")
    return {"boxes": FLOAT, "scores": FLOAT}


def _one_of_two(net: Reader) -> dict[str, int]:
    """Shares [1, N, 2] of a class, the third one, and of nothing."""
    _rows(net)
    logits = net.head(FINE, 7, 9, 1 / 16, LOWEST)
    net.node("Softmax", [net.Transpose(logits, perm=[0, 2, 1])], axis=2, name="scores")
    return {"boxes": FLOAT, "scores": FLOAT}


ANCHORS, WEAKER, WIDER = 2, 1.0, 1.5
"""Of a cell's second anchor: how much lower its logits are, and how much longer its sides."""


def _interleaved(net: Reader) -> dict[str, int]:
    """Two anchors a cell, whose logits lie side by side class for class: [1, C * A, H, W]."""
    weight = np.zeros((CLASSES * ANCHORS, COLUMNS, 1, 1), np.float32)
    weight[np.arange(CLASSES * ANCHORS), 5 + np.arange(CLASSES * ANCHORS) // ANCHORS] = 1 / 16
    bias = LOWEST - WEAKER * np.tile(np.arange(ANCHORS), CLASSES)
    logits = net.Conv(net.layers[FINE], weight, bias.astype(np.float32), kernel_shape=[1, 1])
    apart = net.Reshape(logits, np.array([1, CLASSES, ANCHORS, -1]))
    rows = net.Reshape(net.Transpose(apart, perm=[0, 3, 2, 1]), np.array([1, -1, CLASSES]))
    net.node("Sigmoid", [rows], name="scores")
    middles = net.middles(FINE)
    sides = net.Sub(net.corners(FINE), middles)
    both = [net.Add(middles, sides), net.Add(middles, net.Mul(sides, np.float32(WIDER)))]
    lines = [net.Unsqueeze(net.Transpose(one, perm=[0, 2, 1]), np.array([2])) for one in both]
    net.node("Reshape", [net.Concat(*lines, axis=2), np.array([1, -1, 4])], name="boxes")
    return {"boxes": FLOAT, "scores": FLOAT}


KEPT = 20


def _capped(net: Reader) -> dict[str, int]:
    """The best twenty, which are gathered by numbers that are written into the graph."""
    flat = net.Reshape(net.lines(net.logits(FINE)), np.array([-1]))
    values, index = net.node("TopK", [net.Sigmoid(flat), np.array([KEPT])], 2)
    first = np.arange(KEPT)
    index = net.Gather(index, first)
    net.node("Gather", [values, first], name="scores")
    net.node("Mod", [index, np.array(CLASSES)], name="labels")
    net.node("Gather", [net.lines(net.corners(FINE)), net.Div(index, np.array(CLASSES))], name="boxes", axis=0)
    return {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}


def _suppressed(net: Reader, scores: str, boxes: str) -> tuple[str, str, str]:
    """Boxes, scores and labels of all that is left, best first."""
    limits = (np.array([100]), np.array([0.5], np.float32), np.array([0.05], np.float32))
    kept = net.NonMaxSuppression(net.Unsqueeze(boxes, np.array([0])), scores, *limits)
    values = net.GatherND(scores, kept)
    best, order = net.node("TopK", [values, net.Shape(values)], 2)
    kept = net.Gather(kept, order, axis=0)
    found = net.Gather(boxes, net.Gather(kept, np.array(2), axis=1), axis=0)
    return found, best, net.Gather(kept, np.array(1), axis=1)


def _padded(net: Reader) -> dict[str, int]:
    """A table of twenty rows, filled up with zeros, with class numbers that are floats."""
    boxes, scores, labels = _suppressed(net, net.Sigmoid(net.logits(FINE)), net.lines(net.corners(FINE)))
    filled = {}
    for name, value, empty in (
        ("boxes", boxes, np.zeros((KEPT, 4), np.float32)),
        ("scores", scores, np.zeros(KEPT, np.float32)),
        ("labels", net.Cast(labels, to=FLOAT), np.zeros(KEPT, np.float32)),
    ):
        whole = net.Concat(value, empty, axis=0)
        cut = net.Slice(whole, np.array([0]), np.array([KEPT]), np.array([0]))
        net.node("Unsqueeze", [cut, np.array([0])], name=name)
        filled[name] = FLOAT
    return filled


def _guarded(net: Reader) -> dict[str, int]:
    """A class's boxes are suppressed only if there are any: three outputs of branches."""
    scores, boxes = net.Sigmoid(net.logits(FINE)), net.lines(net.corners(FINE))
    some = net.Greater(net.ReduceMax(scores, keepdims=0), np.float32(0.05))
    found = _suppressed(net, scores, boxes)
    empty = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    outputs = {"boxes": FLOAT, "scores": FLOAT, "labels": INT64}
    for (name, dtype), value, none in zip(outputs.items(), found, empty, strict=True):
        there = branch(lambda inner, value=value: inner.Identity(value), net, dtype)
        nowhere = branch(lambda inner, none=none: inner.Identity(none), net, dtype)
        net.node("If", [some], name=name, then_branch=there, else_branch=nowhere)
    return outputs


VARIANTS = {
    "one class": Family(_one_class, {**_NAMES, "box_format": "xyxy", "class_names": ("face",)}, most=300),
    "one of two": Family(
        _one_of_two,
        {**_NAMES, "box_format": "xyxy", "background": "last", "class_names": ("face",)},
        most=300,
        softmax=True,
    ),
    "interleaved": Family(_interleaved, {**_NAMES, "box_format": "xyxy"}, most=300),
    "capped": Family(_capped, {**_CHOSEN, "score_threshold": 0.3}, 0.3, None, KEPT),
    "guarded": Family(_guarded, _CHOSEN, most=300),
    "padded": Family(_padded, _CHOSEN, most=KEPT),
}
