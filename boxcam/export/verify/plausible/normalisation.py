"""Preset and graph together have to give what networks take.

Many graphs begin with their own normalisation: an image divided by 255, means subtracted. That chain is followed, and
black, white and coloured pictures are sent through preset and chain: what arrives at the first layer has to be around
0, or 0 to 1, or 0 to 255. Means of ImageNet also tell the order of the channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.bundle import Preprocess
from boxcam.export.graphs.dependency import depends
from boxcam.export.graphs.query import Array, attribute_of, constant_array, values_read
from boxcam.export.graphs.run import observe_values
from boxcam.export.verify.plausible.criterion import Answer, Criterion
from boxcam.export.verify.plausible.reading import Reading
from boxcam.export.verify.samples import wide
from boxcam.runtime.preprocess import prepare

LIMITS = {"narrowest": 0.7, "widest": 8.0, "darkest": -160.0, "narrowest of pixels": 100.0, "widest of pixels": 300.0}
LIMITS |= {"lopsided": 0.42, "mean": 1.0}
"""Of what arrives at the first layer, white minus black: of normalised pixels, and of pixels in 0 to 255; where black
may be, of these; how far the middle may lie from 0, as a share of the width; how well a mean has to be one of
ImageNet's, in steps of 0 to 255."""

_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Neg")
_NEUTRAL: tuple[str, ...] = (
    "Cast", "CastLike", "Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Gather", "Split",
)  # fmt: skip
_NEUTRAL += ("Concat", "Resize", "Upsample", "Pad", "Clip", "QuantizeLinear", "DequantizeLinear")
_LAYERS = ("BatchNormalization", "Conv")
_IMAGENET = (123.675, 116.28, 103.53)
_RANGES = {"0-1": 1.0, "0-255": 255.0}


