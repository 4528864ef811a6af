"""Explanations made by hand: of a small box, and of values near rounding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from boxcam.explain.evidence import Part
from boxcam.explain.explanation import Explanation
from boxcam.explain.panel import Panel
from boxcam.explain.pictures import make_panel
from boxcam.explain.totals import totals
from boxcam.types import CellMap, Grid
from tests.explain.made import EVEN, LEFT, explanation

SHAPE = (400, 600)


def small_evidence(values: np.ndarray, layer: str = "neck") -> Explanation:
    """A box of 20 pixels in the middle of an image, whose map has these values, a cell for each pixel."""
    found = explanation(EVEN)
    part = Part("p3", CellMap(values, (0, 0)), Grid(0, 0, 1, 1, (0, SHAPE[0]), (0, SHAPE[1])))
    return replace(
        found,
        image=np.zeros((*SHAPE, 3), np.uint8),
        layer=layer,
        detections=replace(found.detections, boxes=np.array([[290, 190, 310, 210]], np.float32)),
        parts=((part,),),
    )


def small_box(values: np.ndarray, layer: str = "neck") -> Panel:
    """Its panel."""
    found = small_evidence(values, layer)
    return make_panel(found, 0, totals(found, 0))


def with_values(peak: float, value: float, **changes: str) -> Explanation:
    """One box whose target is ``value``, and its map."""
    cells = (np.array(LEFT) / 2 * peak).tolist()
    return replace(explanation(cells), values=np.array([value], np.float32), **{"method": "hirescam"} | changes)
