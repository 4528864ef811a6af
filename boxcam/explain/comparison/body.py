"""The cells of a comparison on its picture: a table of methods and layers, or side by side for a single layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2

from boxcam.explain.browse.view import fitted
from boxcam.explain.comparison.cell import Cell
from boxcam.explain.comparison.compare import SIZE, Comparison
from boxcam.explain.lettering import shorten, text_width, wrap, write
from boxcam.explain.methods import METHODS
from boxcam.explain.page import FRAME, INK, MARGIN, MUTED
from boxcam.types import Image

GAP = 16
"""Pixels between cells."""
_CAPTION, _LABEL, _TITLE, _HEADS = 26, 190, 24, 30
_SHOWS, _LINES = 16, 3
"""Height of a line that says what a method shows, and how many there are at most under a cell."""
_ACROSS = 4
"""How many cells of a single layer stand side by side."""
_NARROWEST = 260
"""Pixels that a cell is wide at least, so that its words can be read; a narrower picture stands in its middle."""


@dataclass(frozen=True)
class Spot:
    """Where a cell's picture stands: its upper left corner on the page."""

    cell: Cell
    x: int
    y: int


@dataclass(frozen=True, eq=False)
class Body:
    """Where the cells of a comparison stand.

    With several layers, a row for each method and a column for each layer. With a single one, the methods stand
    side by side, each under its name.

    Attributes:
        comparison: what is shown.
    """

    comparison: Comparison

    @property
    def cell(self) -> tuple[int, int]:
        """Height of a cell's picture, and width of the cell."""
        height, width = fitted(self.comparison.view, SIZE)
        return height, max(width, _NARROWEST)

    @property
    def single(self) -> bool:
        """Whether there is a single layer."""
        return len(self.comparison.layers) == 1

    @property
    def width(self) -> int:
        """Pixels that it takes, without margins."""
        columns = min(_ACROSS, len(self.comparison.rows)) if self.single else len(self.comparison.layers)
        return (0 if self.single else _LABEL) + columns * (self.cell[1] + GAP) - GAP

    @property
    def height(self) -> int:
        """Pixels that it takes, with the gap below."""
        if self.single:
            return -(-len(self.comparison.rows) // _ACROSS) * self._step
        return _HEADS + len(self.comparison.rows) * self._step

    @property
    def _step(self) -> int:
        """From one row of cells to the next."""
        around = _TITLE + _LINES * _SHOWS if self.single else 0
        return self.cell[0] + _CAPTION + around + GAP

    def spots(self, top: int) -> Iterator[Spot]:
        """Where the cells stand, if the whole begins in this row of the page."""
        step, across = self._step, self.cell[1] + GAP
        for number, row in enumerate(self.comparison.rows):
            if self.single:
                y, x = divmod(number, _ACROSS)
                yield Spot(row[0], MARGIN + x * across, top + _TITLE + y * step)
            else:
                for column, cell in enumerate(row):
                    yield Spot(cell, MARGIN + _LABEL + column * across, top + _HEADS + number * step)

    def draw(self, page: Image, top: int) -> None:
        """Draw it on a page, from this row on."""
        height, width = self.cell
        for spot in self.spots(top):
            if self.single:
                write(page, shorten(spot.cell.method, width, 10), (spot.x, spot.y - 10), 10, INK)
                _shows(page, spot.cell.method, (spot.x, spot.y + height + _CAPTION + 12), width, _LINES)
            elif spot.cell.layer == self.comparison.layers[0]:
                write(page, shorten(spot.cell.method, _LABEL - GAP, 10), (MARGIN, spot.y + 14), 10, INK)
                _shows(page, spot.cell.method, (MARGIN, spot.y + 36), _LABEL - GAP, 5)
            if not self.single and spot.cell.method == self.comparison.rows[0][0].method:
                write(page, shorten(spot.cell.layer, width, 9), (spot.x, top + 12), 9, INK)
            border(page, (spot.x, spot.y), (height, width))
            place = page[spot.y : spot.y + height + _CAPTION, spot.x : spot.x + width]
            _cell(place, spot.cell, height, caption(self.comparison, spot.cell))


def _shows(page: Image, method: str, start: tuple[int, int], width: int, most: int) -> None:
    """What a method shows, in small lines."""
    for number, line in enumerate(wrap(METHODS[method].shows, width, 7, most)):
        write(page, line, (start[0], start[1] + number * _SHOWS), 7, MUTED)


def border(page: Image, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """A thin line around a picture, whose own paper may be white."""
    (x, y), (height, width) = corner, size
    cv2.rectangle(page, (x - 1, y - 1), (x + width, y + height), FRAME, 1)


def _cell(place: Image, cell: Cell, height: int, said: str) -> None:
    """Fill a cell: the picture and its figures, or why there is none."""
    width = place.shape[1]
    if cell.picture is None or cell.facts is None:
        place[:height] = FRAME
        lines = wrap(cell.short, width - GAP, 8)
        for number, line in enumerate(lines):
            at = (width - text_width(line, 8)) // 2, height // 2 + 4 + (2 * number - len(lines) + 1) * 9
            write(place[:height], line, at, 8, MUTED)
        return
    if cell.picture.shape[1] < width:
        place[:height] = FRAME
    left = (width - cell.picture.shape[1]) // 2
    place[:height, left : left + cell.picture.shape[1]] = cell.picture
    write(place, shorten(said, width, 8), (0, height + 18), 8, INK)


def caption(comparison: Comparison, cell: Cell) -> str:
    """The figures of a cell, or why it has none, in a few words."""
    if cell.facts is None:
        return cell.short
    if not cell.facts["depends_on_layer"]:
        return "does not depend on this layer"
    if cell.rounding:
        return f"no evidence: {cell.facts['peak']:.2g} is rounding"
    if not cell.facts["positive_evidence"]:
        return "empty map"
    inside = cell.facts["share_inside_box"]
    share = "" if inside is None else f"{inside:.0%} inside, "
    away = "" if comparison.shows(cell.peak_at) else " out of view"
    return f"{share}peak {cell.facts['peak']:.3g}{away}"
