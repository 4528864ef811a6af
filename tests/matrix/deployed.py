"""A bundle at work, as the matrix needs it: the one place here that knows how a bundle is laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

import boxcam
from boxcam.bundle import Gradient, Layer, Rules
from boxcam.runtime.engines import Patches
from boxcam.runtime.images import read_image
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.preprocess import prepare
from boxcam.types import Patch

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Explained:
    """The gradients of some boxes' targets with respect to a layer.

    Attributes:
        features: the layer's tensors, [N, C, H, W], N being 1 or the number of proposals.
        boxes: for each box and tensor the gradient's pieces.
    """

    features: list[Array]
    boxes: list[list[list[Patch]]]


class Deployed:
    """A bundle."""

    def __init__(self, path: Path) -> None:
        self.path, self.model = path, boxcam.load(path, threads=1)
        self.graph: onnx.ModelProto = onnx.load(path / "forward.onnx")
        self._sessions: dict[tuple[str, ...], onnxruntime.InferenceSession] = {}

    def canvas(self, picture: Path) -> torch.Tensor:
        """A picture as the model's input."""
        return torch.from_numpy(prepare(read_image(picture), self.model.manifest.preprocess)[0])

    def predict(
        self, picture: Path, layer: str | None = None, engine: str = "auto", target: str | None = None
    ) -> Prediction:
        layers = () if layer is None else self.model.runtime.layer(layer)
        return self.model.runtime.predict(read_image(picture), layers, engine, target)

    def origin(self, picture: Path, target: str) -> list[list[int]]:
        """Of each detection, which tensor of `ends` its target comes from, and the position there."""
        prediction = self.predict(picture, target=target)
        found: list[list[int]] = prediction.outputs[self.model.manifest.target(target).origin][prediction.rows].tolist()
        return found

    def values(self, image: torch.Tensor, names: Sequence[str]) -> list[Array]:
        """Any values of the deployed graph on a canvas."""
        key = tuple(names)
        if key and key not in self._sessions:
            graph = onnx.ModelProto()
            graph.CopyFrom(self.graph)
            have = {output.name for output in graph.graph.output}
            graph.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in have)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            self._sessions[key] = onnxruntime.InferenceSession(
                graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        return list(self._sessions[key].run(list(names), {self.input: image.numpy()})) if key else []

    def of_shape(self, shapes: Sequence[tuple[int, ...]]) -> list[str]:
        """Names of all floating-point values of the deployed graph that have one of some shapes."""
        inferred = onnx.shape_inference.infer_shapes(self.graph)
        made = {name for node in self.graph.graph.node for name in node.output}
        known = [*inferred.graph.value_info, *inferred.graph.output]
        of = {v.name: v.type.tensor_type for v in known if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
        found = {name: tuple(d.dim_value for d in kind.shape.dim) for name, kind in of.items() if name in made}
        return [name for name, shape in found.items() if shape in shapes]

    @property
    def input(self) -> str:
        return self.model.manifest.input

    def ends(self, target: str = "logit") -> list[str]:
        """Names of the tensors that ``origin`` counts positions in."""
        return [end.name for end in self.model.manifest.target(target).ends]

    def tensors(self, layer: str) -> list[str]:
        """Names of a layer's tensors."""
        return [tensor.name for tensor in self.model.runtime.layer(layer).tensors]

    def rois(self) -> list[str]:
        """The outputs that hold the proposals which a box can come from, one for each tensor of the roi layer."""
        found = [layer for layer in self.model.manifest.layers if layer.kind == "roi"]
        return list(found[0].rois) if found else []

    def gradient(self, layer: str, engine: str, target: str = "logit", rules: Rules = "plain") -> Gradient:
        """What the bundle says about a gradient."""
        return self.model.runtime.gradient(self.model.runtime.layer(layer), engine, target, rules)

    def explain(
        self,
        prediction: Prediction,
        name: str,
        boxes: Sequence[int],
        engine: str,
        target: str = "logit",
        rules: Rules = "plain",
    ) -> Explained:
        """The gradients of some boxes of a prediction that was made for the layer, the engine and the target."""
        layer = self.model.runtime.layer(name)
        patches = self.model.runtime.patches(prediction, layer, list(boxes), engine, target=target, rules=rules)
        return self._explained(prediction, layer, list(patches))

    def explain_at(self, prediction: Prediction, name: str, origin: Sequence[Sequence[int]], engine: str) -> Explained:
        """The same of logits that need not have made a box."""
        layer = self.model.runtime.layer(name)
        gradient = self.model.runtime.gradient(layer, engine)
        names, context = [tensor.name for tensor in layer.tensors], gradient.context
        running = self.model.runtime.engine(gradient)
        found = running.patches(prediction.outputs, names, context, np.array(origin, np.int64))
        return self._explained(prediction, layer, found)

    def _explained(self, prediction: Prediction, layer: Layer, found: Sequence[Patches]) -> Explained:
        pieces = [[[patch for patch in of if patch.tensor == i] for i in range(len(layer.tensors))] for of in found]
        return Explained(self._features(prediction, layer), pieces)

    def _features(self, prediction: Prediction, layer: Layer) -> list[Array]:
        return [np.asarray(prediction.outputs[tensor.name]) for tensor in layer.tensors]


def whole(pieces: Sequence[Patch], shape: tuple[int, ...], rows: Sequence[int] = (0,)) -> Array:
    """The sum of a box's pieces of gradient on one tensor, put into zeros; where they overhang the map they are zero.

    Args:
        pieces: of one box and tensor.
        shape: [r, C, H, W].
        rows: which rows of the tensor's first axis these r are.
    """
    full = np.zeros(shape, np.float32)
    for patch in pieces:
        if patch.row not in rows and not patch.gradient.any():
            continue  # of a side that is cut off at the image's edge, which depends on no proposal
        row = list(rows).index(patch.row)
        (y, x), (h, w) = patch.corner, patch.gradient.shape[1:]
        y0, y1, x0, x1 = max(y, 0), max(min(y + h, shape[2]), 0), max(x, 0), max(min(x + w, shape[3]), 0)
        full[row, :, y0:y1, x0:x1] += patch.gradient[:, y0 - y : y1 - y, x0 - x : x1 - x]
        outside = np.ones((h, w), bool)
        outside[y0 - y : y1 - y, x0 - x : x1 - x] = False
        assert not patch.gradient[:, outside].any(), "a gradient beside the map"
        if patch.uniform is not None:
            full[row] += patch.uniform[:, None, None]
    return full


__all__ = ["Deployed", "Explained", "Model", "whole"]
