"""An image becomes the model's input, and what comes out goes back onto the image.

The arithmetic is that of mmdet's test pipeline, step by step (``mmcv.imrescale``, then ``DetDataPreprocessor``), so
that a bundle sees exactly the input that the detector would have seen; that of ``cover`` is torchvision's ``Resize``
and ``CenterCrop``. Frames are named in `boxcam.types`.

The resize is OpenCV's. Its bilinear and bicubic do not average over what is made smaller, as those of Pillow and of
torchvision do; ``area`` does, and is the nearest to them, but repeats pixels where it enlarges: ``area or bilinear``
is the nearest to them both ways.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.bundle import Preprocess
from boxcam.errors import InputError
from boxcam.types import Corners, Float, Grid, Image

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
_ROUNDINGS: dict[str, Callable[[float], int]] = {
    "nearest": lambda size: int(size + 0.5),
    "half-even": round,
    "down": int,
}
SMALLEST_ROI = 1.0
"""Canvas pixels: a proposal smaller than this has no usable cells, and is widened around its centre."""
MAX_PIXELS = 1 << 28
"""Of an image after the resize. Only a picture that is a thousand times longer than wide has more to be cut off."""


@dataclass(frozen=True)
class Transform:
    """Where the image lies on the model's input.

    Attributes:
        height, width: the image.
        canvas_height, canvas_width: the model's input.
        resized_height, resized_width: the image in canvas pixels; what sticks out of the canvas is cut off.
        top, left: its upper left corner on the canvas; negative where the image is cut off.
    """

    height: int
    width: int
    canvas_height: int
    canvas_width: int
    resized_height: int
    resized_width: int
    top: int
    left: int

    @property
    def scale_y(self) -> float:
        """Canvas pixels per image pixel, down; it may differ from ``scale_x`` by the rounding of the resized size."""
        return self.resized_height / self.height

    @property
    def scale_x(self) -> float:
        """Canvas pixels per image pixel, across."""
        return self.resized_width / self.width

    @property
    def seen(self) -> Corners:
        """The part of the image that the model sees, x1 y1 x2 y2 in image pixels: all of it, if nothing is cut."""
        x1, x2 = _seen(self.left, self.resized_width, self.canvas_width, self.width)
        y1, y2 = _seen(self.top, self.resized_height, self.canvas_height, self.height)
        return x1, y1, x2, y2

    @property
    def is_cut(self) -> bool:
        """Whether a part of the image lies outside of the model's input."""
        return self.seen != (0.0, 0.0, self.width, self.height)

    def boxes_to_image(self, boxes: Float) -> Float:
        """Boxes on the model's input, float32 [K, 4] x1 y1 x2 y2, as boxes on the image, cut off where `seen` ends."""
        moved = (boxes - self._offset()) / self._scale()
        x1, y1, x2, y2 = self.seen
        return np.clip(moved, [x1, y1] * 2, [x2, y2] * 2).astype(np.float32)

    def boxes_to_canvas(self, boxes: Float) -> Float:
        """Boxes on the image, float32 [K, 4] x1 y1 x2 y2, as boxes on the model's input."""
        return (boxes * self._scale() + self._offset()).astype(np.float32)

    def map_grid(
        self, height: int, width: int, stride: tuple[float, float], center: tuple[float, float] | None = None
    ) -> Grid:
        """Where the cells of a feature map lie on the image.

        Cell (i, j) is drawn as the tile of the canvas that is sy high and sx wide around ``center + (i·sy, j·sx)``.
        Cells whose tile shows nothing but padding are excluded. Where the image is cut off, the grid's bounds are what
        was seen of it.

        Args:
            height, width: of the feature map, in cells.
            stride: (sy, sx), canvas pixels per cell.
            center: canvas position of the centre of cell (0, 0), y and x; by default the tiles begin at the corner.
        """
        sy, sx = stride
        y, x = center or (sy / 2, sx / 2)
        top, left = y - sy / 2, x - sx / 2
        bottom = min(self.top + self.resized_height, self.canvas_height)
        right = min(self.left + self.resized_width, self.canvas_width)
        return Grid(
            y=(top - self.top) / self.scale_y,
            x=(left - self.left) / self.scale_x,
            cell_height=sy / self.scale_y,
            cell_width=sx / self.scale_x,
            rows=_overlap(max(self.top, 0) - top, bottom - top, sy, height),
            columns=_overlap(max(self.left, 0) - left, right - left, sx, width),
            bounds=self.seen if self.is_cut else None,
        )

    def roi_grid(self, roi: Float, height: int, width: int) -> Grid:
        """Where the cells of a proposal's feature map lie on the image.

        The cells tile the proposal, and outside it the map is zero. A degenerate proposal (no width or height, or
        negative ones) is taken as `SMALLEST_ROI` wide around its centre.

        Args:
            roi: [4], x1 y1 x2 y2 on the canvas.
            height, width: of the feature map, in cells.

        Returns:
            The grid; its bounds are the proposal on the image, which may stick out of it, but not of what was seen of
            an image that is cut off.
        """
        x1, y1, x2, y2 = (float(value) for value in roi)
        left, right = (edge / self.scale_x for edge in _widen(x1 - self.left, x2 - self.left))
        top, bottom = (edge / self.scale_y for edge in _widen(y1 - self.top, y2 - self.top))
        return Grid(
            y=top,
            x=left,
            cell_height=(bottom - top) / height,
            cell_width=(right - left) / width,
            rows=(0, height),
            columns=(0, width),
            bounds=self._within_seen((left, top, right, bottom)),
        )

    def _within_seen(self, box: Corners) -> Corners:
        """The part of a box on the image that was seen, if the image is cut off; nothing is ``(0, 0, 0, 0)``."""
        if not self.is_cut:
            return box
        (left, top, right, bottom), seen = box, self.seen
        x1, y1, x2, y2 = max(left, seen[0]), max(top, seen[1]), min(right, seen[2]), min(bottom, seen[3])
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else (0.0, 0.0, 0.0, 0.0)

    def _offset(self) -> npt.NDArray[np.float64]:
        return np.array([self.left, self.top] * 2, np.float64)

    def _scale(self) -> npt.NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y] * 2, np.float64)


