"""Targets behind reshapes and gathers: one position of a value is one position of what it was made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto

from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, serialized
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net
from tests.export.heads import weights

ANCHORS, CLASSES, HEIGHT, WIDTH = 3, 2, 6, 7
CHOSEN = np.array([11, 0, 125, 64, 64, 30], np.int64)


def decoded(net: Net, maps: str) -> str:
    """[1, A·4, H, W] → [1, N, 4], some of it chosen, → one side as detectors decode it."""
    rows = net.Reshape(net.Transpose(maps, perm=[0, 2, 3, 1]), np.array([1, -1, 4]))
    rows = net.Gather(rows, CHOSEN, axis=1)
    dx, dw = net.Gather(rows, np.array(0), axis=-1), net.Gather(rows, np.array(-2), axis=2)
    return net.Sub(net.Mul(dx, np.float32(3)), net.Mul(net.Exp(net.Mul(dw, np.float32(0.3))), np.float32(2)))


def decoded_by_torch(maps: torch.Tensor) -> torch.Tensor:
    rows = maps.permute(0, 2, 3, 1).reshape(1, -1, 4)[:, CHOSEN]
    return rows[..., 0] * 3 - (rows[..., 2] * 0.3).exp() * 2


def scores(net: Net, maps: str) -> str:
    """[1, A·4, H, W] → the score [1, N, 2] of pairs, as products are reported, chosen by a table [1, K] of indices."""
    rows = net.Reshape(net.Transpose(maps, perm=[0, 2, 3, 1]), np.array([1, HEIGHT * WIDTH * ANCHORS, 2, 2]))
    one, other = net.node("Split", [rows], 2, axis=3, num_outputs=2)
    product = net.Reshape(net.Mul(net.Sigmoid(one), net.Sigmoid(other)), np.array([-1, 2]))
    return net.Gather(product, CHOSEN[None], axis=0)


def scores_by_torch(maps: torch.Tensor) -> torch.Tensor:
    rows = maps.permute(0, 2, 3, 1).reshape(1, -1, 2, 2)
    return (rows[..., 0].sigmoid() * rows[..., 1].sigmoid()).reshape(-1, 2)[CHOSEN[None]]


def opened(net: Net, maps: str) -> str:
    """Scores in a shape whose lengths only a run tells, and again in one that is known."""
    ones = net.Cast(net.GreaterOrEqual(net.ReduceMax(net.Abs(maps), keepdims=0), np.float32(0)), to=TensorProto.INT64)
    one = net.Unsqueeze(ones, np.array([0]))
    columns = net.Mul(one, np.array([2]))
    rows = net.Reshape(net.Transpose(maps, perm=[0, 2, 3, 1]), net.Concat(one, np.array([-1]), columns, axis=0))
    rows = net.Reshape(net.LeakyRelu(rows, alpha=0.25), np.array([-1, 3, 4]))
    return net.Reshape(rows, net.Concat(np.array([-1]), net.Mul(columns, np.array([2])), axis=0))


def opened_by_torch(maps: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(maps.permute(0, 2, 3, 1).reshape(-1, 4), 0.25)


@pytest.mark.parametrize(
    ("write", "truth"), [(decoded, decoded_by_torch), (scores, scores_by_torch), (opened, opened_by_torch)]
)
def test_the_gradient_is_that_of_torch_in_windows(write: Any, truth: Any) -> None:
    net, kernel = Net(), weights("head", ANCHORS * 4, 5, 3, 3)
    feature = net.node("Mul", [net.input("x", (1, 5, HEIGHT, WIDTH)), np.float32(1.5)], name="f")[0]
    end = net.node("Identity", [write(net, net.node("Conv", [feature, kernel], pads=[1] * 4)[0])], name="end")[0]
    model = fold_model(net.model([feature, end]))
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 5, HEIGHT, WIDTH)).astype(np.float32)}
    record_ranks(model, feeds)
    graph = gradient.build(model, ["end"], ["f"])
    assert (graph.form, graph.field) == ("windows", 3), graph.reason
    by_name = {str(value.name): value for value in all_values(model.graph)}
    names = list(dict.fromkeys(["f", "end", *graph.inputs]))
    values = dict(zip(names, observe_values(model, [by_name[n] for n in names], feeds), strict=True))
    leaf = torch.from_numpy(values["f"]).double().requires_grad_()
    target = truth(F.conv2d(leaf, torch.from_numpy(kernel).double(), padding=1))
    np.testing.assert_allclose(values["end"], target.detach().numpy(), atol=1e-5)
    origin = np.array([[0, *position] for position in np.ndindex(values["end"].shape)], np.int64)
    found = OnnxEngine(serialized(graph.model)).patches(Tensors(values), ["f"], (), origin)
    for (patch,), (_, *position) in zip(found, origin.tolist(), strict=True):
        (expected,) = torch.autograd.grad(target[tuple(position)], leaf, retain_graph=True)
        y, x = patch.corner
        padded = np.pad(expected[0].numpy(), ((0, 0), (3, 3), (3, 3)))
        np.testing.assert_allclose(patch.gradient, padded[:, y + 3 : y + 6, x + 3 : x + 6], atol=1e-6)
        assert np.abs(patch.gradient).sum() == pytest.approx(float(expected.abs().sum()), rel=1e-5)
