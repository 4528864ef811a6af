"""Pictures for people: one sheet per image, with a panel for every box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from boxcam.explain.lettering import Color, shorten, text_width, wrap, write
from boxcam.explain.render import PERCENTILE, class_color, fade, heatmap, outline, overlay, place_box
from boxcam.types import Float, Image

PAPER, FRAME, INK, MUTED = (255, 255, 255), (238, 236, 234), (33, 30, 28), (125, 116, 110)
MARGIN, GAP, CAPTION = 28, 20, 54
NARROWEST = 250
"""Pixels: a panel is at least this wide, so that its caption can be read."""
THINNEST = 16
"""Pixels: a picture that is thinner is widened, so that it can be seen at all."""
CROWD = 9
"""From so many boxes on, the first panel is twice as large."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One box and its map, as a sheet shows it: small, so that a sheet of many boxes takes little memory.

    Attributes:
        box: x1 y1 x2 y2 in image pixels.
        label: class index; it chooses the colour.
        name: class name.
        score: as the model reports it.
        peak: the largest value of the raw map.
        heat: float32 [h, w], 0..1, as large as the picture in the panel; see `panel_heat`.
        depends: whether the box depends on the layer at all.
    """

    box: tuple[float, float, float, float]
    label: int
    name: str
    score: float
    peak: float
    heat: Float
    depends: bool = True


def panel_heat(map: Float, boxes: int, pixels: bool = False) -> Float:
    """A map's heatmap at the size at which a sheet of so many boxes shows it.

    Args:
        map: float32 [H, W], raw, as large as the image.
        boxes: how many the sheet has.
        pixels: whether it is a map of single pixels, of which a few are far hotter than the rest: then it is scaled to
            `PERCENTILE` of those that are lit, at the size that is shown.
    """
    height, width = _picture_size(map.shape, boxes)
    heat = heatmap(map)
    larger = height * width >= heat.size
    method = cv2.INTER_NEAREST if larger else cv2.INTER_AREA
    shown = np.clip(np.asarray(cv2.resize(heat, (width, height), interpolation=method), np.float32), 0, 1)
    return heatmap(shown, PERCENTILE) if pixels else shown


def sheet(
    image: Image, panels: Sequence[Panel], title: str, subtitle: str = "", brightest: str = "peak (per box)"
) -> Image:
    """One picture that explains every box of an image.

    The first panel shows all boxes, numbered. Then each box has a panel of its own: the image with the box and its
    heatmap; below it, its number, class and score, and the raw peak of its map, since every heatmap is scaled to its
    own peak. Panels are about 480 pixels large, smaller if there are many; a small image is enlarged by a whole factor.

    Args:
        image: uint8 [H, W, 3], BGR.
        panels: one per box, best first; none gives a sheet that says so.
        title: the image's name.
        subtitle: how the maps were made: method, layer, model.
        brightest: what the strongest colour stands for.

    Returns:
        uint8 [height, width, 3], BGR.

    Raises:
        ValueError: a heatmap is not as large as the picture in its panel.
    """
    picture = _resize(image, *_fit(image.shape, len(panels)))
    for number, panel in enumerate(panels, 1):
        if panel.heat.shape != picture.shape[:2]:
            raise ValueError(f"heatmap {number}: {list(panel.heat.shape)} for a picture of {list(picture.shape[:2])}")
    width, height = max(picture.shape[1], NARROWEST) + GAP, picture.shape[0] + CAPTION + GAP
    span = 2 if len(panels) >= CROWD else 1
    rows, columns = _layout(len(panels) + span * span, span, width / height)
    slots = [(row, column) for row in range(rows) for column in range(columns) if max(row, column) >= span]

    inner = columns * width - GAP
    lines = [(line, 13, INK) for line in wrap(title, inner, 13)]
    lines += [(line, 9, MUTED) for line in wrap(subtitle, inner, 9)]
    head = MARGIN + sum(size + 14 for _, size, _ in lines) + 8
    total = head + rows * height + (24 if panels else 0) + MARGIN - GAP
    page: Image = np.full((total, inner + 2 * MARGIN, 3), PAPER, np.uint8)

    y = MARGIN
    for line, size, color in lines:
        write(page, line, (MARGIN, y + size), size, color)
        y += size + 14
    _overview(page[head:, MARGIN:][: span * height - GAP, : span * width - GAP], image, panels)
    faded = fade(picture)
    for number, (panel, (row, column)) in enumerate(zip(panels, slots, strict=False), 1):
        cell = page[head + row * height :, MARGIN + column * width :][: height - GAP, : width - GAP]
        _panel(cell, faded, panel, place_box(panel.box, picture, image.shape), number)
    if panels:
        _legend(page, MARGIN, total - MARGIN - 12, brightest)
    return page


def _overview(cell: Image, image: Image, panels: Sequence[Panel]) -> None:
    """Fill a cell of the page with the image and all its boxes, numbered, the best on top."""
    height, width = cell.shape[0] - CAPTION, cell.shape[1]
    scale = min(height / image.shape[0], width / image.shape[1])
    if len(panels) >= CROWD and 1 < scale < 4:
        larger = round(image.shape[1] * scale), round(image.shape[0] * scale)
        drawn: Image = np.asarray(cv2.resize(image, larger, interpolation=cv2.INTER_LINEAR), np.uint8)
    else:
        drawn = _resize(image, scale, (height, width))
    for panel in reversed(panels):
        outline(drawn, place_box(panel.box, drawn, image.shape), class_color(panel.label))
    size = 8 if len(panels) < 30 else 6
    for number, panel in reversed(list(enumerate(panels, 1))):
        x1, y1, _, _ = place_box(panel.box, drawn, image.shape)
        _badge(drawn, str(number), (x1, y1), size, class_color(panel.label))
    _frame(cell, drawn)
    words = {0: "no box above the threshold", 1: "1 box"}.get(len(panels), f"{len(panels)} boxes")
    write(cell, words, (0, height + 20), 9, INK)
    write(cell, f"{image.shape[1]} x {image.shape[0]} pixels", (0, height + 42), 8, MUTED)


def _panel(cell: Image, picture: Image, panel: Panel, box: tuple[int, int, int, int], number: int) -> None:
    """Fill a cell of the page with the picture, one box and its heatmap, and the caption below."""
    drawn = overlay(picture, panel.heat)
    color = class_color(panel.label)
    outline(drawn, box, color)
    _frame(cell, drawn)
    top, width = cell.shape[0] - CAPTION, cell.shape[1]
    after = _badge(cell, str(number), (0, top + 6), 8, color) + 8
    score = f"{panel.score:.2f}"
    score_width = text_width(score, 9)
    write(cell, shorten(panel.name, width - after - score_width - 12, 9), (after, top + 20), 9, INK)
    write(cell, score, (width - score_width, top + 20), 9, INK)
    words = f"peak {panel.peak:.3g}" if panel.peak > 0 else "no positive evidence"
    if not panel.depends:
        words = "does not depend on this layer"
    write(cell, words, (after, top + 42), 8, MUTED)


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


def _fit(shape: Sequence[int], boxes: int) -> tuple[float, tuple[int, int]]:
    """Scale and limit of the picture in a panel; a very long one may be twice as long, so that something can be seen.

    Args:
        shape: of the image.
        boxes: how many the sheet has: the more, the smaller.
    """
    side = 480 if boxes < 12 else 380 if boxes < 30 else 300
    long, short = max(shape[:2]), min(shape[:2])
    length = max(side, min(2 * side, long / short * side / 5))
    return length / long, (2 * side, 2 * side)


def _picture_size(shape: Sequence[int], boxes: int) -> tuple[int, int]:
    """Height and width of the picture in a panel."""
    small, (down, across) = _sizes(shape, *_fit(shape, boxes))
    return small[0] * down, small[1] * across


def _sizes(shape: Sequence[int], scale: float, limit: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Height and width after making smaller, and the whole factors of enlarging by then; see `_resize`."""
    if scale >= 1:
        height, width = shape[:2]
    else:
        height, width = (
            min(max(round(length * scale), 1), most) for length, most in zip(shape[:2], limit, strict=True)
        )
    down, across = (
        max(min(max(int(scale), math.ceil(THINNEST / length)), most // length), 1)
        for length, most in zip((height, width), limit, strict=True)
    )
    return (height, width), (down, across)


def _resize(image: Image, scale: float, limit: tuple[int, int]) -> Image:
    """The image enlarged by a whole factor or made smaller, at least `THINNEST` and at most ``limit`` on each axis."""
    size, (down, across) = _sizes(image.shape, scale, limit)
    small = image
    if size != image.shape[:2]:
        small = np.asarray(cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return small.repeat(down, axis=0).repeat(across, axis=1)


def _layout(slots: int, span: int, shape: float) -> tuple[int, int]:
    """Rows and columns of a page closest to the shape of a screen, with few empty slots.

    Args:
        slots: how many are taken.
        span: the least number of rows and columns.
        shape: width / height of a slot.
    """

    def distance(columns: int) -> float:
        rows = max(math.ceil(slots / columns), span)
        return abs(math.log(columns * shape / rows / 1.6)) + (rows * columns - slots) / slots

    columns = min(range(span, slots + 1), key=distance)
    return max(math.ceil(slots / columns), span), columns


def _badge(page: Image, text: str, corner: tuple[int, int], size: int, color: Color) -> int:
    """A number on a patch of colour, kept on the page; returns its right edge."""
    width, height = text_width(text, size) + size, size * 2
    x = max(min(corner[0], page.shape[1] - width), 0)
    y = max(min(corner[1], page.shape[0] - height), 0)
    page[y : y + height, x : x + width] = color
    bright = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
    write(page, text, (x + size // 2, y + height - size // 2), size, INK if bright else PAPER)
    return x + width
