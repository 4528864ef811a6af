"""Small detectors of every convention of outputs: an image, three maps, a head on each, random weights.

``write(LAYOUTS["yolox-undecoded"], path, classes=3)`` makes a file; ``Layout.truth`` gives what its outputs mean, by
the decoding that is published for it, in numpy. What a layout does to the heads' maps is written with the operators
that its exporter writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from tests.export.export_graphs import Net

HEIGHT, WIDTH = 64, 96
STRIDES = (8, 16, 32)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Arrays = Mapping[str, np.ndarray]


class Levels(Net):
    """A graph with an image and a map of each stride, ``neck.0`` and so on, of 8 channels.

    Attributes:
        classes: of the detector.
        weights: of the layers on the maps, by the name of the map that they make.
        branches: what the last layer of a head reads, by the same name.
    """

    def __init__(self, classes: int, strides: Sequence[int] = STRIDES, seed: int = 0) -> None:
        super().__init__(17)
        self.classes, self.strides = classes, tuple(strides)
        self.random = np.random.default_rng(seed)
        self.weights: dict[str, tuple[np.ndarray, ...]] = {}
        self.branches: dict[str, str] = {}
        found, stride = self.input("image", (1, 3, HEIGHT, WIDTH)), 1
        channels = 3
        self.necks: list[str] = []
        while stride < max(strides):
            stride *= 2
            name = f"neck.{self.strides.index(stride)}" if stride in strides else None
            found = self.node("Relu", [self._conv(found, channels, 8, 3, 2)], name=name)[0]
            channels = 8
            if name is not None:
                self.necks.append(name)

    def _conv(self, read: str, channels: int, into: int, kernel: int, stride: int = 1, scale: float = 1.6) -> str:
        fan = channels * kernel * kernel
        weight = self.random.normal(0, scale / np.sqrt(fan), (into, channels, kernel, kernel)).astype(np.float32)
        bias = self.random.normal(0, 0.3, into).astype(np.float32)
        return self.Conv(read, weight, bias, strides=[stride] * 2, pads=[kernel // 2] * 4, kernel_shape=[kernel] * 2)

    def sizes(self) -> list[tuple[int, int]]:
        return [(-(-HEIGHT // stride), -(-WIDTH // stride)) for stride in self.strides]

    def count(self) -> int:
        """Cells of all levels."""
        return sum(height * width for height, width in self.sizes())

    def head(
        self, kind: str, channels: int, level: int, spread: float = 2.0, bias: float = 0.0, branch: str = ""
    ) -> str:
        """What a head computes of a map: a convolution of 3x3, a ReLU, one of 1x1; ``kind.level``.

        With a branch, the first two are those of the head of that kind.
        """
        weights = []
        read = self.necks[level]
        for into, kernel, scale in ((8, 3, 1.6), (channels, 1, spread)):
            if kernel == 3 and branch:
                read = self.branches[f"{branch}.{level}"]
                weights += self.weights[f"{branch}.{level}"][:2]
                continue
            fan = 8 * kernel * kernel
            weight = self.random.normal(0, scale / np.sqrt(fan), (into, 8, kernel, kernel)).astype(np.float32)
            shift = (self.random.normal(0, 0.3, into) + (bias if kernel == 1 else 0)).astype(np.float32)
            weights += [weight, shift]
            name = f"{kind}.{level}" if kernel == 1 else None
            read = self.node(
                "Conv", [read, weight, shift], name=name, pads=[kernel // 2] * 4, kernel_shape=[kernel] * 2
            )[0]
            if kernel == 3:
                read = self.branches[f"{kind}.{level}"] = self.Relu(read)
        self.weights[f"{kind}.{level}"] = tuple(weights)
        return read

    def lines(self, found: str, channels: int) -> str:
        """A map as [1, channels, cells]."""
        return self.Reshape(found, np.array([1, channels, -1]))

    def joined(self, kind: str, channels: int, **options: Any) -> str:
        """The maps of all levels, one after the other: [1, channels, N]."""
        levels = range(len(self.strides))
        return self.Concat(*(self.lines(self.head(kind, channels, k, **options), channels) for k in levels), axis=2)

    def points(self, offset: float = 0.5) -> np.ndarray:
        """Where cells are, in pixels: float32 [1, 2, N]."""
        return (
            np.concatenate([(cells(*s) + offset) * t for s, t in zip(self.sizes(), self.strides, strict=True)])
            .T[None]
            .astype(np.float32)
        )

    def steps(self) -> np.ndarray:
        """The strides of all cells: float32 [1, 1, N]."""
        steps = [np.full(h * w, s) for (h, w), s in zip(self.sizes(), self.strides, strict=True)]
        return np.concatenate(steps)[None, None].astype(np.float32)

    def slice(self, value: str, first: int, end: int, axis: int) -> str:
        return self.Slice(value, np.array([first]), np.array([end]), np.array([axis]))

    def corners(self, offset: float = 0.5, kind: str = "box") -> str:
        """Decoded boxes as x1 y1 x2 y2 in pixels: [1, 4, N]."""
        sides = self.Mul(self.Add(self.Sigmoid(self.joined(kind, 4)), np.float32(0.3)), 2 * self.steps())
        low, high = self.slice(sides, 0, 2, 1), self.slice(sides, 2, 4, 1)
        points = self.points(offset)
        return self.Concat(self.Sub(points, low), self.Add(points, high), axis=1)

    def centres(self) -> str:
        """The same as centre and size, as Ultralytics makes them of corners: [1, 4, N]."""
        corners = self.corners()
        low, high = self.slice(corners, 0, 2, 1), self.slice(corners, 2, 4, 1)
        return self.Concat(self.Div(self.Add(low, high), np.float32(2)), self.Sub(high, low), axis=1)

    def classes_of_cells(self, kind: str = "cls") -> str:
        """Probabilities: [1, C, N]."""
        return self.Sigmoid(self.joined(kind, self.classes))


def cells(height: int, width: int) -> np.ndarray:
    """x and y of the cells of a map, line by line: [height * width, 2]."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x, y], 2).reshape(-1, 2)


