"""Small heads written once and built twice: as an ONNX graph, and in torch's own functions on whole maps.

The second is the truth that score graphs and gradient modules are held against; it shares no line with them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
import torch.nn.functional as F
from onnx import helper

from boxcam.export.autodiff import gradient
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, run_model, serialized
from boxcam.export.torchscript.module import gradient_module
from boxcam.export.torchscript.score import ScoreGraph, build
from boxcam.runtime.engines import OnnxEngine
from boxcam.runtime.tensors import Tensors
from boxcam.types import ORIGIN
from tests.export.export_graphs import Arrays, Net


def weights(key: str, *shape: int) -> np.ndarray:
    """Random numbers that depend on the name alone."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    spread = 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 1 else 4)
    return (rng.standard_normal(shape) * spread).astype(np.float32)


class OnnxSide:
    """Writes nodes."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def conv(
        self,
        x: str,
        key: str,
        shape: Sequence[int],
        *,
        dilation: int = 1,
        group: int = 1,
        stride: int = 1,
        bias: bool = True,
        auto: bool = False,
        name: str | None = None,
    ) -> str:
        pads = [dilation * (k - 1) // 2 for k in shape[2:]]
        padding: dict[str, Any] = {"auto_pad": "SAME_UPPER"} if auto else {"pads": [*pads, *pads]}
        inputs = [x, weights(key, *shape), *([weights(f"{key}.bias", shape[0])] if bias else [])]
        sizes = {"dilations": [dilation] * 2, "strides": [stride] * 2}
        return self.net.node("Conv", inputs, name=name, group=group, **sizes, **padding)[0]

    def gemm(self, x: str, key: str, shape: Sequence[int], *, transposed: bool = True, name: str | None = None) -> str:
        matrix = weights(key, *shape) if transposed else weights(key, *shape).T.copy()
        inputs = [x, matrix, weights(f"{key}.bias", shape[0])]
        return self.net.node("Gemm", inputs, name=name, transB=int(transposed))[0]

    def scaled(self, x: str, key: str, channels: int) -> str:
        return self.net.Mul(x, 1 + weights(key, 1, channels, 1, 1))

    def shifted(self, x: str, key: str, channels: int) -> str:
        return self.net.Add(weights(key, channels, 1, 1), x)

    def relu(self, x: str) -> str:
        return self.net.Relu(x)

    def silu(self, x: str) -> str:
        return self.net.Mul(x, self.net.Sigmoid(x))

    def relu6(self, x: str) -> str:
        return self.net.Clip(x, np.float32(0), np.float32(6))

    def leaky(self, x: str) -> str:
        return self.net.LeakyRelu(x, alpha=0.1)

    def logarithm(self, x: str) -> str:
        return self.net.Log(x)

    def root(self, x: str) -> str:
        return self.net.Sqrt(x)

    def add(self, a: str, b: str) -> str:
        return self.net.Add(a, b)

    def divide(self, a: str, b: str) -> str:
        return self.net.Div(a, b)

    def cat(self, *x: str) -> str:
        return self.net.Concat(*x, axis=1)

    def constant_map(self, key: str, *shape: int) -> str:
        return self.net.constant(weights(key, *shape))

    def flat(self, x: str) -> str:
        return self.net.Flatten(x)

    def mean(self, x: str) -> str:
        return self.net.ReduceMean(x, np.array([-2, -1]), keepdims=0)

    def pooled(self, x: str) -> str:
        return self.net.GlobalAveragePool(x)

    def times(self, a: str, b: str) -> str:
        return self.net.Mul(a, b)

    def normal(self, x: str, channels: int) -> str:
        return self.net.InstanceNormalization(x, 1 + weights("in", channels), weights("in.bias", channels))

    def group_normal(self, x: str, groups: int, shape: tuple[int, int, int, int]) -> str:
        """GroupNorm as PyTorch's exporter writes it: an InstanceNormalization of reshaped channels."""
        grouped = self.net.Reshape(x, np.array([0, groups, -1]))
        plain = self.net.InstanceNormalization(grouped, np.ones(groups), np.zeros(groups))
        back = self.net.Reshape(plain, np.array(shape))
        scaled = self.net.Mul(back, 1 + weights("gn", shape[1], 1, 1))
        return self.net.Add(scaled, weights("gn.bias", shape[1], 1, 1))

    def sigmoid_of_row(self, x: str, count: int) -> str:
        return self.net.Sigmoid(self.net.Reshape(x, np.array([1, count])))

    def up(self, x: str, size: tuple[int, int]) -> str:
        shape = self.net.Concat(self.net.Slice(self.net.Shape(x), np.array([0]), np.array([2])), np.array(size), axis=0)
        return self.net.Resize(
            x, None, None, shape, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
        )

    def zoom(self, x: str, size: tuple[int, int]) -> str:
        shape = self.net.Concat(self.net.Slice(self.net.Shape(x), np.array([0]), np.array([2])), np.array(size), axis=0)
        return self.net.Resize(x, None, None, shape, mode="linear", coordinate_transformation_mode="half_pixel")

    def maxpool(self, x: str, kernel: int, stride: int) -> str:
        pads = [kernel // 2] * 4
        return self.net.MaxPool(x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def halves(self, x: str, channels: int) -> list[str]:
        return self.net.node("Split", [x, np.array([channels, channels])], 2, axis=1)


class TorchSide:
    """Computes."""

    def conv(
        self,
        x: torch.Tensor,
        key: str,
        shape: Sequence[int],
        *,
        dilation: int = 1,
        group: int = 1,
        stride: int = 1,
        bias: bool = True,
        auto: bool = False,
        name: str | None = None,
    ) -> torch.Tensor:
        pads = [dilation * (k - 1) // 2 for k in shape[2:]]
        offset = self._of(f"{key}.bias", shape[0]) if bias else None
        return F.conv2d(x, self._of(key, *shape), offset, stride, pads, dilation, group)

    @staticmethod
    def _of(key: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(weights(key, *shape)).double()

    def gemm(
        self, x: torch.Tensor, key: str, shape: Sequence[int], *, transposed: bool = True, name: str | None = None
    ) -> torch.Tensor:
        return F.linear(x, self._of(key, *shape), self._of(f"{key}.bias", shape[0]))

    def scaled(self, x: torch.Tensor, key: str, channels: int) -> torch.Tensor:
        return x * torch.from_numpy(1 + weights(key, 1, channels, 1, 1)).double()

    def shifted(self, x: torch.Tensor, key: str, channels: int) -> torch.Tensor:
        return x + self._of(key, channels, 1, 1)

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x)

    def silu(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(x)

    def relu6(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu6(x)

    def leaky(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x, float(np.float32(0.1)))

    def logarithm(self, x: torch.Tensor) -> torch.Tensor:
        return x.log()

    def root(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt()

    def add(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a + b

    def divide(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a / b

    def cat(self, *x: torch.Tensor) -> torch.Tensor:
        return torch.cat(x, 1)

    def constant_map(self, key: str, *shape: int) -> torch.Tensor:
        return self._of(key, *shape)

    def flat(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3), keepdim=True)

    def times(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return a * b

    def normal(self, x: torch.Tensor, channels: int) -> torch.Tensor:
        scale = torch.from_numpy(1 + weights("in", channels)).double()
        return F.instance_norm(x, weight=scale, bias=self._of("in.bias", channels), eps=float(np.float32(1e-5)))

    def group_normal(self, x: torch.Tensor, groups: int, shape: tuple[int, int, int, int]) -> torch.Tensor:
        scale = torch.from_numpy(1 + weights("gn", shape[1], 1, 1)).double().flatten()
        return F.group_norm(
            x, groups, scale, self._of("gn.bias", shape[1], 1, 1).flatten(), eps=float(np.float32(1e-5))
        )

    def sigmoid_of_row(self, x: torch.Tensor, count: int) -> torch.Tensor:
        return x.reshape(1, count).sigmoid()

    def up(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(x, size=size, mode="nearest")

    def zoom(self, x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def maxpool(self, x: torch.Tensor, kernel: int, stride: int) -> torch.Tensor:
        return F.max_pool2d(x, kernel, stride, kernel // 2)

    def halves(self, x: torch.Tensor, channels: int) -> list[torch.Tensor]:
        return list(x.split(channels, 1))


Head = Callable[..., Any]  # (side, *maps) → logits of each level, in a list


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """A head in ONNX behind its features, what it gives for one input, and its score graph."""

    model: ir.Model
    feeds: Arrays
    features: list[str]
    logits: list[str]
    found: Arrays
    score: ScoreGraph

    def positions(self) -> np.ndarray:
        """Origins of every element of every tensor of logits."""
        rows: list[list[int]] = []
        width = 1 + max(self.found[name].ndim for name in self.logits)
        for number, name in enumerate(self.logits):
            empty = [0] * (width - 1 - self.found[name].ndim)
            rows += [[number, *position, *empty] for position in np.ndindex(self.found[name].shape)]
        return np.array(rows, np.int64)

    def module(self, origin: np.ndarray) -> torch.jit.ScriptModule:
        return gradient_module(self.score, {**self.found, ORIGIN: origin})

    def inputs(self, dtype: torch.dtype = torch.float32) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        groups = []
        for names in (self.score.features, self.score.context):
            tensors = [torch.from_numpy(np.array(self.found[name])) for name in names]
            groups.append([t.to(dtype) if t.is_floating_point() else t for t in tensors])
        return groups[0], groups[1]


def built(
    head: Head,
    shapes: Sequence[Sequence[int]],
    layer: Sequence[int] | None = None,
    positive: bool = False,
    more: Arrays | None = None,
) -> LayerGradient:
    """Build a head on feature maps f0, f1 … of the given shapes; the layer is all of them unless told.

    ``more`` are further inputs, whose first axis is of any size.
    """
    net = Net()
    for name, array in (more or {}).items():
        net.input(name, [f"{name}.n", *array.shape[1:]], helper.np_dtype_to_tensor_dtype(array.dtype))
    rng = np.random.default_rng(len(shapes) + sum(map(sum, shapes)))
    feeds, features = {}, []
    for n, shape in enumerate(shapes):
        values = rng.standard_normal(shape).astype(np.float32)
        feeds[f"x{n}"] = np.abs(values) + np.float32(0.2) if positive else values
        features.append(net.node("Mul", [net.input(f"x{n}", shape), np.float32(1.5)], name=f"f{n}")[0])
    logits = head(OnnxSide(net), *features)
    model = fold_model(net.model([*features, *logits]))
    return finished(
        model,
        {**feeds, **(more or {})},
        [features[i] for i in (range(len(features)) if layer is None else layer)],
        logits,
    )


def finished(model: ir.Model, feeds: Arrays, layer: list[str], logits: list[str]) -> LayerGradient:
    record_ranks(model, feeds)
    score = build(model, logits, layer, feeds)
    by_name = {str(value.name): value for value in all_values(model.graph)}
    wanted = list(dict.fromkeys([*score.features, *score.context, *layer, *logits]))
    results = observe_values(model, [by_name[name] for name in wanted], feeds)
    return LayerGradient(model, feeds, layer, logits, dict(zip(wanted, results, strict=True)), score)


def whole_map_gradients(
    head: Head,
    maps: Sequence[np.ndarray],
    layer: Sequence[int],
    origin: np.ndarray,
    side: TorchSide | None = None,
) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    """The logits at some origins, and the gradient of each by every whole map of the layer, in float64."""
    leaves = [torch.from_numpy(np.array(m)).double() for m in maps]
    for index in layer:
        leaves[index].requires_grad_(True)
    sources = [leaves[index] for index in layer]
    logits = head(side or TorchSide(), *leaves)
    values, gradients = [], []
    for number, *position in origin.tolist():
        value = logits[number][tuple(position[: logits[number].ndim])]
        values.append(value.item())
        if not value.requires_grad:
            gradients.append([np.zeros(source.shape) for source in sources])
            continue
        found = torch.autograd.grad(value, sources, retain_graph=True, allow_unused=True)
        gradients.append([np.zeros(s.shape) if g is None else g.numpy() for g, s in zip(found, sources, strict=True)])
    return np.array(values), gradients


def embedded(patch: np.ndarray, place: Sequence[int], shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """A patch put into an empty map, and where it lies; what sticks out of the map is cut off."""
    _, row, y, x = place
    whole, lies = np.zeros(shape), np.zeros(shape, bool)
    height, width = shape[2:]
    (y0, y1), (x0, x1) = (
        np.clip((a, a + n), 0, m) for a, n, m in ((y, patch.shape[1], height), (x, patch.shape[2], width))
    )
    whole[row, :, y0:y1, x0:x1] = patch[:, y0 - y : y1 - y, x0 - x : x1 - x]
    lies[row, :, y0:y1, x0:x1] = True
    return whole, lies


def assert_exact(
    head: Head,
    made: LayerGradient,
    maps: Sequence[np.ndarray],
    layer: Sequence[int],
    origin: np.ndarray | None = None,
    open_sizes: bool = False,
) -> list[list[int]]:
    """Hold logits and gradients of both engines against those of the whole maps; returns the places.

    With ``open_sizes`` the number of proposals is not known before the model runs: then the ONNX gradient is computed
    in rows and windows only.
    """
    origin = made.positions() if origin is None else origin
    names = [f"f{index}" for index in layer]
    values, gradients = whole_map_gradients(head, maps, layer, origin)
    scale = max(float(np.abs(g).max()) for box in gradients for g in box) or 1.0
    module = made.module(origin[: len(origin) // 2 + 1])
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        module = module.to(dtype)
        features, context = made.inputs(dtype)
        with torch.jit.optimized_execution(False):
            patches, places, logits = module(features, context, torch.from_numpy(origin))
        np.testing.assert_allclose(logits.numpy(), values, atol=tolerance * np.abs(values).max(), rtol=tolerance)
        for patch, place, expected in zip(patches, places.tolist(), gradients, strict=True):
            number = names.index(made.score.features[place[0]])
            whole, lies = embedded(patch.numpy(), place, expected[number].shape)
            np.testing.assert_allclose(whole, expected[number], atol=tolerance * scale, rtol=0)
            assert not expected[number][~lies].any()  # exactly zero outside of the patch
    for part in made.score.parts:  # the score graph itself, in ONNX Runtime
        mine = np.isin(origin[:, 0], part.leaves)
        given = {str(value.name): made.found.get(str(value.name)) for value in part.model.graph.inputs}
        found = run_model(part.model, {**given, ORIGIN: origin[mine]})
        np.testing.assert_allclose(found["logit"], values[mine], atol=1e-5 * np.abs(values).max(), rtol=1e-5)
    assert_gradient_graph(made, origin, gradients, names, (True,) if open_sizes else (True, False))
    return places.tolist()


def assert_gradient_graph(
    made: LayerGradient,
    origin: np.ndarray,
    gradients: Sequence[Sequence[np.ndarray]],
    names: Sequence[str],
    forms: Sequence[bool] = (True, False),
    guided: bool = False,
) -> None:
    """Hold the ONNX gradient, in blocks and on whole maps, against the true gradient by every feature."""
    scale = max(float(np.abs(g).max()) for box in gradients for g in box) or 1.0
    for local in forms:
        graph = gradient.build(made.model, made.logits, made.score.features, local=local, guided=guided)
        by_name = {str(value.name): value for value in all_values(made.model.graph)}
        names_read = list(dict.fromkeys([*graph.inputs, *made.score.features]))
        values = observe_values(made.model, [by_name[n] for n in names_read], made.feeds)
        running = OnnxEngine(serialized(graph.model))
        tensors = Tensors(dict(zip(names_read, values, strict=True)))
        patches = running.patches(tensors, made.score.features, (), origin)
        for of, expected in zip(patches, gradients, strict=True):
            there = {names.index(made.score.features[patch.tensor]): patch for patch in of}
            assert len(there) == len(of)
            assert not any(g.any() for number, g in enumerate(expected) if number not in there)
            for number, patch in there.items():
                whole, lies = embedded(patch.gradient, (0, patch.row, *patch.corner), expected[number].shape)
                if patch.uniform is not None:
                    whole[patch.row] += patch.uniform[:, None, None]
                    lies[patch.row] = True
                np.testing.assert_allclose(whole, expected[number], atol=1e-5 * scale, rtol=0)
                assert not expected[number][~lies].any()  # exactly zero outside of the patch
        if graph.means is not None:
            means = OnnxEngine(serialized(graph.means)).patches(tensors, made.score.features, (), origin)
            for of, same, expected in zip(means, patches, gradients, strict=True):
                assert [patch.tensor for patch in of] == [patch.tensor for patch in same]
                for patch in of:
                    assert patch.uniform is not None
                    assert patch.gradient.size == 0
                    truth = expected[names.index(made.score.features[patch.tensor])][0].mean((1, 2))
                    np.testing.assert_allclose(patch.uniform, truth, atol=1e-5 * scale, rtol=0)
