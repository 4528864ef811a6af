"""Box formats in numpy: what four numbers of a model would be, had they been read otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float64]

FORMS = ("xyxy", "cxcywh", "xywh", "yxyx")
SCALES = ("pixels", "normalized", "grid")
"""``grid`` is in cells of the map that a box comes from, which no option of an export names."""


@dataclass(frozen=True)
class BoxFormat:
    """The order of a box's four numbers, and their unit."""

    form: str
    scale: str

    def __str__(self) -> str:
        return f"{self.form} in {'cells of the grid' if self.scale == 'grid' else self.scale}"

    def corners(self, numbers: Boxes, unit: Boxes) -> Boxes:
        """x1 y1 x2 y2 in pixels of the model input.

        Args:
            numbers: [K, 4], as the model gives them.
            unit: [K, 2], pixels of 1, across and down.
        """
        numbers = numbers[:, [1, 0, 3, 2]] if self.form == "yxyx" else numbers
        first, second = numbers[:, :2] * unit, numbers[:, 2:] * unit
        if self.form == "cxcywh":
            first = first - second / 2
        if self.form in ("cxcywh", "xywh"):
            second = first + second
        return np.concatenate([first, second], 1)

    def numbers(self, corners: Boxes, unit: Boxes) -> Boxes:
        """The numbers that these corners were made of; the inverse of `corners`."""
        first, second = corners[:, :2] / unit, corners[:, 2:] / unit
        if self.form in ("cxcywh", "xywh"):
            second = second - first
        if self.form == "cxcywh":
            first = first + second / 2
        numbers = np.concatenate([first, second], 1)
        return numbers[:, [1, 0, 3, 2]] if self.form == "yxyx" else numbers


ALL = tuple(BoxFormat(form, scale) for scale in SCALES for form in FORMS)