@dataclass(frozen=True, eq=False)
class Arrival:
    """What arrives at the first layer of black, white, red and blue pictures.

    Attributes:
        black, white, red, blue: float64 [C], the median of each channel; where there are no three, there is nothing
            but black for red and blue.
        arithmetic: whether the graph itself computes with the pixels before that.
        learned: whether a layer does, whose weights may be learned from pixels that are normalised already.
        name: of the tensor.
    """

    black: npt.NDArray[np.float64]
    white: npt.NDArray[np.float64]
    red: npt.NDArray[np.float64]
    blue: npt.NDArray[np.float64]
    arithmetic: bool
    learned: bool
    name: str

    @property
    def range(self) -> tuple[float, float]:
        """From black to white, of all channels."""
        ends = np.concatenate([self.black, self.white])
        return float(ends.min()), float(ends.max())

    def order(self) -> str:
        """``RGB``, ``BGR``, or nothing where channels cannot be told."""
        if len(self.black) != 3:
            return ""
        moved = [np.abs(color - self.black) for color in (self.red, self.blue)]
        if any(np.count_nonzero(one > 1e-6 * max(one.max(), 1e-12)) != 1 for one in moved):
            return ""
        first, last = (int(one.argmax()) for one in moved)
        return {(0, 2): "RGB", (2, 0): "BGR"}.get((first, last), "")

    def means(self) -> npt.NDArray[np.float64]:
        """The pixel values that become 0, by channel; NaN where none does."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(-255 * self.black / (self.white - self.black))


def answer(reading: Reading) -> Answer | None:
    """Whether preset and graph give what networks take."""
    spec = reading.preprocess
    arrival = arrive(reading.subject.model, reading.subject.samples.input, spec)
    low, high = arrival.range
    figures = {"black": low, "white": high}
    where = f"black to white arrive at the first layer ({arrival.name}) as {low:.4g} to {high:.4g}"
    if not reading.subject.is_said:
        return Answer("unknown", f"the preprocessing is not stated; {where} without it", figures=figures)
    if not usual(low, high):
        twice = not arrival.learned or any(np.ravel(spec.mean))  # pixels of 0 to 1 are what such a layer may be for
        verdict = "implausible" if arrival.arithmetic and twice else "doubtful"
        why = (
            "the graph normalises by itself, and not what preprocess= gives it"
            if arrival.arithmetic
            else "of preprocess="
        )
        seen = f"{where}, which networks do not take (around 0, 0 to 1, or 0 to 255): {why}"
        return Answer(verdict, seen, _advice(arrival, spec), figures)  # type: ignore[arg-type]
    order, means = arrival.order(), arrival.means()
    mine = {"RGB": _IMAGENET, "BGR": _IMAGENET[::-1]}
    for name, expected in mine.items():
        if order and order != name and np.allclose(means, expected, atol=LIMITS["mean"]):
            seen = f"the means that are subtracted are ImageNet's in the order {name}, and the channels are {order}"
            turned = "BGR" if spec.color == "RGB" else "RGB"
            return Answer("doubtful", seen, f'Pass preprocess="color={turned}".', figures)
    turned_round = (order, spec.color) == ("BGR", "RGB")
    if turned_round and not any(np.allclose(means, one, atol=LIMITS["mean"]) for one in mine.values()):
        seen = (
            "the graph turns the channels round, so what arrives at the first layer is BGR: that is what was meant only"
            " if the model was trained on BGR, and the graph is for pictures in RGB"
        )
        return Answer("doubtful", seen, 'Pass preprocess="color=BGR" if the graph is for pictures in BGR.', figures)
    return Answer("plausible", where, figures=figures)


def usual(low: float, high: float) -> bool:
    """Whether networks take pixels from ``low`` (black) to ``high`` (white)."""
    width = high - low
    if LIMITS["narrowest of pixels"] <= width <= LIMITS["widest of pixels"]:
        return bool(LIMITS["darkest"] <= low <= 1)
    if not LIMITS["narrowest"] <= width <= LIMITS["widest"]:
        return False
    return abs(low) < 0.05 * width or abs(low + high) / 2 <= LIMITS["lopsided"] * width


def arrive(model: ir.Model, name: str, spec: Preprocess) -> Arrival:
    """Send pictures of one colour through preprocessing and the chain at the beginning of a graph."""
    image = next(value for value in model.graph.inputs if value.name == name)
    end, arithmetic, learned = _chain(model.graph, image)
    black, white = (0,) * spec.channels, (255,) * spec.channels
    is_colored = spec.channels == 3
    red, blue = ((0, 0, 255), (255, 0, 0)) if is_colored else (black, black)
    pictures = {"black": black, "white": white, "red": red, "blue": blue}
    found = {}
    for color, pixel in pictures.items():
        tensor, _ = prepare(np.full((spec.height, spec.width, spec.channels), pixel, np.uint8), spec)
        feeds = wide({name: tensor})
        array = feeds[name] if end is image else observe_values(model, [end], feeds)[0]
        found[color] = _by_channel(array, 3 if spec.layout == "NHWC" else 1)
    return Arrival(**found, arithmetic=arithmetic, learned=learned, name=str(end.name))


def _by_channel(array: Array, usually: int) -> npt.NDArray[np.float64]:
    """The median of each channel; padding that the graph puts around a picture is in the minority."""
    channels = [axis for axis in (usually, 1, array.ndim - 1, 0) if axis < array.ndim and array.shape[axis] % 3 == 0]
    small = [axis for axis in channels if array.shape[axis] in (3, 12)]
    if not small:
        return np.array([np.median(array)], np.float64)
    rest = tuple(axis for axis in range(array.ndim) if axis != small[0])
    return np.asarray(np.median(array.astype(np.float64), axis=rest))


def _chain(graph: ir.Graph, image: ir.Value) -> tuple[ir.Value, bool, bool]:
    """The last value that is computed from the image pixel by pixel; whether arithmetic, and a layer, is before it."""
    computed = depends(graph, image)
    region: dict[ir.Value, bool] = {image: False}
    leaving: dict[ir.Value, None] = {}
    learned = False
    for node in graph:
        read = [value for value in values_read(node) if value in region]
        if not read or node.op_type in ("Shape", "Size"):
            continue
        constant = all(value in region or constant_array(value) is not None for value in values_read(node))
        computes = constant and len(read) == 1 and _computes_pixels(node)
        if node.op_type in _NEUTRAL or computes:
            arithmetic = computes or any(region[value] for value in read)
            learned = learned or node.op_type in _LAYERS
            region.update(dict.fromkeys((value for value in node.outputs if value in computed), arithmetic))
        else:
            leaving.update(dict.fromkeys(read))
    last = list(leaving) or [image]
    return last[0], region[last[0]], learned


def _computes_pixels(node: ir.Node) -> bool:
    """Whether a node with constants computes with pixels channel by channel, as a normalisation does.

    That may be a layer: a BatchNormalization of the image itself, or a convolution of single pixels each of whose
    filters reads one channel.
    """
    if node.op_type in _ARITHMETIC or node.op_type == "BatchNormalization":
        return True
    weight = constant_array(node.inputs[1]) if node.op_type == "Conv" else None
    if weight is None or prod(weight.shape[2:]) != 1 or any(step != 1 for step in attribute_of(node, "strides") or []):
        return False
    channels = weight.shape[1] * int(attribute_of(node, "group", 1))
    padded = any(attribute_of(node, "pads") or [])
    return len(weight) == channels and bool((np.count_nonzero(weight, axis=1) <= 1).all()) and not padded


def _advice(arrival: Arrival, spec: Preprocess) -> str:
    """The range of pixels that the graph wants, if there is one for which it gives what networks take."""
    if arrival.learned and not any(np.ravel(spec.mean)):
        return "Pass preprocess= with the pixels that the graph expects."
    if not arrival.arithmetic:
        return "Pass preprocess= with mean and std for pixels of its scale, 0-1 or 0-255."
    mean, std = np.array(spec.mean), np.array(spec.std)
    if len(arrival.black) != 3:
        mean, std = mean.mean(), std.mean()
    elif arrival.order() not in ("", spec.color):
        mean, std = mean[::-1], std[::-1]
    steep = (arrival.white - arrival.black) * std / 255
    start = arrival.black + steep * mean / std
    for name, white in _RANGES.items():
        if usual(float(start.min()), float((start + steep * white).max())):
            return (
                f'Pass preprocess=["mean=0", "std=1", "scale={name}"] after the preset: the graph normalises by itself.'
            )
    return "Pass preprocess= with the pixels that the graph expects."


CRITERION = Criterion("normalisation", "Do preprocessing and graph together give what networks take?", LIMITS, answer)
