"""Do the boxes lie where their scores come from?

`origin` names for each box the element of a map that made its score, and convolution arithmetic tells where on the
image that cell lies. Of all formats that four numbers can be in, the right one puts the centres of the boxes nearest
to their cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boxcam.export.verify.plausible.criterion import Answer, Criterion
from boxcam.export.verify.plausible.formats import ALL, Boxes, BoxFormat
from boxcam.export.verify.plausible.reading import Reading, Report, on_computed
from boxcam.plurals import counted

LIMITS = {
    "best": 100,
    "count": 8,
    "few": 3,
    "cells": 4,
    "nearer": 0.5,
    "near": 0.75,
    "far": 1.0,
    "inside": 0.9,
    "lost": 0.25,
}
"""Of the best boxes of each picture so many are looked at; how many there have to be, of how many different cells. As
read they have to lie ``far`` cells away, which is the median, and so many of those of another format have to hold their
cells: that format is believed if its distance is the share ``nearer`` of that, and ``near`` raises doubts. Boxes of a
``few`` cells raise no more than doubts, and only if that format is nearer for each of them; a format that was guessed
they show if they lie less than ``far`` from their cells, and no more than the share ``near`` of what every other format
has. Boxes that lie the share ``lost`` of the model input away from their cells are doubtful whatever other formats
give, unless their source knows what they are."""


@dataclass(frozen=True, eq=False)
class Located:
    """Boxes whose cells are known.

    Attributes:
        boxes: [K, 4], x1 y1 x2 y2 in pixels of the model input, as read.
        cells: [K, 2], centres of their cells, x and y.
        stride: [K, 2], pixels per cell, across and down.
        canvas: [K, 2], width and height of the model input.
    """

    boxes: Boxes
    cells: Boxes
    stride: Boxes
    canvas: Boxes

    def __len__(self) -> int:
        return len(self.boxes)

    def read_as(self, other: BoxFormat, read: BoxFormat) -> Boxes:
        """The boxes, had their numbers been read in another format."""
        return other.corners(read.numbers(self.boxes, self._unit(read)), self._unit(other))

    def distances(self, boxes: Boxes) -> npt.NDArray[np.float64]:
        """From the centres of boxes to their cells, in cells."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.asarray(np.hypot(*((centres - self.cells) / self.stride).T))

    def shares(self, boxes: Boxes) -> npt.NDArray[np.float64]:
        """From the centres of boxes to their cells, as a share of the model input."""
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        return np.asarray(np.hypot(*((centres - self.cells) / self.canvas).T))

    def holds(self, boxes: Boxes) -> npt.NDArray[np.bool_]:
        """Which boxes have their cell inside, or no more than a cell away."""
        low, high = boxes[:, :2] - self.stride, boxes[:, 2:] + self.stride
        return np.asarray(((self.cells >= low) & (self.cells <= high)).all(1))

    def _unit(self, of: BoxFormat) -> Boxes:
        return {"pixels": np.ones_like(self.canvas), "normalized": self.canvas, "grid": self.stride}[of.scale]


def answer(reading: Reading) -> Answer | None:
    """Whether the boxes lie where their scores come from."""
    if reading.is_classifier:
        return None
    found = locate(reading)
    read = reading.format
    if len(found) < LIMITS["count"] or len(np.unique(found.cells, axis=0)) < LIMITS["cells"]:
        few = "which cells of a map the boxes come from is not known, or there are too few boxes"
        doubts = _of_few(found, read, reading.computed_by) or _of_a_guess(reading, found)
        return doubts or Answer("unknown", few)
    distance, inside = _distances(found, read), _shares_inside(found, read)
    best = _nearest(found, read)
    away = float(np.median(found.shares(found.boxes)))
    figures = {"boxes": float(len(found)), "cells away": distance[read], "inside": inside[read], "away": away}
    boxes = counted(len(found), "box", "boxes")
    how = f"of {boxes} the centres lie {distance[read]:.1f} cells away from the cells that make their scores"
    closer = distance[best] / max(distance[read], 1e-9)
    if closer <= LIMITS["near"] and distance[read] >= LIMITS["far"] and inside[best] >= LIMITS["inside"]:
        figures |= {"cells away, as the nearest format": distance[best]}
        seen = f"{how}, which is the median; read as {best} they would lie {distance[best]:.1f} cells away"
        sure = closer <= LIMITS["nearer"] and reading.computed_by in ("", "decode=")  # and not by a published decoding
        return Answer("implausible" if sure else "doubtful", seen, _advice(read, best, reading.computed_by), figures)
    if away >= LIMITS["lost"] and inside[read] < 0.5 and reading.subject.interpretation is not None:
        seen = f"{how}, which is the median: {away:.0%} of the model input"
        advice = "Pass the right tensors with boxes= and scores=, or their format with box_format= and box_scale=."
        return Answer("doubtful", seen, advice, figures)
    return Answer("plausible", f"boxes lie around the cells that make their scores ({inside[read]:.0%})", "", figures)


