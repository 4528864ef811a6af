"""Boxes that take different ways through a graph, and meet again: blocks against whole maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from boxcam.errors import ExportError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, serialized
from boxcam.export.verify.onnx_gradient import embedded
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from tests.export.export_graphs import Net

RNG = np.random.default_rng(0)
Arrays = dict[str, np.ndarray]


def weight(*shape: int) -> np.ndarray:
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def conv(net: Net, x: str, out: int, channels: int, stride: int = 1) -> str:
    return net.Conv(x, weight(out, channels, 3, 3), pads=[1] * 4, strides=[stride] * 2)


def whole(net: Net, features: list[str], logits: str, feeds: Arrays, origin: Any, form: str) -> np.ndarray:
    """The gradients by the map that each patch is of, [K, C, H, W]; ``form`` is blocks, maps or means (one cell)."""
    model = fold_model(net.model([*features, logits]))
    record_ranks(model, feeds)
    made = gradient.build(model, [logits], features, local=form != "maps")
    graph = made.means if form == "means" else made.model
    assert graph is not None
    values = {str(value.name): value for value in all_values(model.graph)}
    names = list(dict.fromkeys([*features, *made.inputs]))
    tensors = Tensors(dict(zip(names, observe_values(model, [values[n] for n in names], feeds), strict=True)))
    patches = OnnxEngine(serialized(graph)).patches(tensors, features, (), np.array(origin, np.int64))
    return np.array(
        [sum(embedded(patch, *tensors[features[patch.tensor]].shape[2:]) for patch in of) for of in patches]
    )


def assert_same(
    build: Callable[[], tuple[Net, list[str], str]], feeds: Arrays, origin: Any, means: bool = True
) -> None:
    global RNG
    found = {}
    for form in ("blocks", "maps", *(["means"] if means else [])):
        RNG = np.random.default_rng(0)
        found[form] = whole(*build(), feeds, origin, form)
    scale = np.abs(found["maps"]).max()
    assert scale > 0
    np.testing.assert_allclose(found["blocks"], found["maps"], atol=1e-6 * scale)
    if means:
        truth = found["maps"].mean((2, 3))
        np.testing.assert_allclose(found["means"].mean((2, 3)), truth, atol=1e-6 * np.abs(truth).max())


IMAGE = {"x": np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)}


def test_a_box_that_comes_by_two_forks_has_both_gradients() -> None:
    def build() -> tuple[Net, list[str], str]:
        net = Net()
        f = net.Mul(net.input("x", [1, 3, 8, 8]), np.float32(1.5))

        def rows(x: str) -> str:
            return net.Transpose(net.Reshape(conv(net, x, 2, 3), np.array([1, 2, -1])), perm=[0, 2, 1])

        coarse = conv(net, f, 3, 3, stride=2)
        sums = [net.Concat(rows(f), rows(coarse), axis=1) for _ in range(2)]
        return net, [f], net.Add(*sums)

    assert_same(build, IMAGE, [[0, 0, 5, 1], [0, 0, 70, 0], [0, 0, 30, 1]])


@pytest.mark.parametrize("origin", [[[0, 0, 5, 1, 1], [0, 0, 11, 0, 0]], [[0, 0, 1, 1, 1]], [[0, 0, 7, 3, 3]]])
def test_joined_channels_of_which_a_branch_has_no_box(origin: Any) -> None:
    def build() -> tuple[Net, list[str], str]:
        net = Net()
        f = net.Mul(net.input("x", [1, 3, 8, 8]), np.float32(1.5))
        return net, [f], net.Concat(conv(net, f, 4, 3), conv(net, f, 8, 3), axis=1)

    assert_same(build, IMAGE, origin)


ROIS = np.array([[1, 1, 6, 7], [3, 2, 12, 13], [0, 5, 9, 9], [2, 2, 4, 4]], np.float32)
TWO_STAGE = {"x": np.random.default_rng(2).standard_normal((1, 3, 16, 16)).astype(np.float32), "r": ROIS}
TWO_STAGE |= {"i1": np.array([[0], [3]]), "i2": np.array([[1], [2]])}


@pytest.mark.parametrize("kind", ["squeeze and excitation", "pooled", "all proposals beside"])
def test_heads_behind_level_assembly_add_what_comes_by_every_way(kind: str) -> None:
    def build() -> tuple[Net, list[str], str]:
        net = Net()
        f = net.Mul(net.input("x", [1, 3, 16, 16]), np.float32(1.5))
        r = net.input("r", [4, 4])
        levels = [net.input(name, [2, 1], TensorProto.INT64) for name in ("i1", "i2")]

        def pooled(x: str, rois: str, count: int) -> str:
            sizes: dict[str, Any] = {"output_height": 4, "output_width": 4, "sampling_ratio": 2}
            return net.RoiAlign(x, rois, np.zeros(count, np.int64), **sizes)

        rows: Any = np.zeros((4, 3, 4, 4))
        for level, scale in zip(levels, (1.0, 2.0), strict=True):
            picked = net.Gather(r, net.Squeeze(level, np.array([1])), axis=0)
            rows = net.ScatterND(rows, level, pooled(net.Mul(f, np.float32(scale)), picked, 2))
        if kind == "squeeze and excitation":
            rows = net.Mul(rows, net.Sigmoid(net.Conv(net.GlobalAveragePool(rows), weight(3, 3, 1, 1))))
        if kind == "pooled":
            rows = net.GlobalAveragePool(rows)
        if kind == "all proposals beside":
            rows = net.Add(rows, pooled(conv(net, f, 3, 3), r, 4))
        size = 3 if kind == "pooled" else 48
        return net, [f], net.Gemm(net.Flatten(rows), weight(5, size), transB=1)

    assert_same(build, TWO_STAGE, [[0, 0, 3], [0, 1, 1], [0, 3, 3], [0, 2, 0]])


def test_squeeze_and_excitation_of_pooled_rows() -> None:
    def build() -> tuple[Net, list[str], str]:
        net = Net()
        f = net.Mul(net.input("x", [6, 3, 4, 4]), np.float32(1.5))
        gate = net.Sigmoid(net.Conv(net.GlobalAveragePool(f), weight(3, 3, 1, 1)))
        return net, [f], net.Gemm(net.Flatten(net.Mul(f, gate)), weight(5, 48), transB=1)

    feeds = {"x": np.random.default_rng(3).standard_normal((6, 3, 4, 4)).astype(np.float32)}
    assert_same(build, feeds, [[0, 2, 3], [0, 5, 1]], means=False)


def test_rows_gathered_by_int32_indices() -> None:
    def build() -> tuple[Net, list[str], str]:
        net = Net()
        f = net.Mul(net.input("x", [6, 3, 4, 4]), np.float32(1.5))
        rows = net.Gather(f, net.input("i", [2], TensorProto.INT32), axis=0)
        return net, [f], net.Gemm(net.Flatten(rows), weight(5, 48), transB=1)

    feeds = {"x": np.random.default_rng(3).standard_normal((6, 3, 4, 4)).astype(np.float32)}
    assert_same(build, {**feeds, "i": np.array([3, 1], np.int32)}, [[0, 0, 3], [0, 1, 1]], means=False)


def test_a_level_without_rows_beside_one_with_boxes() -> None:
    net = Net()
    maps = [net.Mul(net.input(f"x{n}", [f"r{n}", 3, 4, 4]), np.float32(1.5)) for n in range(2)]
    matrix = weight(5, 48)
    logits = [net.Relu(net.Gemm(net.Flatten(f), matrix, transB=1)) for f in maps]
    feeds = {"x0": np.random.default_rng(4).standard_normal((6, 3, 4, 4)).astype(np.float32)}
    feeds["x1"] = np.zeros((0, 3, 4, 4), np.float32)
    model = fold_model(net.model([*maps, *logits]))
    record_ranks(model, feeds)
    made = gradient.build(model, logits, maps)
    values = {str(value.name): value for value in all_values(model.graph)}
    names = list(dict.fromkeys([*maps, *made.inputs]))
    tensors = Tensors(dict(zip(names, observe_values(model, [values[n] for n in names], feeds), strict=True)))
    origin = np.array([[0, 0, 3], [0, 4, 1]], np.int64)
    before = np.maximum(feeds["x0"].reshape(6, -1) * 1.5 @ matrix.T, 0)
    for (patch,), (_, row, column) in zip(
        OnnxEngine(serialized(made.model)).patches(tensors, maps, (), origin), origin, strict=True
    ):
        expected = matrix[column].reshape(3, 4, 4) * (before[row, column] > 0)
        np.testing.assert_allclose(patch.gradient, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["origin", "patches.0", "box.1"])
def test_a_tensor_of_the_model_that_has_a_name_of_ours_is_refused(name: str) -> None:
    net = Net()
    f = net.Mul(net.input("x", [1, 3, 8, 8]), np.float32(1.5))
    mask = net.node("Relu", [conv(net, f, 4, 3)], name=name)[0]
    logits = conv(net, mask, 2, 4)
    model = fold_model(net.model([f, logits]))
    record_ranks(model, IMAGE)
    with pytest.raises(ExportError, match=f"has a tensor named '{name}', a name reserved by boxcam"):
        gradient.build(model, [logits], [f])


def test_rows_that_come_by_two_forks_are_one_row() -> None:
    def build() -> tuple[Net, list[str], str]:
        net = Net()
        f = net.Mul(net.input("x", [6, 3, 4, 4]), np.float32(1.5))

        def parted(at: int) -> str:
            ends = [(0, at), (at, 6)]
            rows = [net.Slice(f, np.array([a]), np.array([b]), np.array([0])) for a, b in ends]
            return net.Concat(net.Mul(rows[0], np.float32(2)), rows[1], axis=0)

        return net, [f], net.Gemm(net.Flatten(net.Add(parted(3), parted(2))), weight(5, 48), transB=1)

    feeds = {"x": np.random.default_rng(3).standard_normal((6, 3, 4, 4)).astype(np.float32)}
    assert_same(build, feeds, [[0, 2, 3], [0, 5, 1], [0, 0, 2]], means=False)
