"""What stands where pixels of an image are hidden."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from boxcam.explain.path import blurred
from boxcam.registry import Registry
from boxcam.types import Image

FILLS: Registry[Callable[[Image], Image]] = Registry("fill")
"""From an image, uint8 [H, W, channels], one of the same shape that hides it."""


@FILLS.register("blur")
def blur(image: Image) -> Image:
    """The image, blurred by a Gaussian of 1/25 of its longer side."""
    return blurred(image)


@FILLS.register("black")
def black(image: Image) -> Image:
    """Zeros, as VPS and ODAM's insertion have it."""
    return np.zeros_like(image)


@FILLS.register("mean")
def mean(image: Image) -> Image:
    """The mean colour of the image."""
    return np.broadcast_to(np.rint(image.mean(axis=(0, 1))).astype(np.uint8), image.shape).copy()


def noise(image: Image, seed: int) -> Image:
    """Each number drawn evenly from 0 to 255, as ODAM's deletion has it."""
    return np.random.default_rng(seed).integers(0, 256, image.shape, dtype=np.uint8)
