"""The model's input with other pixels where it shows the image."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Preprocess
from boxcam.runtime.preprocess import Transform
from boxcam.types import Float


class ChangedInput:
    """A model's input, of which the pixels that show the image can be exchanged; what pads the image stays.

    Args:
        tensor: the model's input, with the image.
        place: where the image lies on it.
        spec: how it was made.

    Attributes:
        corner: y0, x0, where the part that shows the image begins, in pixels of the model's input.
        pixels: float32 [channels, height, width], that part.
    """

    def __init__(self, tensor: npt.NDArray[Any], place: Transform, spec: Preprocess) -> None:
        self.corner = max(place.top, 0), max(place.left, 0)
        ends = (
            min(place.top + place.resized_height, place.canvas_height),
            min(place.left + place.resized_width, place.canvas_width),
        )
        region = tuple(slice(start, end) for start, end in zip(self.corner, ends, strict=True))
        self._tensor = tensor.copy()
        planes = self._tensor[0] if spec.layout == "NCHW" else self._tensor[0].transpose(2, 0, 1)
        self._part = planes[:, *region]
        self.pixels: Float = self._part.astype(np.float32)

    def with_pixels(self, pixels: Float) -> npt.NDArray[Any]:
        """The model's input with other pixels, until the next ones are given: it is written over.

        Args:
            pixels: float32, as `pixels`; rounded, and held within its range, where the input has whole numbers.
        """
        if self._part.dtype.kind in "iu":
            limits = np.iinfo(self._part.dtype)
            self._part[:] = np.clip(np.rint(pixels), limits.min, limits.max)
        else:
            self._part[:] = pixels
        return self._tensor

    def masked(self, pixels: Float, mask: Float, rest: Float | None = None) -> npt.NDArray[Any]:
        """The model's input with pixels behind a mask, until the next ones are given: it is written over.

        Args:
            pixels: float32, as `pixels`, what is multiplied with the mask.
            mask: float32 [height, width].
            rest: float32 [channels], what is added to the product.
        """
        if self._part.dtype != np.float32:
            more = 0 if rest is None else rest[:, None, None]
            return self.with_pixels((pixels * mask + more).astype(np.float32, copy=False))
        for channel, plane in enumerate(self._part):  # one after the other, so that each is still at hand
            np.multiply(pixels[channel], mask, out=plane)
            if rest is not None and rest[channel]:
                plane += rest[channel]
        return self._tensor
