"""Random masks that hide parts of an image, smoothly, and sums of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from boxcam.types import Float

CELLS = 16
"""Cells of a mask, down and across."""
OPEN = 0.5
"""Share of the cells that are open."""


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask before it is enlarged.

    Attributes:
        cells: float32 [n, n], 1 where a cell is open, else 0.
        shift: down and across, by how many pixels the enlarged mask is moved up and to the left.
    """

    cells: Float
    shift: tuple[int, int]


@dataclass(frozen=True)
class Masks:
    """How masks cover an image, as in RISE (Petsiuk et al., BMVC 2018, section 3.2).

    n x n cells are enlarged bilinearly to n + 1 cells of ⌈height / n⌉ x ⌈width / n⌉ pixels, of which the mask is a part
    that begins anywhere in the first cell.

    Attributes:
        height, width: of the image, in pixels.
        cells: n.
        share: of cells that are open, on average.
    """

    height: int
    width: int
    cells: int = CELLS
    share: float = OPEN

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a cell, in pixels."""
        return math.ceil(self.height / self.cells), math.ceil(self.width / self.cells)

    def draw(self, count: int, seed: int) -> Iterator[Mask]:
        """Random masks: the same ones for the same seed, and of a larger number the first ones are the same."""
        rng = np.random.default_rng(seed)
        down, across = self.cell
        for _ in range(count):
            cells = (rng.random((self.cells, self.cells)) < self.share).astype(np.float32)
            yield Mask(cells, (int(rng.integers(down)), int(rng.integers(across))))

    def enlarge(self, mask: Mask) -> Float:
        """A mask in pixels: float32 [height, width], 0 where the image is hidden to 1 where it is seen."""
        (down, across), (y, x), more = self.cell, mask.shift, self.cells + 1
        large = cv2.resize(mask.cells, (more * across, more * down), interpolation=cv2.INTER_LINEAR)
        found: Float = np.asarray(large, np.float32)[y : y + self.height, x : x + self.width]
        return found

    def add_up(self, masks: list[Mask], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Σᵢ wₖᵢ Mᵢ, of masks in pixels.

        A mask in pixels is Y C Xᵀ of its cells C, where Y depends on its shift down only, and X on that across: so sums
        are taken of cells, and those of one shift are enlarged together.

        Args:
            masks: n of them.
            weights: float64 [K, n].

        Returns:
            float64 [K, height, width].
        """
        total = np.zeros((len(weights), self.height, self.width))
        down, across = _enlarging(self.cells, self.cell[0]), _enlarging(self.cells, self.cell[1])
        shifts: dict[int, dict[int, list[int]]] = {}
        for number, mask in enumerate(masks):
            shifts.setdefault(mask.shift[0], {}).setdefault(mask.shift[1], []).append(number)
        for y, along in sorted(shifts.items()):
            rows = np.zeros((len(weights), self.cells, self.width))
            for x, numbers in sorted(along.items()):
                cells = np.array([masks[number].cells for number in numbers], np.float64)
                rows += np.tensordot(weights[:, numbers], cells, 1) @ across[x : x + self.width].T
            for box, of in enumerate(rows):
                total[box] += down[y : y + self.height] @ of
        return total


def _enlarging(cells: int, size: int) -> npt.NDArray[np.float64]:
    """How much of each cell each pixel of an enlarged axis is: float64 [(cells + 1) * size, cells]."""
    found = cv2.resize(np.eye(cells, dtype=np.float32), (cells, (cells + 1) * size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(found, np.float64)
