"""Steps of a random graph on maps: convolutions, pooling, resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.export.autodiff.eager import Eager
from tests.export.autodiff.step import step


def window(g: Eager, x: str, largest: int = 3) -> dict[str, Any]:
    """Kernel, strides, dilations and pads that fit into a map."""
    space = g.shape(x)[2:]
    kernel = [g.number(1, largest) for _ in space]
    strides = [g.number(1, 3) for _ in space]
    dilations = [g.number(1, 2) for _ in space]
    low = [g.number(0, k - 1) for k in kernel]
    high = [g.number(0, k - 1) for k in kernel]
    for i, n in enumerate(space):
        if n + low[i] + high[i] < dilations[i] * (kernel[i] - 1) + 1:
            kernel[i], dilations[i], low[i], high[i] = 1, 1, 0, 0
    return {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": low + high}


def touching(given: dict[str, Any], space: Sequence[int]) -> dict[str, Any]:
    """The same, but undilated along an axis where a window would lie in the padding alone: it has no largest number."""
    dilations, pads = list(given["dilations"]), given["pads"]
    for i, n in enumerate(space):
        steps = [dilations[i] * k for k in range(given["kernel_shape"][i])]
        starts = range(-pads[i], n + pads[len(space) + i] - steps[-1], given["strides"][i])
        if not all(any(0 <= start + step < n for step in steps) for start in starts):
            dilations[i] = 1
    return {**given, "dilations": dilations}


def auto_pads(g: Eager, given: dict[str, Any]) -> dict[str, Any]:
    """Sometimes pads by a rule, where all agree on what they are: not for dilated kernels, nor for long strides."""
    plain = set(given["dilations"]) == {1} and all(
        s <= k for s, k in zip(given["strides"], given["kernel_shape"], strict=True)
    )
    if plain and g.number(0, 4) == 0:
        return {**{k: v for k, v in given.items() if k != "pads"}, "auto_pad": g.one(["SAME_UPPER", "SAME_LOWER"])}
    return given


def _is_map(g: Eager, x: str) -> bool:
    return len(g.shape(x)) in (3, 4)


@step
def convolved(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    channels, spread = g.shape(x)[1], auto_pads(g, window(g, x))
    group = g.one([n for n in range(1, channels + 1) if channels % n == 0])
    out = group * g.number(1, 2)
    weight = g.normal(out, channels // group, *spread["kernel_shape"])
    return g.Conv(x, weight, *([g.normal(out)] if g.yes() else []), group=group, **spread)


@step
def transposed_convolution(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    channels, spread = g.shape(x)[1], window(g, x)
    n = len(spread["strides"])
    for i, length in enumerate(g.shape(x)[2:]):  # something has to be left
        full = (length - 1) * spread["strides"][i] + spread["dilations"][i] * (spread["kernel_shape"][i] - 1) + 1
        if full <= spread["pads"][i] + spread["pads"][n + i]:
            spread["pads"][i] = spread["pads"][n + i] = 0
    more = [g.number(0, s - 1) for s in spread["strides"]]
    group = g.one([n for n in range(1, channels + 1) if channels % n == 0])
    weight = g.normal(channels, g.number(1, 2), *spread["kernel_shape"])
    return g.ConvTranspose(x, weight, group=group, output_padding=more, **spread)


@step
def pooled(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    kind = g.one(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if kind.endswith("MaxPool"):
        x = g.apart(x)
    if kind.startswith("Global"):
        return g.node(kind, [x])[0]
    spread = window(g, x)
    if kind == "AveragePool":
        spread["dilations"] = [1] * len(spread["dilations"])  # the reference does not know them
        if g.opset < 19:
            spread.pop("dilations")
        spread["count_include_pad"] = int(g.yes())
    else:
        spread = touching(spread, g.shape(x)[2:])
    return g.node(kind, [x], **spread)[0]


@step
def resized(g: Eager, x: str) -> str | None:
    if not _is_map(g, x):
        return None
    mode = g.one(["nearest", "linear", "cubic"] if len(g.shape(x)) == 4 else ["nearest", "linear"])
    modes = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    extra = {"coordinate_transformation_mode": g.one(modes)}
    if mode == "nearest":
        extra["nearest_mode"] = g.one(["round_prefer_floor", "floor", "ceil", "round_prefer_ceil"])
    # Of a single cubic cell that is placed as in PyTorch, ONNX Runtime and the reference think differently.
    smallest = 2 if mode == "cubic" else 1
    sizes = [*g.shape(x)[:2], *(g.number(smallest, max(2 * n, smallest)) for n in g.shape(x)[2:])]
    return g.Resize(x, None, None, np.array(sizes), mode=mode, **extra)


@step
def blocks_to_channels(g: Eager, x: str) -> str | None:
    if len(g.shape(x)) != 4:
        return None
    _, c, h, w = g.shape(x)
    if c % 4 == 0:
        return g.DepthToSpace(x, blocksize=2, mode=g.one(["DCR", "CRD"]))
    return g.SpaceToDepth(x, blocksize=2) if h % 2 == w % 2 == 0 else None
