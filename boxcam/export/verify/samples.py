"""Pictures to verify an export with: the user's, or drawn ones."""

from __future__ import annotations

import cv2
import numpy as np

from boxcam.bundle import Preprocess
from boxcam.export.graphs.query import Array
from boxcam.runtime.preprocess import prepare
from boxcam.types import Image

_DRAWN = 4


def inputs(spec: Preprocess, given: Image | None) -> list[Array]:
    """Inputs of the model: one of the picture that is given, otherwise of drawn ones, as no model finds boxes in all.

    Args:
        spec: how a picture becomes an input.
        given: uint8 [H, W, 3], BGR.
    """
    return [prepare(picture, spec)[0] for picture in _pictures(spec, given)]


def of_another_size(spec: Preprocess, given: Image | None) -> list[Array]:
    """The same for a model whose size is open: inputs of other sides, of pictures that were turned and cut off."""
    turned = [cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE) for picture in _pictures(spec, given)]
    return [prepare(np.asarray(of[: max(3 * len(of) // 4, 1)], np.uint8), spec)[0] for of in turned]


def _pictures(spec: Preprocess, given: Image | None) -> list[Image]:
    return [draw(spec, seed) for seed in range(_DRAWN)] if given is None else [given]


def draw(spec: Preprocess, seed: int) -> Image:
    """A picture to verify with when none is given: coloured shapes on a soft background."""
    rng = np.random.default_rng(seed)
    height, width = spec.height, spec.width
    coarse = rng.integers(0, 255, (4 + 2 * seed, 6 + 2 * seed, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    for _ in range(8 + 8 * seed):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = int(rng.integers(max(min(height, width) // 30, 2), max(min(height, width) // 4, 4)))
        color = tuple(int(c) for c in rng.integers(0, 255, 3))
        if rng.random() < 0.5:
            cv2.circle(image, (x, y), size, color, -1, cv2.LINE_AA)
        else:
            cv2.rectangle(image, (x, y), (x + size, y + int(size * rng.uniform(0.5, 2))), color, -1)
    return image
