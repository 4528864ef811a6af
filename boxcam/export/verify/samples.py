"""Pictures to verify an export with: the user's, or synthetic ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from boxcam.bundle import Preprocess
from boxcam.export.graphs.query import Array
from boxcam.runtime.preprocess import prepare
from boxcam.types import Image

_DRAWN = 4


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture to look at.

    Attributes:
        name: of its file, or what it is.
        pixels: uint8 [H, W, 3], BGR.
        is_given: whether it is the user's.
    """

    name: str
    pixels: Image
    is_given: bool = False


@dataclass(frozen=True, eq=False)
class Samples:
    """Inputs of a model: one of the picture that is given, otherwise of synthetic ones: no model finds boxes in all.

    Attributes:
        input: name of the model's input.
        preprocess: how a picture becomes an input.
        given: uint8 [H, W, 3], BGR, the user's picture; None for synthetic ones.
        name: what the user's picture is called.
    """

    input: str
    preprocess: Preprocess
    given: Image | None
    name: str = "the sample"

    def __iter__(self) -> Iterator[dict[str, Array]]:
        """The inputs by name, in the type that the detector takes."""
        return (self._prepared(picture) for picture in self._pictures())

    def pictures(self) -> Iterator[Picture]:
        """The user's picture, if there is one, and the synthetic ones."""
        if self.given is not None:
            yield Picture(self.name, self.given, is_given=True)
        for seed in range(_DRAWN):
            yield Picture(f"synthetic image {seed + 1}", draw(self.preprocess, seed))

    def of_another_size(self) -> Iterator[dict[str, Array]]:
        """The same for a model of dynamic size: inputs of other sides, of pictures that were turned and cut off."""
        turned = (cv2.rotate(picture, cv2.ROTATE_90_CLOCKWISE) for picture in self._pictures())
        return (self._prepared(np.asarray(of[: max(3 * len(of) // 4, 1)], np.uint8)) for of in turned)

    def first(self) -> dict[str, Array]:
        """An input to run the float32 graphs with."""
        return wide(next(iter(self)))

    def _prepared(self, picture: Image) -> dict[str, Array]:
        return {self.input: prepare(picture, self.preprocess)[0]}

    def _pictures(self) -> Iterator[Image]:
        if self.given is not None:
            return iter([self.given])
        return (draw(self.preprocess, seed) for seed in range(_DRAWN))


def wide(feeds: dict[str, Array]) -> dict[str, Array]:
    """The same inputs for graphs that gradients are made of, which have no float16."""
    return {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in feeds.items()}


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
