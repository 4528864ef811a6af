"""The checks of ONNX gradients that need no model: what they pass, and what they must not."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from boxcam.export.verify import onnx_gradient
from boxcam.export.verify.onnx_gradient import _Errors
from boxcam.types import Patch

SHAPES = {0: (4, 5)}
GRADIENT = np.random.default_rng(0).standard_normal((3, 2, 2)).astype(np.float32)
PATCH = Patch(0, 0, (1, 2), GRADIENT)
NOTHING = Patch(0, 0, (0, 0), np.zeros((3, 0, 0), np.float32))
MEANS = dataclasses.replace(NOTHING, uniform=GRADIENT.sum((1, 2)) / np.float32(20))


def each(*patches: Patch) -> list[tuple[Patch, ...]]:
    """Boxes with one patch each, or none."""
    return [() if patch is NOTHING else (patch,) for patch in patches]


def error(check: onnx_gradient.Check) -> float:
    return check.error


def test_the_same_gradients_agree() -> None:
    assert error(onnx_gradient.against("neck", each(PATCH), each(PATCH), SHAPES)) == 0
    assert error(onnx_gradient.against("neck", each(NOTHING), each(NOTHING), SHAPES)) == 0
    assert error(onnx_gradient.means("neck", each(MEANS), each(PATCH), SHAPES)) < 1e-6
    assert error(onnx_gradient.means("neck", each(NOTHING), each(NOTHING), SHAPES)) == 0


def test_a_patch_is_compared_where_it_lies_and_not_how_it_is_stored() -> None:
    larger = np.zeros((3, 4, 4), np.float32)
    larger[:, 1:3, 1:3] = GRADIENT
    assert error(onnx_gradient.against("neck", each(Patch(0, 0, (0, 1), larger)), each(PATCH), SHAPES)) == 0
    uniform = dataclasses.replace(NOTHING, uniform=np.ones(3, np.float32))
    whole = Patch(0, 0, (0, 0), np.ones((3, 4, 5), np.float32))
    assert error(onnx_gradient.against("neck", each(uniform), each(whole), SHAPES)) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        dataclasses.replace(PATCH, corner=(1, 1)),
        dataclasses.replace(PATCH, gradient=GRADIENT * np.float32(1.001)),
        dataclasses.replace(PATCH, gradient=GRADIENT * np.float32(np.nan)),
        dataclasses.replace(PATCH, row=1),
        dataclasses.replace(PATCH, uniform=np.float32([0, 0, 0.01])),
        NOTHING,
    ],
)
def test_another_gradient_does_not_pass(wrong: Patch) -> None:
    check = onnx_gradient.against("neck", each(PATCH, wrong), each(PATCH, PATCH), SHAPES)
    assert not check.error <= check.limit


@pytest.mark.parametrize("wrong", [PATCH, dataclasses.replace(NOTHING, uniform=np.float32([0, 1, 0]))])
def test_a_gradient_where_there_is_none_does_not_pass(wrong: Patch) -> None:
    check = onnx_gradient.against("neck", each(wrong), each(NOTHING), SHAPES)
    assert not check.error <= check.limit


@pytest.mark.parametrize("wrong", [NOTHING, dataclasses.replace(MEANS, uniform=MEANS.uniform * np.float32(1.001))])
def test_other_means_do_not_pass(wrong: Patch) -> None:
    check = onnx_gradient.means("neck", each(MEANS, wrong), each(PATCH, PATCH), SHAPES)
    assert not check.error <= check.limit


@pytest.mark.parametrize(
    ("errors", "expected"),
    [([0.5], 0.5), ([2.0, 0.3], 0.3), ([2.0, 3.0, 4.0], 2.0), ([3.0, 2.0, 0.1], 0.1), ([math.nan, 0.1, 0.1], math.nan)],
)
def test_a_kink_by_chance_is_looked_at_from_elsewhere_and_a_fault_stays(
    monkeypatch: pytest.MonkeyPatch, errors: list[float], expected: float
) -> None:
    """What fails is tried at other features, three points at most; no number is no chance."""
    left = list(errors)
    monkeypatch.setattr(onnx_gradient, "_at_one_point", lambda *_: [_Errors("a", np.array([left.pop(0)]), 1.0)])
    (check,) = onnx_gradient.differences(*[None] * 4)  # type: ignore[arg-type]
    assert check.error == pytest.approx(expected, nan_ok=True)
    assert not left or errors[0] <= 1.0


def test_of_each_box_the_best_point_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinks of two boxes at two points are chance; a box that is wrong at all of them is not."""
    for points, expected in (([[2.0, 0.1], [0.2, 3.0], [9, 9]], 0.2), ([[2.0, 0.1], [4.0, 0.1], [3.0, 0.1]], 2.0)):
        left = [np.array(point) for point in points]
        monkeypatch.setattr(onnx_gradient, "_at_one_point", lambda *_, left=left: [_Errors("a", left.pop(0), 1.0)])
        (check,) = onnx_gradient.differences(*[None] * 4)  # type: ignore[arg-type]
        assert check.error == expected
        assert len(left) == (1 if expected == 0.2 else 0)