def prepare(image: Image, spec: Preprocess) -> tuple[npt.NDArray[Any], Transform]:
    """Resize, pad or cut, and normalise an image for the model.

    Args:
        image: uint8 [H, W, channels], BGR of three, as `pixels.load_image` gives it.
        spec: what the model wants.

    Returns:
        The model's input, ``spec.dtype`` [1, channels, height, width] of the canvas (or [1, height, width, channels],
        by ``spec.layout``), and where the image lies on it.

    Raises:
        InputError: the image is so long and narrow that it cannot be resized to cover the canvas, or too large for a
            canvas of its own size.
    """
    place = fit(image.shape[0], image.shape[1], spec)
    if place.resized_height * place.resized_width > MAX_PIXELS:
        own = f"an image of {image.shape[0]}x{image.shape[1]} pixels (height x width) is too"
        if spec.resize == "none":
            raise InputError(f"{own} large to be used at its own size. Make it smaller.")
        sizes = f"{spec.fit_height}x{spec.fit_width}, it is {place.resized_height}x{place.resized_width}"
        raise InputError(f"{own} long and narrow: resized to cover {sizes}. Crop it to the part of interest.")
    size = (place.resized_width, place.resized_height)
    pixels = _resized(image, size, spec)
    pixels = pixels[max(-place.top, 0) :, max(-place.left, 0) :][: place.canvas_height, : place.canvas_width]
    # The same operations in the same order and precision as torch's (x.float() - mean) / std, for each value there is.
    if image.shape[2] != spec.channels:
        raise InputError(
            f"the image has {image.shape[2]} channels, and the model takes {spec.channels}. Pass one of as many."
        )
    mean, std, fill = (np.array(values, np.float32) for values in (spec.mean, spec.std, spec.pad_value))
    normalized = (np.arange(256, dtype=np.float32) - mean[:, None]) / std[:, None]
    around = ((fill - mean) / std if spec.pad_before_normalize else fill)[:, None, None]
    rows = slice(max(place.top, 0), max(place.top, 0) + pixels.shape[0])
    columns = slice(max(place.left, 0), max(place.left, 0) + pixels.shape[1])
    sides = (place.canvas_height, place.canvas_width)
    tensor = np.empty((1, spec.channels, *sides) if spec.layout == "NCHW" else (1, *sides, spec.channels), spec.dtype)
    planes = tensor[0] if spec.layout == "NCHW" else tensor[0].transpose(2, 0, 1)
    planes[:] = around
    for channel in range(spec.channels):
        place_of = 2 - channel if spec.color == "RGB" else channel
        many = spec.channels != 3  # OpenCV takes up to 512
        plane = np.ascontiguousarray(pixels[..., place_of]) if many else cv2.extractChannel(pixels, place_of)
        planes[channel, rows, columns] = cv2.LUT(plane, normalized[channel])
    return tensor, place


