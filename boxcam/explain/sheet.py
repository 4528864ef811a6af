"""Pictures for people: one sheet per image, with a panel for every box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from boxcam.explain.lettering import Color, legible, shorten, text_width, wrap, write
from boxcam.explain.panel import CloseUp, Corners, Panel, enlarged, fit, resize
from boxcam.explain.render import class_color, fade, outline, overlay, place_box
from boxcam.explain.tags import place_tags
from boxcam.types import Image

PAPER, FRAME, INK, MUTED = (255, 255, 255), (238, 236, 234), (33, 30, 28), (125, 116, 110)
MARGIN, GAP, CAPTION = 28, 20, 54
NARROWEST = 250
"""Pixels: a panel is at least this wide, so that its caption can be read."""
CROWD = 9
"""From so many boxes on, the first panel is twice as large."""


@dataclass(frozen=True)
class Words:
    """What a sheet says.

    Attributes:
        title: the image's name.
        subtitle: how the maps were made: method, layer, model.
        note: what else should be known of them.
        brightest: what the strongest colour stands for.
        nothing: what is said where there is no panel, if it is more than that there is none.
        classifier: whether the panels are of classes of the whole image, and not of boxes in it.
    """

    title: str
    subtitle: str = ""
    note: str = ""
    brightest: str = "largest value of each map"
    nothing: str = ""
    classifier: bool = False

    def count(self, panels: int) -> str:
        """What the first panel shows."""
        one, several = ("class", "classes") if self.classifier else ("box", "boxes")
        return {0: self.nothing or f"no {one}", 1: f"1 {one}"}.get(panels, f"{panels} {several}")


def sheet(image: Image, panels: Sequence[Panel], words: Words) -> Image:
    """One picture that explains every box of an image.

    The first panel shows all boxes, numbered. Then each box has a panel of its own: the image with the box and its
    heatmap, and next to it a close-up if the box is small; below, its number, class and score, and the raw peak of its
    map, since every heatmap is scaled to its own peak. Panels are about 480 pixels large, smaller if there are many; a
    small image is enlarged by a whole factor.

    Args:
        image: uint8 [H, W, 3], BGR.
        panels: one per box, best first; none gives a sheet that says so.
        words: what it says.

    Returns:
        uint8 [height, width, 3], BGR.

    Raises:
        ValueError: a heatmap is not as large as the picture in its panel.
    """
    picture = resize(image, *fit(image.shape, len(panels)))
    for number, panel in enumerate(panels, 1):
        if panel.heat.shape != picture.shape[:2]:
            raise ValueError(f"heatmap {number}: {list(panel.heat.shape)} for a picture of {list(picture.shape[:2])}")
    width, height = max(picture.shape[1], NARROWEST) + GAP, picture.shape[0] + CAPTION + GAP
    span = 2 if len(panels) >= CROWD else 1
    rows, columns, slots = _layout([panel.columns for panel in panels], span, width / height)

    inner = columns * width - GAP
    lines = [(line, 13, INK) for line in wrap(words.title, inner, 13)]
    lines += [(line, 9, MUTED) for text in (words.subtitle, words.note) for line in wrap(text, inner, 9)]
    head = MARGIN + sum(size + 14 for _, size, _ in lines) + 8
    heat = any(panel.peak > 0 for panel in panels)
    total = head + rows * height + (24 if heat else 0) + MARGIN - GAP
    page: Image = np.full((total, inner + 2 * MARGIN, 3), PAPER, np.uint8)

    y = MARGIN
    for line, size, color in lines:
        write(page, line, (MARGIN, y + size), size, color)
        y += size + 14
    _overview(page[head:, MARGIN:][: span * height - GAP, : span * width - GAP], image, panels, words)
    faded = fade(picture)
    for number, (panel, (row, column)) in enumerate(zip(panels, slots, strict=True), 1):
        cell = page[head + row * height :, MARGIN + column * width :][: height - GAP, : panel.columns * width - GAP]
        _whole(cell[:, : width - GAP], faded, panel, image.shape, None if words.classifier else panel.box)
        if panel.close_up is not None:
            _close_up(cell[:, width:], image, panel, panel.close_up)
        _caption(cell[:, : width - GAP], panel, number)
    if heat:
        _legend(page, MARGIN, total - MARGIN - 12, words.brightest)
    return page


def _overview(cell: Image, image: Image, panels: Sequence[Panel], words: Words) -> None:
    """Fill a cell of the page with the image and all its boxes, numbered, the best on top."""
    height, width = cell.shape[0] - CAPTION, cell.shape[1]
    scale = min(height / image.shape[0], width / image.shape[1])
    if len(panels) >= CROWD and 1 < scale < 4:
        larger = round(image.shape[1] * scale), round(image.shape[0] * scale)
        drawn: Image = np.asarray(cv2.resize(image, larger, interpolation=cv2.INTER_LINEAR), np.uint8)
    else:
        drawn = resize(image, scale, (height, width))
    if not words.classifier:
        _boxes(drawn, image, panels)
    _frame(cell, drawn)
    write(cell, shorten(words.count(len(panels)), width, 9), (0, height + 20), 9, INK)
    write(cell, f"{image.shape[1]} x {image.shape[0]} pixels", (0, height + 42), 8, MUTED)


def _boxes(drawn: Image, image: Image, panels: Sequence[Panel]) -> None:
    """Draw all boxes, and their numbers next to them."""
    boxes = [place_box(panel.box, drawn, image.shape) for panel in panels]
    for panel, box in reversed(list(zip(panels, boxes, strict=True))):
        outline(drawn, box, class_color(panel.label))
    size = 8 if len(panels) < 30 else 6
    sizes = [_badge_size(str(number), size) for number in range(1, len(panels) + 1)]
    outer = [(x1 - 1, y1 - 1, x2 + 2, y2 + 2) for x1, y1, x2, y2 in boxes]
    places = place_tags(outer, sizes, (drawn.shape[0], drawn.shape[1]))
    for number, (panel, place) in reversed(list(enumerate(zip(panels, places, strict=True), 1))):
        _badge(drawn, str(number), place[:2], size, class_color(panel.label))


def _whole(cell: Image, picture: Image, panel: Panel, shape: tuple[int, ...], box: Corners | None) -> None:
    """Fill a cell of the page with the picture, one box and its heatmap."""
    drawn = overlay(picture, panel.heat)
    if panel.close_up is not None:
        x1, y1, x2, y2 = place_box(panel.close_up.view, drawn, shape)
        cv2.rectangle(drawn, (x1, y1), (x2, y2), PAPER, 1)
    if box is not None:
        outline(drawn, place_box(box, drawn, shape), class_color(panel.label))
    _frame(cell, drawn)


def _close_up(cell: Image, image: Image, panel: Panel, close: CloseUp) -> None:
    """Fill a cell of the page with the surroundings of a box, and say how large they are."""
    x1, y1, x2, y2 = close.view
    part = np.asarray(enlarged(image[y1:y2, x1:x2], (close.heat.shape[0], close.heat.shape[1])), np.uint8)
    drawn = overlay(fade(part), close.heat)
    box = (panel.box[0] - x1, panel.box[1] - y1, panel.box[2] - x1, panel.box[3] - y1)
    outline(drawn, place_box(box, drawn, (y2 - y1, x2 - x1)), class_color(panel.label))
    _frame(cell, drawn)
    top = cell.shape[0] - CAPTION
    write(cell, "close-up", (0, top + 20), 9, INK)
    write(cell, f"{x2 - x1} x {y2 - y1} pixels, framed on the left", (0, top + 42), 8, MUTED)


def _caption(cell: Image, panel: Panel, number: int) -> None:
    """Write the number, class, score and peak of a box below its picture."""
    top, width = cell.shape[0] - CAPTION, cell.shape[1]
    after = _badge(cell, str(number), (0, top + 6), 8, class_color(panel.label)) + 8
    score = f"{panel.score:.2f}"
    score_width = text_width(score, 9)
    name = panel.name if legible(panel.name) else f"class {panel.label}"
    write(cell, shorten(name, width - after - score_width - 12, 9), (after, top + 20), 9, INK)
    write(cell, score, (width - score_width, top + 20), 9, INK)
    inside = "" if panel.inside is None else f", {panel.inside:.0%} of heat inside"
    words = f"peak {panel.peak:.3g}{inside}" if panel.peak > 0 else "empty map: no positive value"
    if not panel.depends:
        words = "does not depend on this layer"
    write(cell, shorten(words, width - after, 8), (after, top + 42), 8, MUTED)


def _frame(cell: Image, picture: Image) -> None:
    """Put the picture in the middle of a cell's frame, above its caption."""
    height = cell.shape[0] - CAPTION
    cell[:height] = FRAME
    top, left = (height - picture.shape[0]) // 2, (cell.shape[1] - picture.shape[1]) // 2
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _legend(page: Image, x: int, y: int, high: str) -> None:
    """The colour bar, blended as the maps are, over the grey of a picture; shorter on a page that is narrow."""
    low = "0"
    room = page.shape[1] - x - MARGIN - text_width(low, 8) - 8 - 8 - text_width(high, 8) - 2
    length = min(180, room)
    steps = np.tile(np.linspace(0, 1, length, dtype=np.float32), (12, 1))
    bar = overlay(np.full((12, length, 3), 150, np.uint8), steps)
    x += write(page, low, (x, y + 10), 8, MUTED) + 8
    page[y : y + 12, x : x + length] = bar
    write(page, high, (x + length + 8, y + 10), 8, MUTED)


