"""Every CAM method against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from boxcam.errors import BoxcamError
from boxcam.explain.methods import METHODS
from boxcam.types import CellMap
from tests.cams import BY_GRADIENT
from tests.explain.goldens import ACTIVATION, GOLDENS, Golden, one, patch


def test_every_method_has_a_golden() -> None:
    assert set(BY_GRADIENT) == set(GOLDENS)


@pytest.mark.parametrize(
    ("name", "golden"), [(name, golden) for name, goldens in GOLDENS.items() for golden in goldens]
)
def test_goldens(name: str, golden: Golden) -> None:
    cells = one(name, golden.activation, golden.patch)
    assert isinstance(cells, CellMap)
    assert cells.values.dtype == np.float32
    assert cells.corner == golden.corner
    assert cells.values == pytest.approx(np.array(golden.values), rel=1e-6, abs=1e-7), golden.why


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_the_docstring_gives_the_formula_and_the_paper(name: str) -> None:
    text = BY_GRADIENT[name].compute.__doc__ or ""
    assert "Σ" in text.splitlines()[0] or "maxₖ" in text.splitlines()[0]
    assert any(str(year) in text for year in range(2014, 2027))


def test_which_gradient_and_which_layer_a_method_is_for() -> None:
    asked = {name: (found.reads, found.layers, found.times) for name, found in METHODS._things.items()}
    assert asked == {
        "gradcam": ("means", "maps", None),
        "hirescam": ("cells", "any", None),
        "gradcam++": ("cells", "maps", None),
        "xgradcam": ("cells", "maps", None),
        "layercam": ("cells", "any", None),
        "odam": ("cells", "any", None),
        "odam-combined": ("cells", "any", None),
        "ssgradcam": ("cells", "maps", None),
        "ssgradcam++": ("cells", "maps", None),
        "eigencam": ("none", "maps", None),
        "eigengradcam": ("cells", "maps", None),
        "finer-cam": ("means", "maps", None),
        "finer-hirescam": ("cells", "any", None),
        "integrated-gradients": ("cells", "any", None),
        "regional-gradients": ("cells", "any", None),
        "saliency": ("cells", "image", None),
        "smooth-grad": ("cells", "image", None),
        "guided-backprop": ("guided", "image", None),
        "guided-gradcam": ("guided", "maps, image", "gradcam"),
        "score-cam": ("none", "maps", None),
        "ablation-cam": ("none", "maps", None),
        "recipro-cam": ("none", "maps", None),
        "patch-search": ("cells", "any", None),
        "d-rise": ("none", "none", None),
    }
    passes = {name: found.passes for name, found in METHODS._things.items() if found.passes != "1"}
    assert passes == {
        "integrated-gradients": "9",
        "regional-gradients": "9",
        "smooth-grad": "51",
        "score-cam": "1 + channels",
        "ablation-cam": "1 + rests",
        "recipro-cam": "1 + rests",
        "patch-search": "1 + 40 a box",
        "d-rise": "5001",
    }
    options = {name: found.takes for name, found in METHODS._things.items() if found.takes}
    assert options == {
        "smooth-grad": ("samples", "noise", "seed"),
        "patch-search": ("passes", "seed"),
        "d-rise": ("masks", "seed"),
    }
    assert all(found.shows for found in METHODS._things.values())


def test_hirescam_sums_channels_in_float64() -> None:
    # 1 + 4095 · 2^-25: in float32, each of the small ones would vanish beside the 1.
    count = 1 << 12
    activation = np.full((count, 1, 1), 2.0**-12, np.float32)
    gradient = np.full((count, 1, 1), 2.0**-13, np.float32)
    activation[0], gradient[0] = 1, 1
    got = one("hirescam", activation, patch(gradient)).values.item()
    assert got == np.float32(1 + (count - 1) * 2.0**-25)
    assert got > 1


def test_gradcam_averages_gradients_in_float64_and_sums_channels_as_frameworks_do() -> None:
    # The mean of 1, -1 and 2^-24 over 3 cells: in float32 the last would vanish beside the first.
    gradient = np.array([[[1, 2.0**-24, -1]]], np.float32)
    got = one("gradcam", np.ones((1, 1, 3), np.float32), patch(gradient)).values
    assert got == pytest.approx(np.full((1, 3), 2.0**-24 / 3), rel=1e-6)
    rng = np.random.default_rng(0)
    activation, gradient = rng.random((2, 256, 9, 9), np.float32) - np.float32(0.5)
    alpha = gradient.astype(np.float64).mean((1, 2))
    exact = np.maximum((alpha[:, None, None] * activation).sum(0), 0)
    most = (np.abs(alpha)[:, None, None] * np.abs(activation)).sum(0).max()
    assert np.abs(one("gradcam", activation, patch(gradient)).values - exact).max() < 1e-6 * most


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_maps_are_finite_even_beyond_float32(name: str) -> None:
    huge = np.full((3, 2, 2), 3e38, np.float32)
    limit = float(np.finfo(np.float32).max)
    if BY_GRADIENT[name].image:  # no product leaves the range, but a sum may
        assert one(name, huge, patch(huge)).values.tolist() == huge[0].tolist()
    # Grad-CAM++'s weights, of 4 cells, are 4 / (2 / G + 4 A) = 1 / A: 3 channels of it. Eigen-CAM: nothing stands out.
    expected = {"gradcam++": 3, "ssgradcam++": 3, "eigencam": 0, "eigengradcam": 0}.get(name, limit)
    found = one(name, huge, patch(huge, uniform=[3e38] * 3)).values
    assert found == pytest.approx(np.full((2, 2), expected), rel=1e-6)


@pytest.mark.parametrize("name", BY_GRADIENT)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_model_that_gives_nan_is_named_as_the_culprit(name: str, bad: float) -> None:
    broken = ACTIVATION.copy()
    broken[0, 0, 0] = bad
    if not BY_GRADIENT[name].image:  # the others read no activation
        with pytest.raises(BoxcamError, match="NaN or infinite values: the model's"):
            one(name, broken, patch([[[1]], [[1]]]))
    if not BY_GRADIENT[name].gradient:
        assert one(name, ACTIVATION, patch([[[bad]], [[1]]])).values.any()
        return
    with pytest.raises(BoxcamError, match="NaN or infinite values: the model's"):
        one(name, ACTIVATION, patch([[[bad]], [[1]]]))
    with pytest.raises(BoxcamError, match="NaN or infinite values: the model's"):
        one(name, ACTIVATION, patch([[[1]], [[1]]], uniform=[1, bad]))


@pytest.mark.parametrize("name", BY_GRADIENT)
def test_inputs_that_do_not_go_together(name: str) -> None:
    with pytest.raises(ValueError, match="channels: 3 of the gradient, 2 of the activation"):
        one(name, ACTIVATION, patch([[[1]], [[1]], [[1]]]))
    with pytest.raises(ValueError, match=r"float64 \[2, 2, 2\], expected float32"):
        one(name, ACTIVATION.astype(np.float64), patch([[[1]], [[1]]]))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"float32 \[1, 2, 2, 2\], expected"):
        one(name, ACTIVATION[None], patch([[[1]], [[1]]]))
    with pytest.raises(ValueError, match=r"float32 \[2, 0, 2\], expected"):
        one(name, ACTIVATION[:, :0], patch([[[1]], [[1]]]))
