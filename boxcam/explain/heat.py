"""What of an explanation's maps is drawn: the value with the strongest colour, and each map as a picture shows it."""

from __future__ import annotations

import numpy as np

from boxcam.explain.evidence import Evidence
from boxcam.explain.look import Look
from boxcam.explain.panel import Shown, resampled
from boxcam.explain.render import PERCENTILE, brightest, drawn_values
from boxcam.explain.rounding import is_rounding, largest
from boxcam.explain.totals import Totals, totals, totals_of
from boxcam.explain.views import map_in
from boxcam.types import Float, View


def strongest(evidence: Evidence, k: int, values: Float | None = None) -> float:
    """The value of one map, as large as the image, that has the strongest colour; 0 if nothing of it is drawn.

    Args:
        evidence: the explanation.
        k: which box.
        values: its map, float32 [H, W], if it is there already.
    """
    said = totals(evidence, k) if values is None else totals_of(values, evidence.detections.boxes[k])
    if is_rounding(evidence, k, said):
        return 0.0
    if not evidence.of_pixels:
        return largest(said, evidence.signed)
    return brightest(evidence.map(k) if values is None else values, PERCENTILE, evidence.signed)


def common_top(evidence: Evidence, look: Look) -> float | None:
    """The value that has the strongest colour if all maps have one scale: that of the strongest of them; else None."""
    if look.scale != "common":
        return None
    return max((strongest(evidence, k) for k in range(len(evidence))), default=0.0)


def shown(evidence: Evidence, k: int, said: Totals, values: Float | None, view: View, size: tuple[int, int]) -> Shown:
    """The map of one box as a picture shows it.

    Args:
        evidence: the explanation.
        k: which box.
        said: of its map.
        values: its map, float32 [H, W]; None if it is of cells, which are placed at the size of the picture.
        view: the part of the image.
        size: height and width of the picture.
    """
    if largest(said, evidence.signed) == 0 or is_rounding(evidence, k, said):
        return Shown(np.zeros(size, np.float32), 0.0)
    if values is None:
        return Shown(map_in(evidence, k, view, size), largest(said, evidence.signed))
    x1, y1, x2, y2 = view
    part = np.asarray(resampled(drawn_values(values[y1:y2, x1:x2], evidence.signed), size), np.float32)
    top = brightest(part, PERCENTILE, evidence.signed)
    if (
        y2 - y1,
        x2 - x1,
    ) != values.shape:  # a part has the colours of the whole map, unless it is hotter than most of it
        top = max(top, brightest(values, PERCENTILE, evidence.signed))
    return Shown(part, top)
