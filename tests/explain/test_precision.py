"""What float32 would round away: features that differ in their last digits only."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.explain.methods import METHODS
from boxcam.types import Float, Patch


def first_component(rows: np.ndarray) -> Float:
    """The positive part of the first principal component of rows [n, C], by their singular vectors."""
    centred = rows - rows.mean(0)
    axis = np.linalg.svd(centred)[2][0]
    found: Float = np.maximum(centred @ (axis if axis.sum() >= 0 else -axis), 0)
    return found


@pytest.mark.parametrize(("corner", "uniform"), [((0, 0), None), ((1, 0), np.array([0.21, 0.37], np.float32))])
def test_eigengradcams_products_are_taken_in_float64(corner: tuple[int, int], uniform: Float | None) -> None:
    """Some 333 apart by thousandths: in float32 they would be thousandths themselves."""
    random = np.random.default_rng(0)
    activation = (1000 + 0.01 * np.arange(24).reshape(2, 3, 4) + random.uniform(0, 0.1, (2, 3, 4))).astype(np.float32)
    cells = np.full((2, 3 - corner[0], 4), 1 / 3, np.float32)
    whole = np.zeros((2, 3, 4)) + (0 if uniform is None else uniform.astype(np.float64)[:, None, None])
    whole[:, corner[0] :] += cells
    (found,) = METHODS["eigengradcam"](activation, [Patch(0, 0, corner, cells, uniform)])
    expected = first_component((activation.astype(np.float64) * whole).reshape(2, -1).T).reshape(3, 4)
    np.testing.assert_allclose(found.values, expected, rtol=1e-5, atol=1e-5 * expected.max())
    assert expected.max() > 0
