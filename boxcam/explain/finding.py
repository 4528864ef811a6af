"""All boxes that a model might have reported of one image, near a place of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from boxcam.explain.metrics.overlap import iou
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.planting import Planting, every_place, numbers_of, scores_of
from boxcam.runtime.selection import Place, Rows, Selection
from boxcam.types import Detections, Float, Int

NEAR = 0.5
"""IoU with a place from which on a box lies there."""


@dataclass(frozen=True, eq=False)
class Near:
    """Candidates of one class, by how they overlap a place.

    Attributes:
        label: the class.
        origin: int64 [N, D], their logits.
        boxes: float32 [N, 4], x1 y1 x2 y2 in image pixels.
        iou: float64 [N], with the place.
        scores: float64 [N], as the model would report them.
        logits: float64 [N].
        planted: float32 [N], the scores where these logits are planted, which tell the factor that all classes share.
    """

    label: int
    origin: Int
    boxes: Float
    iou: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    logits: npt.NDArray[np.float64]
    planted: Float

    @property
    def best(self) -> int | None:
        """The one with the best score of those that lie there; None if none does."""
        there = np.flatnonzero(self.iou >= NEAR)
        return int(there[self.scores[there].argmax()]) if len(there) else None

    @property
    def nearest(self) -> int | None:
        """The one that overlaps the place most; the best of several, None without any."""
        if not len(self.iou):
            return None
        return int(np.lexsort((self.scores, self.iou))[-1])


class Finding:
    """One image's candidates.

    Args:
        model: a detector.
        prediction: a forward pass with ``extra=model.selection.names``.

    Attributes:
        found: the boxes that were reported, with the origins and the numbers of their class logits.
        classes: how many there are.

    Raises:
        EngineError: the bundle does not tell of candidates.
    """

    def __init__(self, model: Model, prediction: Prediction) -> None:
        self.model, self.prediction = model, prediction
        self.selection: Selection = model.selection
        self.classes = self.selection.told.classes
        every = range(len(prediction.detections))
        self.found: Detections = dataclasses.replace(
            prediction.detections,
            origin=model.origin(prediction, every, "logit"),
            logits=model.values(prediction, "logit"),
        )

    @cached_property
    def plantings(self) -> list[Planting]:
        """The tensors of class logits."""
        return self.selection.plantings(self.prediction.outputs)

    def near(self, label: int, place: Float) -> Near:
        """All candidates of a class, and how they overlap a place, float32 [4], x1 y1 x2 y2 in image pixels."""
        rows = self.selection.every(self.prediction.outputs, self.plantings, label)
        boxes = self.prediction.transform.boxes_to_image(rows.boxes)
        shares, scores = iou(boxes, place), self._scores(rows)
        return Near(label, rows.origin, boxes, shares, scores, self.logits(rows.origin), rows.scores)

    def likeliest(self, place: Float) -> int:
        """The class of the best score among candidates at a place; where none lies there, of the nearest one."""
        first = self.near(next(k for k in range(self.classes) if k not in self.selection.told.silent), place)
        there = np.flatnonzero(first.iou >= NEAR)
        if not len(there):
            there = np.array([] if first.nearest is None else [first.nearest], np.int64)
        best = (-1.0, 0)
        for k in there.tolist():
            scores = self.scores_of_row(first, k)
            scores[list(self.selection.told.silent)] = -1
            best = max(best, (float(scores.max()), int(scores.argmax())))
        return best[1]

    def scores_of_row(self, near: Near, k: int) -> npt.NDArray[np.float64]:
        """The scores of all classes of a candidate: float64 [C]."""
        shares = self.of_row(tuple(near.origin[k].tolist()))
        return scores_of(shares, np.full(len(shares), near.planted[k]), self.selection.told.form)

    def logits(self, origin: Int) -> npt.NDArray[np.float64]:
        """The class logits at some origins: float64 [n]."""
        found = np.zeros(len(origin))
        for number, one in enumerate(self.plantings):
            mine = origin[:, 0] == number
            found[mine] = one.values[tuple(origin[mine, 1 : 1 + one.values.ndim].T)]
        return found

    def row(self, place: Place) -> Int:
        """The logits of all classes of a candidate: int64 [C, D]."""
        number, *at = place
        places = self.plantings[number].classes(at)
        rows = np.zeros((len(places), len(place)), np.int64)
        rows[:, 0], rows[:, 1 : 1 + places.shape[1]] = number, places
        return rows

    def of_row(self, place: Place) -> npt.NDArray[np.float64]:
        """The probabilities of all classes of a candidate: float64 [C]."""
        return self.plantings[place[0]].probabilities(place[1:])

    def rank(self, score: float, near: Near) -> int:
        """How many candidates, each of any class, have a better score, and one more.

        Args:
            score: of a candidate.
            near: all candidates of one class, which tell the factors that all classes share.
        """
        better, first = 0, every_place(self.plantings, near.label)
        there, mine = (numbers_of(self.plantings, of) for of in (near.origin, first))
        order = np.argsort(there)
        at = order[np.minimum(np.searchsorted(there, mine, sorter=order), len(order) - 1)]
        factors = np.where(there[at] == mine, near.planted[at], 0.5).astype(np.float32)  # what is dropped has no score
        for other in set(range(self.classes)) - set(self.selection.told.silent):
            places = every_place(self.plantings, other)
            better += int((scores_of(self._shares(places), factors, self.selection.told.form) > score).sum())
        return better + 1

    def _scores(self, rows: Rows) -> npt.NDArray[np.float64]:
        return scores_of(self._shares(rows.origin), rows.scores, self.selection.told.form)

    def _shares(self, origin: Int) -> npt.NDArray[np.float64]:
        """The probabilities at some origins: float64 [n]."""
        found = np.zeros(len(origin))
        for number, one in enumerate(self.plantings):
            mine = origin[:, 0] == number
            found[mine] = one.shares(origin[mine, 1:])
        return found
