"""The steps of a path: the mean of two gradients, and the blurred image that it begins with."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from boxcam.bundle import Layer
from boxcam.errors import RunError
from boxcam.explain.path import _mean, blurred
from boxcam.types import Patch

LAYER = Layer("neck", "map", (), ())


def patch(value: float, uniform: float | None = None, **others: Any) -> Patch:
    given: dict[str, Any] = {"tensor": 1, "row": 2, "corner": (3, -4), **others}
    means = None if uniform is None else np.array([uniform, 8], np.float32)
    return Patch(gradient=np.full((2, 3, 3), value, np.float32), uniform=means, **given)


def test_a_mean_is_of_the_patch_and_of_what_is_uniform() -> None:
    plain = _mean(patch(1), patch(4), LAYER)
    assert (plain.tensor, plain.row, plain.corner, plain.uniform) == (1, 2, (3, -4), None)
    assert (plain.gradient == 2.5).all()
    both = _mean(patch(1, 2), patch(4, 5), LAYER)
    assert (both.gradient == 2.5).all()
    assert both.uniform is not None
    assert both.uniform.tolist() == [3.5, 8]


@pytest.mark.parametrize(
    "other", [patch(1, 2), patch(1, tensor=0), patch(1, row=0), patch(1, corner=(3, 4)), patch(1, corner=(2, -4))]
)
def test_gradients_at_other_places_have_no_mean(other: Patch) -> None:
    for one, two in ((patch(1), other), (other, patch(1))):
        with pytest.raises(RunError, match=r"where a box depends on layer 'neck' is not the same in blurred images"):
            _mean(one, two, LAYER)


@pytest.mark.parametrize("shape", [(60, 100, 3), (60, 100, 1), (500, 900, 3), (900, 20, 5), (30, 40, 6), (1, 1, 3)])
def test_the_blur_is_as_wide_as_high_and_keeps_the_shape(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = blurred(image)
    assert (found.shape, found.dtype) == (shape, np.uint8)
    turned = blurred(np.ascontiguousarray(image.swapaxes(0, 1)))
    assert np.abs(turned.swapaxes(0, 1).astype(int) - found).max() <= 1


def test_the_blur_is_a_twenty_fifth_of_the_longer_side() -> None:
    """A bright dot of a small image becomes a bell of that deviation, in both directions."""
    image = np.zeros((50, 100, 3), np.uint8)
    image[20:30, 45:55] = 255
    found = blurred(image)
    expected = cv2.GaussianBlur(image, (25, 25), 4.0, borderType=cv2.BORDER_REPLICATE)
    assert np.abs(found.astype(int) - expected).max() <= 1
