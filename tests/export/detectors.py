"""A small detector written by hand, and a way in for it: what the whole export is tested with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx import TensorProto

from boxcam.bundle import Outputs, Preprocess
from boxcam.export.source import LayerTensors, Source, SourceModel
from tests.export.export_graphs import Net
from tests.export.heads import weights

HEIGHT, WIDTH, CELLS, CLASSES, FOUND = 24, 32, 48, 2, 5
SPEC = Preprocess(
    HEIGHT, WIDTH, HEIGHT, WIDTH, "fit", "top-left", (0, 0, 0), False, (128, 128, 128), (64, 64, 64), "RGB"
)
Part = Callable[[Net, str], str]


def conv(net: Net, x: str, key: str, shape: tuple[int, ...], stride: int = 1, **more: Any) -> str:
    pads = [(k - 1) // 2 for k in shape[2:]] * 2
    return net.node("Conv", [x, 2 * weights(key, *shape)], pads=pads, strides=[stride] * 2, **more)[0]


def plain(net: Net, x: str) -> str:
    """From the neck to its logits, in two convolutions."""
    return conv(net, net.Relu(conv(net, x, "head.a", (8, 8, 3, 3))), "head.b", (CLASSES, 8, 3, 3), name="logits")


@dataclass
class Detector:
    """Two strided convolutions, ``early`` and ``neck``, a head, and the best five of its logits.

    Attributes:
        head: from the neck to logits, [1, 2, 6, 8].
        opset: of the graph.
        size: height and width of the input.
        type: of the input.
        layers: names that the source gives to layers, and the default ones.
    """

    head: Part = plain
    opset: int = 18
    size: tuple[int | str, int | str] = (HEIGHT, WIDTH)
    type: int = TensorProto.FLOAT
    layers: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"neck": ("neck",), "early": ("early",), "beside": ("beside",)}
    )

    def model(self) -> ir.Model:
        net = Net(self.opset)
        image = net.input("image", (1, 3, *self.size), self.type)
        early = net.node("Relu", [conv(net, image, "a", (8, 3, 3, 3), 2)], name="early")[0]
        neck = net.node("Relu", [conv(net, early, "b", (8, 8, 3, 3), 2)], name="neck")[0]
        beside = net.node("Sigmoid", [conv(net, early, "c", (8, 8, 3, 3), 2)], name="beside")[0]
        logits = net.Reshape(self.head(net, neck), np.array([1, -1]))
        best, index = net.node("TopK", [net.Sigmoid(logits), np.array([FOUND])], 2, name="scores")
        corners = np.random.default_rng(0).uniform(0, 10, (CELLS, 2))
        anchors = np.concatenate([corners, corners + 9], 1).astype(np.float32)
        boxes = net.node("Gather", [anchors, net.Mod(index, np.array(CELLS))], name="boxes")[0]
        labels = net.node("Div", [index, np.array(CELLS)], name="labels")[0]
        outputs = {boxes: TensorProto.FLOAT, best: TensorProto.FLOAT, labels: TensorProto.INT64}
        return net.model({**outputs, beside: TensorProto.FLOAT})

    def source(self) -> SourceModel:
        layers = {name: LayerTensors(tensors) for name, tensors in self.layers.items()}
        outputs, labels = Outputs("boxes", "scores", "labels"), ("cat", "dog")
        return SourceModel(self.model(), "image", outputs, SPEC, labels, layers, ("neck",), {"source": "tiny"})

    def way(self) -> Source:
        """A way in that takes any ``MODEL.tiny`` for it."""
        return Source("MODEL.tiny", lambda given: given[0].endswith(".tiny"), lambda request, progress: self.source())