def _layout(widths: Sequence[int], span: int, shape: float) -> tuple[int, int, list[tuple[int, int]]]:
    """Rows and columns of a page closest to the shape of a screen, with few empty slots, and where panels lie on it.

    Args:
        widths: how many slots each panel takes, next to each other.
        span: rows and columns of the first panel, at the upper left.
        shape: width / height of a slot.
    """
    slots = sum(widths) + span * span

    def flow(columns: int) -> tuple[int, list[tuple[int, int]]]:
        places, row, column = [], 0, span
        for width in widths:
            while column + width > columns:
                row, column = row + 1, span if row + 1 < span else 0
            places.append((row, column))
            column += width
        return max(row + 1, span), places

    def distance(columns: int) -> float:
        rows, _ = flow(columns)
        return abs(math.log(columns * shape / rows / 1.6)) + (rows * columns - slots) / slots

    columns = min(range(max(span, *widths, 1), slots + 1), key=distance)
    rows, places = flow(columns)
    return rows, columns, places


def _badge_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of a number on its patch of colour."""
    return text_width(text, size) + size, size * 2


def _badge(page: Image, text: str, corner: tuple[int, int], size: int, color: Color) -> int:
    """A number on a patch of colour, kept on the page; returns its right edge."""
    width, height = _badge_size(text, size)
    x = max(min(corner[0], page.shape[1] - width), 0)
    y = max(min(corner[1], page.shape[0] - height), 0)
    page[y : y + height, x : x + width] = color
    bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
    write(page, text, (x + size // 2, y + height - size // 2), size, INK if bright else PAPER)
    return x + width
