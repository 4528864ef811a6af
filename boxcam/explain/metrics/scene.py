"""An image on which a model is run again and again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from boxcam.explain.metrics.arithmetic import Array
from boxcam.explain.metrics.fills import FILLS, noise
from boxcam.types import Detections, Float, Image, Int


class Scene:
    """An image, the model that is asked about changed ones, and what all boxes on it share.

    Args:
        detect: from an image, uint8 [H, W, channels], to what the model finds on it: ``model.detect``.
        image: uint8 [H, W, channels].
        seed: of everything that is drawn at random.

    Attributes:
        passes: how often the model was run.
    """

    def __init__(self, detect: Callable[[Image], Detections], image: Image, seed: int = 0) -> None:
        self.image, self.seed, self.passes = image, seed, 0
        self._detect = detect
        self._fills: dict[str, Image] = {}
        self._hidden: dict[str, Detections] = {}

    def look(self, image: Image) -> Detections:
        """What the model finds on an image; counted."""
        self.passes += 1
        return self._detect(image)

    @cached_property
    def whole(self) -> Detections:
        """What it finds on the image as it is."""
        return self.look(self.image)

    @cached_property
    def noise(self) -> Image:
        """Noise of the image's size."""
        return noise(self.image, self.seed)

    def fill(self, name: str) -> Image:
        """The image, all of it hidden."""
        if name not in self._fills:
            self._fills[name] = FILLS[name](self.image)
        return self._fills[name]

    def hidden(self, name: str) -> Detections:
        """What the model finds where all is hidden."""
        if name not in self._hidden:
            self._hidden[name] = self.look(self.fill(name))
        return self._hidden[name]

    @cached_property
    def _ties(self) -> Array:
        height, width = self.image.shape[:2]
        return np.random.default_rng(self.seed).permutation(height * width)

    def order(self, values: Float) -> Int:
        """Indices of the pixels, row by row, from where a map is highest to where it is lowest: int64 [H · W].

        Equal values, such as the zeros of most maps, come at random, by the seed: in the order of rows, as a sort may
        leave them, an empty part of a map would be a map of its own.

        Args:
            values: [H, W], negative values included.
        """
        found: Int = np.lexsort((self._ties, -values.ravel()))
        return found
