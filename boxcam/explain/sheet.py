"""Pictures for people: one sheet per image, with a panel for every box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from boxcam.explain.colors import paint
from boxcam.explain.figures import signed, without
from boxcam.explain.legend import height as legend_height
from boxcam.explain.legend import legend
from boxcam.explain.lettering import Color, legible, shorten, text_width, wrap, write
from boxcam.explain.look import Look
from boxcam.explain.nouns import nouns
from boxcam.explain.page import FRAME, GAP, INK, MARGIN, MUTED, PAPER
from boxcam.explain.panel import Panel, Shown, fit, locator_size, resampled, resize
from boxcam.explain.place import hull, mark
from boxcam.explain.render import class_color, outline, place_box, placed_in
from boxcam.explain.tags import Rectangle, place_tags
from boxcam.plurals import counted
from boxcam.types import Corners, Float, Image, View

CAPTION, LINE = 54, 22
"""Pixels below a picture, for two lines; and how many more for each further one that any of a sheet's panels has."""
NARROWEST = 250
"""Pixels: a panel is at least this wide, so that its caption can be read."""
CROWD, THRONG = 9, 60
"""From so many boxes on, the first panel is twice or three times as large."""
WIDE = 1400
"""Pixels of a page from which on its title grows with it: it is looked at from further away."""


@dataclass(frozen=True)
class Words:
    """What a sheet says.

    Attributes:
        title: the image's name.
        subtitle: how the maps were made: method, layer, model; and in a line of its own each, what was asked.
        note: what else should be known of them, a line for each.
        strongest: what the strongest colour stands for.
        nothing: what is said where there is no panel, if it is more than that there is none.
        classifier: whether the panels are of classes of the whole image, and not of boxes in it.
        candidates: how many candidates there are, and how they stand, where a place was asked about; otherwise empty.
    """

    title: str
    subtitle: str = ""
    note: str = ""
    strongest: str = "largest value of each map"
    nothing: str = ""
    classifier: bool = False
    candidates: str = ""

    def count(self, panels: int) -> str:
        """What the first panel shows."""
        one, several = nouns(self.classifier)
        return self.candidates or (counted(panels, one, several) if panels else self.nothing or f"no {one}")


def sheet(image: Image, panels: Sequence[Panel], words: Words, look: Look = Look()) -> Image:  # noqa: B008 - it is frozen
    """One picture that explains every box of an image.

    The first panel shows all boxes, numbered. Then each box has a panel of its own: the image with the box and its
    heatmap, or a close-up of the box if it is small, with a small picture of the whole image in a corner; below, its
    number, class and score, and the raw peak of its map. Panels are about 480 pixels large, smaller if there are many;
    a small image is enlarged by a whole factor.

    Args:
        image: uint8 [H, W, 3], BGR.
        panels: one per box, best first; none gives a sheet that says so.
        words: what it says.
        look: how heat is drawn.

    Returns:
        uint8 [height, width, 3], BGR.

    Raises:
        ValueError: a map is not as large as the picture in its panel.
    """
    picture = resize(image, *fit(image.shape, len(panels)))
    for number, panel in enumerate(panels, 1):
        if panel.shown.values.shape != picture.shape[:2]:
            sizes = list(panel.shown.values.shape), list(picture.shape[:2])
            raise ValueError(f"map {number}: {sizes[0]} for a picture of {sizes[1]}")
    panels = _on_one_scale(panels, look.fine) if look.scale == "common" else panels
    across = max(picture.shape[1], NARROWEST)
    apart = not all(_fits(panel, across, number) for number, panel in enumerate(panels, 1))
    lines_below = [_below(panel, across, number, apart) for number, panel in enumerate(panels, 1)]
    caption = CAPTION + LINE * max((len(below) - 1 for below in lines_below), default=0)
    width, height = across + GAP, picture.shape[0] + caption + GAP
    span = 3 if len(panels) >= THRONG else 2 if len(panels) >= CROWD else 1
    rows, columns, slots = _layout(len(panels), span, width / height)

    inner = columns * width - GAP
    larger = min(max(inner / WIDE, 1), 2)
    large, small = round(13 * larger), round(9 * larger)
    lines = [(line, large, INK) for line in wrap(words.title, inner, large)]
    paragraphs = [*words.subtitle.splitlines(), *words.note.splitlines()]
    lines += [(line, small, MUTED) for text in paragraphs for line in wrap(text, inner, small)]
    head = MARGIN + sum(size + round(14 * larger) for _, size, _ in lines) + 8
    heat = any(panel.lit for panel in panels)
    bar = legend_height(words.strongest, look, inner) if heat else 0
    total = head + rows * height + bar + MARGIN - GAP
    page: Image = np.full((total, inner + 2 * MARGIN, 3), PAPER[0], np.uint8)

    y = MARGIN
    for line, size, color in lines:
        write(page, line, (MARGIN, y + size), size, color)
        y += size + round(14 * larger)
    first = page[head:, MARGIN:][: span * height - GAP, : span * width - GAP]
    _overview(first[: first.shape[0] - caption + CAPTION], image, panels, words)
    for number, (panel, (row, column)) in enumerate(zip(panels, slots, strict=True), 1):
        cell = page[head + row * height :, MARGIN + column * width :][: height - GAP, : width - GAP]
        top = cell.shape[0] - caption
        _frame(cell[:top], _drawn(image, picture, panel, look, None if words.classifier else panel.box))
        _caption(cell[top:], panel, number, apart)
    if heat:
        peak = max(panel.shown.top for panel in panels) if look.raw else None
        legend(page[total - MARGIN - bar + GAP :, MARGIN : MARGIN + inner], words.strongest, look, peak)
    return page


