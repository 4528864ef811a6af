"""What holds between maps: of patches and whole gradients, of scaled and mirrored ones, of two methods."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcam.explain.methods import METHODS
from boxcam.types import Float, Patch
from tests.cams import BY_GRADIENT
from tests.explain.goldens import one, patch

WHOLE = ("gradcam", "finer-cam", "gradcam++", "xgradcam", "eigencam", "eigengradcam")
"""Methods whose map covers the whole feature map, whatever the patch covers."""
NOT_PROPORTIONAL = ("gradcam++", "ssgradcam++")
"""Methods whose map is not just larger where the target is."""


def test_channels_may_become_one_number_before_the_product_with_a_cam() -> None:
    """What `guided-gradcam` says of itself."""
    random = np.random.default_rng(0)
    gradient, cam = random.normal(size=(3, 4, 5)).astype(np.float32), random.random((4, 5), np.float32)
    ours = one("guided-gradcam", np.ones((3, 4, 5), np.float32), patch(gradient)).values * cam
    assert ours == pytest.approx(np.abs(gradient * cam).max(0), rel=1e-6)


@pytest.mark.parametrize("name", BY_GRADIENT)
@given(
    corner=st.tuples(st.integers(-6, 8), st.integers(-6, 8)),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 1 << 30),
)
def test_a_patch_is_the_whole_gradient_with_zeros_around_it(
    name: str, corner: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    random = np.random.default_rng(seed)
    activation = random.normal(size=(3, 6, 7)).astype(np.float32)
    gradient = random.normal(size=(3, *size)).astype(np.float32)
    whole = np.zeros_like(activation)
    for i in range(size[0]):
        for j in range(size[1]):
            y, x = corner[0] + i, corner[1] + j
            if 0 <= y < 6 and 0 <= x < 7:
                whole[:, y, x] = gradient[:, i, j]
    expected = one(name, activation, patch(whole)).values
    cells = one(name, activation, patch(gradient, corner))
    got = np.zeros((6, 7), np.float32)
    for (i, j), value in np.ndenumerate(cells.values):
        y, x = cells.corner[0] + i, cells.corner[1] + j
        if 0 <= y < 6 and 0 <= x < 7:
            got[y, x] = value
        else:
            assert value == 0
    assert got == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", BY_GRADIENT)
@pytest.mark.parametrize("side", [3, 20])  # of the feature map
def test_boxes_together_have_the_maps_that_they_have_alone(name: str, side: int) -> None:
    random = np.random.default_rng(side)
    activation = random.normal(size=(5, side, side)).astype(np.float32)
    gradients = random.normal(size=(6, 5, 4, 3)).astype(np.float32)  # patches are views into it
    evens = [None, *random.normal(size=(4, 5)).astype(np.float32), None]
    patches = [Patch(0, 0, (2 * k - 4, k - 2), gradients[k], evens[k]) for k in range(6)]
    patches.append(patch(np.zeros((5, 0, 0))))
    for alike, cells in zip(patches, BY_GRADIENT[name](activation, patches), strict=True):
        alone = one(name, activation, alike)
        assert cells.corner == alone.corner
        assert cells.values == pytest.approx(alone.values, rel=5e-6, abs=1e-6)  # sums in another order
        full = (0, 0) if name not in WHOLE and alike.uniform is None else (side, side)
        assert cells.values.shape in (full, alike.gradient.shape[1:])
    assert BY_GRADIENT[name](activation, []) == []


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_what_is_uniform_is_a_whole_gradient_that_is(name: str) -> None:
    random = np.random.default_rng(0)
    activation = random.normal(size=(3, 6, 7)).astype(np.float32)
    gradient, even = random.normal(size=(3, 2, 4)).astype(np.float32), random.normal(size=3).astype(np.float32)
    whole = np.repeat(even, 42).reshape(3, 6, 7)
    whole[:, 4:6, 0:3] += gradient[:, :, 1:]
    found, expected = one(name, activation, Patch(0, 0, (4, -1), gradient, even)), one(name, activation, patch(whole))
    assert found.corner == expected.corner == (0, 0)
    assert found.values == pytest.approx(expected.values, abs=1e-6)


@pytest.fixture
def random_case() -> tuple[Float, Patch]:
    """Features as after a ReLU, and a gradient of a few of their cells."""
    random = np.random.default_rng(3)
    activation = np.maximum(random.normal(size=(5, 6, 7)), 0).astype(np.float32)
    return activation, Patch(0, 0, (1, 2), random.normal(size=(5, 3, 4)).astype(np.float32))


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_a_scaled_target_has_a_scaled_map(name: str, random_case: tuple[Float, Patch]) -> None:
    activation, given = random_case
    once, thrice = (one(name, activation, Patch(0, 0, (1, 2), s * given.gradient)).values for s in (1, 3))
    assert once.any()
    if name in NOT_PROPORTIONAL:
        assert not np.allclose(thrice / thrice.max(), once / once.max(), rtol=1e-3)
    else:
        assert thrice == pytest.approx((3 if BY_GRADIENT[name].gradient else 1) * once, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_the_order_of_channels_changes_nothing(name: str, random_case: tuple[Float, Patch]) -> None:
    activation, given = random_case
    order = [3, 0, 4, 2, 1]
    other = one(name, activation[order].copy(), Patch(0, 0, (1, 2), given.gradient[order].copy()))
    assert other.values == pytest.approx(one(name, activation, given).values, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", BY_GRADIENT)
@pytest.mark.parametrize("axis", [1, 2])
def test_a_mirrored_feature_map_has_a_mirrored_map(name: str, axis: int, random_case: tuple[Float, Patch]) -> None:
    activation, given = random_case
    whole = np.zeros_like(activation)
    whole[:, 1:4, 2:6] = given.gradient
    flipped = one(name, np.flip(activation, axis).copy(), patch(np.flip(whole, axis)))
    expected = np.flip(one(name, activation, patch(whole)).values, axis - 1)
    assert expected.any()
    assert flipped.values == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_xgradcam_adds_up_to_what_hirescam_does(random_case: tuple[Float, Patch]) -> None:
    """What its docstring says, before the ReLU: here of features and gradients without a negative one."""
    activation, given = random_case
    rising = Patch(0, 0, given.corner, np.abs(given.gradient))
    sums = [one(name, activation, rising).values.sum(dtype=np.float64) for name in ("xgradcam", "hirescam")]
    assert sums[0] == pytest.approx(sums[1], rel=1e-6)


def test_eigencam_is_the_same_for_all_boxes_of_a_map_and_eigengradcam_is_not(random_case: tuple[Float, Patch]) -> None:
    activation, given = random_case
    two = [given, Patch(0, 0, (0, 0), -given.gradient)]
    first, second = METHODS["eigencam"](activation, two)
    assert np.array_equal(first.values, second.values)
    assert not np.shares_memory(first.values, second.values)
    first, second = METHODS["eigengradcam"](activation, two)
    assert not np.allclose(first.values, second.values)


@pytest.mark.parametrize("shape", [(3, 6, 7), (40, 3, 4)])  # more cells than channels, and fewer
def test_eigencam_is_the_first_singular_vector(shape: tuple[int, int, int]) -> None:
    activation = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    rows = activation.reshape(shape[0], -1).T.astype(np.float64)
    rows -= rows.mean(axis=0)
    axis = np.linalg.svd(rows, full_matrices=False)[2][0]
    expected = np.maximum(rows @ axis * np.sign(axis.sum()), 0).reshape(shape[1:])
    found = one("eigencam", activation, patch(np.zeros((shape[0], 1, 1)))).values
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
