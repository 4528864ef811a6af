"""Along which axis of the logits the classes lie, told from boxes alone, and the probabilities that are read there."""

from __future__ import annotations

import dataclasses
from itertools import zip_longest
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from boxcam.bundle import ClassAxis, Logits, Manifest, Outputs, Preprocess, TracedTarget
from boxcam.errors import RunError
from boxcam.explain.class_scores import ClassScores
from boxcam.runtime.model import Prediction
from boxcam.runtime.preprocess import Transform
from boxcam.runtime.tensors import Tensors
from boxcam.types import Detections

CLASSES = 4


def manifest(*activations: str, classes: tuple[ClassAxis | None, ...] = (), **others: Any) -> Manifest:
    """Of a model of four classes, whose logits are in tensors ``end0``, ``end1`` …, of these activations."""
    ends = tuple(Logits(f"end{number}", (), activation) for number, activation in enumerate(activations))
    ends = tuple(dataclasses.replace(end, classes=way) for end, way in zip_longest(ends, classes))
    given = Manifest(
        boxcam="1",
        source={},
        labels=("a", "b", "c", "d"),
        input="image",
        preprocess=Preprocess(8, 8, 8, 8, "fit", "top-left", (0,) * 3, False, (0,) * 3, (1,) * 3, "BGR"),
        outputs=Outputs("boxes", "scores", "labels"),
        targets=(TracedTarget("logit", "origin", "logit", ends),),
        layers=(),
        verification={},
    )
    return dataclasses.replace(given, **others)


def prediction(shapes: list[tuple[int, ...]], *boxes: tuple[int, list[int]]) -> Prediction:
    """Boxes of a class and an origin each, in tensors of random numbers."""
    rng = np.random.default_rng(0)
    values = {f"end{number}": rng.normal(size=shape).astype(np.float32) for number, shape in enumerate(shapes)}
    width = 1 + max(map(len, shapes))
    origin = np.array([[*of, *[0] * (width - len(of))] for _, of in boxes], np.int64).reshape(-1, width)
    count = len(boxes)
    detections = Detections(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.zeros(count, np.float32),
        labels=np.array([label for label, _ in boxes], np.int64),
        names=("",) * count,
        origin=origin,
        logits=np.zeros(count, np.float32),
    )
    return Prediction(detections, np.arange(count), Transform(8, 8, 8, 8, 8, 8, 0, 0), Tensors(values))


def read(of: Manifest, seen: Prediction) -> Any:
    classes = ClassScores(of, [seen])
    assert classes.known == (classes.of(seen) is not None)
    return classes.of(seen)


def sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-np.asarray(values, np.float64)))


def test_a_row_for_each_place() -> None:
    seen = prediction([(1, 53, 4)], (2, [0, 0, 7, 2]), (0, [0, 0, 40, 0]), (3, [0, 0, 9, 3]))
    rows = seen.outputs["end0"][0, [7, 40, 9]]
    assert read(manifest("Sigmoid"), seen) == pytest.approx(sigmoid(rows), rel=1e-6)
    assert read(manifest("Identity"), seen).tolist() == rows.tolist()


def test_columns_of_something_else_before_and_after_the_classes() -> None:
    seen = prediction([(1, 53, 12)], (2, [0, 0, 7, 7]), (0, [0, 0, 40, 5]), (3, [0, 0, 9, 8]))
    assert read(manifest("Identity"), seen).tolist() == seen.outputs["end0"][0, [7, 40, 9], 5:9].tolist()
    assert read(manifest("Softmax"), seen) is None  # that is over all of them, and they are not all classes


def test_anchors_along_the_channels_of_several_maps() -> None:
    shapes: list[tuple[int, ...]] = [(1, 12, 9, 9), (1, 8, 5, 5)]
    boxes = [(1, [0, 0, 9, 3, 4]), (3, [0, 0, 3, 8, 0]), (2, [1, 0, 6, 0, 1]), (0, [0, 0, 4, 7, 7])]
    seen = prediction(shapes, *boxes, (0, [1, 0, 0, 4, 2]))
    first, second = seen.outputs["end0"][0], seen.outputs["end1"][0]
    expected = [first[8:12, 3, 4], first[0:4, 8, 0], second[4:8, 0, 1], first[4:8, 7, 7], second[0:4, 4, 2]]
    assert read(manifest("Identity", "Identity"), seen).tolist() == np.stack(expected).tolist()


