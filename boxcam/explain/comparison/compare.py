"""Methods and layers compared: one box of an image, one forward pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from boxcam._version import __version__
from boxcam.arguments import check_distinct
from boxcam.errors import InputError
from boxcam.explain.browse.view import draw_view, fitted, peak_of, view_of
from boxcam.explain.comparison.cell import CANNOT, Cell, cells_of
from boxcam.explain.evidence import Query
from boxcam.explain.explainer import explained, predict, query_of
from boxcam.explain.facts import box_facts, check_finite
from boxcam.explain.look import Look
from boxcam.explain.options import Options
from boxcam.explain.plan import Plan
from boxcam.explain.rounding import is_rounding
from boxcam.explain.selection import Selection, select
from boxcam.explain.totals import totals_of
from boxcam.plurals import counted
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.pixels import load_image
from boxcam.runtime.planes import picture_of
from boxcam.types import Corners, Detections, Image, View

SIZE = 210, 280
"""Height and width that a cell's picture has at most."""

Progress = Callable[[int, int], None]
Watch = Callable[[int, int, Cell], AbstractContextManager[Progress | None]]
"""Told of each map before it is made: how many are done, their total, and the cell. While the context lasts, what it
gives is called as `boxcam.explain` calls its progress."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """One box by several methods at several layers.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        view: the part of it that the cells show.
        found: the box alone.
        rank: its place among the boxes, the best is 1.
        boxes: how many there are to choose from.
        target: what of the box is explained.
        query: what was asked for.
        rows: a row of cells for each method, one for each layer.
    """

    image: Image
    view: View
    found: Detections
    rank: int
    boxes: int
    target: str
    query: Query
    rows: list[list[Cell]]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(cell.layer for cell in self.rows[0])

    def shows(self, point: tuple[int, int] | None) -> bool:
        """Whether a row and column of the image are in the part that the cells show."""
        x1, y1, x2, y2 = self.view
        return point is None or (y1 <= point[0] < y2 and x1 <= point[1] < x2)

    @property
    def box(self) -> Corners:
        """x1 y1 x2 y2 in image pixels."""
        x1, y1, x2, y2 = (float(side) for side in self.found.boxes[0])
        return x1, y1, x2, y2

    def facts(self) -> dict[str, Any]:
        """What is known of it, as JSON can hold it; docs/results.md tells of each entry."""
        query, found = self.query, self.found
        return {
            "boxcam": __version__,
            "bundle": query.bundle,
            "image": query.image,
            "height": self.image.shape[0],
            "width": self.image.shape[1],
            "classes": list(query.classes),
            "rank": self.rank,
            "boxes": self.boxes,
            "box": [round(side, 3) for side in self.box],
            "label": int(found.labels[0]),
            "name": found.names[0],
            "score": float(found.scores[0]),
            "target": self.target,
            "device": query.device,
            "providers": list(query.providers),
            "view": list(self.view),
            "cells": [
                {
                    "method": cell.method,
                    "layer": cell.layer,
                    "peak": None if cell.facts is None else cell.facts["peak"],
                    "peak_at": None if cell.peak_at is None else [cell.peak_at[1], cell.peak_at[0]],
                    "share_inside_box": None if cell.facts is None else cell.facts["share_inside_box"],
                    "rounding": None if cell.facts is None else cell.rounding,
                    "depends_on_layer": None if cell.facts is None else cell.facts["depends_on_layer"],
                    "why_not": cell.why or None,
                }
                for row in self.rows
                for cell in row
            ],
        }


def compare(
    model: Model,
    image: Any,
    options: Options,
    *,
    box: int = 1,
    methods: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Explain one box by several methods at several layers. All methods that read one forward pass share it.

    Args:
        model: a detector or classifier.
        image: as for `boxcam.explain`.
        options: of all methods: classes, target, engine. Others are left at their defaults.
        box: which box, counted from the best one, which is 1; where classes are given, of these.
        methods: their names; by default those of gradients and of one forward pass that the bundle can do.
        layers: names of layers; by default all of the bundle.
        watch: is told of each map.

    Raises:
        InputError: the image cannot be read, or the model does not find as many boxes.
        UnknownLayerError, UnknownNameError, EngineError: there is no such method, layer, class or gradient, or none of
            the methods can be used at any of the layers.
        ArgumentError: a method or layer is given twice.
        RunError: the model fails on the image.
    """
    for name, given in (("method", methods), ("layer", layers)):
        check_distinct(name, given or ())
    for layer in layers or ():
        model.layer(layer)
    selection = replace(select(model, options), score=0.0, top=None, rank=(box,))
    rows = cells_of(model, options, methods, layers or model.layers)
    plans = [cell.plan for row in rows for cell in row if cell.plan is not None]
    pixels = load_image(image, "BGR", model.manifest.preprocess.channels)
    prediction = predict(plans, pixels)
    query = query_of(plans[0], selection, image, "BGR")
    chosen, there = selection.of(prediction.detections), replace(selection, rank=None).of(prediction.detections)
    if not chosen:
        raise _no_box(query, box, len(there))
    found = prediction.detections.select(chosen)
    shown = picture_of(pixels)
    x1, y1, x2, y2 = (float(side) for side in found.boxes[0])
    view = (0, 0, shown.shape[1], shown.shape[0])
    if not query.classifier:
        view = view_of((x1, y1, x2, y2), shown.shape, SIZE)
    done, made, failures = 0, [], []
    for row in rows:
        cells = []
        for cell in row:
            if cell.plan is not None:
                with (watch or _unseen)(done, len(plans), cell) as progress:
                    try:
                        cell = _drawn(cell, cell.plan, selection, (pixels, image), prediction, view, progress)
                    except CANNOT as error:  # as some say only of an image
                        cell = cell.failed(error)
                        failures.append(error)
                done += 1
            cells.append(cell)
        made.append(cells)
    if len(failures) == len(plans):
        raise failures[0]
    target = model.manifest.target(options.target).name
    return Comparison(shown, view, found, box, len(there), target, query, made)


