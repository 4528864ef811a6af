"""Maps of methods that hide patches of the image, box by box, and look at what is left of the box."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boxcam.explain.evidence import Evidence, Part
from boxcam.explain.methods import Search
from boxcam.explain.methods.search import Chosen, Patchwork, Trials
from boxcam.explain.metrics.overlap import best_match
from boxcam.explain.options import Options
from boxcam.explain.path import blurred
from boxcam.runtime.model import Model
from boxcam.types import IMAGE, CellMap, Float, Grid, Image

ACROSS = 8
"""Patches along a side of a square box; another box has patches of the same share of its area."""
AROUND = 0.25
"""How far patches reach beyond the box, as a share of its height and width."""


def trials_of(method: Search, options: Options) -> Trials:
    """The forward passes that are asked for."""
    return Trials(
        passes=method.trials if options.passes is None else int(options.passes),
        seed=0 if options.seed is None else int(options.seed),
    )


def search_parts(
    model: Model, method: Search, image: Image, guide: Evidence, trials: Trials, progress: Callable[[int], None]
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its map in patches.

    Args:
        model, method: what is asked for.
        image: as `Model.predict` takes it.
        guide: the boxes, and their maps by the method that guides the search.
        trials: the forward passes for each box.
        progress: called with how many more of them are done, or are not needed.
    """
    blur, parts = blurred(image), []
    found = guide.detections
    for index, (box, label, score) in enumerate(zip(found.boxes, found.labels, found.scores, strict=True)):
        patches = PatchGrid.of(box, image)
        hidden, within, left = image.copy(), patches.within(image), trials.passes

        def look(chosen: Chosen) -> float:
            """IoU times score of the box behind some patches."""
            nonlocal left
            if not left:
                raise RuntimeError("a search has no more forward passes")
            there = patches.pixels(chosen, image)[..., None]  # noqa: B023 - called in this turn only
            hidden[within] = np.where(there, blur[within], image[within])  # noqa: B023
            overlap, now = best_match(model.detect(hidden), box, int(label))  # noqa: B023
            left -= 1
            progress(1)
            return overlap * now

        values = method.find(patches.patchwork(box, float(score), guide.map(index)), look, trials)
        progress(left)
        cells = CellMap(values.reshape(patches.rows, patches.columns).astype(np.float32), (0, 0))
        parts.append((Part(IMAGE, cells, patches.grid),))
    return tuple(parts)


@dataclass(frozen=True)
class PatchGrid:
    """Square patches on a box and around it, in pixels of the image.

    Attributes:
        top, left: where they begin, which may lie outside of the image by less than a patch.
        side: of a patch.
        rows, columns: how many there are.
    """

    top: int
    left: int
    side: int
    rows: int
    columns: int

    @classmethod
    def of(cls, box: Float, image: Image) -> PatchGrid:
        """The patches of a box, x1 y1 x2 y2, on an image [H, W, channels]."""
        x1, y1, x2, y2 = (float(side) for side in box)
        side = max(1, round(math.sqrt(max(x2 - x1, 1) * max(y2 - y1, 1)) / ACROSS))
        top, rows = _along(y1, y2, side, image.shape[0])
        left, columns = _along(x1, x2, side, image.shape[1])
        return cls(top, left, side, rows, columns)

    @property
    def grid(self) -> Grid:
        """Where they lie on the image."""
        ends = self.top + self.rows * self.side, self.left + self.columns * self.side
        bounds = float(self.left), float(self.top), float(ends[1]), float(ends[0])
        return Grid(self.top, self.left, self.side, self.side, (0, self.rows), (0, self.columns), bounds)

    def within(self, image: npt.NDArray[np.generic]) -> tuple[slice, slice]:
        """The pixels of an image that they cover: rows and columns."""
        height, width = image.shape[:2]
        return (
            slice(max(self.top, 0), min(self.top + self.rows * self.side, height)),
            slice(max(self.left, 0), min(self.left + self.columns * self.side, width)),
        )

    def pixels(self, chosen: Chosen, image: npt.NDArray[np.generic]) -> Chosen:
        """Which pixels of `within` lie in some of the patches, bool [n]."""
        return chosen[self._numbers(image)]

    def patchwork(self, box: Float, score: float, guide: Float) -> Patchwork:
        """What a search is told.

        Args:
            box, score: of the box, x1 y1 x2 y2.
            guide: float32 [H, W], a map of it.
        """
        x1, y1, x2, y2 = (float(side) for side in box)
        numbers, count = self._numbers(guide), self.rows * self.columns
        heat = np.maximum(guide[self.within(guide)], 0)
        centres = np.indices((self.rows, self.columns)).reshape(2, count).T.astype(np.float64) + 0.5
        middle = np.array([(y1 + y2) / 2 - self.top, (x1 + x2) / 2 - self.left]) / self.side
        size = np.array([max(y2 - y1, 1), max(x2 - x1, 1)]) / self.side
        return Patchwork(
            guide=np.bincount(numbers.ravel(), heat.ravel().astype(np.float64), count).astype(np.float64),
            centres=centres,
            offsets=(centres - middle) / size,
            share=float(1 / size.prod()),
            score=score,
        )

    def _numbers(self, image: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Of each pixel of `within`, which patch it lies in."""
        rows, columns = self.within(image)
        down = (np.arange(rows.start, rows.stop) - self.top) // self.side
        across = (np.arange(columns.start, columns.stop) - self.left) // self.side
        found: npt.NDArray[np.int64] = down[:, None] * self.columns + across
        return found


def _along(low: float, high: float, side: int, size: int) -> tuple[int, int]:
    """Where patches begin along an axis of an image, and how many there are."""
    more = AROUND * (high - low)
    low, high = max(low - more, 0.0), min(high + more, float(size))
    count = max(1, round((high - low) / side))
    return round((low + high - count * side) / 2), count
