"""Logits that are made up, by hand: where they are, and what their probabilities and scores are."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.bundle import Rows
from boxcam.runtime.planting import Planting, all_low, every_place, planted, scores_of


def test_classes_one_after_another() -> None:
    """Two rows of three classes and a background that comes first."""
    values = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.float32)
    one = Planting(values, Rows(1, 1, (1,)), 3, "Softmax")
    assert one.places(0).tolist() == [[0, 1], [1, 1]]
    assert one.places(2).tolist() == [[0, 3], [1, 3]]
    assert one.classes([1, 2]).tolist() == [[1, 1], [1, 2], [1, 3]]
    assert one.first([0, 3]) == 1
    whole = np.exp(np.arange(4.0)).sum()
    np.testing.assert_allclose(one.probabilities([1, 1]), np.exp([1.0, 2, 3]) / whole)
    np.testing.assert_allclose(one.shares(np.array([[0, 3, 9], [1, 0, 9]])), np.exp([3.0, 0]) / whole)


@pytest.mark.parametrize("place", [[0, 0], [1, 0]])
def test_the_background_is_no_class(place: list[int]) -> None:
    one = Planting(np.zeros((2, 4), np.float32), Rows(1, 1, (1,)), 3, "Softmax")
    with pytest.raises(ValueError, match=r"is no class logit"):
        one.first(place)


def test_classes_that_lie_apart() -> None:
    """Two anchors of two classes: the channels are class by class."""
    values = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    one = Planting(values, Rows(1, 2, (0, 1)), 2, "Sigmoid")
    assert one.places(1).tolist() == [[0, 2, 0], [0, 2, 1], [0, 3, 0], [0, 3, 1]]
    assert one.classes([0, 3, 1]).tolist() == [[0, 1, 1], [0, 3, 1]]
    assert (one.first([0, 2, 0]), one.first([0, 3, 0])) == (0, 1)
    np.testing.assert_allclose(one.probabilities([0, 1, 0]), 1 / (1 + np.exp([-2.0, -6])))


def test_a_softmax_of_classes_that_lie_apart() -> None:
    values = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    one = Planting(values, Rows(1, 2, (0, 1)), 2, "Softmax")
    np.testing.assert_allclose(one.probabilities([0, 3, 1]), np.exp([3.0, 7]) / np.exp([3.0, 7]).sum())


def test_two_boxes_in_a_row() -> None:
    """Two candidates of two classes in one row, each with a background behind."""
    values = np.array([[1, 2, 3, 4, 5, 6]], np.float32)
    one = Planting(values, Rows(1, 1, (0, 3)), 2, "Softmax")
    assert one.places(1).tolist() == [[0, 1], [0, 4]]
    np.testing.assert_allclose(one.probabilities([0, 4]), np.exp([4.0, 5]) / np.exp([4.0, 5, 6]).sum())
    low = values.copy()
    one.lower(low)
    assert low.tolist() == [[one.low, one.low, 3, one.low, one.low, 6]]
    assert one.low < values.min() - 50
    assert one.high > values.max() + 50


def test_probabilities_as_they_are() -> None:
    one = Planting(np.array([[0.25, 0.5]], np.float32), Rows(1, 1, (0,)), 2, "")
    assert (one.low, one.high) == (0, 1)
    assert one.probabilities([0, 1]).tolist() == [0.25, 0.5]


def test_two_tensors_and_two_that_are_one() -> None:
    wide = Planting(np.ones((1, 2, 2), np.float32), Rows(1, 1, (0,)), 2, "Sigmoid")
    flat = Planting(np.ones((2, 2), np.float32), Rows(1, 1, (0,)), 2, "Sigmoid")
    every = every_place([wide, flat], 1)
    assert every.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1], [1, 0, 1, 0], [1, 1, 1, 0]]
    made = planted(["a", "b"], [wide, flat], every[[1, 2]])
    assert made["a"].tolist() == [[[wide.low, wide.low], [wide.low, wide.high]]]
    assert made["b"].tolist() == [[flat.low, flat.high], [flat.low, flat.low]]
    assert list(all_low(["a", "a"], [flat, flat])) == ["a"]
    assert (flat.values == 1).all()


def test_scores() -> None:
    """A factor of 0.5 is told as 0.75; of 0 as 0.5; of 1 as 1."""
    shares, told = np.array([0.8, 0.8, 0.8]), np.array([0.75, 0.5, 1], np.float32)
    np.testing.assert_allclose(scores_of(shares, told, "product"), [0.4, 0, 0.8], atol=1e-7)
    np.testing.assert_allclose(scores_of(shares, np.sqrt(told), "root"), np.sqrt([0.4, 0, 0.8]), atol=1e-3)
