"""What is told of numbers alone, where no graph shows it: the unit and form of boxes, activations,
backgrounds, and what the user says that cannot be."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.errors import BoxcamWarning, SourceError
from boxcam.export.heads.conventions import contradictions, tells, tflite
from boxcam.export.heads.conventions.entry import Entry, Fit, Match
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.observed import ObservedTensor

KIND: Any = {"title": "an entry", "models": "some"}
CANDIDATES = Entry(
    **KIND, tensors={"boxes": "N, 4", "scores": "N, C"}, kind="candidates", scores="scores", boxes="boxes"
)
SELECTED = Entry(
    **KIND, tensors={"table": "1, K, 6"}, kind="selected", scores="table[4]", boxes="table[0:4]", labels="table[5]"
)
CORNERS = [[10, 10, 20, 30], [0, 5, 9, 9], [50, 60, 70, 80], [1, 1, 2, 2], [3, 4, 5, 6], [7, 7, 9, 9]]
CENTRES = [[10, 10, 2, 3], [40, 55, 9, 9], [50, 60, 7, 8], [11, 11, 2, 2], [33, 34, 5, 6], [70, 70, 9, 9]]


def match(entry: Entry, arrays: dict[str, Any], said: dict[str, Any] | None = None) -> Match:
    seen = {
        role: ObservedTensor(
            ir.Value(name=role, shape=ir.Shape(np.shape(array)), type=ir.TensorType(ir.DataType.FLOAT)),
            np.asarray(array, np.float32),
        )
        for role, array in arrays.items()
    }
    sizes = {"N": 1, "C": np.shape(arrays["scores"])[-1]} if "scores" in arrays else {"K": 1}
    return Match(entry, seen, sizes, Question(tuple(seen.values()), **(said or {})))


def pair(scores: Any, boxes: Any = None, **said: Any) -> Match:
    return match(CANDIDATES, {"boxes": CORNERS if boxes is None else boxes, "scores": scores}, said)


def table(rows: Any, **said: Any) -> Match:
    return match(SELECTED, {"table": [rows]}, said)


def rows(boxes: Any, scores: Any = 0.5, labels: Any = 0.0) -> Any:
    found = np.zeros((len(boxes), 6))
    found[:, :4], found[:, 4], found[:, 5] = boxes, scores, labels
    return found


LOGITS, SHARES, PROBABILITIES = [[-1.0, 2, 3]], [[0.25, 0.25, 0.5]], [[0.25, 0.25, 0.25]]


@pytest.mark.parametrize(
    ("boxes", "said", "scale"),
    [
        ([[0, 0, 1.5, 0]], {}, "normalized"),
        ([[0, 0, 1.6, 0]], {}, "pixels"),
        ([[0.1, 0.1, 0.2, 0.2], [0, 0, 9, 9], [0, 0, 1, 1]], {}, "normalized"),  # the middle one decides
        ([[0, 0, 0, 0], [-1, -1, -1, -1], [0, 0, 9, 9]], {}, "pixels"),  # filler counts nothing
        ([[0, -9, 0, 1]], {}, "pixels"),
        ([[0, 0, 1, 1]], {"in_pixels": True}, "pixels"),
        ([[0, 0, 9, 9]], {"box_scale": "normalized"}, "normalized"),
        ([[0, 0, 0, 0]], {"box_scale": "pixels"}, "pixels"),
    ],
)
def test_the_unit_of_boxes(boxes: Any, said: Any, scale: str) -> None:
    assert tells.scale(pair(LOGITS, boxes, **said)) == scale


def test_without_a_box_its_unit_is_asked_for() -> None:
    with pytest.raises(SourceError) as caught:
        tells.scale(pair(LOGITS, [[0, 0, 0, 0]]))
    assert str(caught.value) == (
        "the model found no box in the images that were tried, so it is unknown whether its boxes are in pixels of the"
        ' input or normalized to 0..1. Pass box_scale="pixels" or box_scale="normalized", or an image in which it finds'
        " something with sample=."
    )


def test_the_form_of_boxes() -> None:
    assert tells.form(pair(LOGITS, CORNERS)) == "xyxy"
    assert tells.form(pair(LOGITS, CENTRES)) == "cxcywh"
    assert tells.form(pair(LOGITS, [*CORNERS, *CENTRES])) == "cxcywh"
    assert tells.form(pair(LOGITS, [*CORNERS * 17, CENTRES[0]])) == "xyxy"  # one of 103 may be noise
    assert tells.form(pair(LOGITS, [*CORNERS * 16, CENTRES[0]])) == "cxcywh"  # one of 97 may not
    assert tells.form(pair(LOGITS, np.zeros((0, 4)))) == "cxcywh"
    assert tells.centre_and_size(pair(LOGITS, CORNERS)) == "cxcywh"
    assert tells.table_form(table(rows(CENTRES))) == "xyxy"  # in pixels, where no graph tells
    small = np.array(CENTRES) / 100
    assert tells.table_form(table(rows(small))) == "cxcywh"
    assert tells.table_form(table(rows(np.array(CORNERS) / 100))) == "xyxy"
    half = np.array([*CORNERS[:3], *CENTRES[:3]]) / 100
    assert tells.table_form(table(rows(half))) == "cxcywh"


def test_activations_that_may_be_missing() -> None:
    assert tells.sigmoid_unless_done(pair(PROBABILITIES)) == "none"
    assert tells.sigmoid_unless_done(pair(LOGITS)) == "sigmoid"
    assert tells.softmax_unless_done(pair(PROBABILITIES)) == "none"
    assert tells.softmax_unless_done(pair(LOGITS)) == "softmax"


def wide(count: int) -> Any:
    return np.linspace(-3, 3, count)[None]


@pytest.mark.parametrize(
    ("scores", "said", "queries", "activation"),
    [
        (PROBABILITIES, {}, False, "none"),
        (wide(1), {}, False, "sigmoid"),
        (wide(3), {"classes": 3}, False, "sigmoid"),
        (wide(3), {"classes": 3, "names": ("background", "a", "b")}, False, "softmax"),
        (wide(80), {}, False, "sigmoid"),
        (wide(91), {}, True, "sigmoid"),
        (wide(91), {"classes": 91}, False, "sigmoid"),
    ],
)
def test_activations_of_scores_in_a_tensor_of_their_own(scores: Any, said: Any, queries: bool, activation: str) -> None:
    assert tells.activation(queries)(pair(scores, **said)) == activation


@pytest.mark.parametrize(
    ("scores", "said", "queries"),
    [
        (wide(3), {}, False),
        (wide(3), {"classes": 2}, False),
        (wide(91), {}, False),
        (wide(80), {"classes": 79}, False),
        (wide(92), {}, True),  # of an entry without names
        (wide(3), {"classes": 2, "names": ("background", "a")}, True),
    ],
)
def test_activations_that_are_asked_for(scores: Any, said: Any, queries: bool) -> None:
    with pytest.raises(SourceError) as caught:
        tells.activation(queries)(pair(scores, **said))
    assert str(caught.value) == (
        f"the scores scores {list(np.shape(scores))} are logits: are they meant for a sigmoid or a softmax? Pass"
        ' score_activation="sigmoid" or score_activation="softmax".'
    )


def test_92_logits_of_an_entry_with_names_are_those_of_detr() -> None:
    named = Entry(
        **KIND, tensors=CANDIDATES.tensors, kind="queries", scores="scores", boxes="boxes",
        names={"scores": ("logits",)},
    )  # fmt: skip
    tell = tells.activation(queries=True)
    for said in ({}, {"classes": 91}):
        assert tell(match(named, {"boxes": CORNERS, "scores": wide(92)}, said)) == "softmax"
    with pytest.raises(SourceError):
        tell(match(named, {"boxes": CORNERS, "scores": wide(92)}, {"classes": 90}))
    with pytest.raises(SourceError):
        tell(match(named, {"boxes": CORNERS, "scores": wide(93)}))


@pytest.mark.parametrize(
    ("scores", "said", "queries", "background"),
    [
        (SHARES, {"classes": 3}, False, "none"),
        (SHARES, {"classes": 3, "names": ("a", "b", "background")}, False, "last"),
        (SHARES, {"classes": 3, "names": ("background", "a", "b")}, True, "first"),
        (PROBABILITIES, {}, False, "none"),
        (PROBABILITIES, {"classes": 2}, False, "none"),
        (PROBABILITIES, {"classes": 2}, True, "last"),
        (PROBABILITIES, {"classes": 1}, True, "none"),
        (SHARES, {}, True, "last"),
        (wide(91), {}, True, "none"),
        (LOGITS, {"score_activation": "softmax"}, True, "last"),
        (LOGITS, {"score_activation": "sigmoid"}, True, "none"),
        (LOGITS, {"score_activation": "sigmoid", "classes": 2}, True, "last"),
        (LOGITS, {"score_activation": "sigmoid", "classes": 2}, False, "none"),
        (SHARES, {"score_activation": "sigmoid"}, False, "none"),
    ],
)
def test_which_class_stands_for_nothing(scores: Any, said: Any, queries: bool, background: str) -> None:
    assert tells.background(queries)(pair(scores, **said)) == background


@pytest.mark.parametrize(
    ("scores", "said"), [(SHARES, {}), (SHARES, {"classes": 2}), (LOGITS, {"score_activation": "softmax"})]
)
def test_the_background_of_a_softmax_is_asked_for(scores: Any, said: Any) -> None:
    with pytest.raises(SourceError) as caught:
        tells.background(queries=False)(pair(scores, **said))
    assert str(caught.value) == (
        "the scores scores [1, 3] are of a softmax, which usually has a background class: is it the first or the last?"
        ' Pass background="first", background="last" or background="none".'
    )


def warned(given: Match) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        contradictions.check(given)
    assert all(one.category is BoxcamWarning for one in caught)
    return [str(one.message) for one in caught]


def test_what_is_said_may_be_so() -> None:
    assert warned(pair(PROBABILITIES, score_activation="none", box_format="xyxy", box_scale="pixels")) == []
    assert warned(pair(LOGITS, np.array(CORNERS) / 99, box_scale="normalized", score_activation="sigmoid")) == []
    assert warned(pair(PROBABILITIES, score_activation="sigmoid")) == []  # by numbers alone they may be logits
    assert warned(table(rows(CORNERS, 0.5, 2.0), classes=3, score_activation="none")) == []
    assert warned(table(rows(CORNERS, [0.5, 0, 0, 0, 0, 0], [1, 7, 7, 7, 7, 7]), classes=2)) == []  # no score, no box
    assert warned(table(rows(CORNERS, 0.5, -1.0), classes=2)) == []
    assert warned(table(rows(CORNERS, 0.5, -1.0), classes=1)) == []
    assert warned(table(rows(CORNERS, 0.5, [0, np.inf, np.nan, 0, 0, 0]), classes=1)) == []
    assert warned(pair(LOGITS, classes=3)) == []
    assert warned(pair(PROBABILITIES, np.zeros((3, 4)), box_scale="normalized")) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            pair(LOGITS, score_activation="none"),
            "the scores scores are from -1 to 3, so they are not probabilities. Pass"
            ' score_activation="sigmoid" or score_activation="softmax".',
        ),
        (
            table(rows(CORNERS, 0.5, [1, 2, 1, -1, 2, 1]), classes=2),
            "table[5] has classes 1 to 2 and no class 0, and there are 2 class names: the model seems to count its"
            " classes from 1, and each would have the name of another. Pass a name for class 0 first, such as"
            ' "background", with class_names=.',
        ),
        (
            table(rows(CORNERS, 0.5, [0, 2, 1, 1, 2, 1]), classes=2),
            "table[5] has class 2, but there are 2 class names, from class 0 on. Pass one name for each class with"
            " class_names=.",
        ),
        (
            table(rows(CORNERS, 0.5, 1.0), classes=1),
            "table[5] has class 1, but there is 1 class name, from class 0 on. Pass one name for each class with"
            " class_names=.",
        ),
        (
            table(rows(CORNERS, 0.5, 3.0), classes=2),
            "table[5] has class 3, but there are 2 class names, from class 0 on. Pass one name for each class with"
            " class_names=.",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: Match, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        contradictions.check(given)
    assert str(caught.value) == said


WRONG = "if the boxes lie in the wrong place."


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            pair(LOGITS, score_activation="sigmoid", box_format="cxcywh"),
            f'an entry has boxes as corners. Pass box_format="xyxy" {WRONG}',
        ),
        (
            pair(LOGITS, box_scale="normalized"),
            f'numbers of boxes are about 9, which does not look normalized. Pass box_scale="pixels" {WRONG}',
        ),
        (
            pair(LOGITS, np.array(CORNERS) / 100, box_scale="pixels"),
            f'numbers of boxes are about 0.09, which does not look pixels. Pass box_scale="normalized" {WRONG}',
        ),
    ],
)
def test_what_does_not_look_so_is_warned_of(given: Match, said: str) -> None:
    (found,) = warned(given)
    assert re.sub(r"about [\d.]+,", "about 9,", found) == re.sub(r"about [\d.]+,", "about 9,", said)


def told(activation: Any, **others: Any) -> Entry:
    return Entry(
        **KIND, tensors=CANDIDATES.tensors, kind="candidates", scores="scores", boxes="boxes", activation=activation,
        **others,
    )  # fmt: skip


def test_another_activation_than_that_of_the_entry_is_warned_of() -> None:
    said = (
        "the scores scores are meant for a softmax, as of an entry. Pass"
        ' score_activation="softmax" if the scores are wrong.'
    )
    arrays = {"boxes": CORNERS, "scores": LOGITS}
    for activation in ("softmax", lambda given: "softmax"):
        assert warned(match(told(activation), arrays, {"score_activation": "sigmoid"})) == [said]
        assert warned(match(told(activation), arrays, {"score_activation": "softmax"})) == []
    assert warned(match(told(tells.activation(queries=False)), arrays, {"score_activation": "sigmoid"})) == []  # asked


def test_a_form_that_is_told_leaves_most_boxes_without_an_area() -> None:
    arrays = {"boxes": CENTRES, "scores": LOGITS}
    entry = told("none", form=tells.form)
    for form in ("xyxy", "yxyx"):
        assert warned(match(entry, arrays, {"box_format": form})) == [
            f"most boxes of boxes would have no area with box_format={form}. Pass another one {WRONG}"
        ]
    assert warned(match(entry, arrays, {"box_format": "xywh"})) == []
    assert warned(match(entry, {**arrays, "boxes": CORNERS}, {"box_format": "xyxy"})) == []
    half = {**arrays, "boxes": [*CENTRES[:3], *CORNERS[:3]]}
    assert warned(match(entry, half, {"box_format": "xyxy"})) == []


def test_the_unit_of_boxes_that_are_decoded_is_declared() -> None:
    entry = told("none", decode=lambda given: None, scale="pixels")
    arrays = {"boxes": np.array(CORNERS) / 99, "scores": LOGITS}
    assert warned(match(entry, arrays, {"box_scale": "pixels"})) == []
    assert warned(match(entry, arrays, {"box_scale": "normalized"})) == [
        f'boxes as of an entry are in pixels. Pass box_scale="pixels" {WRONG}'
    ]


BOXES = np.array(CORNERS) / 100
LITE = {"boxes": [BOXES], "labels": [[1, 0, 2, 0, 0, 0]], "scores": [[0.9, 0.5, 0.5, 0.25, 0, 0]], "count": [4]}


@pytest.mark.parametrize(
    ("others", "fit"),
    [
        ({}, Fit.CERTAIN),
        ({"count": [6]}, Fit.CERTAIN),
        ({"count": [0]}, Fit.CERTAIN),
        ({"count": [7]}, Fit.NO),
        ({"count": [-1]}, Fit.NO),
        ({"count": [2.5]}, Fit.NO),
        ({"labels": [[1, 0.5, 2, 0, 0, 0]]}, Fit.NO),
        ({"scores": [[1.5, 0.5, 0.5, 0.25, 0, 0]]}, Fit.NO),
        ({"scores": [[-0.5, 0.5, 0.5, 0.25, 0, 0]]}, Fit.NO),
        ({"boxes": [BOXES * 100]}, Fit.NO),
        ({"boxes": [BOXES * 0]}, Fit.CERTAIN),
        ({"scores": [[0.5, 0.9, 0.5, 0.25, 0, 0]]}, Fit.POSSIBLE),  # the best is not the first
        ({"scores": [[1, 1, 0, 0, 0, 0]]}, Fit.NO),  # these may be the classes
        ({"scores": [[0, 0, 0, 0, 0, 0]]}, Fit.POSSIBLE),  # nothing was found
    ],
)
def test_detections_of_tensorflow_lite(others: dict[str, Any], fit: Fit) -> None:
    given = match(tflite.TFLITE, {**LITE, **others})
    assert tflite.TFLITE.fits(given) is fit
    assert tflite._form(given) == "yxyx"
