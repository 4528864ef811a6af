"""A plain classifier, written by hand: what it scores is known in numpy, and so is the gradient of each score.

Its scores are a matrix times the means of a map's channels, so the gradient by the map is that matrix over the number
of cells, in each cell, and its Grad-CAM is the map's channels weighed by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

import boxcam
from tests.export.export_graphs import Net

SIZE, CHANNELS, CLASSES = 32, 6, 4
PREPROCESS = ("resize=stretch", "scale=0-1", "color=RGB")


class Plain(Net):
    """The classifier as a graph, of an image of any channels and layout."""

    def __init__(self, image: Sequence[int | str | None], depth: int = 3, opset: int = 18, last: bool = False) -> None:
        super().__init__(opset)
        rng = np.random.default_rng(depth)
        self.weight = rng.normal(0, 0.6, (CHANNELS, depth, 3, 3)).astype(np.float32)
        self.bias = rng.normal(0, 0.5, CHANNELS).astype(np.float32)
        self.matrix = rng.normal(0, 2, (CHANNELS, CLASSES)).astype(np.float32)
        self.image = self.input("image", image)  # type: ignore[arg-type]
        self.last = last

    def map(self, read: str | None = None) -> str:
        """The map, ``seen``."""
        given = read or self.image
        given = self.Transpose(given, perm=[0, 3, 1, 2]) if self.last else given
        seen = self.node("Conv", [given, self.weight, self.bias], strides=[4, 4], pads=[1] * 4, kernel_shape=[3, 3])[0]
        return self.node("Relu", [seen], name="seen")[0]

    def logits(self, read: str | None = None, name: str = "logits") -> str:
        pooled = self.Flatten(self.GlobalAveragePool(read or self.map()))
        return self.node("MatMul", [pooled, self.matrix], name=name)[0]

    def save(self, path: Path, outputs: Any = ("logits",), ir_version: int = 9, **domains: int) -> Path:
        typed = outputs if isinstance(outputs, dict) else dict.fromkeys(outputs, TensorProto.FLOAT)
        imports = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, v) for d, v in domains.items())]
        model = helper.make_model(self.graph(typed), opset_imports=imports, ir_version=ir_version)
        onnx.save(model, str(path))
        return path


def export(path: Path, **options: Any) -> boxcam.Model:
    options.setdefault("preprocess", PREPROCESS)
    options.setdefault("accept", ["normalisation"])  # inputs of odd ranges are not what is asked about
    boxcam.export(path, output=path.with_suffix(".boxcam"), engine="onnx", **options)
    return boxcam.load(path.with_suffix(".boxcam"))


def pixels(depth: int = 3, seed: int = 1) -> np.ndarray:
    """An image as large as the model's input, [H, W, depth]."""
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, depth), dtype=np.uint8)


IMAGE = pixels()


def tensor(image: np.ndarray, order: Sequence[int] = (2, 1, 0)) -> np.ndarray:
    """The input of an image by `PREPROCESS`: [1, C, H, W]."""
    return np.ascontiguousarray((image[..., list(order)] / np.float32(255)).transpose(2, 0, 1)[None], np.float32)


def check(model: boxcam.Model, given: np.ndarray, net: Plain, image: np.ndarray, method: str = "gradcam") -> Any:
    """The scores and the map of the best class are those that numpy has of the input [1, C, H, W]."""
    features = convolved(given, net)
    logits = features.mean((1, 2)) @ net.matrix
    scores = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    best = int(scores.argmax())
    explanation = model.explain(image, method=method, score=0.0)
    assert explanation.detections.labels.tolist() == np.argsort(-scores).tolist()
    assert np.allclose(explanation.detections.scores, np.sort(scores)[::-1], atol=1e-5)
    expected = np.maximum((net.matrix[:, best, None, None] / features[0].size * features).sum(0), 0)
    (part,) = explanation.parts[0]
    assert np.allclose(part.cells.values, expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
    assert expected.max() > 0
    return explanation


def convolved(given: np.ndarray, net: Plain) -> np.ndarray:
    """The map, by numpy: [C, h, w]."""
    padded = np.pad(given[0], ((0, 0), (1, 1), (1, 1)))
    cells = range(0, padded.shape[1] - 2, 4), range(0, padded.shape[2] - 2, 4)
    windows = np.stack([[padded[:, y : y + 3, x : x + 3] for x in cells[1]] for y in cells[0]])
    return np.maximum(np.einsum("yxcij,kcij->kyx", windows, net.weight) + net.bias[:, None, None], 0)


def outputs(path: Path, **feeds: np.ndarray) -> list[np.ndarray]:
    """What ONNX Runtime makes of a file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)  # type: ignore[no-any-return]
