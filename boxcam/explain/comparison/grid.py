"""A comparison as one picture: a row for each method, a column for each layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from boxcam.explain.browse.view import fitted
from boxcam.explain.colors import paint
from boxcam.explain.comparison.body import GAP, Body, border
from boxcam.explain.comparison.compare import Comparison
from boxcam.explain.evidence import DETECTION
from boxcam.explain.legend import strongest_of
from boxcam.explain.lettering import Color, legible, wrap, write
from boxcam.explain.look import Look
from boxcam.explain.page import INK, MARGIN, MUTED, PAPER
from boxcam.explain.render import class_color, outline, place_box
from boxcam.targets import LOGIT
from boxcam.types import Image

_BAR, _LINE = 160, 18
_NARROWEST = 620
"""Pixels of the page's width, without margins, in which its words have room."""
_LARGEST = 420, 560
"""Height and width of the picture of the whole image."""


def draw_grid(comparison: Comparison) -> Image:
    """The picture.

    Above, the whole image with the box, and the part that the cells show in a frame. Below, a row for each method and a
    column for each layer, or all methods of a single layer side by side; every cell shows the same part under its own
    map, whose scale is its own.

    Returns:
        uint8 [height, width, 3], BGR.
    """
    whole = (0, 0, comparison.image.shape[1], comparison.image.shape[0])
    body = Body(comparison)
    inner = max(body.width, _NARROWEST)
    head = fitted(whole, (_LARGEST[0], min(_LARGEST[1], inner * 6 // 10)))
    words = _words(comparison, inner - head[1] - GAP)
    top = MARGIN + max(head[0], sum(size + 14 for _, size, _ in words)) + 2 * GAP
    legend = wrap(_strongest(comparison), inner - _BAR - 40, 8)
    total = top + body.height + 12 + (len(legend) - 1) * _LINE + MARGIN
    page: Image = np.full((total, inner + 2 * MARGIN, 3), PAPER, np.uint8)

    page[MARGIN : MARGIN + head[0], MARGIN : MARGIN + head[1]] = _overview(comparison, head)
    border(page, (MARGIN, MARGIN), head)
    y = MARGIN
    for line, size, color in words:
        write(page, line, (MARGIN + head[1] + GAP, y + size), size, color)
        y += size + 14
    body.draw(page, top)
    _legend(page, top + body.height, legend)
    return page


def _words(comparison: Comparison, width: int) -> list[tuple[str, int, Color]]:
    """What is said of the box and its image: lines, the size of their capitals, their colour."""
    query, found = comparison.query, comparison.found
    name = found.names[0] if legible(found.names[0]) else f"class {int(found.labels[0])}"
    one = "class" if query.classifier else "box"
    of_class = f" of {', '.join(query.classes)}" if query.classes else ""
    target = "" if comparison.target in (LOGIT.name, DETECTION) else f", target {comparison.target}"
    image = "image" if query.image is None else Path(query.image).name
    count = comparison.boxes
    lines = [(line, 13, INK) for line in wrap(f"{name} {float(found.scores[0]):.2f}", width, 13)]
    place = f"{one} {comparison.rank} of {count}{of_class}" if count > 1 else f"the only {one}{of_class}"
    layer = f", layer {comparison.layers[0]}" if len(comparison.layers) == 1 else ""
    for text in (f"{image}: {place}", f"model {query.bundle}{layer}{target}", *([query.drawn] if query.drawn else [])):
        lines += [(line, 9, MUTED) for line in wrap(text, width, 9)]
    x1, y1, x2, y2 = comparison.view
    if (x2 - x1, y2 - y1) != (comparison.image.shape[1], comparison.image.shape[0]):
        said = f"The {x2 - x1} x {y2 - y1} pixels in the frame are shown below; maps are of the whole image."
        lines += [(line, 9, MUTED) for line in wrap(said, width, 9)]
    return lines


def _overview(comparison: Comparison, size: tuple[int, int]) -> Image:
    """The whole image with the box, and a frame around the part that the cells show."""
    image = comparison.image
    smaller = size[0] < image.shape[0]
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    drawn: Image = np.asarray(cv2.resize(image, size[::-1], interpolation=method), np.uint8)
    x1, y1, x2, y2 = (float(side) for side in comparison.view)
    if (x2 - x1, y2 - y1) != (image.shape[1], image.shape[0]):
        left, top, right, bottom = place_box((x1, y1, x2, y2), drawn, image.shape)
        cv2.rectangle(drawn, (left - 1, top - 1), (right + 1, bottom + 1), (0, 0, 0), 1)
        cv2.rectangle(drawn, (left, top), (right, bottom), PAPER, 1)
    if not comparison.query.classifier:
        outline(drawn, place_box(comparison.box, drawn, image.shape), class_color(int(comparison.found.labels[0])))
    return drawn


def _strongest(comparison: Comparison) -> str:
    """What the strongest colour stands for, of the maps that are there."""
    kinds = {cell.fine for row in comparison.rows for cell in row if cell.picture is not None}
    cells, pixels = (strongest_of(Look(fine=fine)) for fine in (False, True))
    said = {frozenset({True}): pixels, frozenset({False, True}): f"{cells}; of maps of pixels, {pixels}"}
    return f"{said.get(frozenset(kinds), cells)}. Colours do not compare one map with another."


def _legend(page: Image, y: int, said: Sequence[str]) -> None:
    """The colour bar, and lines next to it that say what its end stands for."""
    x = MARGIN + write(page, "0", (MARGIN, y + 10), 8, MUTED) + 8
    steps = np.tile(np.linspace(0, 1, _BAR, dtype=np.float32), (12, 1))
    page[y : y + 12, x : x + _BAR] = paint(np.full((12, _BAR, 3), 150, np.uint8), steps)
    for number, line in enumerate(said):
        write(page, line, (x + _BAR + 8, y + 10 + number * _LINE), 8, MUTED)
