"""What four numbers are that nothing tells: of a few rows that the graph is not followed to, it is never guessed in
silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.conventions.belief import against
from tests.conventions.files import FLOAT, Layout, Levels, Truth, write
from tests.conventions.hidden import one_detection
from tests.conventions.layouts import LAYOUTS
from tests.conventions.reading import read
from tests.messages import check_message

OUTPUTS = ["table", "apart", "dets"]


def table(form: str, outputs: str = "table", hidden: bool = True) -> Layout:
    """One detection a picture, behind a copy that the graph is not followed through."""
    build = one_detection(form, hidden, outputs)
    return Layout("end-to-end", build, lambda given, classes: Truth(*[np.zeros(0)] * 2))


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("form", ["cxcywh", "xywh"])
def test_a_guess_that_the_boxes_do_not_show_raises_doubts(form: str, outputs: str, tmp_path: Path) -> None:
    path = write(table(form, outputs), tmp_path / "m.onnx", 3)
    found = against(path)["place"]
    assert not isinstance(found, str)
    assert found.verdict == "doubtful"
    check_message(found.sentence)
    assert "box_format=" in found.sentence


def test_what_is_not_known_is_named_with_all_that_it_may_be(tmp_path: Path) -> None:
    found = against(write(table("xywh"), tmp_path / "m.onnx", 3))["place"]
    assert not isinstance(found, str)
    assert "neither the graph nor the boxes whose cells are known (4) tell" in found.sentence
    assert 'box_format="xyxy", "cxcywh", "xywh" or "yxyx"' in found.sentence


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("form", ["xyxy", "cxcywh", "xywh"])
def test_what_the_graph_tells_is_no_guess(form: str, outputs: str, tmp_path: Path) -> None:
    convention = read(write(table(form, outputs, hidden=False), tmp_path / "m.onnx", 3)).convention
    assert (convention.form, convention.form_is_guessed) == (form, False)


@pytest.mark.parametrize("form", ["xyxy", "xywh"])
def test_what_is_said_is_no_guess(form: str, tmp_path: Path) -> None:
    path = write(table(form), tmp_path / "m.onnx", 3)
    assert read(path).convention.form_is_guessed
    assert not read(path, box_format=form).convention.form_is_guessed
    assert against(path, box_format=form) == {}


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_a_guess_that_the_boxes_show_raises_none(outputs: str, tmp_path: Path) -> None:
    assert against(write(table("xyxy", outputs), tmp_path / "m.onnx", 3)) == {}


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_published_layouts_are_no_guesses(name: str, tmp_path: Path) -> None:
    """Their graphs tell, or their convention declares it; as a transformer's queries are what their framework has."""
    layout = LAYOUTS[name]
    path = write(layout, tmp_path / "m.onnx", 3 if 3 in layout.counts else layout.counts[0])
    assert not read(path, **layout.options).convention.form_is_guessed


def test_a_layout_that_has_one_form_is_no_guess_behind_what_is_not_followed(tmp_path: Path) -> None:
    """TensorFlow Lite's detection post-processing has rows first, whatever gathers its boxes."""
    net = Levels(3)
    corners = net.Div(net.corners(), np.array([96, 64, 96, 64], np.float32).reshape(1, 4, 1))
    boxes = net.Transpose(net.Gather(corners, np.array([1, 0, 3, 2]), axis=1), perm=[0, 2, 1])
    scores = net.classes_of_cells()
    best, classes = net.ReduceMax(scores, axes=[1], keepdims=1), net.ArgMax(scores, axis=1, keepdims=0)
    limits = np.array([10]), np.array([0.5], np.float32), np.array([0.3], np.float32)
    row = net.Gather(net.NonMaxSuppression(boxes, best, *limits), np.array([2]), axis=1)
    labels = net.Squeeze(net.Cast(classes, to=FLOAT), np.array([0]))
    kept = (net.Squeeze(boxes, np.array([0])), labels, net.Squeeze(best, np.array([0, 1])))
    for name, values in zip(("d", "d:1", "d:2"), kept, strict=True):
        net.node("Unsqueeze", [net.GatherND(values, row), np.array([0])], name=name)
    net.node("Cast", [net.Size("d:1")], to=FLOAT, name="d:3")
    onnx.save(net.proto(dict.fromkeys(("d", "d:1", "d:2", "d:3"), FLOAT)), str(tmp_path / "m.onnx"))
    convention = read(tmp_path / "m.onnx").convention
    assert convention.form == "yxyx"
    assert not convention.form_is_guessed
