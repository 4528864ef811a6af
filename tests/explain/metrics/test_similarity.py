"""How alike maps are: by hand, and as scipy and scikit-image have it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import skimage.metrics

from boxcam.errors import ArgumentError
from boxcam.explain.metrics.similarity import rank_correlation, structural_similarity
from boxcam.types import Float


def row(*values: float) -> Float:
    return np.array([values], np.float32)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (row(1, 2, 3), row(10, 200, 3000), 1),
        (row(1, 2, 3), row(3, 2, 1), -1),
        (row(1, 2, 3, 4), row(1, 2, 4, 3), 0.8),  # 1 - 6 · 2 / (4 · 15)
        (row(1, 1, 2), row(1, 2, 3), math.sqrt(3) / 2),  # ranks ½ ½ 2 and 0 1 2
        (row(-5, 1, 2), row(-1, 1, 2), 1),
        (row(-5, -1, 2), row(1, 2, 3), math.sqrt(3) / 2),  # what is negative is no evidence, and equal
        (row(1, 2, 3, 0, 0, 0), row(3, 2, 1, 0, 0, 0), -1),  # what is 0 in both does not count
        (row(1, 2, 0), row(0, 2, 1), 0.5),
        (row(1, 1, 1), row(1, 2, 3), math.nan),
        (row(0, 0, 0), row(1, 2, 3), math.nan),
        (row(0, 0, 0), row(0, 0, 0), math.nan),
    ],
)
def test_rank_correlation_by_hand(one: Float, other: Float, expected: float) -> None:
    assert rank_correlation(one, other) == pytest.approx(expected, nan_ok=True)
    assert rank_correlation(other, one) == pytest.approx(expected, nan_ok=True)


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(0)
    one, other = (rng.integers(1, 50, (40, 30)).astype(np.float32) for _ in range(2))
    other += one
    expected = scipy.stats.spearmanr(one.ravel(), other.ravel()).statistic
    assert rank_correlation(one, other) == pytest.approx(expected, abs=1e-12)
    assert 0.5 < expected < 0.9


def test_structural_similarity_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    one = rng.random((40, 30)).astype(np.float32)
    other = (one * 0.7 + rng.random((40, 30)) * 0.3).astype(np.float32)
    expected = skimage.metrics.structural_similarity(
        *(heat.astype(np.float64) / heat.max() for heat in (one, other)),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    assert structural_similarity(one, other) == pytest.approx(expected, abs=1e-6)
    assert 0.3 < expected < 0.95
    around = [np.pad(heat, ((5, 60), (70, 8))) for heat in (one, other)]
    assert structural_similarity(*around) == pytest.approx(expected, abs=1e-6)  # what is 0 in both does not count


def test_structural_similarity_without_anything_to_compare() -> None:
    some = np.zeros((20, 20), np.float32)
    some[3:16, 3:16] = 1
    assert math.isnan(structural_similarity(some, np.zeros_like(some)))
    assert math.isnan(structural_similarity(some, -some))
    assert math.isnan(structural_similarity(some[:, :13], some[:, :13]))  # ten columns that are not 0
    assert structural_similarity(some, some * 7) == pytest.approx(1)


def test_large_maps_are_compared_at_a_smaller_size() -> None:
    small = np.random.default_rng(0).random((100, 400)).astype(np.float32)
    other = small[::-1]
    large = [np.kron(heat, np.ones((3, 3), np.float32)) for heat in (small, other)]
    assert rank_correlation(*large) == pytest.approx(rank_correlation(small, other), abs=1e-6)
    assert structural_similarity(*large) == pytest.approx(structural_similarity(small, other), abs=1e-5)


def test_what_is_not_a_pair_of_maps_is_refused() -> None:
    with pytest.raises(
        ArgumentError, match=r"values= of shapes \[1, 2\] and \[1, 3\] cannot be compared\. Pass two maps"
    ):
        rank_correlation(row(1, 2), row(1, 2, 3))
    with pytest.raises(ArgumentError, match="is not a map"):
        structural_similarity(row(1, math.nan), row(1, 2))
