"""A bundle of formulas: a manifest, and a stand-in for the session of its forward graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from boxcam.bundle import Gradient, Layer, Logits, Manifest, Outputs, Preprocess, Tensor, TracedTarget
from boxcam.runtime.preprocess import Transform
from boxcam.runtime.tensors import Tensors

PATH = Path("b.boxcam")
FORWARD = str(PATH / "forward.onnx")
LOGIT = TracedTarget("logit", "origin", "logit", (Logits("flat", (4,), "Sigmoid"), Logits("map", (1, 2, 3), "Sigmoid")))
SCORE = TracedTarget("score", "where", "much", (Logits("scores", (5,), "Identity"),))


def gradient(engine: str = "onnx", target: str = "logit", rules: Any = "plain", **others: Any) -> Gradient:
    file = f"{engine}.{target}.{rules}"
    return Gradient(engine, target, rules, file, "windows", "", **{"context": (file,), "boxes_at_once": 2, **others})


NECK = Layer(
    "neck", "map",
    (Tensor("p3", 2, 4, 6, (4.0, 8.0)), Tensor("p4", 3, 2, 3, (8.0, 16.0), center=(2.0, 6.0))),
    (
        gradient("torchscript"),
        gradient(means="onnx.means"),
        gradient(rules="guided"),
        gradient(target="score"),
        gradient("torchscript", "score"),
    ),
)  # fmt: skip
ROI = Layer("roi", "roi", (Tensor("pooled", 2, 2, 2, None, rois="rois"),), (gradient("torchscript"),))
SPEC = Preprocess(16, 48, 16, 48, "stretch", "top-left", (0.0,) * 3, False, (0.0,) * 3, (1.0,) * 3, "BGR")
MANIFEST = Manifest(
    "1", {}, ("a", "b"), "image", SPEC, Outputs("boxes", "scores", "labels"), (LOGIT, SCORE), (NECK, ROI), {}
)
PLACE = Transform(32, 48, 16, 48, 16, 48, 0, 0)

ARRAYS: dict[str, Any] = {
    "boxes": np.float32([[0, 0, 4, 4], [1, 1, 5, 5], [2, 2, 6, 6], [3, 3, 7, 7], [4, 4, 8, 8]]),
    "scores": np.float32([0.5, 0.25, 0.75, 0.1, 0.6]),
    "labels": np.int64([0, 1, 1, 0, 0]),
    "origin": np.int32([[0, 3, 0, 0], [1, 0, 1, 2], [1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0]]),
    "logit": np.float64([10, 11, 12, 13, 14]),
    "where": np.int64([[0, 0], [0, 1], [0, 2], [0, 3], [0, 4]]),
    "much": np.float16([0.5, 0.25, 0.75, 0.1, 0.6]),
    "flat": np.float32([0, 1, 2, 3]),
    "map": np.float32([[[5, 6, 7], [8, 9, 10]]]),
    "p3": np.arange(48, dtype=np.float32).reshape(1, 2, 4, 6),
    "p4": np.arange(18, dtype=np.float32).reshape(1, 3, 2, 3),
    "pooled": np.arange(24, dtype=np.float32).reshape(3, 2, 2, 2),
    "rois": np.float32([[0, 0, 8, 8], [8, 4, 16, 12], [0, 0, 48, 16]]),
}


class Session:
    """What a forward graph would give."""

    file = FORWARD
    device, providers = "cpu", ("CPUExecutionProvider",)

    def __init__(self, **others: Any) -> None:
        self.arrays = {**ARRAYS, **others}
        names = [*self.arrays, *(name for layer in (NECK, ROI) for g in layer.gradients for name in g.context)]
        self.outputs: dict[str, Any] = {name: self.arrays.get(name, np.zeros(1)).shape for name in names}
        self.inputs: dict[str, Any] = {"image": (1, 3, 16, 48)}
        real = ("labels", "origin", "where")
        self.types = {name: "tensor(int64)" if name in real else "tensor(float)" for name in names}
        self.asked: list[Any] = []

    def run(self, given: Any, names: list[str], keep: set[str]) -> Tensors:
        self.asked.append((dict(given), names, keep))
        return Tensors({name: self.arrays.get(name, np.zeros(1, np.float32)) for name in names})