def _on_one_scale(panels: Sequence[Panel], fine: bool) -> list[Panel]:
    """The panels with the largest of their scales.

    Maps of single pixels lose their peaks where they are made small, so small pictures of them have one of their own.
    """
    top = max((panel.shown.top for panel in panels), default=0.0)
    small = max((panel.close_up.whole.top for panel in panels if panel.close_up), default=0.0) if fine else top

    def scaled(shown: Shown, largest: float) -> Shown:
        return replace(shown, top=largest if shown.top > 0 else 0.0)

    return [
        replace(
            panel,
            shown=scaled(panel.shown, top),
            close_up=panel.close_up and replace(panel.close_up, whole=scaled(panel.close_up.whole, small)),
        )
        for panel in panels
    ]


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
    _frame(cell[:height], drawn)
    write(cell, shorten(words.count(len(panels)), width, 9), (0, height + 20), 9, INK)
    write(cell, f"{image.shape[1]} x {image.shape[0]} pixels", (0, height + 42), 8, MUTED)


def _boxes(drawn: Image, image: Image, panels: Sequence[Panel]) -> None:
    """Draw all boxes, and their numbers next to them."""
    boxes = [place_box(panel.box, drawn, image.shape) for panel in panels]
    for panel, box in reversed(list(zip(panels, boxes, strict=True))):
        outline(drawn, box, class_color(panel.label))
    if panels:
        mark(drawn, panels[0].place, _whole(image))
    size = 8 if len(panels) < 30 else 6
    sizes = [_badge_size(str(number), size) for number in range(1, len(panels) + 1)]
    outer = [(x1 - 1, y1 - 1, x2 + 2, y2 + 2) for x1, y1, x2, y2 in boxes]
    places = place_tags(outer, sizes, (drawn.shape[0], drawn.shape[1]))
    for number, (panel, place) in reversed(list(enumerate(zip(panels, places, strict=True), 1))):
        _badge(drawn, str(number), place[:2], size, class_color(panel.label))


def _drawn(image: Image, picture: Image, panel: Panel, look: Look, box: Corners | None) -> Image:
    """The picture of one box and its heat; of a small box, its surroundings.

    Args:
        image: uint8 [H, W, 3].
        picture: the same, as large as it is shown.
        panel: the box.
        look: how heat is drawn.
        box: what is outlined.
    """
    close, shape = panel.close_up, image.shape
    heat = panel.shown.heat(look.signed)
    if close is None:
        drawn = paint(picture, heat, look)
        if box is not None:
            outline(drawn, place_box(box, drawn, shape), class_color(panel.label))
            mark(drawn, panel.place, _whole(image))
        return drawn
    x1, y1, x2, y2 = close.view
    part = np.asarray(resampled(image[y1:y2, x1:x2], (picture.shape[0], picture.shape[1])), np.uint8)
    drawn = paint(part, heat, look)
    outline(drawn, placed_in(close.view, panel.box, drawn), class_color(panel.label))
    mark(drawn, panel.place, close.view)
    small = np.asarray(resampled(picture, locator_size(picture.shape)), np.uint8)
    small = paint(small, close.whole.heat(look.signed), look)
    _locator(
        drawn,
        small,
        place_box(close.view, small, shape),
        np.abs(heat),
        placed_in(close.view, hull(panel.box, panel.place), drawn),
    )
    return drawn


def _whole(image: Image) -> View:
    """All of an image."""
    return 0, 0, image.shape[1], image.shape[0]


