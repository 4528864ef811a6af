"""A classifier of two classes whose feature map is as large as its image: as ONNX, and as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.export.sources.onnx.small import SIZE, Small

_RANDOM = np.random.default_rng(11)
CONVOLUTION: Any = _RANDOM.normal(size=(6, 3, 3, 3)).astype(np.float32)
"""Then a ReLU, which makes the feature map, [6, 32, 32]."""
HEAD: Any = (_RANDOM.normal(size=(2, 6, SIZE, SIZE)) / 200).astype(np.float32)
"""Which number of the feature map counts how much for which class."""
PICTURE: Any = _RANDOM.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
"""BGR."""
INPUT: Any = PICTURE[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
"""What the network reads of it: RGB, 0 to 1."""


class TwoClasses(Small):
    def build(self, path: Path) -> Path:
        features = self.node("Relu", [self.Conv(self.image, CONVOLUTION, pads=[1] * 4)], name="layer")[0]
        self.node("MatMul", [self.Flatten(features), HEAD.reshape(2, -1).T.copy()], name="logits")
        return self.save(path, logits=TensorProto.FLOAT)