def test_each_tensor_has_a_layout_of_its_own_along_the_same_axis() -> None:
    """Three anchors of four classes in the first, one with five other numbers before its classes in the second."""
    shapes: list[tuple[int, ...]] = [(1, 12, 9, 9), (1, 9, 7, 7)]
    boxes = [(1, [0, 0, 9, 3, 4]), (3, [0, 0, 3, 8, 0]), (2, [1, 0, 7, 0, 1]), (0, [1, 0, 5, 6, 5])]
    seen = prediction(shapes, *boxes)
    first, second = seen.outputs["end0"][0], seen.outputs["end1"][0]
    expected = [first[8:12, 3, 4], first[0:4, 8, 0], second[5:9, 0, 1], second[5:9, 6, 5]]
    assert read(manifest("Identity", "Identity"), seen).tolist() == np.stack(expected).tolist()


def test_the_tensors_that_a_pass_has_to_give_are_those_that_the_bundle_has() -> None:
    model = SimpleNamespace(manifest=manifest("Sigmoid", "Sigmoid", "Sigmoid"), outputs=("end2", "boxes", "end0"))
    assert ClassScores.names(model) == ("end0", "end2")  # type: ignore[arg-type]


def test_anchors_that_have_more_than_classes_each() -> None:
    """Four sides and an objectness before the classes of each anchor, as of a YOLOv5 that is not yet decoded."""
    seen = prediction([(1, 27, 6, 6)], (1, [0, 0, 6, 2, 2]), (2, [0, 0, 16, 3, 5]), (0, [0, 0, 23, 0, 1]))
    of = seen.outputs["end0"][0]
    expected = [of[5:9, 2, 2], of[14:18, 3, 5], of[23:27, 0, 1]]
    assert read(manifest("Identity"), seen).tolist() == np.stack(expected).tolist()
    # One place further, where those of two boxes begin has no distance that divides the channels.
    assert read(manifest("Identity"), prediction([(1, 27, 6, 6)], (1, [0, 0, 6, 2, 2]), (2, [0, 0, 17, 4, 5]))) is None


@pytest.mark.parametrize("background", [0, 4])
def test_a_softmax_is_over_the_background_too(background: int) -> None:
    shift = 1 if background == 0 else 0
    seen = prediction([(1, 53, 5)], (2, [0, 0, 7, 2 + shift]), (0, [0, 0, 40, shift]), (3, [0, 0, 9, 3 + shift]))
    rows = seen.outputs["end0"][0, [7, 40, 9]].astype(np.float64)
    expected = np.exp(rows) / np.exp(rows).sum(1, keepdims=True)
    assert read(manifest("Softmax"), seen) == pytest.approx(np.delete(expected, background, 1), rel=1e-6)


def test_a_softmax_of_large_numbers_is_finite() -> None:
    seen = prediction([(1, 3, 4)], (2, [0, 0, 1, 2]), (0, [0, 0, 2, 0]))
    seen.outputs["end0"][:] *= 2000
    found = read(manifest("Softmax"), seen)
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx([1, 1])


def test_a_softmax_over_two_more_than_the_classes_or_of_boxes_that_differ_is_not_known() -> None:
    boxes = (2, [0, 0, 7, 2]), (0, [0, 0, 40, 0])
    assert read(manifest("Softmax"), prediction([(1, 53, 6)], *boxes)) is None
    assert read(manifest("Softmax"), prediction([(1, 53, 5)], *boxes)) is not None
    assert read(manifest("Softmax"), prediction([(1, 53, 5)], (2, [0, 0, 7, 2]), (0, [0, 0, 40, 1]))) is None


@pytest.mark.parametrize(
    "shape",
    [
        (1, 53, 3),  # fewer than there are classes
        (1, 5, 5),  # both axes may be it
    ],
)
def test_where_it_cannot_be_told(shape: tuple[int, ...]) -> None:
    boxes = (2, [0, 0, 2, 2]), (1, [0, 0, 1 if shape[1] == 5 else 40, 1])
    assert read(manifest("Sigmoid"), prediction([shape], *boxes)) is None


