"""A network whose maps can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto

from tests.export.sources.onnx.small import Small


class Squares(Small):
    """A classifier of 2x2 cells, each the sum of a pixel's colours: its second class adds up their squares."""

    def build(self, path: Path) -> Path:
        weight = np.zeros((1, 3, 16, 16), np.float32)
        weight[:, :, 8, 8] = 1
        cells = self.Relu(self.node("Conv", [self.image, weight], strides=[16, 16], name="layer")[0])
        head = np.zeros((4, 2), np.float32)
        head[:, 1] = 1
        self.node("MatMul", [self.Flatten(self.Mul(cells, cells)), head], name="logits")
        return self.save(path, logits=TensorProto.FLOAT)
