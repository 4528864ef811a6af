"""An explanation as pictures: the image under a heatmap, and the sheet of all boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from boxcam.explain.advice import alternative
from boxcam.explain.evidence import DETECTION, Evidence, Query
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.panel import Panel, close_up, panel_heat
from boxcam.explain.render import PERCENTILE, class_color, fade, heatmap, outline, overlay, place_box
from boxcam.explain.sheet import Words, sheet
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
    if outlines and not evidence.query.classifier:
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
    subtitle = f"method {evidence.method}, layer {evidence.layer}, model {query.bundle}{_of_target(evidence)}"
    words = Words(
        title="image" if query.image is None else Path(query.image).name,
        subtitle=f"{subtitle}; {query.drawn}" if query.drawn else subtitle,
        note=_note(evidence, panels),
        brightest=(
            f"hottest {100 - PERCENTILE} % of each map's positive pixels" if evidence.of_pixels else Words.brightest
        ),
        nothing=_nothing(query),
        classifier=query.classifier,
    )
    return sheet(evidence.image, panels, words)


def make_panel(evidence: Evidence, k: int, values: Float, inside: float | None) -> Panel:
    """What the sheet shows of one box; nothing of it is as large as the image.

    Args:
        evidence: the explanation.
        k: which box.
        values: its map, float32 [H, W].
        inside: the share of its positive values that lies inside the box.
    """
    detections, box = evidence.detections, _corners(evidence, k)
    peak = float(values.max())
    return Panel(
        box=box,
        label=int(detections.labels[k]),
        name=detections.names[k],
        score=float(detections.scores[k]),
        peak=peak,
        heat=panel_heat(values, len(evidence), evidence.of_pixels),
        close_up=close_up(values, box, len(evidence), evidence.of_pixels) if peak > 0 else None,
        inside=None if evidence.query.classifier else inside,
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
    """What of a box was explained, if not its class: of a side, lit is what makes its number larger."""
    if evidence.target in (LOGIT.name, DETECTION):
        return ""
    if evidence.target not in TARGETS:  # of a package that is not installed here
        return f". {evidence.target}"
    target = TARGETS[evidence.target]
    method = METHODS[evidence.method]
    signed = isinstance(method, Method) and not method.image  # methods of pixels show what matters, for and against
    way = f": what moves it {target.larger}" if target.larger and signed else ""
    return f". {evidence.target}, {target.meaning}{way}"


def _note(evidence: Evidence, panels: Sequence[Panel]) -> str:
    """What an empty map means, if there is one."""
    if all(panel.peak > 0 or not panel.depends for panel in panels):
        return ""
    other = alternative(evidence)
    more = "" if other is None else f" {other.method} may show more."
    what = "class" if evidence.query.classifier else "box"
    return f"An empty map: {evidence.method} found nothing at {evidence.layer} that speaks for the {what}.{more}"


def _nothing(query: Query) -> str:
    """What the sheet says where there is no box, and so nothing else: what was asked for."""
    such = "such " if query.classes else ""
    rank = f" at rank {' or '.join(map(str, query.rank))}" if query.rank else ""
    score = f" of score {query.score:g} or more" if query.score > 0 else ""
    return f"no {such}{'class' if query.classifier else 'box'}{rank}{score}"
