"""An explanation as pictures: the image under a heatmap, and the sheet of all boxes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from boxcam.explain.advice import alternative, speaks
from boxcam.explain.colors import line_width, paint
from boxcam.explain.evidence import DETECTION, Evidence, Query
from boxcam.explain.heat import common_top, shown, strongest
from boxcam.explain.legend import strongest_of
from boxcam.explain.lettering import legible
from boxcam.explain.look import Look
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.nouns import question, standing
from boxcam.explain.panel import CloseUp, Panel, locator_size, picture_size, surroundings
from boxcam.explain.place import hull
from boxcam.explain.render import class_color, outline, place_box, scaled
from boxcam.explain.rounding import is_rounding, largest
from boxcam.explain.sheet import Words, sheet
from boxcam.explain.totals import Totals
from boxcam.runtime.pixels import check_color
from boxcam.targets import LOGIT, TARGETS
from boxcam.types import Corners, Float, Image


def draw_overlay(evidence: Evidence, indices: Iterable[int], look: Look, outlines: bool = True) -> Image:
    """The image under the heatmap of some boxes: where several overlap, the strongest colour is shown.

    Args:
        evidence: the explanation.
        indices: which boxes.
        look: how heat is drawn; on a common scale, it is that of all boxes, also those that are not shown.
        outlines: whether to draw the boxes, too.

    Returns:
        uint8 [H, W, 3], BGR, as large as the image.
    """
    image, chosen = evidence.image, list(indices)
    heat: Float = np.zeros(image.shape[:2], np.float32)
    common = common_top(evidence, look) if chosen else None
    for k in chosen:
        values = evidence.map(k)
        top = strongest(evidence, k, values)
        one = scaled(values, max(top, common or 0.0) if top > 0 else 0.0, look.signed)
        np.copyto(heat, one, where=np.abs(one) > np.abs(heat))
    picture = paint(image, heat, look)
    if outlines and not evidence.query.classifier:
        for k in reversed(chosen):
            label, width = int(evidence.detections.labels[k]), line_width(picture)
            outline(picture, place_box(_corners(evidence, k), picture, image.shape), class_color(label), width)
    return picture


def draw_sheet(evidence: Evidence, panels: Sequence[Panel], look: Look) -> Image:
    """The sheet: all boxes, then each with its heatmap.

    Args:
        evidence: the explanation.
        panels: one for each box, see `make_panel`.
        look: how heat is drawn.

    Returns:
        uint8 [height, width, 3], BGR.
    """
    query = evidence.query
    how = f"method {evidence.method}, layer {evidence.layer}, model {query.bundle}{_of_target(evidence)}"
    words = Words(
        title="image" if query.image is None else Path(query.image).name,
        subtitle="\n".join([f"{how}; {query.drawn}" if query.drawn else how, *question(evidence)]),
        note=_note(evidence, panels),
        strongest=strongest_of(look),
        nothing=_nothing(query),
        classifier=query.classifier,
        candidates=standing(evidence.candidates, query.score) if evidence.candidates else "",
    )
    return sheet(evidence.image, panels, words, look)


def make_panel(evidence: Evidence, k: int, said: Totals, values: Float | None = None) -> Panel:
    """What the sheet shows of one box; nothing of it is as large as the image.

    Maps of cells are placed at the size at which they are shown. Maps of single pixels are made as large as the image
    first, and then smaller.

    Args:
        evidence: the explanation.
        k: which box.
        said: of its map.
        values: its map, float32 [H, W], if it is there already.
    """
    detections, box = evidence.detections, _corners(evidence, k)
    height, width = evidence.image.shape[:2]
    size, noise = picture_size((height, width), len(evidence)), is_rounding(evidence, k, said)
    lit = largest(said, evidence.signed) > 0 and not noise
    if not evidence.of_pixels:
        values = None
    elif values is None:
        values = evidence.map(k)
    whole, view = (0, 0, width, height), None
    if lit and not evidence.query.classifier:
        view = surroundings(hull(box, evidence.query.at), (height, width), size)
    small = None if view is None else shown(evidence, k, said, values, whole, locator_size(size))
    return Panel(
        box=box,
        label=int(detections.labels[k]),
        name=detections.names[k],
        score=float(detections.scores[k]),
        peak=said.peak,
        shown=shown(evidence, k, said, values, view or whole, size),
        close_up=None if view is None or small is None else CloseUp(view, small),
        inside=None if evidence.query.classifier else said.inside,
        depends=evidence.depends(k),
        against=abs(min(said.lowest, 0.0)) if evidence.signed else None,
        rounding=noise,
        rival=evidence.others[k] if evidence.others else "",
        place=evidence.query.at,
    )


def in_color(picture: Image, color: str) -> Image:
    """A picture in BGR, in that order of channels.

    Raises:
        ArgumentError: the order is none.
    """
    check_color(color)
    return np.ascontiguousarray(picture[..., ::-1]) if color == "RGB" else picture


def _corners(evidence: Evidence, k: int) -> Corners:
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
    """Lines: why what was asked about was not reported, what an empty map means, and names that are numbers."""
    lines = [one.sentence for one in evidence.candidates]
    if not all(panel.peak > 0 or panel.against or not panel.depends for panel in panels):
        other = alternative(evidence)
        more = "" if other is None else f" {other.method} may show more."
        lines.append(
            f"An empty map: {evidence.method} found nothing at {evidence.layer} that {speaks(evidence)}.{more}"
        )
    if not all(legible(name) for name in (*evidence.detections.names, *evidence.others)):
        lines.append("Class names that this font lacks are numbers here; index.html and the .json have them.")
    return "\n".join(lines)


def _nothing(query: Query) -> str:
    """What the sheet says where there is no box, and so nothing else: what was asked for."""
    such = "such " if query.classes else ""
    rank = f" at rank {' or '.join(map(str, query.rank))}" if query.rank else ""
    score = f" of score {query.score:g} or more" if query.score > 0 else ""
    return f"no {such}{'class' if query.classifier else 'box'}{rank}{score}"