def test_of_one_axis_for_all_tensors() -> None:
    """The first tensor alone would leave two axes; the second one tells."""
    shapes: list[tuple[int, ...]] = [(1, 5, 4), (1, 53, 4)]
    boxes = (2, [0, 0, 2, 2]), (1, [0, 0, 1, 1]), (1, [1, 0, 17, 1]), (3, [1, 0, 40, 3])
    assert read(manifest("Sigmoid", "Sigmoid"), prediction(shapes, *boxes)) is not None
    assert read(manifest("Sigmoid"), prediction(shapes[:1], *boxes[:2])) is None
    longer = prediction([(1, 5, 4), (53, 4)], *boxes[:2], (1, [1, 17, 1]))
    assert read(manifest("Sigmoid", "Sigmoid"), longer) is None


def test_classes_lie_wholly_inside_of_their_axis() -> None:
    right = (0, [0, 0, 7, 4]), (3, [0, 0, 8, 7])
    assert read(manifest("Sigmoid"), prediction([(1, 53, 8)], *right)) is not None
    after, before = ((0, [0, 0, 7, 5]), (2, [0, 0, 8, 7])), ((1, [0, 0, 7, 0]), (3, [0, 0, 8, 2]))
    for wrong in (after, before):  # they would begin at 5 and end after it, or begin at -1
        assert read(manifest("Sigmoid"), prediction([(1, 53, 8)], *wrong)) is None


@pytest.mark.parametrize(
    "others",
    [
        {"outputs": Outputs("boxes", "scores", "labels", whole_image=True)},
        {"labels": ()},
        {"targets": (TracedTarget("top", "origin", "top", (Logits("end0", (), "Sigmoid"),)),)},
        {"targets": (TracedTarget("logit", "origin", "logit", (Logits("end0", (), "Exp"),)),)},
        {"targets": (TracedTarget("logit", "origin", "logit", (Logits("gone", (), "Sigmoid"),)),)},
    ],
)
def test_models_whose_classes_are_not_read(others: dict[str, Any]) -> None:
    seen = prediction([(1, 53, 4)], (2, [0, 0, 7, 2]), (0, [0, 0, 40, 0]))
    assert read(manifest("Sigmoid"), seen) is not None
    assert read(manifest("Sigmoid", **others), seen) is None


def test_without_a_box_nothing_is_known() -> None:
    assert not ClassScores(manifest("Sigmoid"), [prediction([(1, 53, 4)])]).known
    assert not ClassScores(manifest("Sigmoid"), []).known


