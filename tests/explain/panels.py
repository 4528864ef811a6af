"""Panels of sheets made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from boxcam.explain.panel import Panel, Shown, picture_size


def shown(values: np.ndarray, among: int = 1) -> Shown:
    """A map as large as an image, as the sheet of so many boxes shows it."""
    height, width = picture_size(values.shape, among)
    method = cv2.INTER_NEAREST if height * width >= values.size else cv2.INTER_AREA
    part = np.asarray(cv2.resize(values, (width, height), interpolation=method), np.float32)
    return Shown(part, max(float(values.max()), 0.0))


def panel(
    shape: Sequence[int],
    box: tuple[float, float, float, float] = (0, 0, 5, 5),
    peak: float = 1.0,
    among: int = 1,
    **changes: Any,
) -> Panel:
    """A panel of an image of this shape; ``among`` so many panels of its sheet."""
    values = np.zeros(shape, np.float32)
    values[-1, -1] = peak
    given = {"box": box, "label": 0, "name": "car", "score": 0.5, "peak": peak, "shown": shown(values, among)}
    return Panel(**given | changes)
