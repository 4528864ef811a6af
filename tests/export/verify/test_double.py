"""Operators in double precision against PyTorch's in double precision, and ONNX Runtime's in single precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision

from boxcam.export.verify.replay import Replay
from tests.export.export_graphs import Net
from tests.export.verify.precisions import both

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("align", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grid_sample(mode: str, padding: str, align: int) -> None:
    x, grid = RNG.standard_normal((2, 3, 5, 7)), RNG.uniform(-1.7, 1.7, (2, 4, 6, 2))
    exact, single = both("GridSample", [x, grid], mode=mode, padding_mode=padding, align_corners=align)
    names = {"linear": "bilinear", "nearest": "nearest", "cubic": "bicubic"}
    expected = F.grid_sample(torch.from_numpy(x), torch.from_numpy(grid), names[mode], padding, bool(align)).numpy()
    assert np.abs(exact - expected).max() < 1e-12
    assert np.abs(exact - single).max() < 1e-4


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    ("shape", "weight", "out", "how"),
    [
        ((1, 2, 5, 4), (3, 2, 3, 3), (5, 4), {"pads": [1, 1, 1, 1]}),
        ((2, 4, 5, 6), (6, 2, 2, 3), (2, 6), {"group": 2, "offset_group": 2, "strides": [2, 1], "pads": [0, 1, 0, 1]}),
        ((1, 4, 6, 5), (2, 2, 3, 2), (4, 6), {"group": 2, "offset_group": 4, "dilations": [2, 1], "pads": [1] * 4}),
        ((1, 2, 4, 4), (2, 2, 1, 1), (4, 4), {}),
    ],
)
def test_deform_conv(
    shape: tuple[int, ...], weight: tuple[int, ...], out: tuple[int, int], how: dict[str, Any], masked: bool
) -> None:
    """Taps far beyond the map among them."""
    taps = weight[2] * weight[3] * how.get("offset_group", 1)
    x, w, b = (RNG.standard_normal(size) for size in (shape, weight, weight[:1]))
    offset, mask = RNG.uniform(-4, 4, (shape[0], 2 * taps, *out)), RNG.uniform(0, 1, (shape[0], taps, *out))
    exact, single = both("DeformConv", [x, w, offset, b, *([mask] if masked else [])], 19, **how)
    sizes = (tuple(how.get(name, default)[:2]) for name, default in (("strides", (1, 1)), ("pads", (0, 0))))
    given = [torch.from_numpy(one) for one in (x, offset, w, b)]
    last = torch.from_numpy(mask) if masked else None
    dilation = tuple(how.get("dilations", (1, 1)))
    expected = torchvision.ops.deform_conv2d(*given, *sizes, dilation, last).numpy()
    assert exact.shape == expected.shape
    assert np.abs(exact - expected).max() < 1e-12
    assert np.abs(exact - single).max() < 1e-4


def test_a_head_with_a_deformable_convolution_is_checked_in_double_precision() -> None:
    net = Net(19)
    x = net.input("x", (1, 8, 6, 6))
    offset = net.Conv(x, RNG.standard_normal((18, 8, 3, 3)), pads=[1, 1, 1, 1])
    net.node("DeformConv", [x, RNG.standard_normal((4, 8, 3, 3)), offset], name="y", pads=[1, 1, 1, 1])
    given = {"x": RNG.standard_normal((1, 8, 6, 6)).astype(np.float32)}
    replay = Replay(net.model(["y"]), ["x"], ["y"], given)
    assert replay.small
    exact, single = replay.exactly(given)["y"], replay(given)["y"]
    assert exact.dtype == np.float64
    assert 0 < np.abs(exact - single).max() < 1e-3


@pytest.mark.parametrize(
    "how",
    [
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 3], "strides": [1, 2], "pads": [0, 1, 1, 0]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
        {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    ],
)
def test_poolings(how: dict[str, Any]) -> None:
    x = RNG.standard_normal((1, 2, 7, 8))
    for kind, more in (("MaxPool", {}), ("AveragePool", {}), ("AveragePool", {"count_include_pad": 1})):
        exact, single = both(kind, [x], **how, **more)
        assert np.abs(exact - single).max() < 1e-6, (kind, more)


def test_poolings_against_pytorch() -> None:
    x = RNG.standard_normal((1, 2, 7, 8))
    given = torch.from_numpy(x)
    exact, _ = both("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1])
    assert np.array_equal(exact, F.max_pool2d(given, 3, 2, 1).numpy())
    for ceil in (0, 1):
        for counted in (0, 1):
            how = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
            exact, _ = both("AveragePool", [x], **how, ceil_mode=ceil, count_include_pad=counted)
            expected = F.avg_pool2d(given, 3, 2, 1, bool(ceil), bool(counted)).numpy()
            assert np.abs(exact - expected).max() < 1e-12


@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align(ratio: int, aligned: bool) -> None:
    x = RNG.standard_normal((2, 3, 9, 11))
    corners = np.sort(RNG.uniform(-8, 60, (6, 2, 2)), 1)  # some reach beyond the map
    rois, batch = corners.reshape(6, 4), np.array([0, 1, 0, 1, 0, 1])
    how = "half_pixel" if aligned else "output_half_pixel"
    exact, single = both(
        "RoiAlign", [x, rois, batch], output_height=3, output_width=4, sampling_ratio=ratio, spatial_scale=0.25,
        coordinate_transformation_mode=how,
    )  # fmt: skip
    boxes = torch.from_numpy(np.concatenate([batch[:, None].astype(float), rois], 1))
    expected = torchvision.ops.roi_align(torch.from_numpy(x), boxes, (3, 4), 0.25, ratio, aligned).numpy()
    assert np.abs(exact - expected).max() < 1e-12
    assert np.abs(exact - single).max() < 1e-4
