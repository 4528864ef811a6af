"""What the user's own code finds is compared box by box."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from boxcam.errors import InputError
from boxcam.export.verify.expected import Comparison, Expected, Found, compare, read

BOXES = np.array([[10, 10, 50, 50], [60, 10, 90, 80], [5, 60, 40, 95.0]])
SCORES = np.array([0.9, 0.7, 0.4])
FOUND = Found(BOXES, SCORES, np.array([0, 1, 2]), ("car", "cat", "cup"))


def compared(**changes: Any) -> Comparison:
    given = {"boxes": BOXES, "scores": SCORES, "labels": ("car", "cat", "cup")} | changes
    return compare(Expected("mine.json", **given), FOUND)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"labels": (0, 1, 2)},
        {"boxes": BOXES[::-1], "scores": SCORES[::-1], "labels": ("cup", "cat", "car")},
        {"boxes": BOXES + np.array([1, -1, 1, -1])},  # IoU 0.9
        {"scores": SCORES + 0.05},
        {"labels": (1, 2, 3), "of_coco": True},  # counted from 1
        {"boxes": None},  # a classifier
    ],
)
def test_the_same_boxes_agree(changes: dict[str, Any]) -> None:
    found = compared(**changes)
    assert found.agrees
    assert len(found.pairs) == 3


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": ("car", "cat", "car")}, "car 0.40 at [5, 60, 40, 95] is not found (the nearest is cup 0.40"),
        ({"labels": (1, 2, 0)}, "cat 0.90 at [10, 10, 50, 50] is not found"),
        ({"boxes": BOXES + 20}, "car 0.90 at [30, 30, 70, 70] is not found (the nearest is car 0.90"),
        ({"scores": SCORES / 2}, "car 0.45 at [10, 10, 50, 50] is not found"),
        ({"boxes": BOXES[:2], "scores": SCORES[:2] - 0.05, "labels": (0, 1)}, "not expected: cup 0.40 at"),
        ({"boxes": BOXES[1:], "scores": SCORES[1:], "labels": (1, 2)}, "not expected: car 0.90 at [10, 10, 50, 50]"),
        ({"boxes": BOXES[:0], "scores": SCORES[:0], "labels": ()}, "not expected: car 0.90 at [10, 10, 50, 50]"),
        ({"boxes": None, "labels": ("car", "cat", "zebra")}, "zebra 0.40 is not found"),
        ({"boxes": None, "scores": np.array([0.3, 0.7, 0.4])}, "car 0.30 is not found"),
    ],
)
def test_others_do_not(changes: dict[str, Any], problem: str) -> None:
    found = compared(**changes)
    assert not found.agrees
    assert any(said.startswith(problem) for said in found.problems), found.problems


def test_a_score_just_above_the_lowest_need_not_be_expected() -> None:
    """The user's code may leave it out, as its scores differ a little."""
    ours = Found(BOXES, np.array([0.9, 0.7, 0.34]), FOUND.labels, FOUND.names)
    theirs = Expected("mine.json", BOXES[:2], SCORES[:2], (0, 1))
    assert compare(theirs, ours).agrees
    assert not compare(theirs, FOUND).agrees
    assert compare(theirs, FOUND, threshold=0.35).agrees


def test_many_boxes_that_are_not_expected_are_no_agreement() -> None:
    """However sure the boxes are that are expected: those may be all that the user's code finds."""
    boxes = np.stack([np.arange(21) * 20, np.zeros(21), np.arange(21) * 20 + 10, np.full(21, 10)], 1).astype(float)
    ours = Found(boxes, np.full(21, 0.94), np.zeros(21, np.int64), ("car",))
    found = compare(Expected("mine.json", boxes[:1], np.array([0.95]), ("car",)), ours)
    assert not found.agrees
    assert len(found.surplus) == 20


def test_one_box_in_ten_may_be_another() -> None:
    """Another NMS keeps other boxes."""
    boxes = np.stack([np.arange(20) * 10, np.zeros(20), np.arange(20) * 10 + 8, np.full(20, 8)], 1).astype(float)
    scores, labels = np.full(20, 0.8), np.zeros(20, np.int64)
    ours = Found(boxes, scores, labels, ("car",))
    for lost, agrees in ((2, True), (3, False)):
        moved = boxes + np.where(np.arange(20)[:, None] < lost, 500, 0)
        assert compare(Expected("mine.json", moved, scores, (0,) * 20), ours).agrees is agrees


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not valid JSON"),
        ("3", "neither a list nor an object"),
        ("[3]", "is not a list of detections"),
        ('[{"bbox": [1, 2, 3], "score": 1, "category_id": 1}]', "no 4 finite numbers"),
        ('[{"bbox": [1, 2, 3, 4], "score": NaN, "category_id": 1}]', "no 1 finite numbers"),
        ('[{"image_id": 1}, {"image_id": 2}]', "results of several images"),
        ('{"boxes": [[1, 2, 3, 4]], "scores": [1, 1], "labels": [1, 1]}', "not equal in number"),
        ('{"scores": [1], "labels": [0.5]}', "neither a class index nor a name"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(InputError, match=said):
        read(tmp_path / "mine.json")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read(tmp_path / "mine.json")
