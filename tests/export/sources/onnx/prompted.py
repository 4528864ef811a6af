"""A classifier of two inputs: the image, and embeddings of words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.export.sources.onnx.plain import CHANNELS, SIZE, Plain


def prompted(path: Path, second: tuple[Any, ...] = (1, 8, CHANNELS), kind: int = TensorProto.FLOAT) -> Plain:
    """A classifier whose classes are embeddings of words, [1, classes, channels]."""
    net = Plain(("batch", 3, SIZE, SIZE))
    net.input("words", second, kind)
    read = "words" if kind == TensorProto.FLOAT else net.Cast("words", to=TensorProto.FLOAT)
    pooled = net.Flatten(net.GlobalAveragePool(net.map()))
    net.node("MatMul", [pooled, net.Transpose(net.Squeeze(read, np.array([0])), perm=[1, 0])], name="logits")
    net.save(path)
    return net
