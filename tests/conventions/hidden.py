"""A detection whose box the graph is followed to, or is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.conventions.files import FLOAT, Levels

Build = Callable[[Levels], dict[str, int]]


def one_detection(form: str, hidden: bool) -> Build:
    """A table of the best cell, its box in some form; hidden behind a copy that the graph is not followed through."""

    def build(net: Levels) -> dict[str, int]:
        boxes = net.centres() if form == "cxcywh" else net.corners()
        if form == "xywh":
            low, high = net.slice(boxes, 0, 2, 1), net.slice(boxes, 2, 4, 1)
            boxes = net.Concat(low, net.Sub(high, low), axis=1)
        scores = net.classes_of_cells()
        best, place = net.node("TopK", [net.Reshape(scores, np.array([-1])), np.array([1])], 2)
        row, label = net.Mod(place, np.array(net.count())), net.Div(place, np.array(net.count()))
        rows = net.Squeeze(net.Transpose(boxes, perm=[0, 2, 1]), np.array([0]))
        chosen = net.GatherND(rows, net.Unsqueeze(row, np.array([1]))) if hidden else net.Gather(rows, row, axis=0)
        parts = (net.Unsqueeze(value, np.array([1])) for value in (best, net.Cast(label, to=FLOAT)))
        net.node("Unsqueeze", [net.Concat(chosen, *parts, axis=1), np.array([0])], name="table")
        return {"table": FLOAT}

    return build
