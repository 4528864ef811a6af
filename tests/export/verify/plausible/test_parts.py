"""The parts of the criteria, by numbers that are worked out by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from boxcam.errors import UnknownNameError
from boxcam.export.verify.plausible import CRITERIA, check_names
from boxcam.export.verify.plausible.boxes import _of as faults_of
from boxcam.export.verify.plausible.criterion import Answer, Criterion
from boxcam.export.verify.plausible.formats import ALL, BoxFormat
from boxcam.export.verify.plausible.normalisation import usual

PAGE = Path(__file__).parents[4] / "docs" / "onnx.md"


@pytest.mark.parametrize(
    ("form", "scale", "numbers"),
    [
        ("xyxy", "pixels", [10, 20, 50, 80]),
        ("yxyx", "pixels", [20, 10, 80, 50]),
        ("xywh", "pixels", [10, 20, 40, 60]),
        ("cxcywh", "pixels", [30, 50, 40, 60]),
        ("xyxy", "normalized", [0.1, 0.1, 0.5, 0.4]),
        ("cxcywh", "normalized", [0.3, 0.25, 0.4, 0.3]),
        ("xywh", "grid", [1.25, 2.5, 5, 7.5]),
    ],
)
def test_one_box_in_all_formats(form: str, scale: str, numbers: list[float]) -> None:
    unit = {"pixels": [[1.0, 1]], "normalized": [[100.0, 200]], "grid": [[8.0, 8]]}[scale]
    one = BoxFormat(form, scale)
    assert np.allclose(one.corners(np.array([numbers]), np.array(unit)), [[10, 20, 50, 80]])
    assert np.allclose(one.numbers(np.array([[10, 20, 50, 80.0]]), np.array(unit)), [numbers])


def test_the_order_of_formats_is_that_of_the_options_and_each_is_there_once() -> None:
    assert len(set(ALL)) == len(ALL) == 12
    for one, other in itertools.permutations(ALL, 2):
        assert str(one) != str(other)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 1),
        (0, 255),
        (-1, 1),
        (-0.5, 0.5),
        (-2.118, 2.64),  # ImageNet
        (-1.79, 2.14),  # CLIP
        (-123.68, 151.06),  # Caffe
        (-0.4242, 2.8215),  # MNIST
        (-0.965, 1.18),  # BlazeFace of PaddleDetection
        (0, 2),
        (-128, 127),
    ],
)
def test_what_networks_take(low: float, high: float) -> None:
    assert usual(low, high)


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0, 1 / 255),  # divided twice
        (-1, -0.992),  # 0 to 1, and then Keras' -1 to 1
        (-2.118, 1113),  # ImageNet's means of pixels in 0 to 255
        (-11.4, 9.4),  # ImageNet's twice
        (-0.0083, 0.0104),  # ImageNet's, and then divided by 255
        (-2.118, -2.1),
        (0, 65025),  # multiplied by 255
        (-32767, 32258),
    ],
)
def test_what_networks_do_not_take(low: float, high: float) -> None:
    assert not usual(low, high)


def test_the_page_lists_every_criterion_by_its_name() -> None:
    listed = [line.split("`")[1] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert [name for name in listed if name in CRITERIA] == list(CRITERIA)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_says_what_it_asks_and_has_thresholds(name: str) -> None:
    criterion: Any = CRITERIA[name]
    assert criterion.name == name
    assert criterion.asks.endswith("?")
    assert criterion.limits
    check_names([name])


def test_another_name_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'scores'"):
        check_names(["score"])


def test_what_could_not_be_measured_is_no_figure() -> None:
    """JSON has no NaN, and a manifest with one could not be read."""
    answer = Answer("plausible", "two numbers", figures={"median": float("nan"), "cells": 1.2345})
    found = Criterion("any", "Is it?", {}, lambda reading: answer).judge(cast(Any, None))
    assert found is not None
    assert found.figures == {"cells": 1.23}


@pytest.mark.parametrize(
    ("side", "size", "is_tiny"),
    [(2.5, 64, False), (1.0, 64, True), (2.5, 320, True), (3.5, 320, False), (3.5, 640, True), (5, 1280, False)],
)
def test_a_box_of_few_pixels_is_one_on_a_small_input(side: float, size: int, is_tiny: bool) -> None:
    """And one of sides 0 to 1, as normalized, is none on any."""
    given = np.array([[10, 10, 10 + side, 10 + side]])
    assert dict(faults_of(given, (size, size // 2)))["tiny"].tolist() == [is_tiny]


@pytest.mark.parametrize("side", [np.inf, np.nan])
def test_a_box_without_an_end_is_none(side: float) -> None:
    given = np.array([[10, 10, side, 40], [10, 10, 30, 40]], np.float64)
    with np.errstate(invalid="ignore"):
        found = dict(faults_of(given, (64, 64)))
    assert np.logical_or.reduce(list(found.values())).tolist() == [True, False]
