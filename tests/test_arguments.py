"""Arguments that stand for boxes, and one value or several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import boxcam
from boxcam.arguments import number_of_box, numbers_of_boxes, several
from boxcam.errors import ArgumentError
from tests.explain.made import AGAINST, EVEN, LEFT, explanation


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (1, [1]),
        (-1, [2]),
        (np.int32(1), [1]),
        (np.array(1), [1]),
        (slice(1, None), [1, 2]),
        (slice(None, None, -2), [2, 0]),
        ([], []),
        (np.array([]), []),
        ([2, 0], [2, 0]),
        ((number for number in (2, 0)), [2, 0]),
        (range(2), [0, 1]),
        ({1: "a"}.keys(), [1]),
        ([True, False, True], [0, 2]),
        ((False, False, False), []),
        (np.array([False, True, True]), [1, 2]),
        ((number > 1 for number in range(3)), [2]),
    ],
)
def test_indices_slices_and_masks(given: Any, expected: list[int]) -> None:
    assert numbers_of_boxes(given, 3) == expected


WRONG: tuple[Any, ...] = (
    *(True, np.True_, np.array(True), [True, 1, 0], [0, False], np.array([[True, False, True]]), [[0]]),
    *(1.0, [0.5], np.array([1.0]), "0", b"0", None, [None], {"a": 1}, {0: "a"}, object()),
)


@pytest.mark.parametrize("given", WRONG)
def test_what_is_no_index_is_refused(given: Any) -> None:
    with pytest.raises(ArgumentError, match=r"is not the number of a box\. Pass an index, such as 0 "):
        numbers_of_boxes(given, 3)
    if not isinstance(given, list | np.ndarray):
        with pytest.raises(ArgumentError, match="is not the number of a box"):
            number_of_box(given, 3)


@pytest.mark.parametrize("mask", [[True], [True] * 4, np.zeros(2, bool), np.ones(4, bool)])
def test_a_mask_is_as_long_as_there_are_boxes(mask: Any) -> None:
    with pytest.raises(ArgumentError, match=rf"^a mask of {len(mask)} values? does not tell which of 3 boxes"):
        numbers_of_boxes(mask, 3)


@pytest.mark.parametrize("given", [3, -4, [0, 3], np.array([7]), 10**30])
def test_a_box_that_is_not_there(given: Any) -> None:
    with pytest.raises(IndexError, match=r"^there is no box -?\d+: there are 3, counted from 0\.$"):
        numbers_of_boxes(given, 3)


@pytest.mark.parametrize("mask", [[True, False, True], np.array([True, False, True])])
def test_everything_that_takes_boxes_takes_a_mask(mask: Any) -> None:
    found = explanation(EVEN, LEFT, AGAINST)
    assert [box.index for box in found[mask]] == [0, 2]
    assert np.array_equal(found.overlay(mask), found.overlay([0, 2]))
    assert not np.array_equal(found.overlay(mask), found.overlay([1, 0]))
    assert found.detections.select(mask).names == tuple(found.detections.names[k] for k in (0, 2))
    assert found.detections.select(1).names == found.detections.select(slice(1, 2)).names == found.detections.names[1:2]


@pytest.mark.parametrize("name", ["map", "depends", "has_evidence", "may_have_evidence", "all_parts"])
def test_everything_that_takes_one_box_refuses_the_same(name: str) -> None:
    found = explanation(EVEN, LEFT, AGAINST)
    ask = getattr(found, name)
    assert np.array_equal(ask(-1), ask(2))
    with pytest.raises(IndexError, match="there is no box 99: there are 3"):
        ask(99)
    for wrong in (True, 1.0, "1", [0], None):
        with pytest.raises(ArgumentError, match="is not the number of a box"):
            ask(wrong)


def test_boxes_above_a_score(signs_model: boxcam.Model, signs: Path) -> None:
    found = signs_model.explain(signs / "images" / "street.jpg")
    above = found[found.detections.scores > 0.98]
    assert 0 < len(above) < len(found)
    assert [box.score > 0.98 for box in found] == [box in above for box in found]


def test_several_are_read_once_whatever_holds_them() -> None:
    for given in ([1, 2], (1, 2), iter([1, 2]), {1: 0, 2: 0}.keys(), np.array([1, 2]), (x for x in (1, 2))):
        assert several(given) == (1, 2)
    for one in (1, "stop", b"stop", Path("stop"), 1.5, None, {"stop": 1}):
        assert several(one) == (one,)
    assert several(np.array(1)) == (1,)
    assert several([]) == ()
