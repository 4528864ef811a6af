"""A network whose Grad-CAM is empty and whose HiResCAM is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from tests.export.sources.onnx.small import Small

IMAGE = np.full((32, 32, 3), 100, np.uint8)


class Cancelling(Small):
    """A classifier of a layer of 2x2 cells: its second class is 4 times the first cell, less 8 times the last one.

    Grad-CAM weighs the layer by the mean, -1: no cell is positive. HiResCAM has 4 times its value in the first cell.
    """

    def build(self, path: Path) -> Path:
        weight = np.zeros((1, 3, 16, 16), np.float32)
        weight[:, :, 8, 8] = 1
        cells = self.Relu(self.node("Conv", [self.image, weight], strides=[16, 16], name="layer")[0])
        head = np.zeros((4, 2), np.float32)
        head[:, 1] = 4, 0, 0, -8
        self.node("MatMul", [self.Flatten(cells), head], name="logits")
        return self.save(path, logits=TensorProto.FLOAT)
