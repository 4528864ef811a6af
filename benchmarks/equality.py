"""All methods that are timed have to give the same maps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TYPICAL, MOST = 1e-4, 0.05
"""Of a map's largest value: what half of a method's maps may deviate by, and what none may exceed.

Two runtimes leave about 1e-6. But where a ReLU's input is zero but for that much, one of them stops a gradient that the
other lets pass, and that alone can move a map by a per cent: of many boxes, one may have such a cell.
"""


class DisagreementError(Exception):
    """A method's maps are not the others': its time means nothing."""


def deviation(found: Array, reference: Array) -> float:
    """The largest difference between a map and the reference, as a share of the reference's largest value.

    Args:
        found: a Grad-CAM map [H, W]: after ReLU.
        reference: the weighted sum of channels [H, W], before ReLU.

    Raises:
        DisagreementError: they have different shapes.
    """
    if found.shape != reference.shape:
        raise DisagreementError(f"a map of {list(found.shape)} cells, where the reference has {list(reference.shape)}")
    scale = float(np.abs(reference).max())
    return float(np.abs(found - np.maximum(reference, 0)).max() / scale) if scale else float(np.abs(found).max())


def require(method: str, maps: Mapping[int, Array], references: Mapping[int, Array]) -> float:
    """The largest deviation of a method's maps from the references, by box.

    Raises:
        DisagreementError: the maps deviate by too much, or there is nothing to compare.
    """
    shared = sorted(set(maps) & set(references))
    if not any((references[box] > 0).any() for box in shared):
        raise DisagreementError(f"{method}: none of its boxes has a reference map with a positive value")
    errors = {}
    for box in shared:
        try:
            errors[box] = deviation(maps[box], references[box])
        except DisagreementError as reason:
            raise DisagreementError(f"{method}, box {box}: {reason}") from reason
    worst, half = max(errors, key=lambda box: _rank(errors[box])), sorted(errors.values(), key=_rank)[len(errors) // 2]
    if not (errors[worst] <= MOST and half <= TYPICAL):  # not ">": NaN must not pass
        raise DisagreementError(
            f"{method}: its maps deviate from the reference by {half:.1e} of the peak in the middle ({TYPICAL:.0e} is"
            f" allowed), by {errors[worst]:.1e} at the most ({MOST:.0e}), in box {worst}. Its time would mean nothing."
        )
    return errors[worst]


def _rank(error: float) -> float:
    """What is no number is worst."""
    return math.inf if math.isnan(error) else error
