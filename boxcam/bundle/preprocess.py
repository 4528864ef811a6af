"""How an image becomes a model's input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes the model's input: resize, then pad or cut, normalise.

    Attributes:
        height, width: the canvas, in pixels: the model's input; the largest one, if ``multiple`` is set.
        fit_height, fit_width: what the image is resized to. For ``fit`` and ``stretch`` no larger than the canvas, the
            rest is padded; for ``cover`` no smaller than it, the rest is cut off.
        resize: ``fit`` resizes both axes by one factor, so that the image lies inside the fit size; ``stretch`` to
            exactly the fit size; ``cover`` by one factor, so that the image covers the fit size (a square one: its
            shorter side is as long), and the canvas is the middle of it; ``none`` leaves it as it is.
        pad_to: where the image lies on the canvas; for ``cover`` in the centre.
        pad_value: one value per channel, in the order of the model's input.
        pad_before_normalize: ``pad_value`` is in 0..255 and is normalised too; otherwise it is put in afterwards.
        mean, std: per channel, in the order of the model's input, for pixels in 0..255: ``(pixel - mean) / std``.
        color: channel order of the model's input; ``GRAY`` if there is one channel, ``as given`` if their number is
            neither one nor three: they are in the order of the file or array.
        interpolation: of the resize; ``area or bilinear`` is area along what becomes smaller, bilinear along what
            becomes larger; the others are OpenCV's, whatever the size.
        layout: of the model's input: [1, channels, height, width] or [1, height, width, channels].
        dtype: of the model's input. ``uint8`` is the pixels themselves: mean 0, std 1.
        rounding: of the sizes of ``fit``, from a factor in double precision: to the nearest (halves up), to the nearest
            with halves to even, or down.
        multiple: 0 for a canvas that is the same for all images. Otherwise each has its own, whose sides are those of
            the resized image, rounded up to a multiple of this; for ``fit`` the longer side of the fit size is then
            for the image's longer side (as in ``mmcv.imrescale``), and with ``none`` there is no largest canvas.
    """

    height: int
    width: int
    fit_height: int
    fit_width: int
    resize: Literal["fit", "stretch", "cover", "none"]
    pad_to: Literal["top-left", "center"]
    pad_value: tuple[float, ...]
    pad_before_normalize: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    color: Literal["RGB", "BGR", "GRAY", "as given"]
    interpolation: Literal["bilinear", "nearest", "area", "bicubic", "area or bilinear"] = "bilinear"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    dtype: Literal["float32", "float16", "uint8"] = "float32"
    rounding: Literal["nearest", "half-even", "down"] = "nearest"
    multiple: int = 0

    def __post_init__(self) -> None:
        fit, size = f"{self.fit_height}x{self.fit_width}", f"{self.height}x{self.width}"
        if min(self.height, self.width, self.fit_height, self.fit_width) < 1:
            raise ValueError(f"preprocess: sizes must be positive: {self}")
        if self.multiple < 0 or ((self.multiple > 0) != (self.resize == "none") and self.resize != "fit"):
            raise ValueError(f"preprocess: resize {self.resize} cannot go with a multiple of {self.multiple}")
        if self.resize == "cover":
            if self.fit_height < self.height or self.fit_width < self.width:
                raise ValueError(f"preprocess: {fit} does not cover {size}")
            if self.pad_to != "center":
                raise ValueError("preprocess: resize cover crops the middle, so pad must be center")
        elif self.fit_height > self.height or self.fit_width > self.width:
            raise ValueError(f"preprocess: {fit} exceeds {size}")
        _check_channels(self.mean, self.std, self.pad_value)
        if self.color not in {1: ("GRAY",), 3: ("RGB", "BGR")}.get(self.channels, ("as given",)):
            raise ValueError(f"preprocess: color {self.color} is not one of {self.channels} channels")
        if min(self.std) <= 0:
            raise ValueError(f"preprocess: std must be positive, not {self.std}")
        if self.dtype == "uint8":
            if any(self.mean) or set(self.std) != {1.0}:
                raise ValueError(f"preprocess: uint8 is not normalised: mean {self.mean}, std {self.std}")
            if any(not 0 <= value <= 255 or value != int(value) for value in self.pad_value):
                raise ValueError(f"preprocess: pad_value of uint8 must be 0 to 255, whole, not {self.pad_value}")

    @property
    def channels(self) -> int:
        """How many channels the model's input has."""
        return len(self.mean)

    @property
    def shape(self) -> tuple[int, int | None, int | None, int | None]:
        """Of the model's input; None for height and width if each image has its own."""
        height, width = (None, None) if self.multiple else (self.height, self.width)
        depth = self.channels
        return (1, depth, height, width) if self.layout == "NCHW" else (1, height, width, depth)


def _check_channels(*several: tuple[float, ...]) -> None:
    """One value for each channel: as many as most of them have.

    Raises:
        ValueError: one has more or fewer.
    """
    counts = [len(values) for values in several]
    usual = max(counts, key=counts.count)
    for values in several:
        if len(values) != usual or not values:
            listed = ", ".join(f"{value:g}" for value in values)
            raise ValueError(f"preprocess: {usual} items were expected, not [{listed}]")
