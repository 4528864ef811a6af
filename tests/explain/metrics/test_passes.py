"""Metrics that run the model again: detectors whose answers are worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

import boxcam
from boxcam.errors import ArgumentError
from boxcam.explain.metrics import METRICS
from boxcam.explain.metrics.curve import exchanged
from boxcam.explain.metrics.faithfulness import deletion, insertion, overall
from boxcam.explain.metrics.fills import FILLS, noise
from boxcam.explain.metrics.local import local_deletion, local_insertion
from boxcam.explain.metrics.overlap import best_match, best_score, iou, share_covered
from boxcam.explain.metrics.sample import Sample, Thing
from boxcam.explain.metrics.scene import Scene
from boxcam.explain.metrics.vps import highest_confidence, success, vps_deletion, vps_insertion
from boxcam.types import Detections, Float, Image

BOX = np.float32([0, 0, 2, 2])


def found(*rows: tuple[list[float], float, int]) -> Detections:
    """Detections of some boxes, scores and classes."""
    count = len(rows)
    return Detections(
        np.array([row[0] for row in rows], np.float32).reshape(count, 4),
        np.array([row[1] for row in rows], np.float32),
        np.array([row[2] for row in rows], np.int64),
        tuple(str(row[2]) for row in rows),
        np.zeros((count, 2), np.int64),
        np.zeros(count, np.float32),
    )


def white_share(image: Image) -> Detections:
    """Finds the box with a score that is the share of its four pixels which are white; not at all below a fifth."""
    share = float((image[:2, :2] == 255).all(axis=2).mean())
    return found((BOX.tolist(), share, 1)) if share >= 0.2 else found()


def sample(values: Float, detect: Callable[[Image], Detections] = white_share, steps: int = 4) -> Sample:
    """A map on a white image of 4x4 pixels with the box in its corner."""
    return Sample(values, Thing(BOX, 1), (), Scene(detect, np.full((4, 4, 3), 255, np.uint8)), steps)


def ranked(*first: int) -> Float:
    """A map that is highest at some pixels, in this order, and then falls row by row."""
    rest = [pixel for pixel in range(16) if pixel not in first]
    values = np.zeros(16, np.float32)
    values[[*first, *rest]] = np.arange(16, 0, -1)
    return values.reshape(4, 4)


GOOD, BAD = ranked(0, 1, 4, 5), ranked(15, 14, 11, 10, 13, 12, 9, 8, 7, 6, 3, 2)


# Overlap


def test_iou_and_what_is_covered_by_hand() -> None:
    boxes = np.float32([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [1, 1, 1, 1]])
    assert iou(boxes, BOX).tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert iou(boxes[3:], boxes[3]).tolist() == [0]  # without an area
    assert share_covered(boxes, BOX).tolist() == pytest.approx([1, 1 / 2, 0, 0])


def test_the_best_match_is_of_the_same_class_and_largest_by_the_product() -> None:
    there = found(([0, 0, 2, 2], 0.5, 1), ([0, 0, 2, 1], 0.9, 1), ([0, 0, 2, 2], 1, 2))
    assert best_match(there, BOX, 1) == pytest.approx((1, 0.5))  # 0.5 against 0.45
    assert best_match(there, BOX, 2) == (1, 1)
    assert best_match(there, BOX, 3) == (0, 0)
    assert best_score(there, BOX, 1, 0.4) == pytest.approx(0.9)
    assert best_score(there, BOX, 1, 0.5) == pytest.approx(0.5)  # above, not at
    assert best_score(there, BOX, 3, 0.5) == 0


# Curves


def test_pixels_are_exchanged_in_order() -> None:
    start, end = np.zeros((1, 4, 3), np.uint8), np.full((1, 4, 3), 9, np.uint8)
    images = list(exchanged(start, end, np.array([2, 0, 3, 1]), np.array([1, 1, 3, 9])))
    assert [image[0, :, 0].tolist() for image in images] == [[0, 0, 9, 0], [0, 0, 9, 0], [9, 0, 9, 9], [9, 9, 9, 9]]
    assert not start.any()


def test_insertion_and_deletion_by_hand() -> None:
    # Four pixels a step: with the box's own first, it is there after the first step, and gone after it.
    good, bad = sample(GOOD), sample(BAD)
    assert good.insertion("black").weighted.tolist() == [0, 1, 1, 1, 1]
    assert insertion(good, "black") == pytest.approx((0.5 + 1 + 1 + 1) / 4)
    assert deletion(good, "black") == pytest.approx(0.5 / 4)
    assert overall(good, "black") == pytest.approx(3 / 4)
    assert insertion(bad, "black") == pytest.approx(0.5 / 4)
    assert overall(bad, "black") == pytest.approx(-3 / 4)


def test_curves_of_one_box_are_computed_once() -> None:
    one = sample(GOOD)
    for _ in range(2):
        overall(one, "black")
        vps_insertion(one, "iou")
        highest_confidence(one)
    assert one.scene.passes == 2 + 2 * 3  # the image, the black one, and three between them each way
    with pytest.raises(ArgumentError, match=r"steps=0 is not a whole number above 0\. Pass"):
        insertion(sample(GOOD, steps=0), "black")


def test_what_is_found_is_weighed_by_its_overlap_and_class() -> None:
    half = sample(GOOD, lambda image: found(([0, 0, 2, 1], 0.8, 1), ([0, 0, 2, 2], 1, 2)))
    assert insertion(half, "black") == pytest.approx(0.4)
    assert deletion(half, "black") == pytest.approx(0.4)
    assert vps_insertion(half, "class") == pytest.approx(0.8)
    assert vps_deletion(half, "iou") == pytest.approx(0.5)
    assert highest_confidence(half) == 0  # its IoU is not above 0.5


def test_vps_by_hand() -> None:
    def detect(image: Image) -> Detections:
        share = float((image[:2, :2] == 255).all(axis=2).mean())
        return found(([0, 0, 2, 1 if share < 1 else 2], share, 1)) if share else found()

    one = sample(ranked(0, 15, 14, 13, 1, 12, 11, 10, 4, 9, 8, 7, 5), detect)
    # shown by four pixels: a quarter of the box, a half, three quarters, all
    assert one.insertion("black").score.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert one.insertion("black").iou.tolist() == [0, 0.5, 0.5, 0.5, 1]
    assert vps_insertion(one, "class") == pytest.approx(0.5)
    assert vps_insertion(one, "iou") == pytest.approx((0.25 + 0.5 + 0.5 + 0.75) / 4)
    assert vps_insertion(one, "") == pytest.approx((0.0625 + 0.1875 + 0.3125 + 0.6875) / 4)
    assert vps_insertion(one, "") == insertion(one, "black")
    assert (highest_confidence(one), success(one)) == (1, 1)
    assert success(sample(GOOD, lambda image: found((BOX.tolist(), 0.35, 1)))) == 0  # at 0.35 it is none


def test_odams_local_protocol_by_hand() -> None:
    # The box has four pixels: a step is one pixel at least, so that every tenth step has exchanged ten more.
    good = sample(GOOD)
    assert local_insertion(good) == pytest.approx((0.5 + 9) / 10)
    assert local_deletion(good) == pytest.approx(0.5 / 10)
    assert good.scene.passes == 21
    bad = sample(BAD)  # ten pixels elsewhere first, then all
    assert local_deletion(bad) == pytest.approx((1 + 0.5) / 10)
    assert local_insertion(bad) == pytest.approx((0 + 0.5 + 8) / 10)


def test_local_steps_are_hundredths_of_the_area() -> None:
    seen: list[int] = []

    def detect(image: Image) -> Detections:
        seen.append(int((image[:, :, 0] == 255).sum()))
        return found(([0, 0, 30, 20], 0.5, 1))

    image = np.full((40, 40, 3), 255, np.uint8)
    box = Thing(np.float32([0, 0, 30, 20]), 1)
    local_insertion(Sample(np.ones((40, 40), np.float32), box, (), Scene(detect, image)))
    assert seen == list(range(60, 601, 60))


def test_deletion_is_a_share_of_the_score_before() -> None:
    assert local_deletion(sample(GOOD, lambda image: found((BOX.tolist(), 0.4, 1)))) == pytest.approx(1)
    assert local_insertion(sample(GOOD, lambda image: found((BOX.tolist(), 0.4, 1)))) == pytest.approx(0.4 * 9.5 / 10)
    assert math.isnan(local_deletion(sample(GOOD, lambda image: found())))


# Chance


def test_the_order_of_equal_values_is_by_the_seed() -> None:
    values = np.zeros((4, 4), np.float32)
    values[2, 1] = 1
    image = np.zeros((4, 4, 3), np.uint8)
    orders = [Scene(white_share, image, seed).order(values).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(order[0] == 9 and sorted(order) == list(range(16)) for order in orders)
    assert orders[0][1:] != sorted(orders[0][1:])  # not row by row


def test_negative_values_come_last() -> None:
    assert Scene(white_share, np.zeros((1, 4, 3), np.uint8)).order(np.float32([[-2, 3, -1, 0]])).tolist() == [
        1,
        3,
        2,
        0,
    ]


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_fills_hide_what_is_there_and_keep_its_form(name: str, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 50, channels), np.uint8)
    hidden = FILLS[name](image)
    assert (hidden.shape, hidden.dtype) == (image.shape, np.uint8)
    assert hidden.std() < image.std() / 4
    assert {"blur": abs(hidden.mean() - image.mean()) < 3, "mean": abs(hidden.mean() - image.mean()) < 1}.get(
        name, hidden.max() == 0
    )


def test_noise_is_that_of_the_seed() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    assert np.array_equal(noise(image, 3), noise(image, 3))
    assert not np.array_equal(noise(image, 3), noise(image, 4))
    assert abs(noise(image, 3).mean() - 127.5) < 5


# All of them, on the demo detector


def test_every_metric_tells_the_truth_from_its_opposite(signs: object, signs_model: boxcam.Model) -> None:
    """A map of the box itself against one of everything else, by each metric in its better direction."""
    explanation = boxcam.explain(signs_model, f"{signs}/images/cat.jpg", top=2)
    box, other = explanation.detections.boxes.astype(np.float64)
    scene = Scene(signs_model.detect, explanation.image)
    things = []
    for one in (box, other):
        mask = np.zeros(explanation.image.shape[:2], bool)
        x1, y1, x2, y2 = np.rint(one).astype(int)
        mask[y1:y2, x1:x2] = True
        things.append(Thing(one, int(explanation.detections.labels[len(things)]), mask))
    y, x = np.mgrid[: scene.image.shape[0], : scene.image.shape[1]]
    distance = np.hypot(x + 0.5 - (box[0] + box[2]) / 2, y + 0.5 - (box[1] + box[3]) / 2).astype(np.float32)
    right = np.exp(-((distance / (box[2] - box[0])) ** 2) * 6).astype(np.float32)
    wrong = np.where(things[0].mask, 0, distance)
    good, bad = (Sample(values, things[0], (things[1],), scene, 6) for values in (right, wrong))
    for name, metric in METRICS.loaded().items():
        for variant in ("black", "blur") if metric.fills else metric.variants:
            one, two = metric.measure(good, variant), metric.measure(bad, variant)
            assert math.isfinite(one), name
            assert math.isfinite(two), name
            if metric.better == "higher":
                assert one > two or (name.startswith("vps-") and one >= two), (name, variant, one, two)
            elif metric.better == "lower":
                assert one < two, (name, variant, one, two)
