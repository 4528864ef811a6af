"""Maps over regions: what the surroundings of a pixel have together, instead of what each pixel has.

Values of single pixels, for and against a score, cancel each other where the pixels change together. Kapishnikov,
Bolukbasi, Viégas and Terry, "XRAI: Better Attributions Through Regions", ICCV 2019 (arXiv:1906.02825), sum integrated
gradients over segments of the image for that reason. Here a region is a Gaussian window, as large as a part of the box.
"""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.explain.evidence import Part
from boxcam.types import CellMap

_REACH = 4.0
"""Standard deviations that a window reaches: of it, 6 parts in 100,000 lie beyond."""


def over_regions(part: Part, box: npt.NDArray[np.floating], share: float) -> Part:
    """Replace each cell of a map by the sum over a region around it, weighed by a Gaussian whose weights add up to 1.

    What the map adds up to stays as it is: at the edges of the image, what lies beyond is mirrored.

    Args:
        part: a map of cells, with what speaks against the score as negative numbers.
        box: float [4], x1 y1 x2 y2 in image pixels, whose map it is.
        share: standard deviations of the Gaussian, as shares of the box's height and width.

    Returns:
        The map over regions. It covers more cells than the one given, by as much as a region reaches.
    """
    values, corner = part.cells.values.astype(np.float64), part.cells.corner
    if not values.size:
        return part
    grid = part.grid
    down = _window(share * float(box[3] - box[1]) / grid.cell_height)
    across = _window(share * float(box[2] - box[0]) / grid.cell_width)
    above, below = _room(corner[0], values.shape[0], grid.rows, len(down) // 2)
    left, right = _room(corner[1], values.shape[1], grid.columns, len(across) // 2)
    values = np.pad(values, ((above, below), (left, right)))
    summed = cv2.sepFilter2D(values, cv2.CV_64F, across, down, borderType=cv2.BORDER_REFLECT)
    cells = CellMap(np.asarray(summed, np.float32), (corner[0] - above, corner[1] - left))
    return replace(part, cells=cells, of_regions=True)


def _window(deviation: float) -> npt.NDArray[np.float64]:
    """Weights of a Gaussian, float64 [odd], of a standard deviation in cells; of less than 0.2 cells, a single 1."""
    reach = math.ceil(_REACH * deviation) if deviation >= 0.2 else 0
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(deviation, 0.2)) ** 2)
    return np.asarray(weights / weights.sum())


def _room(corner: int, count: int, seen: tuple[int, int], reach: int) -> tuple[int, int]:
    """How many cells are added before and after those of one axis: as many as are reached and show the image."""
    before = max(0, corner - max(seen[0], corner - reach))
    after = max(0, min(seen[1], corner + count + reach) - (corner + count))
    return before, after
