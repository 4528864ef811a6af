"""What a model finds on a picture, for people: the best boxes as facts, and drawn on the picture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from boxcam.bundle import SampleResult
from boxcam.errors import OutputError
from boxcam.explain.lettering import Color, write
from boxcam.explain.render import class_color, outline, place_box
from boxcam.explain.selection import DEFAULT_SCORE
from boxcam.export.verify.plausible.reading import Boxes, Reading, Report
from boxcam.inspection import sample_result
from boxcam.runtime.planes import picture_of
from boxcam.types import Float, Image

_SHORTEST, _LONGEST = 320, 1024
"""Pixels that the longer side of a drawn picture has at least, and at most."""
_LETTERS, _FEW = 9, 5
_WHITE, _DARK, _BLACK = (255, 255, 255), (40, 40, 40), (0, 0, 0)
_BRIGHTNESS = (0.114, 0.587, 0.299)


Named = tuple[Float, str]
"""A box, float32 [4], x1 y1 x2 y2 in pixels of a picture, and what stands above it."""


def shown(reading: Reading) -> Report | None:
    """What to show: the user's picture, or the first synthetic one in which something is found."""
    given = [report for report in reading.reports if report.picture.is_given]
    finding = [report for report in reading.reports if len(report)]
    return next(iter([*given, *finding, *reading.reports]), None)


def names_of(reading: Reading, boxes: Boxes) -> tuple[str, ...]:
    """The class name of each box."""
    known = reading.subject.labels
    return tuple(known[k] if 0 <= k < len(known) else f"class {k}" for k in boxes.labels)


def on_picture(report: Report, boxes: Boxes) -> Float:
    """float32 [K, 4], x1 y1 x2 y2 in pixels of the picture."""
    return report.transform.boxes_to_image(boxes.boxes.astype(np.float32))


def result(reading: Reading, report: Report) -> SampleResult:
    """What was found on a picture, as a bundle keeps it; where nothing was, the best of what was not sure enough."""
    height, width = report.picture.pixels.shape[:2]
    best = report.found if len(report) else report.faint.part(slice(1))
    facts = names_of(reading, best), best.scores.tolist(), on_picture(report, best).tolist()
    return sample_result(report.picture.name, (height, width), *facts)


def draw(reading: Reading, report: Report) -> Image:
    """The picture with its boxes: those of a usual score, or the best few where there is none."""
    page, found = _page(picture_of(report.picture.pixels)), report.found
    texts = [f"{name} {score:.2f}" for name, score in zip(names_of(reading, found), found.scores, strict=True)]
    if reading.is_classifier:
        for number, text in enumerate(texts[:_FEW]):
            _label(page, text, (4, 4 + number * (2 * _LETTERS + 2)), _DARK)
        return page
    boxes = on_picture(report, found)
    count = int((found.scores >= DEFAULT_SCORE).sum()) or min(len(found), _FEW)
    for k in reversed(range(count)):
        _box(page, report.picture.pixels, boxes[k], texts[k], class_color(int(found.labels[k])))
    return page


def draw_both(picture: Image, same: list[Float], ours: list[Named], theirs: list[Named]) -> Image:
    """A picture with two lots of boxes.

    Args:
        picture: uint8 [H, W, 3], BGR.
        same: boxes that are the same in both, which are drawn in grey.
        ours: boxes that were found only, in magenta.
        theirs: boxes that are expected only, in green.
    """
    page = _page(picture_of(picture))
    for box in same:
        _box(page, picture, box, "", _SAME)
    for boxes, color in ((theirs, _EXPECTED), (ours, _FOUND)):
        for number, (box, text) in reversed(list(enumerate(boxes))):
            _box(page, picture, box, text if number < _NAMED else "", color)
    bar = np.full((2 * _LETTERS + 10, page.shape[1], 3), 255, np.uint8)
    x = 8
    for word, color in (("expected", _EXPECTED), ("found", _FOUND), ("both", _SAME)):
        x += write(bar, word, (x, 2 * _LETTERS - 1), _LETTERS, color) + 16
    return np.concatenate([page, bar])


_EXPECTED, _FOUND, _SAME = (60, 150, 0), (200, 0, 200), (150, 150, 150)
_NAMED = 10
"""So many boxes of each lot have their names on the picture."""


def save(picture: Image, path: Path) -> None:
    """Write a picture as PNG.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.write_bytes(cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}. Choose another place with output=.") from error


def _page(picture: Image) -> Image:
    """A copy of a picture in a size to look at."""
    longest = max(picture.shape[:2])
    factor = min(max(_SHORTEST / longest, 1.0), _LONGEST / longest)
    if factor == 1:
        return picture.copy()
    size = [max(round(side * factor), 1) for side in picture.shape[1::-1]]
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)


def _box(page: Image, picture: Image, box: Float, text: str, color: Color) -> None:
    x1, y1, x2, y2 = (float(side) for side in np.nan_to_num(box))
    placed = place_box((x1, y1, x2, y2), page, picture.shape)
    outline(page, placed, color)
    if text:
        _label(page, text, (placed[0], max(placed[1] - 2 * _LETTERS - 1, 0)), color)


def _label(page: Image, text: str, corner: tuple[int, int], color: Color) -> None:
    """Letters on a bar of colour, which is moved to the left where it would leave the page."""
    bar = np.full((2 * _LETTERS, page.shape[1], 3), color, np.uint8)
    letters = _BLACK if np.dot(color, _BRIGHTNESS) > 150 else _WHITE
    width = write(bar, text, (4, 2 * _LETTERS - 5), _LETTERS, letters) + 8
    x, y = max(min(corner[0], page.shape[1] - width), 0), corner[1]
    target = page[y : y + 2 * _LETTERS, x : x + width]
    target[:] = bar[: target.shape[0], : target.shape[1]]
