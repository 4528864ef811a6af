"""From candidates to detections, on numbers small enough to be suppressed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.run import open_session
from boxcam.export.heads import selection
from boxcam.export.heads.boxes import canvas_of, to_corners
from boxcam.export.heads.selection import DetectionValues, Limits

WIDTH, HEIGHT = 200, 100
CANVAS = np.array([WIDTH, HEIGHT], np.float32)
BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 5], [50, 50, 60, 60]], np.float32)
"""The second has an IoU of 0.8 with the first, the third one of 0.5 with it and of 0.625 with the second."""


def graph() -> tuple[ir.Graph, Ops]:
    empty = ir.Graph([], [], nodes=[], opset_imports={"": 18}, name="g")
    return empty, Ops(empty, "test")


def value(op: Ops, array: Any) -> ir.Value:
    found = op.value(np.asarray(array))
    assert found is not None
    return found


def run(given: ir.Graph) -> list[Any]:
    return open_session(ir.Model(given, ir_version=9)).run(None, {})


def detections(make: Callable[[Ops], DetectionValues]) -> tuple[list[Any], list[Any], list[Any]]:
    """Boxes, scores with three digits, and labels of what is reported."""
    given, op = graph()
    assert selection.report(given, op, make(op)) == ("boxes", "scores", "labels")
    boxes, scores, labels = run(given)
    assert (boxes.dtype, scores.dtype, labels.dtype) == (np.float32, np.float32, np.int64)
    return boxes.tolist(), [round(float(score), 3) for score in scores], labels.tolist()


def computed(make: Callable[[Ops], ir.Value]) -> Any:
    given, op = graph()
    output = op.Identity(make(op))
    output.name, output.dtype = "output", ir.DataType.FLOAT
    given.outputs.append(output)
    given.sort()
    return run(given)[0]


def suppressed(scores: Any, limits: Limits, **options: Any) -> tuple[list[Any], list[Any], list[Any]]:
    given = np.array([scores], np.float32)
    return detections(lambda op: selection.suppress(op, value(op, BOXES[None]), value(op, given), limits, **options))


SCORES = [[0.9, 0.2], [0.8, 0.6], [0.7, 0.1], [0.3, 0.4]]


@pytest.mark.parametrize(
    ("limits", "best_class_only", "expected"),
    [
        (Limits(0.55, 0.25, 9), False, [(0.9, 0, 0), (0.7, 2, 0), (0.6, 1, 1), (0.4, 3, 1), (0.3, 3, 0)]),
        (Limits(0.55, 0.25, 9), True, [(0.9, 0, 0), (0.7, 2, 0), (0.4, 3, 1)]),
        (Limits(0.45, 0.25, 9), True, [(0.9, 0, 0), (0.4, 3, 1)]),
        (Limits(0.85, 0.25, 9), True, [(0.9, 0, 0), (0.8, 1, 0), (0.7, 2, 0), (0.4, 3, 1)]),
        (Limits(0.55, 0.25, 2), True, [(0.9, 0, 0), (0.7, 2, 0)]),
        (Limits(0.55, 0.65, 9), False, [(0.9, 0, 0), (0.7, 2, 0)]),
        (Limits(0.55, 0.95, 9), False, []),
    ],
)
def test_of_boxes_that_overlap_the_best_one_is_left(
    limits: Limits, best_class_only: bool, expected: list[tuple[float, int, int]]
) -> None:
    boxes, scores, labels = suppressed(SCORES, limits, best_class_only=best_class_only)
    assert scores == [score for score, _, _ in expected]
    assert boxes == [BOXES[row].tolist() for _, row, _ in expected]
    assert labels == [label for _, _, label in expected]


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.float32])
def test_boxes_with_a_class_each_are_suppressed_within_it(kind: type) -> None:
    """Four classes would be four pixels apart if they were moved by their number alone."""
    labels = np.array([3, 2, 3, 0], kind)
    scores = np.array([[[0.9], [0.8], [0.7], [0.3]]], np.float32)

    def make(op: Ops) -> DetectionValues:
        return selection.suppress_labelled(
            op, value(op, -BOXES[None, :, [2, 3, 0, 1]]), value(op, scores), value(op, labels), Limits(0.45, 0.2, 9)
        )

    boxes, found, classes = detections(make)  # on the other side of the origin, too, they do not meet
    assert (found, classes) == ([0.9, 0.8, 0.3], [3, 2, 0])
    assert boxes == [(-BOXES[row, [2, 3, 0, 1]]).tolist() for row in (0, 1, 3)]


def test_a_single_candidate_keeps_its_axes() -> None:
    boxes, scores = BOXES[None, :1], np.array([[[0.5]]], np.float32)
    limits = Limits(0.5, 0.1, 9)
    makes: list[Callable[[Ops], DetectionValues]] = [
        lambda op: selection.suppress(op, value(op, boxes), value(op, scores), limits, best_class_only=True),
        lambda op: selection.suppress_labelled(
            op, value(op, boxes), value(op, scores), value(op, np.zeros(1, np.int64)), limits
        ),
        *(
            lambda op, one=one: selection.best_queries(
                op, value(op, boxes), value(op, scores), threshold=0.1, one_class=one, queries=1, classes=1
            )
            for one in (False, True)
        ),
    ]
    for make in makes:
        assert detections(make) == ([[0, 0, 10, 10]], [0.5], [0])


QUERIES = [[0.9, 0.8], [0.1, 0.3], [0.2, 0.7], [0.25, 0.05]]


@pytest.mark.parametrize(
    ("one_class", "threshold", "expected"),
    [
        (True, 0.0, [(0.9, 0, 0), (0.7, 2, 1), (0.3, 1, 1), (0.25, 3, 0)]),
        (True, 0.3, [(0.9, 0, 0), (0.7, 2, 1)]),  # a detection has a higher score
        (False, 0.0, [(0.9, 0, 0), (0.8, 0, 1), (0.7, 2, 1), (0.3, 1, 1)]),
        (False, 0.75, [(0.9, 0, 0), (0.8, 0, 1)]),
        (False, -1.0, [(0.9, 0, 0), (0.8, 0, 1), (0.7, 2, 1), (0.3, 1, 1)]),
    ],
)
def test_the_best_queries(one_class: bool, threshold: float, expected: list[tuple[float, int, int]]) -> None:
    given = np.array([QUERIES], np.float32)
    boxes, scores, labels = detections(
        lambda op: selection.best_queries(
            op, value(op, BOXES[None]), value(op, given), threshold=threshold, one_class=one_class, queries=4, classes=2
        )
    )
    assert list(zip(scores, boxes, labels, strict=True)) == [(s, BOXES[row].tolist(), k) for s, row, k in expected]


def test_a_classifiers_box_is_the_whole_input_and_at_most_a_thousand_classes_are_reported() -> None:
    few = np.array([[0.1, 0.6, 0.3]], np.float32)
    boxes, scores, labels = detections(lambda op: selection.best_classes(op, value(op, few), 3, CANVAS))
    assert (scores, labels) == ([0.6, 0.3, 0.1], [1, 2, 0])
    assert boxes == [[0, 0, WIDTH, HEIGHT]] * 3
    many = np.linspace(0, 1, 1003, dtype=np.float32)[None]
    _, _, labels = detections(lambda op: selection.best_classes(op, value(op, many), 1003, value(op, CANVAS)))
    assert labels == list(range(1002, 2, -1))


def test_what_fills_up_a_table_is_left_out_and_no_score_that_is_small() -> None:
    scores = np.array([0.0, 1e-7, -1.0, 0.5], np.float32)
    labels = np.arange(4)

    def make(op: Ops) -> DetectionValues:
        return DetectionValues(value(op, BOXES), value(op, scores), value(op, labels))

    assert detections(lambda op: selection.filled(op, make(op)))[2] == [1, 3]
    assert detections(lambda op: selection.above(op, make(op), 0))[2] == [0, 1, 2, 3]
    assert detections(lambda op: selection.above(op, make(op), 0.5))[2] == []
    zeros = detections(lambda op: DetectionValues(value(op, BOXES), (s := value(op, scores)), selection.zeros(op, s)))
    assert zeros[2] == [0] * 4


@pytest.mark.parametrize(
    ("activation", "background", "expected"),
    [
        ("none", "none", [[0, 2, -1], [1, 0, 0]]),
        ("none", "first", [[2, -1], [0, 0]]),
        ("none", "last", [[0, 2], [1, 0]]),
        ("sigmoid", "first", [[0.8808, 0.2689], [0.5, 0.5]]),
        ("softmax", "last", [[0.1142, 0.8438], [0.5761, 0.2119]]),  # it is over the background, too
    ],
)
def test_scores_become_probabilities_without_the_background(
    activation: str, background: str, expected: list[list[float]]
) -> None:
    logits = np.array([[[0, 2, -1], [1, 0, 0]]], np.float32)
    found = computed(lambda op: selection.activate(op, value(op, logits), activation, background))
    assert found[0] == pytest.approx(np.array(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("form", "scale", "expected"),
    [
        ("xyxy", "pixels", [1, 2, 4, 8]),
        ("yxyx", "pixels", [2, 1, 8, 4]),
        ("cxcywh", "pixels", [-1, -2, 3, 6]),
        ("xywh", "pixels", [1, 2, 5, 10]),
        ("xyxy", "normalized", [200, 200, 800, 800]),
        ("yxyx", "normalized", [400, 100, 1600, 400]),
        ("xywh", "normalized", [200, 200, 1000, 1000]),
    ],
)
@pytest.mark.parametrize("dynamic", [False, True])
def test_boxes_become_corners_in_pixels(form: str, scale: str, expected: list[float], dynamic: bool) -> None:
    boxes = np.array([[[1, 2, 4, 8]]], np.float32)
    found = computed(lambda op: to_corners(op, value(op, boxes), form, scale, value(op, CANVAS) if dynamic else CANVAS))
    assert found.tolist() == [[expected]]


def test_the_size_of_an_input_by_its_layout() -> None:
    for layout, shape in (("NCHW", (1, 3, HEIGHT, WIDTH)), ("NHWC", (1, HEIGHT, WIDTH, 3))):
        image = np.zeros(shape, np.float32)
        assert computed(lambda op, image=image, layout=layout: canvas_of(op, value(op, image), layout)).tolist() == [
            WIDTH,
            HEIGHT,
        ]


def test_words_that_are_no_choice_are_refused() -> None:
    _, op = graph()
    boxes = value(op, BOXES[None])
    for use, said in (
        (lambda: selection.activate(op, boxes, "tanh"), r"score_activation='tanh' is not one of: none, sigmoid, softm"),
        (lambda: to_corners(op, boxes, "xxyy", "pixels", CANVAS), "box_format='xxyy' is not one of: xyxy, yxyx, cxcyw"),
        (lambda: to_corners(op, boxes, "xyxy", "feet", CANVAS), "box_scale='feet' is not one of: pixels, normalized"),
    ):
        with pytest.raises(ValueError, match=said):
            use()


def test_a_name_that_the_graph_has_is_not_taken_twice() -> None:
    given, op = graph()
    found = DetectionValues(value(op, BOXES), op.Identity(np.float32([1, 2, 3, 4])), value(op, np.arange(4)))
    found.scores.name = "scores"
    assert selection.report(given, op, found) == ("boxes", "boxcam.scores", "labels")
    assert [output.name for output in given.outputs] == ["boxes", "boxcam.scores", "labels"]
    assert [output.shape for output in given.outputs] == [ir.Shape([None, 4]), ir.Shape([None]), ir.Shape([None])]
