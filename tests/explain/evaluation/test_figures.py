"""Matching, means and intervals, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from boxcam.explain.evaluation.bootstrap import interval
from boxcam.explain.evaluation.evaluation import Evaluation
from boxcam.explain.evaluation.matching import match
from boxcam.explain.evaluation.measurements import Case, Protocol
from boxcam.explain.evaluation.report import as_csv, as_facts, as_markdown, as_text, notes
from boxcam.explain.evaluation.truth import Truth
from boxcam.explain.metrics.sample import Thing
from boxcam.types import Detections

NAN = float("nan")


def detections(*rows: tuple[list[float], int]) -> Detections:
    count = len(rows)
    return Detections(
        np.array([row[0] for row in rows], np.float32).reshape(count, 4),
        np.linspace(0.9, 0.5, count).astype(np.float32),
        np.array([row[1] for row in rows], np.int64),
        tuple(str(row[1]) for row in rows),
        np.zeros((count, 2), np.int64),
        np.zeros(count, np.float32),
    )


def thing(*box: float, label: int = 0) -> Thing:
    return Thing(np.array(box, np.float64), label)


# Matching


def test_each_object_has_one_box_and_the_largest_overlap_comes_first() -> None:
    found = detections(([0, 0, 10, 8], 0), ([0, 0, 10, 10], 0), ([0, 0, 10, 10], 1), ([50, 50, 60, 60], 0))
    truth = Truth((thing(0, 0, 10, 10), thing(0, 0, 10, 7), thing(20, 0, 30, 10), thing(0, 0, 9, 9, label=-1)), ())
    matches = match(found, truth, 0.5)
    assert matches.things == (1, 0, None, None)  # the better box is not the one of the higher score
    assert matches.missed == 1  # what the model has no class for cannot be missed
    assert match(found, truth, 0.9).things == (None, 0, None, None)


def test_an_overlap_has_to_be_above_the_least() -> None:
    found, truth = detections(([0, 0, 10, 5], 0)), Truth((thing(0, 0, 10, 10),), ())
    assert match(found, truth, 0.5).things == (None,)
    assert match(found, truth, 0.49).things == (0,)


def test_a_box_in_a_crowd_is_neither_right_nor_wrong() -> None:
    found = detections(([0, 0, 10, 10], 0), ([0, 0, 10, 10], 1), ([95, 0, 115, 10], 0))
    matches = match(found, Truth((), (thing(0, 0, 100, 100),)), 0.5)
    assert (matches.things, matches.crowded, matches.missed) == ((None, None, None), frozenset({0}), 0)


def test_a_box_of_a_class_that_is_not_annotated_is_not_judged() -> None:
    found = detections(([0, 0, 10, 10], 0), ([0, 0, 10, 10], 1), ([30, 0, 40, 10], 1), ([30, 0, 40, 10], 0))
    matches = match(found, Truth((thing(0, 0, 10, 10),), (), {}, frozenset({0})), 0.5)
    assert (matches.things, matches.unjudged, matches.missed) == ((0, None, None, None), frozenset({1, 2}), 0)
    assert match(found, Truth((thing(0, 0, 10, 10),), ()), 0.5).unjudged == frozenset()


def test_nothing_to_match() -> None:
    assert match(detections(), Truth((thing(0, 0, 1, 1),), ()), 0.5).missed == 1
    assert match(detections(([0, 0, 1, 1], 0)), Truth((), ()), 0.5).things == (None,)


# Intervals


def test_an_interval_is_over_images_and_by_the_seed() -> None:
    values, groups = np.repeat([0.0, 1.0], 50), np.repeat([0, 1], 50)
    assert interval(values, groups, 0) == (0, 1)  # two images, however many boxes
    many = np.arange(100)
    low, high = interval(values, many, 0)
    assert 0.35 < low < 0.45
    assert 0.55 < high < 0.65
    assert interval(values, many, 0) == (low, high) != interval(values, many, 1)


def test_an_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        low, high = interval(rng.normal(size=40), np.arange(40), trial, 400)
        held += low <= 0 <= high
    assert 0.88 <= held / 200 <= 0.99


def test_one_image_tells_nothing_of_others() -> None:
    assert all(map(math.isnan, interval(np.arange(5.0), np.zeros(5), 0)))
    assert all(map(math.isnan, interval(np.zeros(0), np.zeros(0), 0)))


# Means


def evaluation() -> Evaluation:
    """Two methods, two metrics, four boxes of two images."""
    result = Evaluation("a.boxcam", "truth.json", Protocol(metrics=("energy", "odi")), (("m", "x"), ("n", "x|y")))
    values = [
        (0, (False, False), ((0.2, NAN), (0.6, NAN))),  # no other object
        (0, (False, True), ((0.9, 0.9), (NAN, NAN))),  # an empty map of the second
        (1, (False, False), ((0.4, 0.1), (0.8, 0.3))),
        (1, (False, False), ((0.6, 0.3), (0.7, 0.1))),
    ]
    result.cases = [Case(image, "stop", (0, 0, 1, 1), 0.5, empty, numbers) for image, empty, numbers in values]
    result.images, result.seconds, result.counts = ["a.jpg", "b.jpg"], [1.0, 3.0], {"boxes": 5}
    return result


def test_means_are_over_the_boxes_that_all_have() -> None:
    figures = {(one.row, one.metric): one for one in evaluation().figures()}
    assert figures[0, "energy"].mean == pytest.approx(1.2 / 3)
    assert figures[1, "energy"].mean == pytest.approx(2.1 / 3)
    assert figures[0, "odi"].mean == figures[1, "odi"].mean == pytest.approx(0.2)
    assert [one.boxes for one in figures.values()] == [3, 3, 2, 2]
    assert figures[0, "energy"].low == pytest.approx(0.2)
    assert math.isnan(figures[0, "odi"].low)  # of one image
    assert evaluation().empty() == {0: 0, 1: 1}


def test_what_is_written() -> None:
    result = evaluation()
    lines = as_text(result)
    assert lines[0].split() == ["metric", "m,", "x", "n,", "x|y", "boxes"]
    assert lines[1].startswith("energy ↑")
    assert lines[2].split() == ["odi", "↓", "0.200", "0.200", "2"]
    assert lines[3].split() == ["empty", "maps", "0", "1"]
    assert lines[4].split() == ["seconds", "an", "image", "0.500", "1.500"]
    assert "Boxes that have an empty map by some method, and are in no mean: 1 of 4." in notes(result)
    assert "| n, x\\|y |" in as_markdown(result)
    rows = as_csv(result).splitlines()
    assert rows[0] == "method,layer,metric,better,mean,low,high,boxes"
    assert rows[1] == "m,x,energy,higher,0.4,0.2,0.5,3"
    assert rows[3] == "m,x,odi,lower,0.2,,,2"
    facts = as_facts(result)
    assert facts["boxes"][1]["rows"] == [{"energy": 0.9, "odi": 0.9}, {"energy": None, "odi": None}]
    assert facts["rows"][1] == {"method": "n", "layer": "x|y", "empty_maps": 1, "seconds_per_image": 1.5}
    assert (facts["figures"][2]["low"], facts["figures"][2]["boxes"]) == (None, 2)


def test_no_box_at_all() -> None:
    empty = Evaluation("a", None, Protocol(metrics=("energy",)), (("m", ""),), seconds=[0.0])
    (figure,) = empty.figures()
    assert (figure.boxes, math.isnan(figure.mean)) == (0, True)
    assert as_text(empty)[1].split() == ["energy", "↑", "-", "0"]
    assert any("Without annotations" in note for note in notes(empty))
