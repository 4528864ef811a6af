"""A detection whose box the graph is followed to, or is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.conventions.files import FLOAT, INT64, Levels

Build = Callable[[Levels], dict[str, int]]


def one_detection(form: str, hidden: bool, outputs: str = "table") -> Build:
    """The best cell, its box in some form; hidden behind a copy that the graph is not followed through.

    Args:
        form: of the box: ``xyxy``, ``xywh`` or ``cxcywh``.
        hidden: whether it is.
        outputs: a ``table``; box, score and label ``apart``; or ``dets``, the box with its score, and the label.
    """

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
        score, number = (net.Unsqueeze(value, np.array([1])) for value in (best, net.Cast(label, to=FLOAT)))
        kept = {
            "table": {"table": net.Concat(chosen, score, number, axis=1)},
            "apart": {"boxes": chosen, "scores": best, "labels": label},
            "dets": {"dets": net.Concat(chosen, score, axis=1), "labels": label},
        }[outputs]
        for name, value in kept.items():
            net.node("Unsqueeze", [value, np.array([0])], name=name)
        return {name: INT64 if name == "labels" else FLOAT for name in kept}

    return build