def _resized(image: Image, size: tuple[int, int], spec: Preprocess) -> Image:
    """The image in another size, (width, height)."""
    if image.shape[2] != 3:  # OpenCV drops an axis of one, and not each of its methods takes more than four
        planes = (_resized_plane(np.ascontiguousarray(image[..., c]), size, spec) for c in range(image.shape[2]))
        return np.stack(list(planes), axis=2)
    return _resized_plane(image, size, spec)


def _resized_plane(image: Image, size: tuple[int, int], spec: Preprocess) -> Image:
    """Three channels, or a single one without an axis of its own, in another size."""
    if spec.interpolation != "area or bilinear":
        return np.asarray(cv2.resize(image, size, interpolation=INTERPOLATIONS[spec.interpolation]), np.uint8)
    smaller = min(size[0], image.shape[1]), min(size[1], image.shape[0])
    shrunk = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)  # a copy, if nothing becomes smaller
    return np.asarray(cv2.resize(shrunk, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def fit(height: int, width: int, spec: Preprocess) -> Transform:
    """Where an image of this size comes to lie on the model's input.

    The sizes of ``fit`` round as ``mmcv.imrescale`` rounds them (halves up), with halves to even as the letterboxes of
    Ultralytics, YOLOv6 and YOLOv7 and PaddleDetection's resize do, or down as YOLOX, mmyolo's resize and torchvision's
    detectors do, with the factor in double precision as all of them have it; those of ``cover``, and its crop, as
    torchvision's ``Resize`` (the longer side is rounded down) and ``CenterCrop`` round.
    """
    if spec.resize == "none":
        resized_height, resized_width = height, width
    elif spec.resize == "fit":
        fit_height, fit_width = spec.fit_height, spec.fit_width
        if spec.multiple and (height > width) != (fit_height > fit_width):
            fit_height, fit_width = fit_width, fit_height
        factor = min(fit_height / height, fit_width / width)
        rounded = _ROUNDINGS[spec.rounding]
        resized_height = min(max(rounded(height * factor), 1), fit_height)
        resized_width = min(max(rounded(width * factor), 1), fit_width)
    elif spec.resize == "cover":
        resized_height = max(spec.fit_height, spec.fit_width * height // width)
        resized_width = max(spec.fit_width, spec.fit_height * width // height)
    else:
        resized_height, resized_width = spec.fit_height, spec.fit_width
    canvas_height, canvas_width = spec.height, spec.width
    if spec.multiple:
        sides = resized_height, resized_width
        canvas_height, canvas_width = (math.ceil(side / spec.multiple) * spec.multiple for side in sides)
    centred = spec.pad_to == "center"
    return Transform(
        height=height,
        width=width,
        canvas_height=canvas_height,
        canvas_width=canvas_width,
        resized_height=resized_height,
        resized_width=resized_width,
        top=_middle(canvas_height, resized_height) if centred else 0,
        left=_middle(canvas_width, resized_width) if centred else 0,
    )


def _middle(canvas: int, resized: int) -> int:
    """Where the image begins on the model's input, in pixels.

    The odd row of padding is put below, as letterboxes have it, whose ``round(half - 0.1)`` is that; the odd row that
    is cut off is above or below, as torchvision has it, which rounds half to even.
    """
    return (canvas - resized) // 2 if resized <= canvas else -round((resized - canvas) / 2)


def _seen(start: int, resized: int, canvas: int, size: int) -> tuple[float, float]:
    """Where the part of an axis of the image begins and ends that lies on the model's input, in image pixels."""
    scale = resized / size
    return max(0.0, -start / scale), (canvas - start) / scale if start + resized > canvas else size


def _overlap(low: float, high: float, stride: float, count: int) -> tuple[int, int]:
    """First and one past the last cell that overlaps ``[low, high]``; at least one."""
    first = min(max(math.floor(low / stride), 0), count - 1)
    return first, max(min(math.ceil(high / stride), count), first + 1)


def _widen(low: float, high: float) -> tuple[float, float]:
    """The interval, or one of the smallest size around its centre."""
    if high - low >= SMALLEST_ROI:
        return low, high
    middle = (low + high) / 2
    return middle - SMALLEST_ROI / 2, middle + SMALLEST_ROI / 2