@dataclass(frozen=True)
class Truth:
    """What outputs mean.

    Attributes:
        boxes: x1 y1 x2 y2 in pixels of the model input, [N, 4].
        scores: of each class, [N, C]; or of each detection, [N].
        labels: of what the model selects itself, [N].
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True)
class Layout:
    """A convention of outputs as it is published.

    Attributes:
        entry: its name in the table.
        build: writes the graph; returns the outputs' names and types.
        truth: what the outputs mean, by the number of classes.
        kind: ``candidates`` that are suppressed, ``queries``, or what is ``selected``.
        single: whether a row counts for its best class only.
        iou: of the suppression.
        options: what the user has to say.
        stripped: what he has to say too where outputs have no telling names.
        metadata: what such a file says of itself, besides its class names.
        strides: of its levels.
        counts: of classes that it is tried with.
        preset: the preprocessing of such models.
    """

    entry: str
    build: Callable[[Levels], dict[str, int]]
    truth: Callable[[Arrays, int], Truth]
    kind: str = "candidates"
    single: bool = True
    iou: float = 0.7
    options: Mapping[str, Any] = field(default_factory=dict)
    stripped: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    strides: tuple[int, ...] = STRIDES
    counts: tuple[int, ...] = (1, 2, 3, 80)
    preset: tuple[str, ...] = ("yolo",)


def model_of(
    layout: Layout, classes: int = 3, *, names: bool = False, strip: bool = False, batch: bool = False
) -> onnx.ModelProto:
    """A file of a layout.

    Args:
        layout: how it reports.
        classes: how many there are.
        names: whether the file has the metadata of its exporter, class names among them.
        strip: whether its outputs have names that tell nothing.
        batch: whether the file leaves open how many images it takes at once.
    """
    net, outputs = net_of(layout, classes)
    proto = net.proto(outputs)
    if batch:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    if strip:
        rename(proto, {name: f"tensor_{number}" for number, name in enumerate(outputs)})
    if names:
        words = {index: f"word {index}" for index in range(classes)}
        helper.set_model_props(proto, {"names": repr(words), "stride": "32", **layout.metadata})
    return proto


def net_of(layout: Layout, classes: int = 3) -> tuple[Levels, dict[str, int]]:
    """The same before it is a file, and the names and types of its outputs."""
    net = Levels(classes, layout.strides)
    return net, layout.build(net)


def write(layout: Layout, path: Path, classes: int = 3, **options: bool) -> Path:
    """The same in a file."""
    onnx.save(model_of(layout, classes, **options), str(path))
    return path


def rename(proto: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Other names for some values."""
    for node in proto.graph.node:
        for places in (node.input, node.output):
            places[:] = [names.get(name, name) for name in places]
    for info in proto.graph.output:
        info.name = names.get(info.name, info.name)


def outputs_of(proto: onnx.ModelProto, image: np.ndarray) -> dict[str, np.ndarray]:
    """What a file gives, in the order of its outputs."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    inputs = {session.get_inputs()[0].name: image}
    if len(session.get_inputs()) > 1:  # the size of the picture, as RT-DETR and its followers read it
        inputs["orig_target_sizes"] = np.array([[WIDTH, HEIGHT]])
    return dict(zip(names, session.run(names, inputs), strict=True))
