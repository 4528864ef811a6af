"""Detectors with a column between a box and the classes, which may be an objectness: by the branch that ends in it."""

from __future__ import annotations

import numpy as np

from tests.conventions.files import FLOAT, Layout, Levels, Truth
from tests.conventions.layouts import corners, only, places


def heads(net: Levels, branch: str, boxes: str) -> str:
    """A box, one column of its own and the classes: [1, 4 + 1 + C, N], boxes as they are or by exponentials."""
    levels = []
    for k in range(len(net.strides)):
        box, cls = net.head("box", 4, k, 0.5), net.head("cls", net.classes, k)
        one = net.head("one", 1, k, branch=branch)
        joined = net.Concat(box, net.Sigmoid(one), net.Sigmoid(cls), axis=1)
        levels.append(net.Reshape(joined, np.array([1, 5 + net.classes, -1])))
    raw = net.Concat(*levels, axis=2)
    if boxes == "raw":
        return raw
    grid, stride = (array.T[None].astype(np.float32) for array in places(net.strides))
    xy, wh, rest = (net.slice(raw, *ends, 1) for ends in ((0, 2), (2, 4), (4, 5 + net.classes)))
    size = net.Exp(wh) if boxes == "exponential" else net.Mul(net.Sigmoid(wh), np.float32(4))
    return net.Concat(net.Mul(net.Add(xy, grid), stride), net.Mul(size, stride), rest, axis=1)


def layout_of(branch: str, boxes: str, entry: str) -> Layout:
    def build(net: Levels) -> dict[str, int]:
        net.node("Transpose", [heads(net, branch, boxes)], perm=[0, 2, 1], name="output")
        return {"output": FLOAT}

    def objectness(given: object, classes: int) -> Truth:
        rows = only(given)  # type: ignore[arg-type]
        if boxes == "raw":
            grid, stride = places((8, 16, 32))
            rows = np.concatenate([(rows[:, :2] + grid) * stride, np.exp(rows[:, 2:4]) * stride, rows[:, 4:]], 1)
        return Truth(corners(rows[:, :4]), rows[:, 4:5] * rows[:, 5:])

    return Layout(entry, build, objectness, iou=0.45)
