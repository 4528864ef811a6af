"""A part of a map, at the size at which a picture shows it: placed there from its cells, not from pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.explain.evidence import Evidence, Part, fuse
from boxcam.explain.placement import place, seen_by
from boxcam.types import Float, View


def map_in(evidence: Evidence, k: int, view: View, size: tuple[int, int]) -> Float:
    """The map of one box, as far as a part of the image shows it; not for maps of single pixels.

    Args:
        evidence: the explanation.
        k: which box.
        view: the part.
        size: height and width of the picture that shows it.

    Returns:
        float32 [height, width], raw: each pixel of the picture as a pixel of the map would be.
    """
    if not evidence.fused:
        return _sum(evidence.parts[k], view, size)
    height, width = evidence.image.shape[:2]
    several = [parts[k] for parts in (evidence.parts, *evidence.fused)]
    peaks = [float(_sum(parts, (0, 0, width, height), (height, width)).max()) for parts in several]
    return fuse([_sum(parts, view, size) for parts in several], peaks, evidence.fusion)


def _sum(parts: Sequence[Part], view: View, size: tuple[int, int]) -> Float:
    result: Float = np.zeros(size, np.float32)
    for part in parts:
        result += place(part.cells, seen_by(part.grid, view, *size), *size)
    return result
