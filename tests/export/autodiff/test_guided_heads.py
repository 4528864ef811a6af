"""Guided gradients of heads, in blocks and on whole maps, against float64 autograd with masked activations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from onnx import TensorProto

from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, serialized
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.autodiff.necks import case
from tests.export.export_graphs import Net
from tests.export.heads import LayerGradient, TorchSide, assert_gradient_graph, built, embedded, whole_map_gradients
from tests.masked import Masked


class GuidedSide(TorchSide):
    """Computes, with activations that pass only what is positive where they are active."""

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        return Masked.apply(x, F.relu)

    def silu(self, x: torch.Tensor) -> torch.Tensor:
        return Masked.apply(x, F.silu)


def drawn(made: LayerGradient) -> np.ndarray:
    """The corners of every map of logits, and some positions in between."""
    positions = made.positions()
    corners = np.concatenate([np.flatnonzero(positions[:, 0] == n)[[0, -1]] for n in range(len(made.logits))])
    some = np.random.default_rng(0).permutation(len(positions))[:12]
    return positions[np.unique(np.concatenate([corners, some]))]


@pytest.mark.parametrize("name", case.all)
def test_the_guided_gradient_is_that_of_masked_activations(name: str) -> None:
    this = case.all[name]
    made = built(this.head, this.shapes, this.layer)
    layer = tuple(range(len(this.shapes))) if this.layer is None else this.layer
    maps = [made.feeds[f"x{n}"] * np.float32(1.5) for n in range(len(this.shapes))]
    origin = drawn(made)
    gradients = whole_map_gradients(this.head, maps, layer, origin, GuidedSide())[1]
    assert_gradient_graph(made, origin, gradients, [f"f{n}" for n in layer], guided=True)
    plain = whole_map_gradients(this.head, maps, layer, origin)[1]
    pairs = [(a, b) for one, other in zip(gradients, plain, strict=True) for a, b in zip(one, other, strict=True)]
    assert not all(np.allclose(a, b) for a, b in pairs)


WEIGHTS = np.random.default_rng(5).standard_normal((5, 3, 3, 3, 3)).astype(np.float32)


def by_two_ways(x: torch.Tensor) -> torch.Tensor:
    """Rows of two maps, one of which is half as large, joined twice: [1, 80, 3]."""
    y = Masked.apply(F.conv2d(x, torch.from_numpy(WEIGHTS[0]).double(), padding=1), F.relu)

    def rows(x: torch.Tensor, key: int, stride: int = 1) -> torch.Tensor:
        return F.conv2d(x, torch.from_numpy(WEIGHTS[key]).double(), padding=1, stride=stride).flatten(2).mT

    return torch.cat([rows(y, 1), rows(y, 2, 2)], 1) + torch.cat([rows(y, 3), rows(y, 4, 2)], 1)


def test_a_box_that_comes_by_two_forks_is_masked_once() -> None:
    """Its groups meet again at the activation, where what they bring has to be one sum."""
    net = Net()
    feature = net.Mul(net.input("x", [1, 3, 8, 8]), np.float32(1.5))

    def conv(x: str, key: int, stride: int = 1) -> str:
        return net.Conv(x, WEIGHTS[key], pads=[1] * 4, strides=[stride] * 2)

    def rows(x: str) -> str:
        return net.Transpose(net.Reshape(x, np.array([1, 3, -1])), perm=[0, 2, 1])

    y = net.Relu(conv(feature, 0))
    joined = [net.Concat(rows(conv(y, a)), rows(conv(y, b, 2)), axis=1) for a, b in ((1, 2), (3, 4))]
    logits = net.Add(*joined)
    x = np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)
    assert_guided(
        net, feature, logits, {"x": x}, by_two_ways, [[0, 0, 5, 1], [0, 0, 70, 0], [0, 0, 63, 2], [0, 0, 64, 2]]
    )


ROIS = np.array([[1, 1, 6, 7], [3, 2, 12, 13], [0, 5, 9, 9], [2, 2, 4, 4]], np.float32)
LEVELS = {"i0": np.array([[0], [3]]), "i1": np.array([[1], [2]])}
ROWS = [
    np.random.default_rng(n).standard_normal(size).astype(np.float32) / 4 for n, size in enumerate(((7, 48), (5, 7)))
]


def of_proposals(x: torch.Tensor) -> torch.Tensor:
    """Pooled from two maps, each proposal from one of them, and two fully connected layers: [4, 5]."""
    fine = Masked.apply(F.conv2d(x, torch.from_numpy(WEIGHTS[0]).double(), padding=1), F.relu)
    coarse = F.conv2d(fine, torch.from_numpy(WEIGHTS[1]).double(), padding=1, stride=2)
    maps = (fine, Masked.apply(coarse, F.relu))
    rows = torch.zeros(4, 3, 4, 4, dtype=torch.float64)
    for number, (level, scale) in enumerate(zip(maps, (1.0, 0.5), strict=True)):
        mine = torch.from_numpy(LEVELS[f"i{number}"][:, 0])
        rois = torch.cat([torch.zeros(2, 1), torch.from_numpy(ROIS)[mine]], 1).double()
        rows = rows.index_copy(0, mine, torchvision.ops.roi_align(level, rois, 4, scale, 2, True))
    hidden = Masked.apply(rows.flatten(1) @ torch.from_numpy(ROWS[0]).double().T, F.relu)
    return hidden @ torch.from_numpy(ROWS[1]).double().T


def test_proposals_of_several_levels_meet_in_an_activation() -> None:
    net = Net()
    feature = net.Mul(net.input("x", [1, 3, 16, 16]), np.float32(1.5))
    fine = net.Relu(net.Conv(feature, WEIGHTS[0], pads=[1] * 4))
    coarse = net.Relu(net.Conv(fine, WEIGHTS[1], pads=[1] * 4, strides=[2, 2]))
    rois = net.input("r", [4, 4])
    rows: Any = np.zeros((4, 3, 4, 4), np.float32)
    for number, (level, scale) in enumerate(((fine, 1.0), (coarse, 0.5))):
        index = net.input(f"i{number}", [2, 1], TensorProto.INT64)
        own = net.Gather(rois, net.Squeeze(index, np.array([1])), axis=0)
        sizes = {"output_height": 4, "output_width": 4, "sampling_ratio": 2, "spatial_scale": scale}
        pooled = net.RoiAlign(level, own, np.zeros(2, np.int64), **sizes)
        rows = net.ScatterND(rows, index, pooled)
    hidden = net.Relu(net.Gemm(net.Flatten(rows), ROWS[0], transB=1))
    logits = net.Gemm(hidden, ROWS[1], transB=1)
    x = np.random.default_rng(2).standard_normal((1, 3, 16, 16)).astype(np.float32)
    origin = [[0, row, label] for row in range(4) for label in (0, 3)]
    assert_guided(net, feature, logits, {"x": x, "r": ROIS, **LEVELS}, of_proposals, origin)


def assert_guided(
    net: Net,
    feature: str,
    logits: str,
    feeds: dict[str, np.ndarray],
    function: Callable[[torch.Tensor], torch.Tensor],
    origin: list[list[int]],
) -> None:
    """Hold the guided gradient to a feature map, which is the input times 1.5, against a function in torch."""
    model = fold_model(net.model([feature, logits]))
    record_ranks(model, feeds)
    given = torch.from_numpy(feeds["x"] * np.float32(1.5)).double().requires_grad_(True)
    found = function(given)
    truth = [torch.autograd.grad(found[tuple(at)], given, retain_graph=True)[0].numpy() for _, *at in origin]
    scale = max(np.abs(gradient).max() for gradient in truth)
    assert sum(gradient.any() for gradient in truth) > len(truth) // 2  # of some boxes nothing arrives
    for local in (True, False):
        graph = gradient.build(model, [logits], [feature], local=local, guided=True)
        values = {str(value.name): value for value in all_values(model.graph)}
        names = list(dict.fromkeys([feature, *graph.inputs]))
        seen = observe_values(model, [values[name] for name in names], feeds)
        tensors = Tensors(dict(zip(names, seen, strict=True)))
        patches = OnnxEngine(serialized(graph.model)).patches(tensors, [feature], (), np.array(origin))
        for (patch,), expected in zip(patches, truth, strict=True):
            whole, _ = embedded(patch.gradient, (0, patch.row, *patch.corner), expected.shape)
            np.testing.assert_allclose(whole, expected, atol=1e-5 * scale)
