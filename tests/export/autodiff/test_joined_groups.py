"""Levels whose gradients meet in one backbone: carried together, and each still that of its own boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from boxcam.export.autodiff import gradient
from boxcam.export.autodiff.gradient import GradientGraph
from boxcam.export.graphs.dependency import STOP
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, serialized
from boxcam.export.verify.onnx_gradient import embedded
from boxcam.runtime.engines import OnnxEngine, Patches
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net

Arrays = dict[str, np.ndarray]
IMAGE = {"x": np.random.default_rng(1).standard_normal((1, 3, 32, 48)).astype(np.float32)}


class Pyramid:
    """A backbone of three strides, a neck that goes down and up again, one head a level; some words are its layers."""

    def __init__(self, activation: str = "SiLU", dynamic: bool = False) -> None:
        self.rng, self.activation, self.net = np.random.default_rng(0), activation, Net()
        net = self.net
        image = net.input("x", [1, 3, "h", "w"] if dynamic else [1, 3, 32, 48])
        self.fine = self.conv(image, 3, 4, 2)
        self.middle = self.conv(self.residual(self.fine, 4), 4, 6, 2)
        self.coarse = self.pooled(self.conv(self.residual(self.middle, 6), 6, 8, 2))
        high = self.conv(net.Concat(self.up(self.coarse), self.middle, axis=1), 14, 6)
        low = self.conv(net.Concat(self.up(high), self.fine, axis=1), 10, 4)
        back = self.conv(net.Concat(self.conv(low, 4, 4, 2), high, axis=1), 10, 6)
        last = self.conv(net.Concat(self.conv(back, 6, 6, 2), self.coarse, axis=1), 14, 8)
        levels = ((low, 4), (back, 6), (last, 8))
        self.logits = [net.Conv(level, self.weight(2, channels, 1, 1)) for level, channels in levels]

    def weight(self, *shape: int) -> np.ndarray:
        return (self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    def conv(self, x: str, channels: int, out: int, stride: int = 1) -> str:
        net = self.net
        y = net.Conv(x, self.weight(out, channels, 3, 3), pads=[1] * 4, strides=[stride] * 2)
        if self.activation == "SiLU":
            return net.Mul(y, net.Sigmoid(y))
        return net.Relu(y) if self.activation == "Relu" else net.LeakyRelu(y, alpha=0.1)

    def residual(self, x: str, channels: int) -> str:
        return self.net.Add(x, self.conv(self.conv(x, channels, channels), channels, channels))

    def up(self, x: str) -> str:
        nearest = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return self.net.Resize(x, None, np.array([1, 1, 2, 2], np.float32), **nearest)

    def pooled(self, x: str) -> str:
        return self.net.Add(x, self.net.MaxPool(x, kernel_shape=[3, 3], pads=[1] * 4))


def run(pyramid: Pyramid, layer: str, origin: Any, **how: Any) -> tuple[GradientGraph, list[Patches], np.ndarray]:
    """The gradient graph, its patches, and the gradients by the whole map, [K, C, H, W]."""
    model = fold_model(pyramid.net.model([layer, *pyramid.logits]))
    record_ranks(model, IMAGE)
    means = how.pop("only_means", False)
    made = gradient.build(model, pyramid.logits, [layer], **how)
    graph = made.means if means else made.model
    assert graph is not None
    values = {str(value.name): value for value in all_values(model.graph)}
    names = list(dict.fromkeys([layer, *made.inputs]))
    tensors = Tensors(dict(zip(names, observe_values(model, [values[n] for n in names], IMAGE), strict=True)))
    patches = OnnxEngine(serialized(graph)).patches(tensors, [layer], (), np.array(origin, np.int64))
    size = tensors[layer].shape[2:]
    return made, patches, np.array([sum(embedded(patch, *size) for patch in of) for of in patches])


LEVELS = [[0, 0, 1, 7, 11], [0, 0, 0, 15, 0], [1, 0, 1, 3, 6], [1, 0, 0, 0, 11], [2, 0, 1, 2, 3], [2, 0, 0, 0, 0]]
MIXED = {
    "all levels": LEVELS,
    "no order": [LEVELS[i] for i in (4, 0, 3, 1, 5, 2)],
    "the finest": LEVELS[:2],
    "the middle": LEVELS[2:4],
    "the coarsest": LEVELS[4:],
    "all but the middle": [LEVELS[5], LEVELS[0]],
    "one box": LEVELS[3:4],
}


@pytest.mark.parametrize(
    ("activation", "layer", "which"),
    [
        *(("SiLU", "fine", which) for which in MIXED),
        *(("Relu", "middle", which) for which in ("all levels", "no order", "the coarsest")),
        ("Relu", "fine", "all levels"),
        ("LeakyRelu", "fine", "all but the middle"),
        ("SiLU", "coarse", "all levels"),
    ],
)
def test_boxes_of_some_levels_have_the_gradients_of_whole_maps(activation: str, layer: str, which: str) -> None:
    pyramid = Pyramid(activation)
    found = {}
    for form in (True, False):
        _, patches, found[form] = run(pyramid, getattr(pyramid, layer), MIXED[which], local=form)
        assert [len(of) for of in patches] == [1] * len(MIXED[which])
    scale = np.abs(found[False]).max()
    assert scale > 0
    np.testing.assert_allclose(found[True], found[False], atol=1e-6 * scale)
    if layer == "coarse":  # which is joined with others before a convolution
        return
    _, _, means = run(pyramid, getattr(pyramid, layer), MIXED[which], only_means=True)
    truth = found[False].mean((2, 3))
    np.testing.assert_allclose(means.mean((2, 3)), truth, atol=1e-6 * np.abs(truth).max())


@pytest.mark.parametrize("which", ["all levels", "the finest", "the coarsest"])
@pytest.mark.parametrize("how", ["guided", "dynamic"])
def test_so_they_have_by_guided_rules_and_where_sizes_are_dynamic(which: str, how: str) -> None:
    guided = how == "guided"
    pyramid, still = Pyramid(dynamic=how == "dynamic"), Pyramid()
    blocks = run(pyramid, pyramid.fine, MIXED[which], guided=guided)[2]
    maps = run(still, still.fine, MIXED[which], local=False, guided=guided)[2]
    np.testing.assert_allclose(blocks, maps, atol=1e-6 * np.abs(maps).max())


def test_several_levels_go_through_the_backbone_as_one() -> None:
    """All of them see all of the coarsest maps: convolutions before these are there once, not once for each level."""
    pyramid = Pyramid("Relu")
    made, patches, _ = run(pyramid, pyramid.fine, LEVELS)
    assert [patch.gradient.shape[1:] for (patch,) in patches] == [(16, 24)] * len(LEVELS)
    backwards = sum(node.op_type in ("Conv", "ConvTranspose") for node in made.model.graph)
    forward = 2 + 3 + 1 + 2 * 6 + 3  # behind the layer: residual blocks, strides, the neck, the logits
    assert backwards < 2 * forward


def test_windows_that_meet_are_no_larger_than_they_have_to_be() -> None:
    """A cell of the finest level sees 3 cells of its map directly, and through half of the size others around them."""
    net, rng = Net(), np.random.default_rng(0)

    def conv(x: str, stride: int = 1) -> str:
        weight = rng.standard_normal((2, 2, 3, 3)).astype(np.float32)
        return net.Conv(x, weight, pads=[1] * 4, strides=[stride] * 2)

    f = net.Mul(net.input("x", [1, 2, 64, 64]), np.float32(1.5))
    nearest = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
    up = net.Resize(conv(f, 2), None, np.array([1, 1, 2, 2], np.float32), **nearest)
    logits = conv(net.Add(up, f))
    model = fold_model(net.model([f, logits]))
    made = gradient.build(model, [logits], [f])
    feeds = {"x": rng.standard_normal((1, 2, 64, 64)).astype(np.float32)}
    values = {str(value.name): value for value in all_values(model.graph)}
    (map_,) = observe_values(model, [values[f]], feeds)
    origin = np.array([[0, 0, 1, y, x] for y, x in ((0, 0), (63, 63), (20, 31), (21, 30))])
    found = OnnxEngine(serialized(made.model)).patches(Tensors({f: map_}), [f], (), origin)
    # 3 cells touch at most 2 of half the size, which see 5 cells; these begin 1 to 2 cells before the middle one.
    assert {patch.gradient.shape for (patch,) in found} == {(2, 5, 5)}
    assert made.field == 5
    whole = gradient.build(model, [logits], [f], local=False)
    expected = OnnxEngine(serialized(whole.model)).patches(Tensors({f: map_}), [f], (), origin)
    for (patch,), (truth,) in zip(found, expected, strict=True):
        np.testing.assert_allclose(embedded(patch, 64, 64), embedded(truth, 64, 64), atol=1e-5)


@pytest.mark.parametrize("where", ["the gate is the layer", "a stop at the gate"])
def test_a_slope_ends_where_the_gradient_does(where: str) -> None:
    """``x · σ(x)``: no gradient goes on through the gate, which is the layer itself or a stop."""
    net, rng = Net(), np.random.default_rng(0)
    f = net.Mul(net.input("x", [1, 2, 4, 4]), np.float32(1.5))
    x = net.Conv(f, rng.standard_normal((2, 2, 1, 1)).astype(np.float32))
    gate = net.Sigmoid(x)
    if where == "a stop at the gate":
        gate = net.node("Identity", [gate])[0]
        net.nodes[-1].name = f"{STOP}.0"
    layer = gate if where == "the gate is the layer" else x
    total = net.ReduceSum(net.Mul(x, gate), np.array([2, 3]))
    logits = net.Concat(total, total, axis=1)
    model = net.model([layer, logits])
    feeds = {"x": rng.standard_normal((1, 2, 4, 4)).astype(np.float32)}
    made = gradient.build(model, [logits], [layer])
    values = {str(value.name): value for value in all_values(model.graph)}
    names = list(dict.fromkeys([layer, *made.inputs]))
    tensors = Tensors(dict(zip(names, observe_values(model, [values[n] for n in names], feeds), strict=True)))
    ((patch,),) = OnnxEngine(serialized(made.model)).patches(tensors, [layer], (), np.array([[0, 0, 1, 0, 0]]))
    before, gated = observe_values(model, [values[x], values[gate]], feeds)
    expected = np.zeros((2, 4, 4), np.float32)
    expected[1] = (before if where == "the gate is the layer" else gated)[0, 1]
    np.testing.assert_allclose(embedded(patch, 4, 4), expected, atol=1e-6)
