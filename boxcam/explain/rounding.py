"""Maps that are nothing but rounding.

The number that a map explains, a logit say, is a float32: it changes in steps of 2**-23 of its size. A map of cells
tells how much each cell adds to that number. Where even its peak is smaller than such a step, taking the cell away
would not change the number at all, and what colours there are would be those of rounding errors.
"""

from __future__ import annotations

import numpy as np

from boxcam.explain.evidence import DETECTION, NO_ENGINE, Evidence
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.totals import Totals

STEP = float(np.finfo(np.float32).eps)
"""Of a float32, as a share of its size."""
RANGE = 255.0
"""Maps of pixels tell how much a change of an input by 1 matters; inputs have at most so large a range."""


def floor(evidence: Evidence, k: int) -> float:
    """The peak that the map of a box has at least to be more than rounding; 0 if that is not known.

    It is not for methods that run the model again and compare, nor for several maps in one, which are shares of peaks.
    A method that weighs whole channels, by means of the gradient over the feature map say, makes values that are
    smaller by the number of its cells.
    """
    method = METHODS[evidence.method]
    if not isinstance(method, Method) or not method.gradient or evidence.fused or not evidence.parts[k]:
        return 0.0
    if evidence.target == DETECTION or evidence.engine == NO_ENGINE:
        return 0.0
    step = STEP * _size(evidence, k)
    if method.image:
        return step / RANGE
    if not method.features:
        return step
    return step / max(_cells(part.grid.rows) * _cells(part.grid.columns) for part in evidence.parts[k])


def largest(said: Totals, signed: bool) -> float:
    """Of the values that are drawn; 0 if there are none."""
    return max(said.peak, -said.lowest if signed else 0.0, 0.0)


def is_rounding(evidence: Evidence, k: int, said: Totals) -> bool:
    """Whether the map of a box has values to draw, and all of them are rounding errors."""
    return 0 < largest(said, evidence.signed) < floor(evidence, k)


def _size(evidence: Evidence, k: int) -> float:
    """Of the number that is explained; of a contrast, that of the larger one of the two logits it is made of.

    Where both are nearly the same, their difference is small, but it is no more exact than they are.
    """
    value = float(evidence.values[k])
    if not evidence.others:
        return abs(value)
    own = float(evidence.detections.logits[k])
    return max(abs(own), abs(own - value))


def _cells(ends: tuple[int, int]) -> int:
    return ends[1] - ends[0]
