"""Small ONNX files, written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.export.export_graphs import Net

SIZE = 32


class Small(Net):
    """A graph with an image, and a map of it."""

    def __init__(self, opset: int = 18, image: Any = (1, 3, SIZE, SIZE), dtype: int = TensorProto.FLOAT) -> None:
        super().__init__(opset)
        self.image = self.input("image", image, dtype)

    def map(self, channels: int = 4, stride: int = 8, read: str | None = None) -> str:
        weight = np.random.default_rng(channels).normal(0, 0.3, (channels, 3, 3, 3))
        return self.Relu(self.Conv(read or self.image, weight, strides=[stride] * 2, pads=[1] * 4))

    def classes(self, count: int = 3, read: str | None = None, name: str = "logits") -> str:
        pooled = self.Flatten(self.GlobalAveragePool(read or self.map()))
        return self.node("Gemm", [pooled, np.random.default_rng(0).normal(0, 1, (4, count))], name=name)[0]

    def save(self, path: Path, **outputs: int) -> Path:
        graph = self.graph(outputs)
        domains = {node.domain for node in self.nodes} - {""}
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in domains)]
        onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=9), str(path))
        return path


def segmentation(path: Path) -> Path:
    net = Small()
    net.node("Resize", [net.map(), None, np.array([1, 1, 8, 8], np.float32)], name="mask")
    return net.save(path, mask=TensorProto.FLOAT)


def two_classifiers(path: Path) -> Path:
    net = Small()
    found = net.map()
    net.classes(3, found, "colour")
    net.classes(5, found, "kind")
    return net.save(path, colour=TensorProto.FLOAT, kind=TensorProto.FLOAT)


def dense(path: Path, width: int = 9) -> Path:
    net = Small()
    found = net.map(width, 4 if width < 64 else 2)
    net.Transpose(net.Reshape(found, np.array([1, width, -1])), perm=[0, 2, 1], name="out")
    return net.save(path, out=TensorProto.FLOAT)


def selected(path: Path, size: float = 30) -> Path:
    """Boxes [16, 4], scores [16] and labels [16], as if the model had chosen them."""
    net = Small()
    rows = net.Transpose(net.Reshape(net.map(6), np.array([6, -1])), perm=[1, 0])
    places, logits = net.node("Split", [rows, np.array([4, 2])], 2, axis=1)
    net.node("Mul", [places, np.float32(size)], name="boxes")
    net.node("ReduceMax", [net.Sigmoid(logits), np.array([1])], keepdims=0, name="scores")
    net.node("ArgMax", [logits], axis=1, keepdims=0, name="labels")
    return net.save(path, boxes=TensorProto.FLOAT, scores=TensorProto.FLOAT, labels=TensorProto.INT64)
