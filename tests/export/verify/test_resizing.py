"""Resize in double precision against ONNX Runtime's in single precision, and against PyTorch's."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from boxcam.export.verify.replay import Replay
from tests.export.export_graphs import Net
from tests.export.verify.precisions import both

RNG = np.random.default_rng(0)
WAYS = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
NONE = np.zeros(0, np.float32)


def resized(x: np.ndarray, sizes: list[int], **how: Any) -> tuple[np.ndarray, np.ndarray]:
    """In float64 and in float32, the attributes that say nothing left out."""
    scales = np.array([new / old for new, old in zip(sizes, x.shape, strict=True)], np.float32)
    return both("Resize", [x, NONE, scales], 19, **how)


@pytest.mark.parametrize("way", [*WAYS, "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("sizes", [[10, 14], [20, 7], [3, 4], [15, 21]])
def test_all_ways(mode: str, way: str, sizes: list[int]) -> None:
    """Up and down, one axis alone too; ONNX Runtime takes sizes for scales of whole steps."""
    x = RNG.standard_normal((1, 2, 5, 7))
    exact, single = resized(x, [1, 2, *sizes], mode=mode, coordinate_transformation_mode=way)
    assert exact.shape == single.shape
    assert np.abs(exact - single).max() < 1e-5


@pytest.mark.parametrize("rounding", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sizes", [[20, 40], [3, 6], [12, 18]])
def test_the_nearest_cell_is_onnx_runtimes(rounding: str, way: str, sizes: list[int]) -> None:
    """Also halfway between two, and where single precision decides: 10 / (20 / 6) is no longer 3."""
    how = {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": way}
    exact, single = resized(RNG.standard_normal((1, 1, 6, 12)), [1, 1, *sizes], **how)
    assert np.array_equal(exact.astype(np.float32), single)


def test_what_keeps_its_shape_is_copied_whatever_the_scales() -> None:
    x, scales = RNG.standard_normal((1, 2, 10, 10)), np.array([1, 1, 1.04, 1], np.float32)
    exact, single = both("Resize", [x, NONE, scales], 19, mode="linear")
    assert np.array_equal(exact, x)
    assert np.array_equal(single, x.astype(np.float32))


@pytest.mark.parametrize("outside", [0, 1])
def test_cubic_with_another_slope(outside: int) -> None:
    how = {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": outside}
    exact, single = resized(RNG.standard_normal((1, 2, 5, 7)), [1, 2, 10, 14], **how)
    assert np.abs(exact - single).max() < 1e-5


def test_it_is_pytorchs_to_the_last_digits() -> None:
    x = RNG.standard_normal((1, 2, 5, 7))
    for mode, torchs in (("linear", "bilinear"), ("cubic", "bicubic")):
        exact, _ = both("Resize", [x, NONE, NONE, np.array([1, 2, 9, 16])], 19, mode=mode)
        expected = F.interpolate(torch.from_numpy(x), (9, 16), mode=torchs, align_corners=False).numpy()
        assert np.abs(exact - expected).max() < 1e-12


def test_axes_that_are_named() -> None:
    x = RNG.standard_normal((1, 2, 5, 7))
    named, single = both("Resize", [x, NONE, NONE, np.array([14, 10])], 19, mode="linear", axes=[3, 2])
    plain, _ = both("Resize", [x, NONE, NONE, np.array([1, 2, 10, 14])], 19, mode="linear")
    assert np.abs(named - plain).max() < 1e-14
    assert np.abs(named - single).max() < 1e-5


@pytest.mark.parametrize(
    ("how", "small"),
    [
        ({"mode": "nearest"}, True),
        ({"mode": "cubic"}, True),
        ({"mode": "linear", "antialias": 1}, False),
        ({"mode": "linear", "keep_aspect_ratio_policy": "not_larger"}, False),
        ({"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}, False),
    ],
)
def test_what_is_not_computed_here_is_checked_in_float32(how: dict[str, Any], small: bool) -> None:
    net = Net(19)
    region = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    net.node("Resize", [net.Relu(net.input("x", (1, 1, 4, 4))), region, NONE, np.array([1, 1, 8, 8])], name="y", **how)
    replay = Replay(net.model(["y"]), ["x"], ["y"], {"x": np.ones((1, 1, 4, 4), np.float32)})
    assert replay.small is small


def test_a_large_map_takes_no_time() -> None:
    x = RNG.standard_normal((1, 64, 40, 40))
    began = time.process_time()
    for mode in ("nearest", "linear"):
        exact, single = resized(x, [1, 64, 80, 80], mode=mode)
        assert np.abs(exact - single).max() < 1e-5
    assert time.process_time() - began < 10
