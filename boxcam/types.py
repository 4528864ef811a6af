"""What crosses the borders between boxcam's rooms: frozen, validated where it is made.

Coordinate frames: *image* is the picture as it was given (pixel edges at integers, so a box ``[0, 0, W, H]`` covers
all of it); *canvas* is the model's input after resize and padding; *cells* are positions of a feature map.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from boxcam.arguments import numbers_of_boxes

Float = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]
Corners = tuple[float, float, float, float]
"""A box: x1 y1 x2 y2, in image pixels if nothing else is said."""
View = tuple[int, int, int, int]
"""A part of an image, in whole pixels: x1 y1 x2 y2, the last column and row exclusive."""


class PillowImage(Protocol):
    """What boxcam uses of a ``PIL.Image.Image``; Pillow itself need not be installed."""

    @property
    def mode(self) -> str: ...

    def load(self) -> Any: ...

    def convert(self, mode: str, /) -> Any: ...


ImageLike = str | os.PathLike[str] | Image | PillowImage
"""An image as users give it: a file, an array, or a picture of Pillow."""

IMAGE = "image"
"""The layer of the pixels."""

ORIGIN = "origin"
"""Input of every gradient graph: int64 [K, D], at which elements the target is differentiated."""
PATCHES, PLACE, BOX, UNIFORM = "patches", "place", "box", "uniform"
"""Outputs of a gradient graph, one of each for a group g of boxes (``patches.0``): gradients, where they lie, of which
box they are, and what is added in every cell of the map; see `boxcam.export.autodiff.gradient.GradientGraph`."""


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes that a detector drew on one image, best score first.

    Attributes:
        boxes: float32 [K, 4], x1 y1 x2 y2 in image pixels.
        scores: float32 [K], as the model reports them.
        labels: int64 [K], class indices.
        names: K class names.
        origin: int64 [K, D], which logit made the score: the number of the logit tensor, then the position in it.
        logits: float32 [K], the values found there.

    >>> import boxcam
    >>> found = boxcam.load("signs.boxcam").detect("street.jpg")
    >>> found.boxes.shape, found.names[0]
    ((7, 4), 'pedestrian crossing')
    """

    boxes: Float
    scores: Float
    labels: Int
    names: tuple[str, ...]
    origin: Int
    logits: Float

    def __post_init__(self) -> None:
        count = len(self.scores)
        _check("boxes", self.boxes, (count, 4), np.float32)
        _check("scores", self.scores, (count,), np.float32)
        _check("labels", self.labels, (count,), np.int64)
        _check("origin", self.origin, (count, None), np.int64)
        _check("logits", self.logits, (count,), np.float32)
        if len(self.names) != count:
            raise ValueError(f"names: {len(self.names)} for {count} boxes")

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, index: int | slice | npt.NDArray[Any] | Sequence[int]) -> Detections:
        """The detections at the given indices (or where a boolean mask is true), in that order.

        Raises:
            IndexError: there is no such box.
            ArgumentError: it is neither an index, nor several, nor a slice, nor a mask with a boolean for each box.

        >>> import boxcam
        >>> found = boxcam.load("signs.boxcam").detect("street.jpg")
        >>> len(found.select(found.scores > 0.9)), found.select([1]).names
        (5, ('no entry',))
        """
        chosen = numbers_of_boxes(index, len(self))
        return Detections(
            self.boxes[chosen],
            self.scores[chosen],
            self.labels[chosen],
            tuple(self.names[k] for k in chosen),
            self.origin[chosen],
            self.logits[chosen],
        )


@dataclass(frozen=True, eq=False)
class Patch:
    """The gradient of one target with respect to one feature map.

    Outside of the patch it is exactly zero, or ``uniform`` if there is such a term.

    Attributes:
        tensor: which tensor of the layer.
        row: which entry of the tensor's first axis (0 for a feature map of the image, the proposal's number for RoI).
        corner: (y0, x0), the cell of the feature map at the patch's upper left; it may lie outside the map.
        gradient: float32 [C, h, w].
        uniform: float32 [C], added to the gradient in every cell of the map (what arrives through a global pooling); or
            None.
    """

    tensor: int
    row: int
    corner: tuple[int, int]
    gradient: Float
    uniform: Float | None = None

    def __post_init__(self) -> None:
        _check("gradient", self.gradient, (None, None, None), np.float32)
        if self.uniform is not None:
            _check("uniform", self.uniform, (len(self.gradient),), np.float32)


@dataclass(frozen=True)
class Grid:
    """Where the cells of a feature map lie on the image.

    Cell (i, j) covers ``[y + i·cell_height, y + (i + 1)·cell_height]`` by
    ``[x + j·cell_width, x + (j + 1)·cell_width]`` in image pixels.

    Attributes:
        y, x: image position of the upper left corner of cell (0, 0).
        cell_height, cell_width: size of a cell in image pixels.
        rows, columns: first and one past the last cell that shows any of the image; the others show padding.
        bounds: x1 y1 x2 y2 in image pixels, outside of which a map is zero (the proposal for RoI features), or None.
    """

    y: float
    x: float
    cell_height: float
    cell_width: float
    rows: tuple[int, int]
    columns: tuple[int, int]
    bounds: Corners | None = None

    def __post_init__(self) -> None:
        if not (0 < self.cell_height < math.inf and 0 < self.cell_width < math.inf):
            raise ValueError(f"cells of {self.cell_height} x {self.cell_width} pixels")
        if self.rows[0] >= self.rows[1] or self.columns[0] >= self.columns[1]:
            raise ValueError(f"no cell of the image: rows {self.rows}, columns {self.columns}")


@dataclass(frozen=True, eq=False)
class CellMap:
    """A map as a method makes it, in cells: zero outside ``values``.

    Attributes:
        values: float32 [h, w], raw.
        corner: (y0, x0), the cell at the upper left of ``values``; it may lie outside the feature map.
    """

    values: Float
    corner: tuple[int, int]

    def __post_init__(self) -> None:
        _check("values", self.values, (None, None), np.float32)
        if not np.isfinite(self.values).all():
            raise ValueError("a map must be finite")


def _check(name: str, array: npt.NDArray[Any], shape: tuple[int | None, ...], dtype: type[np.generic]) -> None:
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype != dtype:
        raise ValueError(f"{name}: {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} {list(shape)}")
