"""Convolutions in double precision against PyTorch's and ONNX Runtime's, and how large a head is checked by them."""

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


@pytest.mark.parametrize(
    ("shape", "weight", "how"),
    [
        ((2, 4, 6, 7), (6, 4, 3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
        ((1, 4, 9, 8), (6, 2, 3, 2), {"group": 2, "dilations": [2, 3]}),
        ((1, 6, 7, 7), (6, 1, 3, 3), {"group": 6, "pads": [1, 1, 1, 1]}),
        ((1, 3, 8, 9), (5, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 3, 8, 9), (5, 3, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [1, 2]}),
        ((1, 3, 8, 9), (5, 3, 3, 3), {"auto_pad": "VALID"}),
        ((2, 3, 9), (4, 3, 3), {"pads": [1, 1]}),
        ((0, 4, 9, 8), (6, 2, 3, 2), {"group": 2}),
        ((1, 2, 4, 5, 3), (3, 2, 2, 3, 1), {"pads": [1, 0, 0, 0, 1, 0]}),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_convolutions(shape: tuple[int, ...], weight: tuple[int, ...], how: dict[str, Any], biased: bool) -> None:
    x, w, b = (RNG.standard_normal(size) for size in (shape, weight, weight[:1]))
    exact, single = both("Conv", [x, w, *([b] if biased else [])], **how)
    assert exact.shape == single.shape
    assert np.abs(exact - single).max(initial=0.0) < 1e-4
    assert exact.dtype == np.float64


def test_a_convolution_is_pytorchs_to_the_last_digits() -> None:
    x, w, b = RNG.standard_normal((2, 4, 6, 7)), RNG.standard_normal((6, 2, 3, 3)), RNG.standard_normal(6)
    exact, _ = both("Conv", [x, w, b], pads=[1, 2, 1, 2], strides=[2, 1], dilations=[1, 2], group=2)
    expected = F.conv2d(*map(torch.from_numpy, (x, w, b)), (2, 1), (1, 2), (1, 2), 2).numpy()
    assert exact.shape == expected.shape
    assert np.abs(exact - expected).max() < 1e-12


@pytest.mark.parametrize(
    ("shape", "weight", "how"),
    [
        ((2, 4, 5, 6), (4, 3, 4, 4), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((1, 4, 5, 6), (4, 3, 3, 2), {"strides": [2, 3], "group": 2, "output_padding": [1, 2], "pads": [0, 1, 1, 0]}),
        ((1, 4, 5, 6), (4, 2, 3, 3), {"dilations": [2, 1]}),
        ((1, 3, 5, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 3, 5, 4), (3, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((1, 3, 5, 4), (3, 2, 3, 3), {"strides": [2, 2], "output_shape": [10, 8]}),
        ((1, 3, 7), (3, 2, 3), {"strides": [2]}),
        ((1, 3, 5, 6), (3, 2, 2, 2), {"strides": [3, 3], "auto_pad": "SAME_UPPER"}),
        ((0, 4, 5, 6), (4, 3, 3, 3), {"group": 2}),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_transposed_convolutions(
    shape: tuple[int, ...], weight: tuple[int, ...], how: dict[str, Any], biased: bool
) -> None:
    x, w = RNG.standard_normal(shape), RNG.standard_normal(weight)
    b = RNG.standard_normal(weight[1] * how.get("group", 1))
    exact, single = both("ConvTranspose", [x, w, *([b] if biased else [])], **how)
    assert exact.shape == single.shape
    assert np.abs(exact - single).max(initial=0.0) < 1e-4


@pytest.mark.parametrize(("axis", "shape", "count"), [(1, (2, 100, 3), 90), (-1, (2, 3, 100), 70), (0, (200, 4), 3)])
def test_elements_of_long_axes_are_gathered(axis: int, shape: tuple[int, ...], count: int) -> None:
    """Also those counted from the end, and of fewer rows than there are."""
    x, sizes = RNG.standard_normal(shape), list(shape)
    sizes[axis] = count
    sizes[axis - 1] -= 1
    places = RNG.integers(-shape[axis], shape[axis], sizes)
    exact, single = both("GatherElements", [x, places], axis=axis)
    assert np.array_equal(exact.astype(np.float32), single)


def head(cells: int, channels: int, dynamic: bool) -> Net:
    """Two convolutions."""
    net = Net(18)
    x = net.input("x", ("n" if dynamic else 1, channels, cells, cells))
    for name in ("a", "y"):
        weight = RNG.standard_normal((channels, channels, 3, 3)) / (3 * np.sqrt(channels))
        net.node("Conv", [net.Relu(x) if name == "y" else x, weight], name=name, pads=[1, 1, 1, 1])
        x = name
    return net


def test_products_are_those_of_the_run() -> None:
    """Of proposals there are as many as the run has; every kind of product counts."""
    for count in (1, 5):
        model = head(6, 8, dynamic=True).model(["y"])
        replay = Replay(model, ["x"], ["y"], {"x": np.ones((count, 8, 6, 6), np.float32)})
        assert replay.products == count * 2 * 36 * 8 * 8 * 9
    net = Net(18)
    up = net.ConvTranspose(net.input("x", (1, 2, 4, 4)), np.ones((2, 3, 2, 2)), strides=[2, 2])
    rows = net.Reshape(up, np.array([3, 64]))
    dense = net.Gemm(rows, np.ones((5, 64)), transB=1)
    other = net.Gemm(dense, np.ones((3, 2)), transA=1)
    both_ = net.MatMul(net.Einsum(other, np.ones((2, 7)), equation="ij,jk->ik"), np.ones((7, 2)))
    net.node("MatMul", [both_, net.Transpose(both_, perm=[1, 0])], name="y")
    replay = Replay(net.model(["y"]), ["x"], ["y"], {"x": np.ones((1, 2, 4, 4), np.float32)})
    einsum = 2000 * 5 * 2 * 7
    assert replay.products == 2 * 16 * 3 * 4 + 3 * 64 * 5 + 5 * 3 * 2 + einsum + 5 * 7 * 2 + 5 * 2 * 5


def test_what_does_not_fit_into_memory_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each output that a product gives counts, with as many proposals as there are."""
    model = head(6, 8, dynamic=True).model(["y"])
    for numbers, small in ((2 * 5 * 8 * 36, True), (2 * 5 * 8 * 36 - 1, False)):
        monkeypatch.setattr("boxcam.export.verify.replay._MOST_NUMBERS", numbers)
        replay = Replay(model, ["x"], ["y"], {"x": np.ones((5, 8, 6, 6), np.float32)})
        assert replay.small is small
    monkeypatch.undo()
    monkeypatch.setattr("boxcam.export.verify.replay._MOST_PRODUCTS", replay.products - 1)
    assert not Replay(model, ["x"], ["y"], {"x": np.ones((5, 8, 6, 6), np.float32)}).small


def test_a_head_of_three_billion_products_is_checked_in_double_precision() -> None:
    """In a second or two: its derivatives are held to 1e-4 and not to the 1 to 10 % that float32 tells apart."""
    cells, channels = 48, 256
    model = head(cells, channels, dynamic=False).model(["y"])
    given = {"x": RNG.standard_normal((1, channels, cells, cells)).astype(np.float32)}
    replay = Replay(model, ["x"], ["y"], given)
    assert replay.products > 2.5e9
    assert replay.small
    began = time.process_time()
    found = replay.exactly({"x": given["x"].astype(np.float64)})["y"]
    assert time.process_time() - began < 10
    assert np.abs(found - replay(given)["y"]).max() < 1e-4
    assert found.dtype == np.float64


@pytest.mark.parametrize("kind", ["Erf", "Gelu"])
def test_activations_of_tokens_are_checked_in_double_precision(kind: str) -> None:
    """As those of maps are: it is the operators that read between cells whose maps have to be of two dimensions."""
    net = Net(20)
    net.node(kind, [net.MatMul(net.input("x", (1, 6, 4)), RNG.standard_normal((4, 4)))], name="y")
    replay = Replay(net.model(["y"]), ["x"], ["y"], {"x": np.ones((1, 6, 4), np.float32)})
    assert replay.small


def test_volumes_that_are_sampled_are_not() -> None:
    net = Net(20)
    grid = RNG.uniform(-1, 1, (1, 2, 2, 2, 3))
    net.node("GridSample", [net.Relu(net.input("x", (1, 1, 3, 3, 3))), grid], name="y")
    replay = Replay(net.model(["y"]), ["x"], ["y"], {"x": np.ones((1, 1, 3, 3, 3), np.float32)})
    assert not replay.small