def _drawn(
    cell: Cell,
    plan: Plan,
    selection: Selection,
    given: tuple[Image, Any],
    prediction: Prediction,
    view: View,
    progress: Progress | None,
) -> Cell:
    """The cell with its map, of which only what is shown is kept."""
    pixels, image = given
    made = explained(plan, selection, pixels, query_of(plan, selection, image, "BGR"), progress, prediction)
    check_finite(made)
    values = made.map(0)
    box = (made[0].box, made[0].label)
    outlined = None if made.query.classifier else box
    how = Look(signed=made.signed, fine=made.of_pixels)
    said = totals_of(values, made.detections.boxes[0])
    rounding = is_rounding(made, 0, said)
    heat = np.zeros_like(values) if rounding else values
    picture = draw_view(made.image, heat, view, fitted(view, SIZE), outlined, how)
    facts = box_facts(made, 0, said)
    return replace(cell, facts=facts, peak_at=peak_of(values), picture=picture, fine=how.fine, rounding=rounding)


def _unseen(done: int, total: int, cell: Cell) -> AbstractContextManager[Progress | None]:
    return nullcontext()


def _no_box(query: Query, box: int, there: int) -> InputError:
    one, several = ("class", "classes") if query.classifier else ("box", "boxes")
    image = "the image" if query.image is None else os.fspath(query.image)
    such = f" of class {' or '.join(query.classes)}" if query.classes else ""
    if not there:
        other = ", or other classes=" if query.classes else ""
        return InputError(f"the model finds no {one}{such} on {image}. Pass another image{other}.")
    numbers = "Pass box=1." if there == 1 else f"Pass box= as a number from 1, the best one, to {there}."
    return InputError(
        f"there is no {one} {box} on {image}: the model finds {counted(there, one, several)}{such}. {numbers}"
    )
