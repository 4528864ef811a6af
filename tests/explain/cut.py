"""A bundle's model from a layer on, cut out of its forward graph by onnx's own tool, and run on changed features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.utils
from onnxruntime import InferenceSession

from boxcam.bundle import FORWARD, Layer
from boxcam.runtime.model import Model, Prediction


class Cut:
    """The targets of boxes as the model makes them of a layer's features.

    Args:
        bundle: the folder.
        layer: the layer.
        end: the tensor that the targets are in.
        reads: names of the layer's tensors, and of others that come from before it.
    """

    def __init__(self, bundle: Path, reads: list[str], end: str) -> None:
        whole = onnx.load(bundle / FORWARD)
        for value in list(whole.graph.output):  # else what is read may not be cut off
            if value.name in reads:
                whole.graph.output.remove(value)
        part = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole)).extract_model(reads, [end])
        self._session = InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
        self._end = end

    def __call__(self, feeds: dict[str, Any], position: Any) -> float:
        (found,) = self._session.run([self._end], {name: np.ascontiguousarray(of) for name, of in feeds.items()})
        return float(found[tuple(position[: found.ndim])])


def ablated(cut: Cut, features: dict[str, Any], name: str, row: int, position: Any) -> Any:
    """Ablation-CAM's map of one box by one tensor, channel by channel."""
    before, mine = cut(features, position), features[name][row]
    weights = []
    for channel in range(len(mine)):
        changed = features[name].copy()
        changed[row, channel] = 0
        weights.append((before - cut({**features, name: changed}, position)) / abs(before))
    return np.maximum(np.einsum("k,kij->ij", weights, mine.astype(np.float64)), 0)


def alone(cut: Cut, features: dict[str, Any], layer: Layer, name: str, row: int, position: Any) -> Any:
    """Recipro-CAM's map of one box by one tensor, cell by cell."""
    empty = {one: of.copy() for one, of in features.items()}
    for tensor in layer.tensors:
        if tensor.name in empty:
            empty[tensor.name][row] = 0
    before, mine = cut(empty, position), features[name][row]
    found = np.zeros(mine.shape[1:])
    for y, x in np.ndindex(found.shape):
        changed = empty[name].copy()
        changed[row, :, y, x] = mine[:, y, x]
        found[y, x] = cut({**empty, name: changed}, position) - before
    return found


def whole_map(cells: Any, shape: tuple[int, ...]) -> Any:
    """A map of cells as large as its feature map."""
    found, (y, x), (height, width) = np.zeros(shape), cells.corner, cells.values.shape
    found[y : y + height, x : x + width] = cells.values
    return found


def features_of(model: Model, prediction: Prediction, layer: Layer) -> dict[str, Any]:
    """The features of a forward pass."""
    return {tensor.name: prediction.outputs[tensor.name].copy() for tensor in layer.tensors}