def _of_few(found: Located, read: BoxFormat, maker: str = "") -> Answer | None:
    """Doubts, where the nearest format brings each of a few boxes so much nearer to its cell, which it holds.

    Boxes of the same cell are one object's, and say the same.
    """
    if len(np.unique(found.cells, axis=0)) < LIMITS["few"]:
        return None
    own = found.distances(found.boxes)
    if np.median(own) < LIMITS["far"]:
        return None
    best = _nearest(found, read)
    boxes = found.read_as(best, read)
    nearer = found.distances(boxes)
    much = np.median(nearer) <= LIMITS["nearer"] * np.median(own)
    if not much or not found.holds(boxes).all() or not (nearer <= LIMITS["near"] * own).all():
        return None
    figures = {"boxes": float(len(found)), "cells away": float(np.median(own))}
    seen = (
        f"each of the {counted(len(found), 'box', 'boxes')} that are found would lie nearer to the cell that"
        f" makes its score if it were {best}: {np.median(nearer):.1f} cells away, and not {np.median(own):.1f}"
    )
    return Answer("doubtful", seen, _advice(read, best, maker), figures)


def _of_a_guess(reading: Reading, found: Located) -> Answer | None:
    """Doubts, where a format was guessed, and boxes of a few cells do not show it: each other one lies farther away.

    Of boxes without a cell, as those of proposals are, nothing could ever show it: they are what most such models have.
    """
    how, read = reading.subject.interpretation, reading.format
    if how is None or not how.form_is_guessed or not len(found):
        return None
    if len(np.unique(found.cells, axis=0)) >= LIMITS["few"]:
        distance = _distances(found, read)
        own = distance.pop(read)
        if own < LIMITS["far"] and own <= LIMITS["near"] * min(distance.values()):
            return None
    seen = (
        f"neither the graph nor the boxes whose cells are known ({len(found)}) tell what the four numbers of a box are:"
        f" they are taken for {read.form}"
    )
    advice = 'Pass box_format="xyxy", "cxcywh", "xywh" or "yxyx", or an image with more objects with sample=.'
    return Answer("doubtful", seen, advice, {"boxes": float(len(found))})


def _nearest(found: Located, read: BoxFormat) -> BoxFormat:
    """The format that puts boxes nearest to their cells, those that do not hold them farther away; as read if equal."""
    distance, inside = _distances(found, read), _shares_inside(found, read)
    return min(ALL, key=lambda form: (distance[form] * (2 - inside[form]), form != read))


def _distances(found: Located, read: BoxFormat) -> dict[BoxFormat, float]:
    """How many cells away boxes are from their own, the median, in each format."""
    return {form: float(np.median(found.distances(found.read_as(form, read)))) for form in ALL}


def _shares_inside(found: Located, read: BoxFormat) -> dict[BoxFormat, float]:
    """How many of the boxes hold their cells in each format, 0 to 1."""
    return {form: float(found.holds(found.read_as(form, read)).mean()) for form in ALL}


def locate(reading: Reading) -> Located:
    """The boxes whose cells are known, of all pictures."""
    parts = [_located(reading, report) for report in reading.reports]
    columns = zip(*((one.boxes, one.cells, one.stride, one.canvas) for one in parts), strict=True)
    return Located(*(np.concatenate(column) for column in columns))


def _located(reading: Reading, report: Report) -> Located:
    names = list(report.ends)
    rows, cells, strides = [], [], []
    boxes = np.concatenate([report.found.boxes, report.faint.boxes])
    origin = np.concatenate([report.found.origin, report.faint.origin])
    for row, (number, *position) in enumerate(origin[: int(LIMITS["best"])].tolist()):
        place = reading.places.get(names[number])
        known = place is not None and len(report.ends[names[number]].shape) == 4
        if place is None or not known or not np.isfinite(boxes[row]).all():  # what is infinite lies nowhere
            continue
        y, x = (position[axis] for axis in place.axes)
        rows.append(row)
        cells.append((place.x.center + x * place.x.stride, place.y.center + y * place.y.stride))
        strides.append((place.x.stride, place.y.stride))
    canvas = (float(report.transform.canvas_width), float(report.transform.canvas_height))
    return Located(
        boxes[rows],
        np.array(cells, np.float64).reshape(-1, 2),
        np.array(strides, np.float64).reshape(-1, 2),
        np.tile(np.array(canvas), (len(rows), 1)),
    )


def _advice(read: BoxFormat, best: BoxFormat, maker: str = "") -> str:
    if maker:
        return on_computed(maker)
    if best.scale == "grid":
        return "Multiply the boxes by the stride of their map with decode=."
    options = [f'box_format="{best.form}"'] if best.form != read.form else []
    options += [f'box_scale="{best.scale}"'] if best.scale != read.scale else []
    return f"Pass {' and '.join(options)}."


CRITERION = Criterion("place", "Do the boxes lie where their scores come from?", LIMITS, answer)