class TestWhatTheManifestSays:
    """Where classes lie was written at export: then no boxes are asked."""

    def test_one_box_is_enough(self) -> None:
        seen = prediction([(1, 9, 9, 9)], (1, [0, 0, 5, 3, 4]))
        assert not ClassScores(manifest("Sigmoid"), [seen]).known
        told = manifest("Sigmoid", classes=(ClassAxis(1, 1),))
        assert read(told, seen) == pytest.approx(sigmoid(seen.outputs["end0"][0, 4:8, 3, 4])[None], rel=1e-6)

    def test_classes_that_are_several_places_apart(self) -> None:
        """Channels are four classes of three anchors each."""
        seen = prediction([(1, 12, 2, 2)], (1, [0, 0, 5, 1, 0]), (3, [0, 0, 9, 0, 1]))
        classes = ClassScores(manifest("Identity", classes=(ClassAxis(1, 3),)), [seen])
        of = seen.outputs["end0"][0]
        found = classes.of(seen)
        assert found is not None
        assert found.tolist() == [of[2::3, 1, 0].tolist(), of[0::3, 0, 1].tolist()]
        values, origins = classes.logits(seen, 0) or (None, None)
        assert values is not None
        assert origins is not None
        assert values.tolist() == of[2::3, 1, 0].tolist()
        assert origins.tolist() == [[0, 0, channel, 1, 0] for channel in (2, 5, 8, 11)]

    def test_an_axis_for_each_tensor(self) -> None:
        shapes: list[tuple[int, ...]] = [(1, 4, 9), (9, 4)]
        seen = prediction(shapes, (1, [0, 0, 1, 7]), (2, [1, 5, 2]))
        told = manifest("Identity", "Identity", classes=(ClassAxis(1, 1), ClassAxis(1, 1)))
        expected = [seen.outputs["end0"][0, :, 7].tolist(), seen.outputs["end1"][5].tolist()]
        assert read(told, seen).tolist() == expected

    def test_boxes_of_a_tensor_that_it_says_nothing_of_are_asked(self) -> None:
        shapes: list[tuple[int, ...]] = [(1, 53, 4), (1, 53, 4)]
        boxes = (2, [0, 0, 7, 2]), (0, [1, 0, 40, 0]), (3, [1, 0, 9, 3])
        half = manifest("Sigmoid", "Sigmoid", classes=(ClassAxis(2, 1), None))
        classes = ClassScores(half, [prediction(shapes, *boxes)])
        assert classes.known
        square: list[tuple[int, ...]] = [(1, 53, 4), (1, 4, 4)]
        seen = prediction(square, (2, [0, 0, 7, 2]), (1, [1, 0, 1, 1]))
        classes = ClassScores(half, [seen])
        assert not classes.known
        assert classes.tells(seen, [0])
        assert not classes.tells(seen, [0, 1])
        assert classes.tells(seen, [])
        assert classes.logits(seen, 0) is not None
        assert classes.logits(seen, 1) is None

    def test_boxes_do_not_outvote_what_the_graph_says_of_another_tensor(self) -> None:
        """Channels are classes by anchors, as the graph says; so few boxes would also do for anchors first."""
        seen = prediction([(1, 12, 3, 3), (1, 12, 3, 3)], (1, [0, 0, 5, 1, 0]), (1, [1, 0, 5, 2, 1]))
        classes = ClassScores(manifest("Sigmoid", "Sigmoid", classes=(ClassAxis(1, 3), None)), [seen])
        assert classes.tells(seen, [0])
        assert not classes.tells(seen, [1])
        assert not classes.known
        assert classes.logits(seen, 1) is None
        assert ClassScores(manifest("Sigmoid", "Sigmoid"), [seen]).known  # in a bundle that does not say it

    def test_a_softmax_over_several_boxes_tells_logits_and_no_probabilities(self) -> None:
        """As of an SSD, whose channels are anchors by (background, classes)."""
        seen = prediction([(1, 15, 3, 3)], (1, [0, 0, 7, 1, 2]))
        classes = ClassScores(manifest("Softmax", classes=(ClassAxis(1, 1),)), [seen])
        assert not classes.known
        assert classes.of(seen) is None
        values, _ = classes.logits(seen, 0) or (None, None)
        assert values is not None
        assert values.tolist() == seen.outputs["end0"][0, 6:10, 1, 2].tolist()

    @pytest.mark.parametrize(
        ("label", "channel", "step"),
        [(1, 0, 1), (0, 6, 1), (-1, 4, 1), (4, 3, 1), (1 << 62, 4, 1), (1, 4, 3), (1, 4, 1 << 40)],
    )
    def test_classes_that_are_said_to_lie_outside_of_their_tensor_are_refused(
        self, label: int, channel: int, step: int
    ) -> None:
        seen = prediction([(1, 9, 2, 2)], (label, [0, 0, channel, 1, 1]))
        classes = ClassScores(manifest("Sigmoid", classes=(ClassAxis(1, step),)), [seen])
        with pytest.raises(RunError, match=r"do not all lie within end0 \[1, 9, 2, 2\].* Export the model again"):
            classes.of(seen)
        with pytest.raises(RunError, match="do not all lie within end0"):
            classes.logits(seen, 0)

    @pytest.mark.parametrize(
        "others",
        [
            {"outputs": Outputs("boxes", "scores", "labels", whole_image=True)},
            {"labels": ()},
            {"targets": (TracedTarget("logit", "origin", "logit", (Logits("e", (), "Exp", ClassAxis(2, 1)),)),)},
            {"targets": (TracedTarget("logit", "origin", "logit", (Logits("gone", (), "Sigmoid", ClassAxis(2, 1)),)),)},
            {"targets": (TracedTarget("logit", "origin", "logit", (Logits("end0", (), "Sigmoid", ClassAxis(3, 1)),)),)},
        ],
    )
    def test_models_whose_classes_are_not_read_all_the_same(self, others: dict[str, Any]) -> None:
        seen = prediction([(1, 5, 5)], (2, [0, 0, 2, 2]))
        told = manifest("Sigmoid", classes=(ClassAxis(2, 1),))
        assert read(told, seen) is not None
        assert read(dataclasses.replace(told, **others), seen) is None
