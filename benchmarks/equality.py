"""All methods that are timed have to give the same maps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TOLERANCE = 1e-3
"""Of a map's largest value. Two runtimes, float32 and a hundred layers of random weights leave about 1e-5."""


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


def require(
    method: str, maps: Mapping[int, Array], references: Mapping[int, Array], tolerance: float = TOLERANCE
) -> float:
    """The largest deviation of a method's maps from the references, by box.

    Raises:
        DisagreementError: it is more than the tolerance, or there is nothing to compare.
    """
    shared = sorted(set(maps) & set(references))
    if not any((references[box] > 0).any() for box in shared):
        raise DisagreementError(f"{method}: none of its boxes has a reference map with a positive value")
    worst = 0.0
    for box in shared:
        try:
            error = deviation(maps[box], references[box])
        except DisagreementError as reason:
            raise DisagreementError(f"{method}, box {box}: {reason}") from reason
        if not error <= tolerance:  # not ">": NaN must not pass
            raise DisagreementError(
                f"{method}, box {box}: its map deviates from the reference by {error:.1e} of the peak,"
                f" more than {tolerance:.0e}. Its time would mean nothing."
            )
        worst = max(worst, error)
    return worst