def _locator(drawn: Image, small: Image, view: Rectangle, heat: Float, box: Rectangle) -> None:
    """Put the whole image, with a frame around what is shown, into the corner where it hides the least."""
    view = _at_least(view, 6)
    cv2.rectangle(small, (view[0] - 1, view[1] - 1), (view[2] + 1, view[3] + 1), (0, 0, 0), 1)
    cv2.rectangle(small, view[:2], view[2:], PAPER, 1)
    edged = cv2.copyMakeBorder(small, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=PAPER)
    (height, width), (down, across) = drawn.shape[:2], edged.shape[:2]
    if down > height or across > width:
        return
    outlined = heat.copy()
    outlined[box[1] : box[3] + 1, box[0] : box[2] + 1] += 1
    corners = [(y, x) for y in (height - down, 0) for x in (width - across, 0)]
    y, x = min(corners, key=lambda corner: float(outlined[corner[0] :, corner[1] :][:down, :across].sum()))
    drawn[y : y + down, x : x + across] = edged


def _at_least(frame: Rectangle, size: int) -> Rectangle:
    """A frame, made larger around its middle if it is too small to be seen."""
    x1, y1, x2, y2 = frame
    across, down = max(size - (x2 - x1), 0) // 2, max(size - (y2 - y1), 0) // 2
    return x1 - across, y1 - down, x2 + across, y2 + down


def _caption(cell: Image, panel: Panel, number: int, apart: bool) -> None:
    """Write the number, class and score of a box below its picture, and more lines below these, see `_below`."""
    width, score = cell.shape[1], _score(panel)
    after = _badge(cell, str(number), (0, 6), 8, class_color(panel.label)) + 8
    name = _name(panel) if apart else _name(panel) + _contrast(panel)
    write(cell, shorten(name, _room(panel, width, number), 9), (after, 20), 9, INK)
    write(cell, score, (width - text_width(score, 9), 20), 9, INK)
    for line, text in enumerate(_below(panel, width, number, apart)):
        write(cell, text, (after, 42 + LINE * line), 8, MUTED)


def _below(panel: Panel, width: int, number: int, apart: bool) -> list[str]:
    """The lines below the class of a box: what it is contrasted with, if apart; its figures; and of what a close-up is.

    Args:
        panel: the box.
        width: pixels of its cell.
        number: of the box.
        apart: whether the contrast of any panel is too wide for the line of its class.
    """
    room = width - _badge_size(str(number), 8)[0] - 8
    lines = [_contrast(panel).strip()] if apart else []
    lines.append(_said(panel, room))
    if panel.close_up is not None:
        x1, y1, x2, y2 = panel.close_up.view
        lines.append(f"close-up, {x2 - x1} x {y2 - y1} pixels")
    return [shorten(line, room, 8) for line in lines]


def _fits(panel: Panel, width: int, number: int) -> bool:
    """Whether the line of its class has room for what a box is contrasted with."""
    return not panel.rival or text_width(_name(panel) + _contrast(panel), 9) <= _room(panel, width, number)


def _room(panel: Panel, width: int, number: int) -> int:
    """Pixels between the number of a box and its score."""
    return width - _badge_size(str(number), 8)[0] - 8 - text_width(_score(panel), 9) - 12


def _score(panel: Panel) -> str:
    return f"{panel.score:.2f}"


def _name(panel: Panel) -> str:
    """The class of a box, or its number if the name cannot be drawn."""
    return panel.name if legible(panel.name) else f"class {panel.label}"


def _contrast(panel: Panel) -> str:
    """What the class of a box is contrasted with, as the end of a line."""
    if not panel.rival:
        return ""
    return f" against {panel.rival if legible(panel.rival) else 'another class'}"


def _said(panel: Panel, width: int) -> str:
    """What is said of a map; of one with a sign, as much as there is room for."""
    if said := without(panel):
        return said
    if ways := signed(panel):
        return next((way for way in ways if text_width(way, 8) <= width), ways[-1])
    return f"peak {panel.peak:.3g}{'' if panel.inside is None else f', {panel.inside:.0%} of heat inside'}"


def _frame(cell: Image, picture: Image) -> None:
    """Put the picture in the middle of a frame."""
    if picture.shape != cell.shape:
        cell[:] = FRAME
    top, left = (cell.shape[0] - picture.shape[0]) // 2, (cell.shape[1] - picture.shape[1]) // 2
    cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture


def _layout(count: int, span: int, shape: float) -> tuple[int, int, list[tuple[int, int]]]:
    """Rows and columns of a page closest to the shape of a screen, with few empty slots, and where panels lie on it.

    Args:
        count: how many panels.
        span: rows and columns of the first panel, at the upper left.
        shape: width / height of a slot.
    """
    slots = count + span * span

    def flow(columns: int) -> tuple[int, list[tuple[int, int]]]:
        around = [(row, column) for row in range(span) for column in range(span, columns)]
        below = [(span + k // columns, k % columns) for k in range(max(count - len(around), 0))]
        places = [*around, *below][:count]
        return max(places[-1][0] + 1 if places else 0, span), places

    def distance(columns: int) -> float:
        rows, _ = flow(columns)
        return abs(math.log(columns * shape / rows / 1.6)) + (rows * columns - slots) / slots

    columns = min(range(span, slots + 1), key=distance)
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
