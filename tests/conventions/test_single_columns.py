"""A column without an axis of columns, as ``y[..., 4]`` leaves it; tables of a box and one more number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from boxcam.errors import SourceError
from tests.conventions.files import FLOAT, INT64, Levels
from tests.conventions.reading import read


def saved(net: Levels, outputs: dict[str, int], folder: Path) -> Path:
    onnx.save(net.proto(outputs), str(folder / "m.onnx"))
    return folder / "m.onnx"


@pytest.mark.parametrize("cut", ["index", "squeeze", "slice"])
def test_an_objectness_stays_a_factor_however_it_is_cut_out(cut: str, tmp_path: Path) -> None:
    net = Levels(3)
    raw, confidence = net.joined("box", 4), net.Sigmoid(net.joined("conf", 4))
    centers = net.Mul(net.Add(net.slice(raw, 0, 2, 1), net.points() / net.steps()), net.steps())
    sizes = net.Mul(net.Exp(net.slice(raw, 2, 4, 1)), net.steps())
    rows = net.Transpose(net.Concat(centers, sizes, confidence, axis=1), perm=[0, 2, 1])
    net.node("Identity", [net.slice(rows, 0, 4, 2)], name="boxes")
    if cut == "index":
        net.node("Gather", [rows, np.array(4)], name="obj", axis=2)
    elif cut == "squeeze":
        net.node("Squeeze", [net.slice(rows, 4, 5, 2), np.array([2])], name="obj")
    else:
        net.node("Identity", [net.slice(rows, 4, 5, 2)], name="obj")
    net.node("Identity", [net.slice(rows, 5, 8, 2)], name="cls")
    found = read(saved(net, {"boxes": FLOAT, "obj": FLOAT, "cls": FLOAT}, tmp_path)).convention
    assert found.objectness is not None
    assert not found.rest


def suppressed(net: Levels, last: str, lowest: float = 0.3) -> dict[str, int]:
    """What a suppression leaves: boxes with their score or class, or as mmdeploy lays it out."""
    boxes, scores = net.Transpose(net.corners(), perm=[0, 2, 1]), net.classes_of_cells()
    limits = np.array([30]), np.array([0.5], np.float32), np.array([lowest], np.float32)
    chosen = net.NonMaxSuppression(boxes, scores, *limits)
    row, label = (net.Gather(chosen, np.array(column), axis=1) for column in (2, 1))
    kept = net.Gather(net.Squeeze(boxes, np.array([0])), row, axis=0)
    score = net.Unsqueeze(net.GatherND(scores, chosen), np.array([1]))
    if last == "mmdeploy":
        net.node("Unsqueeze", [net.Concat(kept, score, axis=1), np.array([0])], name="dets")
        net.node("Unsqueeze", [label, np.array([0])], name="labels")
        return {"dets": FLOAT, "labels": INT64}
    classes = net.Cast(net.Unsqueeze(label, np.array([1])), to=1)
    net.node("Concat", [kept, score if last == "score" else classes], axis=1, name="out")
    return {"out": FLOAT}


def test_a_box_and_its_score_are_read_where_there_is_one_class(tmp_path: Path) -> None:
    net = Levels(1)
    assert (
        read(saved(net, suppressed(net, "score"), tmp_path)).convention.name == "a table of box and score, of one class"
    )


def test_class_numbers_behind_boxes_are_no_scores(tmp_path: Path) -> None:
    net = Levels(2)
    with pytest.raises(SourceError):
        read(saved(net, suppressed(net, "class"), tmp_path))


def test_a_score_of_several_classes_without_their_numbers_is_asked_about(tmp_path: Path) -> None:
    net = Levels(3)
    with pytest.raises(SourceError, match="box-and-score"):
        read(saved(net, suppressed(net, "score"), tmp_path))


def test_a_table_that_finds_nothing_is_read_as_one_that_does(tmp_path: Path) -> None:
    net = Levels(3)
    assert (
        read(saved(net, suppressed(net, "mmdeploy", 0.9999), tmp_path)).convention.name
        == "boxes with score, and labels, as of mmdeploy"
    )
