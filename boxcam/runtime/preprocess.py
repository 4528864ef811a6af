"""An image becomes the model's input, and what comes out goes back onto the image.

The arithmetic is that of mmdet's test pipeline, step by step (``mmcv.imrescale``, then ``DetDataPreprocessor``), so
that a bundle sees exactly the input that the detector would have seen. Frames are named in `boxcam.types`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.bundle import Preprocess
from boxcam.types import Float, Grid, Image

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
}
SMALLEST_ROI = 1.0
"""Canvas pixels: a proposal smaller than this has no usable cells, and is widened around its centre."""


@dataclass(frozen=True)
class Transform:
    """Where the image lies on the canvas.

    Attributes:
        height, width: the image.
        canvas_height, canvas_width: the model's input.
        resized_height, resized_width: the image on the canvas.
        top, left: its upper left corner on the canvas.
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

    def boxes_to_image(self, boxes: Float) -> Float:
        """Boxes on the canvas, float32 [K, 4] x1 y1 x2 y2, as boxes on the image, cut off at its edges."""
        moved = (boxes - self._offset()) / self._scale()
        limit = np.array([self.width, self.height] * 2, np.float64)
        return np.clip(moved, 0, limit).astype(np.float32)

    def boxes_to_canvas(self, boxes: Float) -> Float:
        """Boxes on the image, float32 [K, 4] x1 y1 x2 y2, as boxes on the canvas."""
        return (boxes * self._scale() + self._offset()).astype(np.float32)

    def map_grid(
        self, height: int, width: int, stride: tuple[float, float], center: tuple[float, float] | None = None
    ) -> Grid:
        """Where the cells of a feature map lie on the image.

        Cell (i, j) is drawn as the tile of the canvas that is sy high and sx wide around ``center + (i·sy, j·sx)``.
        Cells whose tile shows nothing but padding are excluded.

        Args:
            height, width: of the feature map, in cells.
            stride: (sy, sx), canvas pixels per cell.
            center: canvas position of the centre of cell (0, 0), y and x; by default the tiles begin at the corner.
        """
        sy, sx = stride
        y, x = center or (sy / 2, sx / 2)
        top, left = y - sy / 2, x - sx / 2
        return Grid(
            y=(top - self.top) / self.scale_y,
            x=(left - self.left) / self.scale_x,
            cell_height=sy / self.scale_y,
            cell_width=sx / self.scale_x,
            rows=_overlap(self.top - top, self.top + self.resized_height - top, sy, height),
            columns=_overlap(self.left - left, self.left + self.resized_width - left, sx, width),
        )

    def roi_grid(self, roi: Float, height: int, width: int) -> Grid:
        """Where the cells of a proposal's feature map lie on the image.

        The cells tile the proposal, and outside it the map is zero. A degenerate proposal (no width or height, or
        negative ones) is taken as `SMALLEST_ROI` wide around its centre.

        Args:
            roi: [4], x1 y1 x2 y2 on the canvas.
            height, width: of the feature map, in cells.

        Returns:
            The grid; its bounds are the proposal on the image, which may stick out of it.
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
            bounds=(left, top, right, bottom),
        )

    def _offset(self) -> npt.NDArray[np.float64]:
        return np.array([self.left, self.top] * 2, np.float64)

    def _scale(self) -> npt.NDArray[np.float64]:
        return np.array([self.scale_x, self.scale_y] * 2, np.float64)


def prepare(image: Image, spec: Preprocess) -> tuple[Float, Transform]:
    """Resize, normalise and pad an image for the model.

    Args:
        image: uint8 [H, W, 3], BGR, as `images.read_image` and `images.check_array` give it.
        spec: what the model wants.

    Returns:
        The model's input, float32 [1, 3, spec.height, spec.width], and where the image lies on it.
    """
    place = fit(image.shape[0], image.shape[1], spec)
    size = (place.resized_width, place.resized_height)
    pixels = cv2.resize(image, size, interpolation=INTERPOLATIONS[spec.interpolation])
    # The same operations in the same order and precision as torch's (x.float() - mean) / std, for each value there is.
    mean, std, fill = (np.array(values, np.float32) for values in (spec.mean, spec.std, spec.pad_value))
    normalized = (np.arange(256, dtype=np.float32) - mean[:, None]) / std[:, None]
    canvas = np.empty((1, 3, spec.height, spec.width), np.float32)
    canvas[0] = ((fill - mean) / std if spec.pad_before_normalize else fill)[:, None, None]
    rows = slice(place.top, place.top + place.resized_height)
    columns = slice(place.left, place.left + place.resized_width)
    for channel in range(3):
        plane = cv2.extractChannel(pixels, 2 - channel if spec.color == "RGB" else channel)
        canvas[0, channel, rows, columns] = cv2.LUT(plane, normalized[channel])
    return canvas, place


def fit(height: int, width: int, spec: Preprocess) -> Transform:
    """Where an image of this size comes to lie on the canvas; the sizes round as ``mmcv.imrescale`` rounds them."""
    if spec.keep_ratio:
        factor = min(spec.fit_height / height, spec.fit_width / width)
        resized_height = min(max(int(height * factor + 0.5), 1), spec.fit_height)
        resized_width = min(max(int(width * factor + 0.5), 1), spec.fit_width)
    else:
        resized_height, resized_width = spec.fit_height, spec.fit_width
    centred = spec.pad_to == "center"
    return Transform(
        height=height,
        width=width,
        canvas_height=spec.height,
        canvas_width=spec.width,
        resized_height=resized_height,
        resized_width=resized_width,
        top=(spec.height - resized_height) // 2 if centred else 0,
        left=(spec.width - resized_width) // 2 if centred else 0,
    )


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
