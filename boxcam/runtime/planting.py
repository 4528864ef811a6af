"""Class logits that are made up: high where something is asked, low everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Rows, ScoreForm
from boxcam.types import Int

_SIGMOID = 80.0
"""A logit whose probability is 1 in float32, and that of its negative as good as 0."""
_FAR = 100.0
"""By how much a logit of a softmax is above all others, or below."""


@dataclass(frozen=True, eq=False)
class Planting:
    """One tensor of class logits, and which of its numbers are those of candidates.

    Attributes:
        values: the tensor in a forward pass.
        rows: where the candidates are in it.
        count: of classes.
        activation: between a logit and its probability.
    """

    values: npt.NDArray[np.float32]
    rows: Rows
    count: int
    activation: str

    @property
    def high(self) -> float:
        """A logit of probability 1."""
        if self.activation == "Sigmoid":
            return _SIGMOID
        return float(self.values.max(initial=0)) + _FAR if self.activation == "Softmax" else 1.0

    @property
    def low(self) -> float:
        """A logit of probability 0."""
        if self.activation == "Sigmoid":
            return -_SIGMOID
        return float(self.values.min(initial=0)) - _FAR if self.activation == "Softmax" else 0.0

    def places(self, label: int) -> Int:
        """Where the logits of a class are, of all candidates: int64 [N, rank]."""
        axis, shape = self.rows.axis, self.values.shape
        along = np.array(self.rows.firsts, np.int64) + label * self.rows.step
        sizes = [len(along) if k == axis else size for k, size in enumerate(shape)]
        grid = np.indices(sizes, np.int64).reshape(len(sizes), -1).T
        grid[:, axis] = along[grid[:, axis]]
        return grid

    def classes(self, place: Sequence[int]) -> Int:
        """Where the logits of all classes of a candidate are: int64 [C, rank].

        Args:
            place: of one of them.
        """
        first = self.first(place)
        found = np.repeat(np.asarray(place, np.int64)[None, : self.values.ndim], self.count, axis=0)
        found[:, self.rows.axis] = first + self.rows.step * np.arange(self.count)
        return found

    def first(self, place: Sequence[int]) -> int:
        """Along the axis, the place of the first class of the candidate that a logit is of.

        Raises:
            ValueError: it is no class logit.
        """
        at = int(place[self.rows.axis])
        for first in self.rows.firsts:
            label, rest = divmod(at - first, self.rows.step)
            if rest == 0 and 0 <= label < self.count:
                return first
        raise ValueError(f"{tuple(place)} is no class logit")

    def lower(self, values: npt.NDArray[np.float32]) -> None:
        """Make all class logits of such a tensor low; what else it holds stays as it is."""
        along = np.array(self.rows.firsts)[:, None] + self.rows.step * np.arange(self.count)
        index: list[slice | npt.NDArray[np.int64]] = [slice(None)] * values.ndim
        index[self.rows.axis] = along.reshape(-1)
        values[tuple(index)] = self.low

    def probabilities(self, place: Sequence[int]) -> npt.NDArray[np.float64]:
        """Of all classes of a candidate: float64 [C].

        Args:
            place: of one of its logits.
        """
        return self.shares(self.classes(place))

    def shares(self, places: Int) -> npt.NDArray[np.float64]:
        """The probabilities of some class logits: float64 [n].

        Args:
            places: int64 [n, rank], or longer rows, as origins are.
        """
        places = places[:, : self.values.ndim]
        logits = self.values[tuple(places.T)].astype(np.float64)
        if self.activation == "Sigmoid":
            found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-logits))
            return found
        if self.activation != "Softmax" or not len(places):
            return np.asarray(logits, np.float64)
        lines = self._lines(places)
        most = lines.max(axis=1)
        shares: npt.NDArray[np.float64] = np.exp(logits - most) / np.exp(lines - most[:, None]).sum(axis=1)
        return shares

    def _lines(self, places: Int) -> npt.NDArray[np.float64]:
        """All logits that share a softmax with those of some places, that of the background included: [n, size]."""
        axis, size = self.rows.axis, self.values.shape[self.rows.axis]
        share, at = size // len(self.rows.firsts), places[:, axis]
        if self.rows.step == 1:
            along = (at // share * share)[:, None] + np.arange(share)
        else:
            along = (at % self.rows.step)[:, None] + self.rows.step * np.arange(size // self.rows.step)
        index = [along if k == axis else places[:, k, None] for k in range(self.values.ndim)]
        return np.asarray(self.values[tuple(index)], np.float64)


def all_low(names: Sequence[str], plantings: Sequence[Planting]) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of class logits, all of these low, by name.

    Args:
        names: of the tensors; two may be one.
        plantings: of each of them.
    """
    found: dict[str, npt.NDArray[np.float32]] = {}
    for name, one in zip(names, plantings, strict=True):
        one.lower(found.setdefault(name, one.values.copy()))
    return found


def every_place(plantings: Sequence[Planting], label: int) -> Int:
    """Where the logits of a class are, of all candidates: int64 [N, D], the number of the tensor, then the place in it.

    Places of tensors with fewer axes end in zeros, as origins do.
    """
    width = 1 + max(one.values.ndim for one in plantings)
    found = []
    for number, one in enumerate(plantings):
        places = one.places(label)
        rows = np.zeros((len(places), width), np.int64)
        rows[:, 0], rows[:, 1 : 1 + places.shape[1]] = number, places
        found.append(rows)
    return np.concatenate(found)


def numbers_of(plantings: Sequence[Planting], origin: Int) -> Int:
    """One number for each class logit, the same for the same one: int64 [N].

    Args:
        plantings: of the tensors.
        origin: int64 [N, D].
    """
    found, before = np.full(len(origin), -1, np.int64), 0
    for number, one in enumerate(plantings):
        mine = origin[:, 0] == number
        places = origin[mine, 1 : 1 + one.values.ndim]
        found[mine] = before + np.ravel_multi_index(tuple(places.T), one.values.shape)
        before += one.values.size
    return found


def planted(names: Sequence[str], plantings: Sequence[Planting], origin: Int) -> dict[str, npt.NDArray[np.float32]]:
    """The tensors of class logits, all of these low but some, by name.

    Args:
        names: of the tensors; two may be one.
        plantings: of each of them.
        origin: int64 [N, D], which are high.
    """
    found = all_low(names, plantings)
    for number, (name, one) in enumerate(zip(names, plantings, strict=True)):
        places = origin[origin[:, 0] == number, 1 : 1 + one.values.ndim]
        found[name][tuple(places.T)] = one.high
    return found


def factors_of(planted: npt.NDArray[np.float32], form: ScoreForm) -> npt.NDArray[np.float64]:
    """The factors f of scores that all classes of a candidate share: float64 [n].

    Args:
        planted: scores where the logit is planted, and the factor is made (1 + f) / 2, [n].
        form: how the score is made of probability and factor.
    """
    given = planted.astype(np.float64)
    found: npt.NDArray[np.float64] = 2 * (given**2 if form == "root" else given) - 1
    return found


def scores_of(
    probabilities: npt.NDArray[np.float64], planted: npt.NDArray[np.float32], form: ScoreForm
) -> npt.NDArray[np.float64]:
    """The scores of candidates: float64 [n].

    Args:
        probabilities: of their classes, by their logits, [n].
        planted, form: as for `factors_of`.
    """
    product: npt.NDArray[np.float64] = np.maximum(probabilities * factors_of(planted, form), 0)
    return np.sqrt(product) if form == "root" else product
