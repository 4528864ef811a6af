"""Every CAM method against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boxcam.errors import BoxcamError, UnknownNameError
from boxcam.explain.methods import METHODS
from boxcam.registry import Registry
from boxcam.types import CellMap, Float, Patch
from tests.cams import BY_GRADIENT

ACTIVATION = np.array([[[1, 2], [3, 4]], [[1, 0], [0, 2]]], np.float32)


def patch(gradient: object, corner: tuple[int, int] = (0, 0), uniform: object = None) -> Patch:
    even = None if uniform is None else np.array(uniform, np.float32)
    return Patch(0, 0, corner, np.array(gradient, np.float32), even)


def one(name: str, activation: Float, given: Patch) -> CellMap:
    """The map of one box alone."""
    (cells,) = BY_GRADIENT[name](activation, [given])
    return cells


@dataclass(frozen=True)
class Golden:
    """A case whose answer was worked out on paper; ``why`` is the working."""

    activation: Float
    patch: Patch
    values: list[list[float]]
    corner: tuple[int, int]
    why: str


_STRONGEST = [
    Golden(
        ACTIVATION,
        patch([[[1, -5], [0, 2]], [[-4, 3], [0, 2]]]),
        [[4, 5], [0, 2]],
        (0, 0),
        "the larger of |1| and |-4|, of |-5| and |3|, of 0 and 0, of |2| and |2|, whatever the activation",
    ),
    Golden(ACTIVATION, patch([[[-8]], [[4]]], corner=(1, 1)), [[8]], (1, 1), "on the patch only"),
    Golden(
        ACTIVATION,
        patch([[[7, 7], [7, 5]], [[7, 7], [7, -6]]], corner=(-1, -1)),
        [[0, 0], [0, 6]],
        (-1, -1),
        "what overhangs is zero",
    ),
    Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(0, -1)), [[0]], (0, -1), "wholly outside the map"),
    Golden(
        ACTIVATION,
        patch([[[5]], [[-1]]], corner=(1, 0), uniform=[-3, 2]),
        [[3, 3], [2, 3]],
        (0, 0),
        "|-3| everywhere but in cell (1, 0), where it is the larger of |5 - 3| and |-1 + 2|",
    ),
    Golden(ACTIVATION, patch(np.zeros((2, 0, 0)), uniform=[1, -2]), [[2, 2], [2, 2]], (0, 0), "uniform only"),
]

RECTIFIED = np.array([[[1, 1], [0, 0]], [[0, 2], [2, 0]]], np.float32)
"""Features whose channels add up to 2 and 4."""
TWO_CELLS = np.array([[[0, 3]], [[0, 4]]], np.float32)

GOLDENS: dict[str, list[Golden]] = {
    **dict.fromkeys(("saliency", "guided-backprop", "guided-gradcam"), _STRONGEST),
    "gradcam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[0, 2], [3, 0]],
            (0, 0),
            "alpha = 4/4, -8/4; 1·[1 2; 3 4] - 2·[1 0; 0 2] = [-1 2; 3 0]; ReLU",
        ),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 0)),
            [[3, 4], [6, 10]],
            (0, 0),
            "alpha = 8/4, 4/4, over the whole map's 4 cells; 2·[1 2; 3 4] + 1·[1 0; 0 2], on the whole map",
        ),
        Golden(
            ACTIVATION,
            patch([[[100, 100], [100, 4]], [[100, 100], [100, -8]]], corner=(-1, -1)),
            [[0, 2], [3, 0]],
            (0, 0),
            "only the lower right of the patch is on the map: alpha = 4/4, -8/4",
        ),
        Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(2, 0)), [[0, 0], [0, 0]], (0, 0), "wholly outside the map"),
        Golden(
            ACTIVATION,
            patch([[[-1, -1], [-1, -1]], [[0, 0], [0, 0]]]),
            [[0, 0], [0, 0]],
            (0, 0),
            "all evidence is against: alpha = -1, 0; -[1 2; 3 4] is negative everywhere",
        ),
        Golden(
            np.array([[[3]], [[-2]]], np.float32),
            patch([[[2]], [[0.5]]]),
            [[5]],
            (0, 0),
            "one cell: alpha = 2, 0.5; 6 - 1",
        ),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 0), uniform=[-1, 2]),
            [[4, 2], [3, 10]],
            (0, 0),
            "alpha = 8/4 - 1, 4/4 + 2; 1·[1 2; 3 4] + 3·[1 0; 0 2]",
        ),
        Golden(
            ACTIVATION,
            patch(np.zeros((2, 0, 0)), uniform=[1, -3]),
            [[0, 2], [3, 0]],
            (0, 0),
            "alpha = 1, -3; [1 2; 3 4] - 3·[1 0; 0 2] = [-2 2; 3 -2]; ReLU",
        ),
    ],
    "hirescam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[-3, 2], [3, -4]],
            (0, 0),
            "[1 2; 3 4]·1 + [1·-4 0; 0 2·-4], negative evidence stays",
        ),
        Golden(ACTIVATION, patch([[[8]], [[4]]], corner=(1, 1)), [[40]], (1, 1), "8·4 + 4·2, on the patch only"),
        Golden(
            ACTIVATION,
            patch([[[100, 100], [100, 5]], [[100, 100], [100, -8]]], corner=(-1, -1)),
            [[0, 0], [0, -3]],
            (-1, -1),
            "5·1 - 8·1 in cell (0, 0) of the map; what overhangs is zero",
        ),
        Golden(
            ACTIVATION,
            patch([[[1, 2, 7], [7, 7, 7]], [[3, 4, 7], [7, 7, 7]]], corner=(1, 0)),
            [[3, 16, 0], [0, 0, 0]],
            (1, 0),
            "1·3 + 3·0, 2·4 + 4·2; overhangs below and to the right",
        ),
        Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(0, -1)), [[0]], (0, -1), "wholly outside the map"),
        Golden(np.array([[[3]], [[-2]]], np.float32), patch([[[2]], [[0.5]]]), [[5]], (0, 0), "one cell: 2·3 + 0.5·-2"),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 1), uniform=[-1, 3]),
            [[2, -2], [-3, 42]],
            (0, 0),
            "-[1 2; 3 4] + 3·[1 0; 0 2] = [2 -2; -3 2] on the whole map, and 8·4 + 4·2 in cell (1, 1)",
        ),
        Golden(
            ACTIVATION,
            patch([[[9, 9], [9, 5]], [[9, 9], [9, -8]]], corner=(-1, -1), uniform=[1, 0]),
            [[-2, 2], [3, 4]],
            (0, 0),
            "[1 2; 3 4], and 5·1 - 8·1 in cell (0, 0); what overhangs has no place in the map",
        ),
        Golden(
            ACTIVATION, patch([[[4]], [[4]]], corner=(0, 7), uniform=[1, 1]), [[2, 2], [3, 6]], (0, 0), "uniform only"
        ),
    ],
    "gradcam++": [
        Golden(
            RECTIFIED,
            patch([[[1, 3], [-5, 0]], [[0.5, -1], [0, 0]]]),
            [[0.625, 0.875], [0.25, 0]],
            (0, 0),
            "w = 1/(2 + 2·1) + 3/(2 + 2·3) = 5/8, 0.5/(2 + 4·0.5) = 1/8; 5/8·[1 1; 0 0] + 1/8·[0 2; 2 0]",
        ),
        Golden(
            np.array([[[-2, 1], [0, 0]]], np.float32),
            patch([[[2, 0], [0, 1]]]),
            [[0, 1], [0, 0]],
            (0, 0),
            "the features add up to -1: 2 - 2 = 0 for G = 2, which then counts nothing; 1/(2 - 1) = 1; ReLU",
        ),
        Golden(
            RECTIFIED,
            patch([[[9, 9], [9, 1]], [[9, 9], [9, 0.5]]], corner=(-1, -1)),
            [[0.25, 0.5], [0.25, 0]],
            (0, 0),
            "only the lower right of the patch is on the map: w = 1/4, 1/8",
        ),
        Golden(
            RECTIFIED,
            patch([[[2]], [[1.5]]], uniform=[1, -1]),
            [[1.125, 1.375], [0.25, 0]],
            (0, 0),
            "G = 3, 0.5 in cell (0, 0), 1, -1 in the others: w = 3/8 + 3·1/4 = 9/8, 1/8",
        ),
        Golden(RECTIFIED, patch([[[4]], [[4]]], corner=(2, 0)), [[0, 0], [0, 0]], (0, 0), "wholly outside the map"),
    ],
    "xgradcam": [
        Golden(
            RECTIFIED,
            patch([[[1, 3], [-5, 7]], [[5, -1], [2, 5]]]),
            [[2, 3], [1, 0]],
            (0, 0),
            "w = (1 + 3)/2, (-2 + 4)/4; 2·[1 1; 0 0] + 0.5·[0 2; 2 0]",
        ),
        Golden(
            np.array([[[1, -1]], [[1, 1]]], np.float32),
            patch([[[5, 3]], [[1, 0]]]),
            [[0.5, 0.5]],
            (0, 0),
            "channel 0 adds up to zero, and has no weight; w = 1/2 of channel 1",
        ),
        Golden(
            RECTIFIED,
            patch([[[3]], [[2]]], corner=(0, 1), uniform=[1, -1]),
            [[2.5, 2.5], [0, 0]],
            (0, 0),
            "G = 4, 1 in cell (0, 1), 1, -1 in the others: w = (1 + 4)/2, (2 - 2)/4",
        ),
        Golden(RECTIFIED, patch([[[-1, -1], [0, 0]], [[0, 0], [0, 0]]]), [[0, 0], [0, 0]], (0, 0), "w = -1, 0; ReLU"),
    ],
    "layercam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[1, 2], [3, 4]],
            (0, 0),
            "1·[1 2; 3 4]; what speaks against the box counts nothing",
        ),
        Golden(np.array([[[-3]], [[2]]], np.float32), patch([[[1]], [[1]]]), [[0]], (0, 0), "-3 + 2, ReLU"),
        Golden(
            ACTIVATION,
            patch([[[9, 9], [9, 5]], [[9, 9], [9, -8]]], corner=(-1, -1)),
            [[0, 0], [0, 5]],
            (-1, -1),
            "5·1 in cell (0, 0) of the map; what overhangs is zero",
        ),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 1), uniform=[-1, 3]),
            [[3, 0], [0, 42]],
            (0, 0),
            "3·[1 0; 0 2], and (8 - 1)·4 + (4 + 3)·2 in cell (1, 1)",
        ),
    ],
    "odam": [
        Golden(
            ACTIVATION,
            patch([[[1, 1], [1, 1]], [[-4, 0], [0, -4]]]),
            [[0, 2], [3, 0]],
            (0, 0),
            "HiResCAM's [-3 2; 3 -4]; ReLU",
        ),
        Golden(ACTIVATION, patch([[[8]], [[4]]], corner=(1, 1)), [[40]], (1, 1), "8·4 + 4·2, on the patch only"),
        Golden(
            ACTIVATION,
            patch([[[8]], [[4]]], corner=(1, 1), uniform=[-1, 3]),
            [[2, 0], [0, 42]],
            (0, 0),
            "HiResCAM's [2 -2; -3 42]; ReLU",
        ),
    ],
    "ssgradcam": [
        Golden(
            ACTIVATION,
            patch([[[4, 2], [-2, 0]], [[0, 0], [0, -8]]]),
            [[1, 1], [1.5, 0]],
            (0, 0),
            "alpha = 4/4, -8/4; S = [1 1/2; 1/2 0], [0 0; 0 1]; [1·1 1/2·2; 1/2·3 -2·1·2]; ReLU",
        ),
        Golden(ACTIVATION, patch([[[8]], [[4]]], corner=(1, 0)), [[6]], (1, 0), "alpha = 8/4, 4/4; 2·3 + 1·0"),
        Golden(
            ACTIVATION,
            patch([[[3]], [[-3]]], uniform=[1, 1]),
            [[2, 0.875], [1.3125, 2]],
            (0, 0),
            "alpha = (4 + 3)/4, (-2 + 3)/4; S = 1 in cell (0, 0), 1/4 and 1/2 elsewhere; 7/4·1 + 1/4·1, 7/16·2,"
            " 7/16·3, 7/16·4 + 1/8·2",
        ),
        Golden(ACTIVATION, patch([[[4]], [[4]]], corner=(0, -1)), [[0]], (0, -1), "wholly outside the map"),
    ],
    "ssgradcam++": [
        Golden(
            np.array([[[2, 1], [0, 0]], [[0, 4], [2, 0]]], np.float32),
            patch([[[1, 0], [-2, 0]], [[0, 0.5], [0, 0]]]),
            [[0.25, 0.5], [0, 0]],
            (0, 0),
            "the gradient reaches 2 + 0 of channel 0, 4 of channel 1: w = 1/(2 + 2), 0.5/(2 + 2);"
            " S = [1/2 0; 1 0], [0 1; 0 0]; 1/4·1/2·2, 1/8·1·4, 1/4·1·0",
        ),
        Golden(
            np.array([[[1, -1], [0, 0]], [[5, 5], [5, 5]]], np.float32),
            patch([[[1]], [[0]]], uniform=[1, 0]),
            [[2.5, 0], [0, 0]],
            (0, 0),
            "G = 2 in cell (0, 0), 1 in the others, of features that add up to 0: w = (2 + 3)/2; S = 1, 1/2;"
            " 2.5·1·1, 2.5·1/2·-1; channel 1 has no gradient; ReLU",
        ),
        Golden(
            np.array([[[5, 2]]], np.float32),
            patch([[[1]]], corner=(0, 1)),
            [[0.5]],
            (0, 1),
            "1/(2 + 2·1)·1·2: the 5, which the box does not depend on, changes nothing",
        ),
    ],
    "eigencam": [
        Golden(
            np.array([[[1, 3], [1, 3]], [[5, 5], [5, 5]]], np.float32),
            patch([[[7]], [[-9]]]),
            [[0, 1], [0, 1]],
            (0, 0),
            "all variance is in channel 0, of mean 2; no gradient is read",
        ),
        Golden(TWO_CELLS, patch([[[0, 0]], [[0, 0]]]), [[0, 2.5]], (0, 0), "v = (3 4)/5; ±(1.5 2)·v = ±2.5"),
        Golden(
            np.array([[[0, 3]], [[0, -4]]], np.float32),
            patch([[[1]], [[1]]]),
            [[2.5, 0]],
            (0, 0),
            "v = (-3 4)/5, so that it adds up to more than zero: the map rises where the features' sum does",
        ),
        Golden(np.ones((2, 2, 2), np.float32), patch([[[1]], [[1]]]), [[0, 0], [0, 0]], (0, 0), "nothing stands out"),
    ],
    "eigengradcam": [
        Golden(TWO_CELLS, patch([[[9, 1]], [[9, 1]]]), [[0, 2.5]], (0, 0), "X = (0 0), (3 4), as of eigencam"),
        Golden(TWO_CELLS, patch([[[1]], [[1]]], corner=(0, 1)), [[0, 2.5]], (0, 0), "the same, by a patch"),
        Golden(
            np.ones((2, 2, 2), np.float32),
            patch([[[3]], [[4]]]),
            [[3.75, 0], [0, 0]],
            (0, 0),
            "X = (3 4) in cell (0, 0), of mean (3 4)/4: 5 - 5/4 there, -5/4 elsewhere",
        ),
        Golden(
            np.ones((2, 2, 2), np.float32),
            patch([[[-3]], [[-4]]]),
            [[0, 1.25], [1.25, 1.25]],
            (0, 0),
            "all but the cell that speaks against the box",
        ),
        Golden(TWO_CELLS, patch(np.zeros((2, 0, 0)), uniform=[1, 1]), [[0, 2.5]], (0, 0), "uniform only"),
        Golden(
            TWO_CELLS, patch([[[4]], [[5]]], corner=(0, 0), uniform=[1, 1]), [[0, 2.5]], (0, 0), "0·5, 0·6 in cell 0"
        ),
    ],
}
GOLDENS["finer-cam"] = GOLDENS["gradcam"]  # of differences of classes
GOLDENS["finer-hirescam"] = GOLDENS["hirescam"]
GOLDENS["smooth-grad"] = GOLDENS["saliency"]  # of a mean gradient
GOLDENS["odam-combined"] = GOLDENS["odam"]  # of each of its targets
GOLDENS["integrated-gradients"] = GOLDENS["hirescam"]  # of what the features change by in a step
WHOLE = ("gradcam", "finer-cam", "gradcam++", "xgradcam", "eigencam", "eigengradcam")
"""Methods whose map covers the whole feature map, whatever the patch covers."""
NOT_PROPORTIONAL = ("gradcam++", "ssgradcam++")
"""Methods whose map is not just larger where the target is."""


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
        "saliency": ("cells", "image", None),
        "smooth-grad": ("cells", "image", None),
        "guided-backprop": ("guided", "image", None),
        "guided-gradcam": ("guided", "maps, image", "gradcam"),
        "score-cam": ("none", "maps", None),
        "patch-search": ("cells", "any", None),
        "d-rise": ("none", "none", None),
    }
    passes = {name: found.passes for name, found in METHODS._things.items() if found.passes != "1"}
    assert passes == {
        "integrated-gradients": "9",
        "smooth-grad": "51",
        "score-cam": "1 + channels",
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


def test_channels_may_become_one_number_before_the_product_with_a_cam() -> None:
    """What `guided-gradcam` says of itself."""
    random = np.random.default_rng(0)
    gradient, cam = random.normal(size=(3, 4, 5)).astype(np.float32), random.random((4, 5), np.float32)
    ours = one("guided-gradcam", np.ones((3, 4, 5), np.float32), patch(gradient)).values * cam
    assert ours == pytest.approx(np.abs(gradient * cam).max(0), rel=1e-6)


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
        assert cells.values == pytest.approx(alone.values, rel=1e-6, abs=1e-6)
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


def test_the_registry() -> None:
    registry: Registry[int] = Registry("number")
    assert registry.register("two")(2) == 2
    registry.register("one")(1)
    assert registry.names() == tuple(registry) == ("two", "one")
    assert (registry["one"], len(registry), "one" in registry, "three" in registry) == (1, 2, True, False)
    with pytest.raises(ValueError, match="number 'one' is registered already, as 1"):
        registry.register("one")(3)
    assert registry["one"] == 1
    with pytest.raises(UnknownNameError, match=r"^there is no number 'tow'. Did you mean 'two'\? There are: two"):
        registry["tow"]
    with pytest.raises(UnknownNameError, match=r"^there is no number 'x'. There are: two, one.$"):
        registry["x"]
    with pytest.raises(UnknownNameError, match=r"There are: none.$"):
        Registry[int]("number")["x"]
