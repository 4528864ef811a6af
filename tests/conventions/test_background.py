"""The class that stands for nothing: told by its name, and asked for where neither graph nor names tell it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions.question import void_of
from tests.conventions.files import FLOAT, Arrays, Layout, Levels, Truth
from tests.conventions.layouts import LAYOUTS, WHOLE, corners, sigmoid, softmax
from tests.conventions.layouts import _linear as linear
from tests.conventions.layouts import _query_boxes as query_boxes
from tests.conventions.layouts import _tokens as tokens
from tests.conventions.reading import expected, outputs, read, same
from tests.messages import check_message


def pair(done: str) -> Any:
    """Boxes and scores apart: logits, or with an activation in the graph."""

    def build(net: Levels) -> dict[str, int]:
        net.node("Transpose", [net.corners()], perm=[0, 2, 1], name="boxes")
        logits = net.Transpose(net.joined("cls", net.classes), perm=[0, 2, 1])
        given = {"axis": 2} if done == "Softmax" else {}
        net.node(done, [logits], name="scores", **given)
        return {"boxes": FLOAT, "scores": FLOAT}

    return build


def detr(net: Levels) -> dict[str, int]:
    found = tokens(net)
    query_boxes(net, found, "pred_boxes")
    linear(net, found, net.classes, "logits")
    return {"pred_boxes": FLOAT, "logits": FLOAT}


def save(path: Path, build: Any, classes: int) -> Path:
    net = Levels(classes)
    onnx.save(net.proto(build(net)), str(path))
    return path


def of_pair(outputs_of: Arrays, part: slice, done: str) -> Truth:
    boxes, scores = outputs_of.values()
    scores = {"Identity": softmax, "Softmax": np.asarray, "Sigmoid": np.asarray}[done](scores[0])
    return Truth(boxes[0], scores[:, part])


@pytest.mark.parametrize(
    ("classes", "first", "void"),
    [
        (1, True, "background"),
        (1, False, "BG"),
        (2, False, "background"),
        (3, True, "no-object"),
        (80, True, "__background__"),
    ],
)
@pytest.mark.parametrize("done", ["Identity", "Softmax", "Sigmoid"])
def test_a_class_named_background_is_none(done: str, classes: int, first: bool, void: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", pair(done), classes + 1)
    words = [f"word {k}" for k in range(classes)]
    threshold = 0.3 if classes < 80 else 0.05
    found = read(path, class_names=[void, *words] if first else [*words, void], score_threshold=threshold)
    assert found.convention.background == ("first" if first else "last")
    part = slice(1, None) if first else slice(0, -1)
    layout = Layout("boxes-and-scores", pair(done), lambda o, c: of_pair(o, part, done), single=False, iou=0.5)
    same(found.found, expected(layout, of_pair(outputs(path, found.image), part, done), threshold))


@pytest.mark.parametrize("background", ["first", "last", "none"])
def test_what_the_user_says_stands(background: str, tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", pair("Softmax"), 4)
    names = {"first": ["background", "a", "b", "c"], "last": ["a", "b", "c", "background"]}
    given = names.get(background, names["first"])
    assert read(path, class_names=given, background=background).convention.background == background


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["cat", "dog"], None),
        (["background"], None),
        (["cat", "background", "dog"], None),
        (["background", "cat", "background"], None),
        (["Background", "cat"], "first"),
        (["cat", "_background_"], "last"),
    ],
)
def test_which_class_the_names_tell(names: list[str], told: str | None) -> None:
    assert void_of(names) == told


def test_91_logits_may_be_of_either(tmp_path: Path) -> None:
    """COCO's numbers for a sigmoid, or 90 and a background for a softmax."""
    path = save(tmp_path / "m.onnx", pair("Identity"), 91)
    with pytest.raises(SourceError, match="sigmoid or a softmax") as caught:
        read(path)
    check_message(str(caught.value))
    assert read(path, score_activation="sigmoid").convention.activation == "sigmoid"
    with pytest.raises(SourceError, match="background="):
        read(path, score_activation="softmax")
    assert read(path, score_activation="softmax", background="first").convention.background == "first"


@pytest.mark.parametrize("classes", [2, 3, 81])
@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
def test_detrs_names_with_a_class_more_are_asked_about(classes: int, activation: str, tmp_path: Path) -> None:
    """DETR has a softmax, RF-DETR a sigmoid, and both a column more than classes."""
    path = save(tmp_path / "m.onnx", detr, classes)
    names = [f"word {k}" for k in range(classes - 1)]
    with pytest.raises(SourceError, match="sigmoid or a softmax") as caught:
        read(path, class_names=names)
    check_message(str(caught.value))
    found = read(path, class_names=names, score_activation=activation)
    assert (found.convention.activation, found.convention.background) == (activation, "last")
    boxes, logits = outputs(path, found.image).values()
    scores = {"sigmoid": sigmoid, "softmax": softmax}[activation](logits[0])[:, :-1]
    truth = Truth(corners(boxes[0]) * WHOLE, scores)
    if activation == "softmax":  # a query has one class
        scores = np.where(scores == scores.max(1, keepdims=True), scores, 0)
        truth = Truth(truth.boxes, scores)
    same(found.found, expected(LAYOUTS["rf-detr"], truth))
