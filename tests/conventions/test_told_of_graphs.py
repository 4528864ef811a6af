"""What the graph shows comes before what the numbers look like: forms of boxes, and activations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.errors import SourceError
from boxcam.export.heads.conventions import tells, tflite
from boxcam.export.heads.conventions.entry import Entry, Match
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.observed import ObservedTensor
from tests.export.export_graphs import Net

BASE = Entry(
    title="an entry", models="some", tensors={"boxes": "N, 4", "scores": "1, C"}, kind="candidates", scores="scores",
    boxes="boxes",
)  # fmt: skip
SMALL, LARGE = [[10, 10, 2, 3]] * 6, [[10, 10, 20, 30]] * 6  # of which only the second may be corners


def corners(net: Net, one: str, other: str) -> str:
    return net.Concat(net.Sub(one, other), net.Add(one, other), axis=1)


def corner_and_size(net: Net, one: str, other: str) -> str:
    return net.Concat(one, net.Sub(other, one), axis=1)


def centre_and_size(net: Net, one: str, other: str) -> str:
    return net.Concat(net.Add(one, other), net.Sub(other, one), axis=1)


def match(build: Any, boxes: Any, scores: str = "MatMul", table: bool = False, **said: Any) -> Match:
    net = Net()
    one, other = (net.Relu(net.input(name, (6, 2))) for name in "ab")
    made = build(net, one, other)
    net.node("Identity", [made], name="boxes")
    given = net.MatMul(net.input("c", (1, 3)), np.eye(3))
    net.node("Identity", [given if scores == "MatMul" else getattr(net, scores)(given)], name="scores")
    model = net.model(["boxes", "scores"])
    values = {str(value.name): value for value in model.graph.outputs}
    values["boxes"].shape = ir.Shape([6, 4])
    seen = {
        "boxes": ObservedTensor(values["boxes"], np.array(boxes, np.float32)),
        "scores": ObservedTensor(values["scores"], np.float32([[0.25, 0.5, 0.25]])),
    }
    entry = replace(BASE, tensors={"table": "K, 4"}, boxes="table") if table else BASE
    tensors = {"table": seen["boxes"]} if table else seen
    return Match(entry, tensors, {"N": 6, "C": 3, "K": 6}, Question(tuple(seen.values()), **said))


FORMS = [(corners, "xyxy"), (corner_and_size, "xywh"), (centre_and_size, "cxcywh")]


@pytest.mark.parametrize(("build", "form"), FORMS)
@pytest.mark.parametrize("boxes", [SMALL, LARGE])
def test_forms_of_boxes(build: Any, form: str, boxes: Any) -> None:
    assert tells.form(match(build, boxes)) == form
    assert tells.centre_and_size(match(build, boxes)) == form
    assert tflite._form(match(build, boxes)) == form
    if (form, boxes) != ("xywh", LARGE):
        assert tells.table_form(match(build, boxes, table=True)) == form


def test_corner_and_size_of_a_table_that_may_be_corners_are_asked_about() -> None:
    with pytest.raises(SourceError) as caught:
        tells.table_form(match(corner_and_size, LARGE, table=True))
    assert str(caught.value) == (
        "the last two numbers of the boxes of boxes are differences, as sizes are, but they are not smaller than the"
        ' first two, as those of corners are not. Pass box_format="xywh" or box_format="xyxy".'
    )
    assert tells.table_form(match(corners, LARGE, table=True)) == "xyxy"


@pytest.mark.parametrize(
    ("operator", "softmax", "sigmoid"),
    [("MatMul", "softmax", "sigmoid"), ("Sigmoid", "none", "none"), ("Softmax", "none", "none")],
)
def test_activations(operator: str, softmax: str, sigmoid: str) -> None:
    """A layer has none, though what it gives here is 0 to 1."""
    given = match(corners, LARGE, operator)
    assert (tells.softmax_unless_done(given), tells.sigmoid_unless_done(given)) == (softmax, sigmoid)


@pytest.mark.parametrize(("operator", "activation"), [("MatMul", "sigmoid"), ("Sigmoid", "none"), ("Softmax", "none")])
def test_activations_of_scores_in_a_tensor_of_their_own(operator: str, activation: str) -> None:
    assert tells.activation(queries=False)(match(corners, LARGE, operator, classes=3)) == activation


def test_the_background_of_a_softmax_in_the_graph() -> None:
    """Its probabilities add up to 1, and those of a sigmoid do by chance."""
    assert tells.background(queries=True)(match(corners, LARGE, "Softmax")) == "last"
    with pytest.raises(SourceError, match="are of a softmax"):
        tells.background(queries=False)(match(corners, LARGE, "Softmax"))
    given = match(corners, LARGE, "Softmax")
    given.tensors["scores"].array[:] = 0.1  # as of some rows only
    assert tells.background(queries=True)(given) == "last"
    given = match(corners, LARGE, "Sigmoid")
    given.tensors["scores"].array[:] = 0.1
    assert tells.background(queries=True)(given) == "none"
