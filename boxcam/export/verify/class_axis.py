"""Where the logits of a box's other classes lie, asked of the detector's own selection.

Along which axis of its logits a detector's classes lie, and how far apart, is written nowhere. But the graph tells of
every box both its class and the position of its logit. So what selects boxes is run on logits that are made up: high
ones are planted at positions all over, and what is reported of them is compared with every way in which classes can
lie. Then they are planted where the ways that are left say that the boxes just found have their other classes. One is
right if it alone is left, and boxes were found again as other classes where it said, the first and the last one among
them: a name too many at either end would make a class of what stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.bundle import ClassAxis
from boxcam.export.graphs.factors import with_factors
from boxcam.export.graphs.query import Array, all_values
from boxcam.export.graphs.run import observe_values, open_session
from boxcam.export.graphs.selection import cut_selection
from boxcam.export.trace.trace import Trace
from boxcam.export.verify.check import Run
from boxcam.types import Int

_RUNS = 8
"""And so many for each tensor of logits."""
_PLANTED = 200
"""Positions of each tensor in a run, at most."""
_BOXES = 4
"""Of those that were found, how many are asked for as another class, for each way in which classes may lie."""
_WAYS = 100
"""How many ways are asked about in a run."""
_AGAIN = 3
"""How many boxes have to be found as two classes."""
_STEPS = 1 << 16
"""From one class to the next, at most: of maps that are classes apart, as many cells."""


def class_axes(model: ir.Model, traced: Trace, labels: str, count: int, run: Run) -> tuple[ClassAxis | None, ...]:
    """Of each tensor of logits where a box's other classes are; None where the graph does not tell.

    That is also where ONNX Runtime cannot run the selection on logits that are made up.

    Args:
        model: the detector with the outputs of the trace.
        traced: of the class logit.
        labels: the output with the classes of boxes.
        count: of classes.
        run: a pass of it, with its logits.
    """
    names = [str(value.name) for value in traced.logits]
    alone = with_factors(model, traced.factors, lambda op, factor: op.value(1.0))
    selection = cut_selection(alone, names, (labels, str(traced.origin.name)))
    evidence = [
        Evidence(run.found[name].shape, count, has_others=activation == "Softmax")
        for name, activation in zip(names, traced.activations, strict=True)
    ]
    try:
        session, seen = open_session(selection.model), seen_of(model, selection.context, run)
    except Exception:  # noqa: BLE001 - onnxruntime's own errors share no public root
        return (None,) * len(names)
    for seed in range(_RUNS * (1 + len(names))):
        planted = _planted(selection.logits, run, evidence, names, np.random.default_rng(seed))
        try:
            found, origin = session.run(None, {**seen, **planted})
        except Exception:  # noqa: BLE001 - as above
            return (None,) * len(names)
        for number, one in enumerate(evidence):
            mine = origin[:, 0] == number
            one.add(origin[mine, 1 : 1 + len(one.shape)], found.reshape(-1)[mine].astype(np.int64))
        if all(one.is_settled for one in evidence):
            break
    return tuple(one.told for one in evidence)


def seen_of(model: ir.Model, names: Sequence[str], run: Run) -> dict[str, Array]:
    """Values of a detector in a run; it is run again for those that the run does not have."""
    values = {str(value.name): value for value in all_values(model.graph)}
    known = {**run.found, **run.feeds}
    given = {name: known[name] for name in names if name in known}
    computed = [name for name in names if name not in given]
    found = observe_values(model, [values[name] for name in computed], run.feeds)
    return {**given, **dict(zip(computed, found, strict=True))}


def _planted(
    inputs: Sequence[str], run: Run, evidence: Sequence[Evidence], names: Sequence[str], rng: np.random.Generator
) -> dict[str, Array]:
    """The logits of a run, with high ones that are made up; the highest ones are those that are asked for.

    A detector reports few boxes of all its tensors: each run is of one above all, and of none that is settled.
    """
    feeds = {}
    for name in inputs:
        values = run.found[name].copy()
        mine = [one for one, of in zip(evidence, names, strict=True) if of == name]
        if values.size and not all(one.is_settled for one in mine):
            anywhere = np.unravel_index(rng.integers(0, values.size, min(_PLANTED, 1 + values.size // 8)), values.shape)
            asked = np.concatenate([one.asked(rng) for one in mine])
            places = np.concatenate([np.stack(anywhere, 1), asked])
            high = max(float(values.max()), 0.0) + rng.uniform(0, 3) + rng.uniform(1, 3, len(places))
            high[len(places) - len(asked) :] += 1
            values[tuple(places.T)] = high.astype(values.dtype)
        feeds[name] = values
    return feeds


@dataclass(eq=False)
class Evidence:
    """What boxes tell of where the classes of one tensor of logits lie.

    Args:
        shape: of the tensor.
        count: of classes.
        has_others: whether the first or the last class may be one that is never reported, as the background of a
            softmax is.
    """

    shape: tuple[int, ...]
    count: int
    has_others: bool = False

    def __post_init__(self) -> None:
        self._places: Int = np.zeros((0, len(self.shape)), np.int64)
        self._labels: Int = np.zeros(0, np.int64)
        self._left: list[ClassAxis] | None = None

    def add(self, places: Int, labels: Int) -> None:
        """Boxes that were found: the positions of their logits, int64 [n, rank], and their classes, int64 [n]."""
        if len(labels):
            self._places = np.concatenate([self._places, places])
            self._labels = np.concatenate([self._labels, labels])
            self._left = [*self._fitting(self._left)]

    @property
    def told(self) -> ClassAxis | None:
        """Where classes lie; None if it is not settled."""
        if self._left is None or len(self._left) != 1 or self._found_again(self._left[0]) < _AGAIN:
            return None
        return self._left[0] if self.has_others or {0, self.count - 1} <= set(self._labels.tolist()) else None

    @property
    def is_settled(self) -> bool:
        """Whether no more boxes need to be asked for."""
        return self.told is not None or self._left == []

    def asked(self, rng: np.random.Generator) -> Int:
        """Where boxes that were found have another class, by the ways that are left: int64 [n, rank]."""
        left = self._left or []
        chosen = [left[k] for k in rng.permutation(len(left))[:_WAYS]]
        places: list[Int] = [np.zeros((0, len(self.shape)), np.int64)]
        for way in chosen:
            boxes = rng.integers(0, len(self._labels), _BOXES)
            moved = self._places[boxes].copy()
            others = rng.integers(0, self.count, _BOXES)
            others[: _BOXES // 2] = rng.choice([0, self.count - 1], _BOXES // 2)
            moved[:, way.axis] += (others - self._labels[boxes]) * way.step
            places.append(moved)
        return np.concatenate(places)

    def _fitting(self, known: Sequence[ClassAxis] | None) -> Iterator[ClassAxis]:
        """The ways in which classes may lie after all that was found; of those known before, if any were.

        All classes of each box lie inside of the axis, and two boxes have the same logits or none in common.
        """
        labels, last = self._labels, self.count - 1
        if ((labels < 0) | (labels > last)).any():
            return
        for axis, size in enumerate(self.shape):
            at = self._places[:, axis]
            after, before = labels > 0, labels < last
            most = min(
                int((at[after] // labels[after]).min(initial=size)),
                int(((size - 1 - at[before]) // (last - labels[before])).min(initial=size)),
            )
            steps: Iterable[int] = range(1, min(most, _STEPS) + 1)
            if known is not None:
                steps = [way.step for way in known if way.axis == axis and way.step <= most]
            for step in steps:
                first = np.unique(at - step * labels)
                order = np.lexsort((first, first % step))
                residue, apart = (first % step)[order], np.diff(first[order])
                if not ((np.diff(residue) == 0) & (apart < step * self.count)).any():
                    yield ClassAxis(axis, step)

    def _found_again(self, way: ClassAxis) -> int:
        """How many boxes were found as more than one class."""
        first = self._places.copy()
        first[:, way.axis] -= way.step * self._labels
        seen = np.unique(np.column_stack([first, self._labels]), axis=0)
        _, classes = np.unique(seen[:, :-1], axis=0, return_counts=True)
        return int((classes > 1).sum())
