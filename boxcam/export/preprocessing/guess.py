"""What the preprocessing of an ONNX file may be, where the file does not say it: a guess that a person has to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Preprocess
from boxcam.export.graphs.operators import Copies, operator_of
from boxcam.export.graphs.query import Array
from boxcam.export.heads.convention import Convention

_IMAGENET = (0.485, 0.456, 0.406)
_WITHOUT_PADDING = ((0.48235, 0.45882, 0.40784), (0.5, 0.5, 0.5))
"""What torchvision's SSD and SSDlite subtract, which stretch a picture and do not pad it."""


@dataclass(frozen=True)
class Guess:
    """A preprocessing that fits.

    Attributes:
        specs: as ``--preprocess`` takes them.
        why: what it is guessed from, for people.
    """

    specs: tuple[str, ...]
    why: str


def guess(image: ir.Value, spec: Preprocess, convention: Convention, producer: str) -> Guess | None:
    """The preset that models with such outputs have, if there is one.

    Args:
        image: the model's input.
        spec: its size, layout and type.
        convention: how the model reports its detections.
        producer: what wrote the file.
    """
    name, wrote = convention.name, producer.lower()
    mean = _subtracted(image)
    found: Guess | None = None
    if mean is not None and spec.dtype != "uint8" and _close(mean, _IMAGENET):
        specs = ("imagenet", "mean=0", "std=1") if convention.kind == "classes" else ("torchvision",)
        found = Guess(specs, "it subtracts ImageNet's mean by itself")
    elif mean is not None and any(_close(mean, other) for other in _WITHOUT_PADDING) and "torchvision" in name:
        found = Guess(("torchvision", "resize=stretch"), "it normalises by itself, as torchvision's SSD does")
    elif mean is not None:
        return None  # it normalises by itself, in a way that no preset has
    elif "PaddleDetection" in name or "paddle" in wrote:
        found = Guess(("paddle",), "it is a model of PaddleDetection")
    elif convention.preset[:1] == ("yolo",) or (convention.preset and spec.dtype != "uint8"):
        found = Guess(_of_size(convention.preset, spec), f"its outputs are {name}")  # whatever converted it
    elif name.startswith("TensorFlow") or "tf2onnx" in wrote or "tensorflow" in wrote:
        found = Guess(("tf",), "it is a model of TensorFlow")
    elif spec.layout == "NHWC":
        found = Guess(("tf",), "its input is NHWC")
    elif spec.dtype == "uint8":
        return None
    elif convention.kind == "classes":
        found = Guess(("imagenet",), "it is a classifier")
    if found is not None and spec.channels != 3 and found.specs[0] not in ("yolo", "tf"):
        return None  # its mean is one of three colours
    return found


def _of_size(preset: tuple[str, ...], spec: Preprocess) -> tuple[str, ...]:
    """A preset for a model of this size and type: a margin is of 640x640, and uint8 are the pixels as they are."""
    whole = (spec.height, spec.width) == (640, 640)
    specs = tuple(one for one in preset if whole or not one.startswith("fit="))
    return (*specs, "scale=0-255") if spec.dtype == "uint8" else specs


def in_its_range(image: ir.Value, spec: Preprocess) -> Preprocess:
    """A preprocessing of pixels as they are, for a graph that normalises by itself with the range that it expects."""
    mean = _subtracted(image)
    if mean is None or max(mean) > 1 or spec.dtype == "uint8":
        return spec
    return replace(spec, std=(255.0,) * spec.channels)


def _subtracted(image: ir.Value) -> Sequence[float] | None:
    """The numbers that a graph subtracts of its input's channels, if that is the first that it does with it."""
    todo, seen = [image], 0
    while todo and seen < 20:
        seen += 1
        for node in todo.pop().consumers():
            if operator_of(node).copies in (Copies.IN_ORDER, Copies.SELECTED):  # what is transposed has other axes
                todo.extend(node.outputs)
            elif node.op_type == "Sub" and (array := _constant(node.inputs[1])) is not None and array.size in (1, 3):
                return [float(number) for number in np.broadcast_to(array.reshape(-1), 3)]
    return None


def _constant(value: ir.Value | None) -> Array | None:
    """The numbers of a constant, whatever its axes: the graph is not folded yet."""
    for _ in range(5):
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        if tensor is not None:
            return tensor.numpy()
        node = None if value is None else value.producer()
        if node is None or operator_of(node).copies is not Copies.IN_ORDER:
            return None
        value = node.inputs[0]
    return None


def _close(found: Sequence[float], expected: Sequence[float]) -> bool:
    return bool(np.allclose(found, expected, atol=1e-3))
