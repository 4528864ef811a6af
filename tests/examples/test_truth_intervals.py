"""The intervals of the benchmark's figures."""

from __future__ import annotations

import numpy as np
import pytest

from examples.truth.intervals import UNKNOWN, Sample, auroc, mean_of_means


def sample(values: np.ndarray, first: int = 0) -> Sample:
    """Each value is of a scene of its own."""
    return Sample(values, range(first, first + len(values)))


def test_an_interval_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(0, 1, 400)
    found = mean_of_means([sample(values)])
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_samples_count_alike_whatever_their_size() -> None:
    found = mean_of_means([sample(np.ones(100)), sample(np.zeros(2))])
    assert (found.value, found.low, found.high) == (0.5, 0.5, 0.5)
    many = mean_of_means([sample(np.random.default_rng(k).normal(0, 1, 400), 1000 * k) for k in range(4)])
    assert many.high - many.low == pytest.approx(2 * 1.96 / 40, rel=0.15)


def test_boxes_of_one_scene_are_not_independent() -> None:
    values = np.random.default_rng(0).normal(0, 1, 100)
    once, four = sample(values), Sample(np.tile(values, 4), list(range(100)) * 4)
    assert mean_of_means([four]).low == pytest.approx(mean_of_means([once]).low)
    assert mean_of_means([four]).high == pytest.approx(mean_of_means([once]).high)
    both = mean_of_means([once, Sample(-values, once.scenes)])  # what one has too much of, the other has too little of
    assert (both.low, both.high) == (pytest.approx(0), pytest.approx(0))


def test_auroc_counts_ties_by_half() -> None:
    assert auroc(sample(np.array([1.0, 1.0])), sample(np.array([1.0, 0.0]))).value == 0.75
    assert auroc(sample(np.array([0.0])), sample(np.array([1.0]))).value == 0


def test_the_interval_of_an_auroc_has_it_in_it() -> None:
    rng = np.random.default_rng(0)
    found = auroc(sample(rng.normal(1, 1, 40)), sample(rng.normal(0, 1, 40), 100))
    assert 0.5 < found.low < found.value < found.high < 0.9
    assert found.high - found.low == pytest.approx(0.24, abs=0.03)
    assert auroc(sample(np.array([3.0, 4.0])), sample(np.array([1.0, 2.0]))).low == 1.0


def test_what_is_of_one_scene_has_no_interval() -> None:
    found = mean_of_means([sample(np.ones(5)), Sample(np.ones(2), [0, 0])])
    assert found.value == 1
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(auroc(sample(np.ones(1)), sample(np.zeros(3))).low)
    assert mean_of_means([sample(np.ones(5)), sample(np.ones(0))]) is UNKNOWN
    assert auroc(sample(np.ones(0)), sample(np.zeros(3))) is UNKNOWN
