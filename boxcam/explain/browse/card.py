"""What the page shows of a box, and of an image: small, since all of a run's are kept until the page is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from boxcam.explain.browse.view import draw_view, fitted, peak_of, view_of
from boxcam.explain.evidence import Evidence
from boxcam.explain.look import Look
from boxcam.explain.names import SHEET
from boxcam.explain.nouns import nouns, question
from boxcam.explain.place import hull, mark
from boxcam.explain.rounding import is_rounding
from boxcam.explain.totals import Totals
from boxcam.types import Float

SIZE = 180, 240
"""Height and width that a thumbnail has at most."""
_QUALITY = 80


@dataclass(frozen=True)
class Card:
    """A box.

    Attributes:
        name, label, score: its class, and how sure the model is.
        peak: the largest value of its map.
        inside: the share of the map's positive values that lies inside the box; None if that says nothing.
        depends: whether the box depends on the layer at all.
        thumbnail: a picture of the box and its heatmap, a WebP file.
        size: height and width of that.
        note: what else is said of it: why it was not reported, or the class that it is contrasted with.
        against: how much the strongest negative value speaks against the box; None if these are not drawn.
        rounding: whether the map is nothing but rounding errors; then nothing of it is drawn.
    """

    name: str
    label: int
    score: float
    peak: float
    inside: float | None
    depends: bool
    thumbnail: bytes = field(repr=False)
    size: tuple[int, int] = SIZE
    note: str = ""
    against: float | None = None
    rounding: bool = False


@dataclass(frozen=True)
class Entry:
    """An image and its boxes, the best first.

    Attributes:
        image: its name.
        sheet: name of the file of its sheet, in the folder of the page.
        bundle, method, layer, target: how its maps were made.
        classifier: whether the boxes are classes of the whole image.
        candidates: whether they are candidates at a place, and not boxes that were reported.
        asked: what was asked other than why the boxes are there, see `boxcam.explain.nouns.question`.
        look: how maps are drawn.
        cards: of its boxes.
    """

    image: str
    sheet: str
    bundle: str
    method: str
    layer: str
    target: str
    classifier: bool
    look: Look = Look()  # noqa: RUF009 - it is frozen
    candidates: bool = False
    asked: tuple[str, ...] = ()
    cards: list[Card] = field(default_factory=list)

    @property
    def nouns(self) -> tuple[str, str]:
        """What one of its cards is of, and several."""
        return nouns(self.classifier, self.candidates)


def entry_of(evidence: Evidence, name: str, look: Look) -> Entry:
    """An entry without its cards.

    Args:
        evidence: the explanation of an image.
        name: of its results, without extension.
        look: how its maps are drawn.
    """
    image = "image" if evidence.query.image is None else Path(evidence.query.image).name
    return Entry(
        image=image,
        sheet=name + SHEET,
        bundle=evidence.query.bundle,
        method=evidence.method,
        layer=evidence.layer,
        target=evidence.target,
        classifier=evidence.query.classifier,
        look=look,
        candidates=evidence.query.at is not None,
        asked=tuple(question(evidence)),
    )


def card_of(
    evidence: Evidence, k: int, values: Float, facts: Mapping[str, Any], look: Look, top: float | None = None
) -> Card:
    """A box of an explanation.

    Args:
        evidence: the explanation.
        k: which box.
        values: its map, float32 [H, W].
        facts: what is said of it, see `boxcam.explain.facts.box_facts`.
        look: how maps are drawn.
        top: the value that has the strongest colour in all maps of the image; None if each has a scale of its own.
    """
    image, classifier = evidence.image, evidence.query.classifier
    x1, y1, x2, y2 = (float(side) for side in evidence.detections.boxes[k])
    box, label = (x1, y1, x2, y2), int(facts["label"])
    said = Totals(float(facts["peak"]), float(values.min()), facts["share_inside_box"])
    rounding = is_rounding(evidence, k, said)
    if rounding:
        values = np.zeros_like(values)
    peaks = peak_of(values), peak_of(-values) if evidence.signed else None
    view = view_of(hull(box, evidence.query.at), image.shape, SIZE, [peak for peak in peaks if peak is not None])
    if classifier:
        view = 0, 0, image.shape[1], image.shape[0]
    size = fitted(view, SIZE)
    drawn = draw_view(image, values, view, size, None if classifier else (box, label), look, top)
    mark(drawn, evidence.query.at, view)
    good, data = cv2.imencode(".webp", drawn, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    assert good
    return Card(
        name=str(facts["name"]),
        label=label,
        score=float(facts["score"]),
        peak=said.peak,
        inside=None if classifier or rounding else said.inside,
        depends=bool(facts["depends_on_layer"]),
        thumbnail=np.asarray(data).tobytes(),
        size=size,
        note=_note(evidence, k),
        against=abs(min(said.lowest, 0.0)) if evidence.signed else None,
        rounding=rounding,
    )


def _note(evidence: Evidence, k: int) -> str:
    if evidence.candidates:
        return evidence.candidates[k].why
    return f"against {evidence.others[k]}" if evidence.others else ""
