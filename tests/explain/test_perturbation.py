"""Maps of masked images, of a model that is a formula: every weight and every pixel worked out by hand."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from boxcam.bundle import Logits, Manifest, Outputs, Preprocess, TracedTarget
from boxcam.errors import ArgumentError, BoxcamWarning
from boxcam.explain.masks import Mask, Masks
from boxcam.explain.methods.perturbation import Objects, Perturbation, overlaps
from boxcam.explain.options import Options
from boxcam.explain.perturbation import Draws, HiddenImage, draws_of, look, masked_parts
from boxcam.runtime.model import Prediction
from boxcam.runtime.preprocess import Transform
from boxcam.runtime.tensors import Tensors
from boxcam.types import IMAGE, Detections

HEIGHT, WIDTH = 20, 24  # of the model's input; the image is 10 x 12, drawn larger, and below it is padding
SPEC = Preprocess(
    24, 24, HEIGHT, WIDTH, "fit", "top-left", (0.0,) * 3, False, (10.0, 0.0, 0.0), (2.0, 1.0, 1.0), "RGB"
)  # fmt: skip
BOXES = 11


class Formula:
    """Boxes that it always finds, whose scores are pixels of its input, of which it gives the logits too."""

    path = "b.boxcam"

    def __init__(self, ends: tuple[str, ...] = ("end",), whole: bool = False) -> None:
        self.outputs = ("end", "scores")
        targets = (TracedTarget("logit", "origin", "logit", tuple(Logits(name, (), "Sigmoid") for name in ends)),)
        outputs = Outputs("boxes", "scores", "labels", whole_image=whole)
        self.manifest = Manifest("1", {}, ("a", "b"), "image", SPEC, outputs, targets, (), {})
        self.seen: list[Any] = []
        self.asked: list[tuple[str, ...]] = []

    def forward(self, tensor: Any, place: Transform, *, extra: tuple[str, ...]) -> Prediction:
        assert (place.height, place.width, place.resized_height) == (10, 12, HEIGHT)
        self.seen.append(tensor.copy())
        self.asked.append(tuple(extra))
        number = np.arange(BOXES)
        scores = 0.5 + tensor[0, 1, number, number].astype(np.float32) / 600
        labels = number % 2
        detections = Detections(
            np.stack([number, number, number + 4.0, number + 4.0], 1).astype(np.float32), scores, labels,
            ("",) * BOXES, np.stack([0 * number, 0 * number, number, labels], 1), np.log(scores / (1 - scores)),
        )  # fmt: skip
        logits = np.stack([np.where(labels == at, detections.logits, -9.0) for at in (0, 1)], 1)
        return Prediction(detections, number, place, Tensors({"end": logits[None].astype(np.float32)}))


def picture() -> Any:
    return np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)


def own_score(explained: Objects, found: Objects) -> Any:
    """The k-th box weighs what the score of the box of its place is, less a half."""
    number = explained.boxes[:, 0].astype(int)
    return found.scores[number] - 0.5


METHOD = Perturbation(own_score, "little", 30)


@pytest.mark.parametrize("count", [1, 5, 24, 30])
def test_a_map_is_the_mean_of_the_masks_by_their_weights_less_its_smallest_value(count: int) -> None:
    model, said = Formula(), []
    boxes = [10, 0, 3, 4, 5, 6, 7, 8, 2, 1]  # more than are added up at once
    looked = look(model, picture())  # type: ignore[arg-type]
    first = model.seen[0]
    found = masked_parts(model, METHOD, looked, boxes, Draws(count, 4), lambda *of: said.append((*of, len(model.seen))))  # type: ignore[arg-type]
    masks = Masks(HEIGHT, WIDTH)
    drawn = [masks.enlarge(mask) for mask in masks.draw(count, 4)]
    # The first 24 passes are run before any is weighed; of the others none is kept.
    assert said == [(done, count, 1 + min(max(done, 24), count)) for done in range(count + 1)]
    assert len(model.seen) == 1 + count
    assert set(model.asked) == {("end",)}
    black = np.float32([-5, 0, 0])[:, None, None]
    for seen, mask in zip(model.seen[1:], drawn, strict=True):
        assert seen[0, :, :HEIGHT] == pytest.approx((first[0, :, :HEIGHT] - black) * mask + black, abs=1e-4)
        assert (seen[0, :, HEIGHT:] == first[0, :, HEIGHT:]).all()  # padding is never hidden
    for box, (part,) in zip(boxes, found, strict=True):
        weights = [first[0, 1, box, box] * mask[box, box] / 600 for mask in drawn]
        total = np.einsum("n,nyx->yx", weights, drawn)
        assert part.cells.values == pytest.approx((total - total.min()) / (count * 0.5), abs=1e-6)
        assert part.cells.values.dtype == np.float32
        assert (part.tensor, part.cells.corner) == ("image", (0, 0))
        assert (part.grid.cell_height, part.grid.cell_width) == (0.5, 0.5)
        assert (part.grid.rows, part.grid.columns) == ((0, HEIGHT), (0, WIDTH))


def test_a_weight_sees_the_boxes_that_are_explained_and_all_that_is_found() -> None:
    model, seen = Formula(), []

    def weigh(explained: Objects, found: Objects) -> Any:
        seen.append((explained, found))
        return np.zeros(len(explained))

    looked = look(model, picture())  # type: ignore[arg-type]
    masked_parts(model, Perturbation(weigh, "", 3), looked, [4, 1], Draws(2, 0), lambda *of: None)  # type: ignore[arg-type]
    whole = looked[0].detections
    assert len(seen) == 2
    for explained, found in seen:
        assert explained.boxes.tolist() == whole.boxes[[4, 1]].tolist()
        assert explained.labels.tolist() == [0, 1]
        assert explained.scores.tolist() == whole.scores[[4, 1]].tolist()
        assert explained.classes is not None
        assert explained.classes[[0, 1], [0, 1]] == pytest.approx(whole.scores[[4, 1]], rel=1e-4)
        assert found.boxes.tolist() == whole.boxes.tolist()
        assert found.labels.tolist() == whole.labels.tolist()
        assert len(found) == BOXES
        assert found.classes is not None
        assert found.classes[np.arange(BOXES), whole.labels] == pytest.approx(found.scores, rel=1e-4)
    assert seen[0][1].scores.tolist() != seen[1][1].scores.tolist()


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (
            Formula(("gone",)),
            r"^bundle b\.boxcam was exported by an earlier boxcam and does not give its logits \(export the"
            r" model again\), so masks",
        ),
        (
            Formula(("end", "end")),
            r"^bundle b\.boxcam does not tell which of its logits are the classes of one box, so",
        ),
        (Formula(), None),
        (Formula(("gone",), whole=True), None),
    ],
)
def test_what_is_said_of_weights_that_are_made_of_scores(model: Formula, said: str | None) -> None:
    if said and "does not tell" in said:
        model.manifest = replace(model.manifest, labels=("a", "b", "c"))  # more than the logits have room for
    looked = look(model, picture())  # type: ignore[arg-type]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        masked_parts(model, METHOD, looked, [0], Draws(1, 0), lambda *of: None)  # type: ignore[arg-type]
    assert [one.category for one in caught] == [BoxcamWarning] * (said is not None)
    if said is not None:
        text = str(caught[0].message)
        assert re.search(said, text)
        assert text.endswith(
            ", so masks are weighed by IoU times the score of the same class, and not by IoU times the cosine of all"
            " class probabilities."
        )


def test_what_is_hidden_is_black_also_where_black_is_nought() -> None:
    model = Formula()
    model.manifest = replace(model.manifest, preprocess=replace(SPEC, mean=(0.0,) * 3))
    _, hidden = look(model, picture())  # type: ignore[arg-type]
    assert isinstance(hidden, HiddenImage)
    assert (hidden.masks.height, hidden.masks.width, hidden.corner) == (HEIGHT, WIDTH, (0, 0))
    shut = Mask(np.zeros((16, 16), np.float32), (0, 0))
    assert not hidden.behind(shut)[0, :, :HEIGHT].any()


def test_masks_are_as_many_as_the_method_has_and_of_seed_0_unless_others_are_asked_for() -> None:
    assert draws_of(METHOD, Options(method="d-rise")) == Draws(30, 0)
    assert draws_of(METHOD, Options(method="d-rise", masks=7, seed=3)) == Draws(7, 3)
    assert draws_of(METHOD, Options(method="d-rise", masks=np.int64(7), seed=0)) == Draws(7, 0)  # type: ignore[arg-type]
    assert draws_of(METHOD, Options(method="d-rise", layer=IMAGE)) == Draws(30, 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layer": ("c3", "c4")}, "it has no layer. Leave out layer='c3, c4', or pass another method=."),
        ({"layer": (IMAGE, "c4")}, "it has no layer. Leave out layer='image, c4', or pass another method=."),
        ({"target": "score"}, "it has no target. Leave out target='score', or pass another method=."),
        ({"engine": "onnx"}, "it has no engine. Leave out engine='onnx', or pass another method=."),
        ({"fuse": "max"}, "it has no fusion. Leave out fuse='max', or pass another method=."),
    ],
)
def test_what_is_of_layers_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        draws_of(METHOD, Options(method="d-rise", **given))
    assert str(caught.value) == f"the method 'd-rise' explains whole boxes by hiding parts of the image: {said}"


def test_what_a_method_of_masks_says_of_itself() -> None:
    assert (METHOD.passes, METHOD.counts, METHOD.takes) == ("31", "mask", ("masks", "seed"))
    assert (METHOD.layers, METHOD.reads, METHOD.averages, METHOD.times) == ("none", "none", False, None)


def test_objectness_is_the_share_of_the_score_in_its_class_and_1_at_most() -> None:
    boxes, classes = np.zeros((4, 4), np.float32), np.array([[0.8, 0.1], [0.2, 0.5], [0.3, 0.4], [0.5, 0.0]])
    found = Objects(boxes, np.array([0, 1, 0, 1]), np.float32([0.2, 0.5, 0.6, 0.3]), classes)
    assert found.objectness == pytest.approx([0.25, 1, 1, 1], rel=1e-6)
    assert found.objectness.dtype == np.float64


def test_overlaps_of_boxes_side_by_side_inverted_and_far_away() -> None:
    one = np.float32([[0, 0, 4, 2], [3, 1, 5, 7]])
    other = np.float32([[2, 0, 6, 2], [0, 0, 4, 2], [4, 2, 0, 0], [9, 9, 12, 12], [-3, -3, -1, -1]])
    # 4 of 12, all, none: an inverted box has no area, and nothing of those that lie apart, down and across.
    expected = [[4 / 12, 1, 0, 0, 0], [2 / 18, 1 / 19, 0, 0, 0]]
    assert overlaps(one, other) == pytest.approx(np.array(expected), rel=1e-12)
    assert overlaps(one, other[:0]).shape == (2, 0)
