"""What the scripts beside this file share: boxcam's gradients as whole arrays, and how far apart two are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import boxcam
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare
from boxcam.types import Detections

Array = npt.NDArray[Any]
PICTURES = [
    Path(__file__).resolve().parents[1] / "signs" / "images" / f"{name}.jpg" for name in ("coffee", "houses", "saucer")
]


@dataclass(frozen=True, eq=False)
class Explained:
    """What a bundle says of a picture.

    Attributes:
        input: the model's input, as boxcam made it.
        detections: the first boxes or classes, best score first, in pixels of the picture.
        origins: int64 [K, n], where each one's number is: which tensor, and the position in it.
        features: the layer's tensors, each [1, C, H, W], or [R, C, H, W] for the features of proposals.
        gradients: of each box by each tensor, [C, H, W].
        rows: of each box, its row in the tensors: the number of its proposal, otherwise 0.
        rois: float32 [R, 4], the proposals, x1 y1 x2 y2 in pixels of the input; None for maps of the image.
    """

    input: Array
    detections: Detections
    origins: Array
    features: list[Array]
    gradients: list[list[Array]]
    rows: list[int]
    rois: Array | None


def explained(bundle: Path, picture: Path, layer: str, most: int) -> Explained:
    """Run a bundle.

    Args:
        bundle: with an ONNX gradient.
        picture: to run it on.
        layer: that the gradients are taken by.
        most: boxes or classes, the best ones.
    """
    model = boxcam.load(bundle, threads=1)
    image = read_image(picture)
    of = model.runtime.layer(layer)
    prediction = model.runtime.predict(image, of, "onnx")
    boxes = range(min(most, len(prediction.detections)))
    features = [np.asarray(prediction.outputs[tensor.name]) for tensor in of.tensors]
    gradients, rows = [], []
    for patches in model.runtime.patches(prediction, of, list(boxes), "onnx"):
        whole = [np.zeros(array.shape[1:], np.float32) for array in features]
        for patch in patches:
            _add(whole[patch.tensor], patch.gradient, patch.corner)
            if patch.uniform is not None:
                whole[patch.tensor] += patch.uniform[:, None, None]
        gradients.append(whole)
        rows.append(max((patch.row for patch in patches), default=0))
    detections = prediction.detections
    tensor = prepare(image, model.manifest.preprocess)[0]
    rois = prediction.outputs[of.rois[0]] if of.rois else None
    return Explained(tensor, detections, detections.origin, features, gradients, rows, rois)


def _add(whole: Array, block: Array, corner: tuple[int, int]) -> None:
    """Add a block of cells to a map; what lies beside the map is left out."""
    (y, x), (height, width) = corner, block.shape[1:]
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = min(height, whole.shape[1] - y), min(width, whole.shape[2] - x)
    whole[:, y + top : y + bottom, x + left : x + right] += block[:, top:bottom, left:right]


def apart(found: Sequence[Array], expected: Sequence[Array]) -> float:
    """The largest difference of a box's gradients, as a share of the largest expected value.

    Raises:
        ValueError: there is nothing to compare, as the expected gradient vanishes.
    """
    scale = max(float(np.abs(array).max()) for array in expected)
    if scale == 0:
        raise ValueError("the expected gradient is zero everywhere")
    return max(float(np.abs(one - other).max()) for one, other in zip(found, expected, strict=True)) / scale


def other_rows(one: Array, other: Array, most: float) -> int:
    """How many rows of two arrays are not the same, as sets: rows of nearly equal score may change places.

    Args:
        one, other: [R, n] and [S, n].
        most: how far apart the numbers of the same row are.

    Returns:
        How many of the one, or of the other if these are more, have no partner; each is the partner of one.
    """
    left, pairs = np.ones(len(other), bool), 0
    for row in one:
        gaps = np.where(left, np.abs(other - row).max(1, initial=0), np.inf)
        if len(other) and gaps.min() <= most:
            left[gaps.argmin()] = False
            pairs += 1
    return max(len(one), len(other)) - pairs
