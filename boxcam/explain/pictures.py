"""An explanation as pictures: the image under a heatmap, and the sheet of all boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from boxcam.explain.evidence import Evidence
from boxcam.explain.methods import METHODS
from boxcam.explain.render import PERCENTILE, class_color, fade, heatmap, outline, overlay, place_box
from boxcam.explain.sheet import Panel, panel_heat, sheet
from boxcam.runtime.pixels import check_color
from boxcam.targets import LOGIT, TARGETS
from boxcam.types import Float, Image


def draw_overlay(evidence: Evidence, indices: Iterable[int], outlines: bool = True) -> Image:
    """The image under the heatmap of some boxes: where several overlap, the strongest colour is shown.

    Args:
        evidence: the explanation.
        indices: which boxes; each heatmap is scaled to its own peak.
        outlines: whether to draw the boxes, too.

    Returns:
        uint8 [H, W, 3], BGR, as large as the image.
    """
    image, chosen = evidence.image, list(indices)
    heat: Float = np.zeros(image.shape[:2], np.float32)
    for k in chosen:
        np.maximum(heat, heatmap(evidence.map(k), PERCENTILE if evidence.of_pixels else 100), out=heat)
    picture = overlay(fade(image), heat)
    if outlines:
        for k in reversed(chosen):
            label = int(evidence.detections.labels[k])
            outline(picture, place_box(_corners(evidence, k), picture, image.shape), class_color(label))
    return picture


def draw_sheet(evidence: Evidence, panels: Sequence[Panel]) -> Image:
    """The sheet: all boxes, then each with its heatmap.

    Args:
        evidence: the explanation.
        panels: one for each box, see `make_panel`.

    Returns:
        uint8 [height, width, 3], BGR.
    """
    query = evidence.query
    title = "image" if query.image is None else Path(query.image).name
    subtitle = f"{evidence.method}{_of_target(evidence)} at {evidence.layer}, {query.bundle}"
    subtitle += f"; {query.drawn}" if query.drawn else ""
    brightest = f"{PERCENTILE} % of the lit pixels" if evidence.of_pixels else "peak (per box)"
    return sheet(evidence.image, panels, title, subtitle, brightest)


def make_panel(evidence: Evidence, k: int, values: Float) -> Panel:
    """What the sheet shows of one box; nothing of it is as large as the image.

    Args:
        evidence: the explanation.
        k: which box.
        values: its map, float32 [H, W].
    """
    detections = evidence.detections
    return Panel(
        box=_corners(evidence, k),
        label=int(detections.labels[k]),
        name=detections.names[k],
        score=float(detections.scores[k]),
        peak=float(values.max()),
        heat=panel_heat(values, len(evidence), evidence.of_pixels),
        depends=evidence.depends(k),
    )


def in_color(picture: Image, color: str) -> Image:
    """A picture in BGR, in that order of channels.

    Raises:
        ArgumentError: the order is none.
    """
    check_color(color)
    return np.ascontiguousarray(picture[..., ::-1]) if color == "RGB" else picture


def _corners(evidence: Evidence, k: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(v) for v in evidence.detections.boxes[k])
    return x1, y1, x2, y2


def _of_target(evidence: Evidence) -> str:
    """What of a box was explained: of a side, lit is what makes its number larger."""
    if evidence.target == LOGIT.name:
        return ""
    way = TARGETS[evidence.target].larger if evidence.target in TARGETS else ""
    signed = not METHODS[evidence.method].image  # methods of pixels show what matters, for and against
    return f" of {evidence.target}{f' (what moves it {way})' if way and signed else ''}"
