"""What the graph shows comes before what the numbers look like: forms of boxes, and activations."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.heads.conventions import contradictions, tells, tflite
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


def warned(given: Match) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        contradictions.check(given)
    assert all(one.category is BoxcamWarning for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize("said", ["sigmoid", "softmax"])
@pytest.mark.parametrize("operator", ["Sigmoid", "Softmax"])
def test_an_activation_on_what_the_graph_has_activated_is_refused(operator: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        contradictions.check(match(corners, LARGE, operator, score_activation=said))
    assert str(caught.value) == (
        f'score_activation="{said}" has no meaning here: the scores scores are probabilities, which {operator} makes in'
        " the graph. Leave it out."
    )
    assert warned(match(corners, LARGE, operator, score_activation="none")) == []
    assert warned(match(corners, LARGE, "MatMul", score_activation=said)) == []
    assert warned(match(corners, LARGE, operator)) == []  # nothing is said


WORDS = {"xyxy": "corners", "xywh": "corner and size", "cxcywh": "centre and size"}


@pytest.mark.parametrize(("build", "form"), FORMS)
@pytest.mark.parametrize("said", ["xyxy", "xywh", "cxcywh", "yxyx"])
def test_another_form_than_the_graph_computes_is_warned_of(build: Any, form: str, said: str) -> None:
    expected = [
        f'the graph computes boxes as {WORDS[form]}. Pass box_format="{form}" if the boxes lie in the wrong place.'
    ]
    for boxes in (SMALL, LARGE):
        assert warned(match(build, boxes, box_format=said)) == ([] if said == form else expected)


def selected(build: Any, boxes: Any, **said: Any) -> Match:
    given = match(build, boxes, **said)
    return replace(given, entry=replace(given.entry, kind="selected"))


def test_corners_of_a_table_whose_numbers_speak_for_them_were_asked_for() -> None:
    assert warned(selected(corner_and_size, LARGE, box_format="xyxy")) == []
    for given in (
        selected(corner_and_size, SMALL, box_format="xyxy"),
        selected(corner_and_size, LARGE, box_format="cxcywh"),
        selected(centre_and_size, LARGE, box_format="xyxy"),
        match(corner_and_size, LARGE, box_format="xyxy"),
    ):
        assert len(warned(given)) == 1
    assert warned(selected(corners, LARGE, score_activation="sigmoid", scores="Sigmoid")) == []  # it has none to say


def test_of_boxes_that_are_decoded_the_graph_computes_something_else() -> None:
    given = match(corners, LARGE, box_format="xyxy")
    entry = replace(given.entry, form="cxcywh", decode=lambda match: None)  # type: ignore[arg-type, return-value]
    assert warned(replace(given, entry=entry)) == [
        'an entry has boxes as centre and size. Pass box_format="cxcywh" if the boxes lie in the wrong place.'
    ]


def test_a_unit_is_told_from_the_box_in_the_middle() -> None:
    boxes = [[0, 0, 1, 1.5]] * 3 + [[0, 0, 9, 9]] * 3  # of six the fourth, in the order of their largest numbers
    assert len(warned(match(corners, boxes, box_scale="normalized"))) == 1
    assert warned(match(corners, boxes, box_scale="pixels")) == []
    assert len(warned(match(corners, [[0, 0, 1, 2]] * 6, box_scale="normalized"))) == 1
    boxes[3] = [0, 0, 1, 1.5]
    assert warned(match(corners, boxes, box_scale="normalized")) == []
    assert warned(match(corners, boxes, box_scale="pixels")) == [
        'numbers of boxes are about 1.5, which does not look pixels. Pass box_scale="normalized" if the boxes lie in'
        " the wrong place."
    ]
