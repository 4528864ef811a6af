"""Random necks and dense heads: maps of several sizes that are convolved, resized, pooled, joined, split and gated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from tests.export.autodiff.differences import single
from tests.export.autodiff.eager import Draw, Eager
from tests.export.autodiff.steps_maps import auto_pads, window

_MOST_CHANNELS, _MOST_CELLS = 8, 150
Step = Callable[[Eager, str], "str | list[str] | None"]
STEPS: dict[str, Step] = {}
"""Ways in which a neck grows: from a map to one or more others, or to none where they do not fit."""


def step(function: Step) -> Step:
    STEPS[function.__name__] = function
    return function


def _ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def _weights(g: Eager, *shape: int) -> np.ndarray:
    return g.normal(*shape) / np.sqrt(max(np.prod(shape[1:]), 1))


@step
def convolution(g: Eager, x: str) -> str:
    channels, spread = g.shape(x)[1], auto_pads(g, window(g, x, 4))
    group = g.one([n for n in range(1, channels + 1) if channels % n == 0])
    out = group * g.number(1, max(4 // group, 1))
    bias = [g.normal(out)] if g.yes() else []
    return g.Conv(x, _weights(g, out, channels // group, *spread["kernel_shape"]), *bias, group=group, **spread)


@step
def same_convolution(g: Eager, x: str) -> str:
    """As in most heads: of 3 by 3, to maps of the same size."""
    d = g.number(1, 2)
    weight = _weights(g, g.number(1, 4), g.shape(x)[1], 3, 3)
    return g.Conv(x, weight, pads=[d] * 4, dilations=[d, d])


def pointwise(g: Eager, x: str, channels: int) -> str:
    return g.Conv(x, _weights(g, channels, g.shape(x)[1], 1, 1), g.normal(channels))


@step
def halved(g: Eager, x: str) -> str:
    return g.Conv(x, _weights(g, g.number(1, 4), g.shape(x)[1], 3, 3), pads=[1] * 4, strides=[2, 2])


@step
def transposed_convolution(g: Eager, x: str) -> str:
    return g.ConvTranspose(x, _weights(g, g.shape(x)[1], g.number(1, 3), 2, 2), strides=[2, 2])


@step
def activation(g: Eager, x: str) -> str:
    kind = g.one(["Relu", "Silu", "Sigmoid", "LeakyRelu", "Clip", "HardSwish", "Mish", "PRelu", "Tanh"])
    if kind == "Silu":
        return g.Mul(x, g.Sigmoid(x))
    if kind == "Clip":
        return g.Clip(x, np.array(0.0), np.array(6.0))
    return g.PRelu(x, g.normal(g.shape(x)[1], 1, 1)) if kind == "PRelu" else g.node(kind, [x])[0]


@step
def shifted(g: Eager, x: str) -> str:
    """By what is the same all over, for each channel, or different for each cell."""
    shape = [n if g.yes() else 1 for n in g.shape(x)]
    other = g.normal(*shape[g.number(0, 3) :])
    return g.node(g.one(["Mul", "Add", "Sub", "Div"]), [x, other + np.sign(other)])[0]


def _resized(g: Eager, x: str, size: Sequence[int]) -> str:
    mode = g.one(["nearest", "linear", "cubic"])
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    extra: dict[str, Any] = {"coordinate_transformation_mode": g.one(modes)}
    if mode == "nearest":
        extra["nearest_mode"] = g.one(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"])
    return g.Resize(x, None, None, _ints(*g.shape(x)[:2], *size), mode=mode, **extra)


@step
def resized(g: Eager, x: str) -> str:
    size = [g.number(1, 2 * n) for n in g.shape(x)[2:]]
    # Of a single cubic cell, ONNX Runtime and the reference think differently.
    return _resized(g, x, [max(n, 2) for n in size])


@step
def enlarged(g: Eager, x: str) -> str:
    """As in most necks: twice as large, each cell four times."""
    return g.Resize(
        x,
        None,
        np.array([1, 1, 2, 2], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@step
def pooled(g: Eager, x: str) -> str:
    kind, spread = g.one(["MaxPool", "AveragePool"]), auto_pads(g, window(g, x, 4))
    if any(x in node.output for node in g.net.nodes if node.op_type == "Pad"):
        x = g.Tanh(x)  # ONNX Runtime would join the two, and then refuse pads as large as the kernel
    if kind == "AveragePool":
        spread.pop("dilations")
        if "pads" in spread:
            spread["count_include_pad"] = int(g.yes())
            n = [
                s + spread["pads"][i] + spread["pads"][2 + i] - spread["kernel_shape"][i]
                for i, s in enumerate(g.shape(x)[2:])
            ]
            if min(n) < 0:
                return x
    return g.node(kind, [x], **spread)[0]


@step
def pyramid_pooled(g: Eager, x: str) -> str:
    first = g.MaxPool(x, kernel_shape=[3, 3], pads=[1] * 4)
    return g.Concat(x, first, g.MaxPool(first, kernel_shape=[3, 3], pads=[1] * 4), axis=1)


@step
def joined(g: Eager, x: str) -> str:
    """With another map, which is made as large and as deep."""
    other, (_, channels, *size) = g.one(g.pool), g.shape(x)
    kind = g.one(["Add", "Concat", "Mul", "Max", "Where"])
    if g.shape(other)[1] != channels and kind != "Concat":
        other = pointwise(g, other, channels)
    if list(g.shape(other)[2:]) != list(size):
        other = _resized(g, other, size)
    pair = [x, other] if g.yes() else [other, x]
    if kind == "Concat":
        return g.Concat(*pair, axis=g.one([1, -3]))
    return g.Where(g.normal(1, 1, *size) > 0, *pair) if kind == "Where" else g.node(kind, pair)[0]


@step
def split(g: Eager, x: str) -> list[str] | None:
    channels = g.shape(x)[1]
    if channels < 2:
        return None
    first = g.number(1, channels - 1)
    return g.node("Split", [x, _ints(first, channels - first)], 2, axis=1)


@step
def sliced(g: Eager, x: str) -> str:
    axis = g.number(1, 3)
    length = g.shape(x)[axis]
    start = g.number(0, length - 1)
    stop, step = g.number(start + 1, length + 2), g.one([1, 1, 2])
    return g.Slice(x, _ints(start - length if g.yes() else start), _ints(stop), _ints(axis), _ints(step))


@step
def padded(g: Eager, x: str) -> str:
    pads = [g.number(-1 if n > 3 else 0, 2 if n > 2 else 0) for n in g.shape(x)[2:] * 2]
    return g.Pad(
        x,
        _ints(0, 0, *pads[:2], 0, 0, *pads[2:]),
        mode="constant" if min(pads) < 0 else g.one(["constant", "edge", "reflect"]),
    )


@step
def shuffled(g: Eager, x: str) -> str | None:
    _, channels, *size = g.shape(x)
    groups = [n for n in range(2, channels + 1) if channels % n == 0]
    if not groups:
        return None
    count = g.one(groups)
    grouped = g.Reshape(x, _ints(1, count, channels // count, *size))
    return g.Reshape(g.Transpose(grouped, perm=[0, 2, 1, 3, 4]), _ints(1, -1, *size))


@step
def gathered(g: Eager, x: str) -> str:
    return g.Gather(x, g.rng.integers(0, g.shape(x)[1], g.number(1, 4)), axis=1)


@step
def rearranged(g: Eager, x: str) -> str | None:
    _, channels, height, width = g.shape(x)
    if channels % 4 == 0:
        return g.DepthToSpace(x, blocksize=2, mode=g.one(["DCR", "CRD"]))
    return g.SpaceToDepth(x, blocksize=2) if height % 2 == width % 2 == 0 else None


@step
def excited(g: Eager, x: str) -> str:
    """Squeeze and excitation."""
    channels = g.shape(x)[1]
    mean = g.GlobalAveragePool(x) if g.yes() else g.ReduceMean(x, _ints(2, 3) if g.yes() else _ints(-1, -2))
    weight = g.node(g.one(["Sigmoid", "HardSigmoid"]), [pointwise(g, mean, channels)])[0]
    product = g.Mul(x, weight) if g.yes() else g.Mul(weight, x)
    return g.Add(product, x) if g.yes() else product


@step
def attended(g: Eager, x: str) -> str:
    """A weight for each cell."""
    kind = g.one(["ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2"])
    return g.Mul(x, g.Sigmoid(g.node(kind, [x, _ints(1)], keepdims=1)[0]))


@step
def normalised(g: Eager, x: str) -> str:
    channels = g.shape(x)[1]
    kind = g.number(0, 3)
    if kind == 0:
        return g.InstanceNormalization(x, g.normal(channels), g.normal(channels))
    if kind == 1:
        last = g.Transpose(x, perm=[0, 2, 3, 1])
        return g.Transpose(g.LayerNormalization(last, g.normal(channels)), perm=[0, 3, 1, 2])
    if kind == 2:
        given = [g.normal(channels), g.normal(channels), g.normal(channels), 0.5 + g.normal(channels) ** 2]
        return g.BatchNormalization(x, *given)
    return g.Softmax(x, axis=1)


@step
def mixed(g: Eager, x: str) -> str:
    """Along an axis of the map, which is what a head on cells does not do."""
    axis = g.one([2, 3])
    if g.yes():
        return g.CumSum(x, np.array(axis))
    return g.MatMul(x, _weights(g, g.shape(x)[3], g.number(1, 5)))


def _logits(g: Eager, x: str) -> str:
    """From a map to logits, in one of the layouts that detectors have."""
    classes = g.number(1, 3)
    kind = g.number(0, 5)
    if kind == 0:
        return g.Conv(x, _weights(g, classes, g.shape(x)[1], 3, 3), pads=[1] * 4)
    if kind == 1:
        last = g.Transpose(x, perm=[0, 2, 3, 1])
        return g.MatMul(g.Reshape(last, _ints(1, -1, g.shape(x)[1])), _weights(g, g.shape(x)[1], classes))
    anchors = g.number(1, 2)
    found = pointwise(g, x, anchors * classes)
    if kind == 2:
        return g.Reshape(g.Transpose(found, perm=[0, 2, 3, 1]), _ints(1, -1, classes))
    if kind == 3:
        return g.Reshape(found, _ints(1, anchors * classes, -1))
    if kind == 4:
        return g.Transpose(g.Reshape(found, _ints(1, anchors, classes, *g.shape(x)[2:])), perm=[0, 1, 3, 4, 2])
    return g.Transpose(g.Flatten(found, axis=2), perm=[1, 0])


_SIZES = [(5, 6), (8, 7), (3, 4), (9, 9), (1, 5), (12, 4)]


@dataclass(frozen=True, eq=False)
class RandomHead:
    """A head in single precision: features, logits, and what is fed."""

    model: onnx.ModelProto
    features: list[str]
    logits: list[str]
    feeds: dict[str, np.ndarray]
    steps: tuple[str, ...]

    def __repr__(self) -> str:
        nodes = []
        for n in self.model.graph.node:
            shown = [onnx.helper.printable_attribute(a) for a in n.attribute]
            nodes.append(f"  {' '.join(n.output)} = {n.op_type}({', '.join(n.input)}) {' '.join(map(str, shown))}")
        shapes = {name: value.shape for name, value in self.feeds.items()}
        return f"{self.steps} of {shapes}, {self.features} to {self.logits}:\n" + "\n".join(nodes) + "\n"


@st.composite
def heads(draw: Draw, most: int = 8) -> RandomHead:
    """Random necks and heads on one to three feature maps; each step begins at any map, often at the newest."""
    g = Eager(draw, 18, draw(st.integers(0, 1000)), most=_MOST_CELLS * _MOST_CHANNELS)
    features = []
    for _ in range(g.number(1, 3)):
        x = g.input((1, g.number(1, 4), *g.one(_SIZES)))
        g.pool.remove(x)
        features.append(g.Mul(x, np.array(1.5)))
        g.add(features[-1])
    taken, newest = [], g.pool[-1]
    for _ in range(g.number(1, most)):
        name = g.one(sorted(STEPS))
        start = newest if g.number(0, 2) else g.one(g.pool)
        found = STEPS[name](g, start)
        for value in [] if found is None else [found] if isinstance(found, str) else found:
            _, channels, height, width = g.shape(value)
            if channels > _MOST_CHANNELS or height * width > _MOST_CELLS or not height * width or value in g.pool:
                continue
            g.add(value)
            newest = g.pool[-1]
            taken.append(name)
    ends = [newest, *(g.one(g.pool) for _ in range(g.number(0, 2)))]
    logits = [_logits(g, end) for end in ends]
    flat = [n for n in logits if len(g.shape(n)) == 3 and g.shape(n)[2] == g.shape(logits[0])[-1]]
    if len(flat) > 1 and g.yes():
        logits = [*(n for n in logits if n not in flat), g.Concat(*flat, axis=1)]
    logits = [g.Add(n, g.normal(1)) if n in features else n for n in logits]
    outputs = dict.fromkeys([*features, *logits], onnx.TensorProto.DOUBLE)
    model = onnx.helper.make_model(g.net.graph(outputs), opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    feeds = {n: g.values[n].astype(np.float32) for n in g.inputs}
    return RandomHead(single(model), features, logits, feeds, tuple(taken))
