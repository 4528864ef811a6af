"""Rows of detections as a set: two boxes of nearly equal score may swap places from one run to another.

1. Each row of the one run is paired with a row of the other that has its class, its box and its score, within the
   tolerance; where several have, with the one at its own place, or the nearest.
2. What is left over at the cut, where a selection takes so many of the best, may be a tie as well: a few rows whose
   scores are those of the last row, within the tolerance, stand for each other.
3. All else that is left over is paired in its order, and differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Outputs
from boxcam.export.graphs.query import Array
from boxcam.export.verify import detections
from boxcam.export.verify.check import Check
from boxcam.plurals import counted, verb

TOLERANCE = 1e-4
"""Relative to the largest value of a column, or to 1."""
TIES = 20
"""One row in so many, and at least one, may be another one at the cut."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Detections.

    Attributes:
        boxes: float64 [K, 4].
        scores: float64 [K].
        labels: int64 [K].
    """

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of(cls, names: Outputs, found: Mapping[str, Array]) -> Rows:
        """Those of a run."""
        boxes, scores = found[names.boxes], found[names.scores]
        boxes = boxes if names.box_columns is None else boxes[..., slice(*names.box_columns)]
        scores = scores if names.score_column is None else scores[..., names.score_column]
        flat = boxes.reshape(-1, 4).astype(np.float64), scores.reshape(-1).astype(np.float64)
        return cls(*flat, found[names.labels].reshape(-1).astype(np.int64))

    def describe(self, row: int) -> str:
        """A row, for people."""
        box = ", ".join(f"{side:.4g}" for side in self.boxes[row])
        return f"class {self.labels[row]} of {self.scores[row]:.6g} at [{box}]"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which rows of two runs are the same.

    Attributes:
        order: int64 [K], for each row of the first run the row of the second that it is compared with.
        same: bool [K], whether that is the same detection; a tie at the cut counts as the same.
        ties: bool [K], whether it is such a tie.
    """

    order: npt.NDArray[np.int64]
    same: npt.NDArray[np.bool_]
    ties: npt.NDArray[np.bool_]


def pair(expected: Rows, found: Rows) -> Pairs:
    """Pair the rows of two runs, which have to be equal in number."""
    count = len(expected)
    order = np.full(count, -1, np.int64)
    near_score, near_box = _tolerance(expected.scores), _tolerance(expected.boxes)
    free = np.ones(count, bool)
    for row in range(count):
        score = np.abs(found.scores - expected.scores[row])
        box = np.abs(found.boxes - expected.boxes[row]).max(-1, initial=0)
        fits = free & (found.labels == expected.labels[row]) & (score <= near_score) & (box <= near_box)
        if fits.any():
            choice = (
                row if fits[row] else int(np.flatnonzero(fits)[(score / near_score + box / near_box)[fits].argmin()])
            )
            order[row], free[choice] = choice, False
    lost, extra = np.flatnonzero(order < 0), np.flatnonzero(free)
    order[lost] = extra
    lowest = expected.scores.min(initial=np.inf)
    scores = np.stack([expected.scores[lost], found.scores[extra]])
    ties = np.zeros(count, bool)
    if len(lost) <= max(count // TIES, 1) < count:
        ties[lost] = (np.abs(scores - lowest) <= near_score).all(0)
    same = np.ones(count, bool)
    same[lost] = False
    return Pairs(order, same | ties, ties)


def outputs(names: Outputs, original: Mapping[str, Array], augmented: Mapping[str, Array]) -> Check:
    """The new graph's outputs against the original's, rows as a set; the first row that differs is named.

    Args:
        names: which outputs hold the detections.
        original: the detector's outputs in one run.
        augmented: those of the new graph, in the same run.
    """
    expected, found = Rows.of(names, original), Rows.of(names, augmented)
    if len(expected) != len(found):
        detail = f"{counted(len(found), 'detection')} instead of {len(expected)}"
        return replace(detections.outputs(original, augmented), error=float("inf"), detail=detail)
    pairs = pair(expected, found)
    ours = {name: _taken(augmented[name], pairs.order) for name in original}
    for row in np.flatnonzero(pairs.ties):
        ours = {name: _with_row(array, original[name], int(row), len(expected)) for name, array in ours.items()}
    detail = ""
    if not pairs.same.all():
        first = int(np.flatnonzero(~pairs.same)[0])
        have, want = found.describe(int(pairs.order[first])), expected.describe(first)
        other, all_of_them = int((~pairs.same).sum()), counted(len(expected), "detection")
        detail = f"{have} instead of {want}; {other} of {all_of_them} {verb(other, 'differs', 'differ')}"
    return replace(detections.outputs(original, ours), detail=detail)


def _axis(array: Array, count: int) -> int | None:
    """The axis of the rows of a tensor; None if it has none."""
    axis = 1 if array.ndim > 1 and array.shape[0] == 1 else 0
    return axis if array.ndim and array.shape[axis] == count else None


def _taken(array: Array, order: npt.NDArray[np.int64]) -> Array:
    """A tensor with its rows in another order; one that has other rows as it is."""
    axis = _axis(array, len(order))
    return array if axis is None else array.take(order, axis)


def _with_row(array: Array, other: Array, row: int, count: int) -> Array:
    """A tensor with one row of another one."""
    axis = _axis(array, count)
    if axis is None or array.shape != other.shape:
        return array
    copy = array.copy()
    place = (slice(None),) * axis + (row,)
    copy[place] = other[place]
    return copy


def _tolerance(values: npt.NDArray[np.float64]) -> float:
    return TOLERANCE * max(float(np.abs(values).max(initial=0)), 1.0)
