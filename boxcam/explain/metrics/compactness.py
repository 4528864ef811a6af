"""ODAM's compactness."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import Array, evidence, highest
from boxcam.types import Float


def compactness(values: Float, box: Array) -> float:
    """How far a map's evidence is spread: √(Σ H d² / (¼ (w² + h²) Σ H)), d from where the map is highest.

    Zhao and Chan, "ODAM: Gradient-based Instance-specific Visual Explanations for Object Detection", ICLR 2023,
    and its code (tools/eval_pointgame.py). w and h are the sides of the box, so that 1 is half of its diagonal; the
    lower, the more compact, wherever the map lies. Where several pixels are equally high, d² is the mean of the squared
    distances from them; that code leaves such an object out.

    Args:
        values: [H, W], a map in image pixels.
        box: [4], x1 y1 x2 y2 in image pixels.

    Returns:
        0 or more; NaN for a map without evidence, or a box without an extent.

    Raises:
        ArgumentError: it is not a map.

    >>> import numpy as np
    >>> round(compactness(np.float32([[2, 0, 0, 1]]), np.array([0, 0, 2, 0])), 4)
    1.7321
    """
    heat = evidence(values)
    rows, columns = highest(heat)
    scale = float((box[2] - box[0]) ** 2 + (box[3] - box[1]) ** 2) / 4
    if not len(rows) or not scale > 0:
        return float("nan")
    squares = 0.0
    for peaks, weights in ((rows, heat.sum(axis=1)), (columns, heat.sum(axis=0))):
        places = np.arange(len(weights))
        squares += float(weights @ (places**2 - 2 * places * peaks.mean() + np.mean(peaks.astype(np.float64) ** 2)))
    return float(np.sqrt(max(squares, 0.0) / (scale * heat.sum())))
