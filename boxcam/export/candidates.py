"""The boxes that a detector did not report: its selection as a graph of its own, as it is and opened.

A candidate is a box, of one class, that the detector might have reported. Which box belongs to a class logit is written
nowhere, but the detector's own selection tells: if a logit is planted, high among low ones, what is reported is its
box. So the part of the detector from the logits on is cut out (`boxcam.export.graphs.selection`), and opened, so that
all that is planted comes out (`boxcam.export.passes.open_selection`). A factor f of a score that all classes share, as
objectness, is made (1 + f) / 2 there: then no threshold stops what is planted, and its score tells f.

Here it is found out where the logits are, and shown on the sample that the graphs tell what the detector reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Candidates, ClassAxis, Logits, Outputs, Rows
from boxcam.errors import TraceError
from boxcam.export.graphs.factors import with_factors
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.run import open_session
from boxcam.export.graphs.selection import Selection, cut_selection
from boxcam.export.passes.open_selection import ASKED, open_selection
from boxcam.export.trace.trace import Trace, trace
from boxcam.export.verify.check import Run
from boxcam.export.verify.class_axis import seen_of
from boxcam.runtime.failures import reason
from boxcam.runtime.outputs import rows_of
from boxcam.runtime.planting import Form, Planting, planted, score_of
from boxcam.types import Int

OPENED, SELECTION = "candidates.onnx", "selection.onnx"
_CLOSE = 2e-3
"""By how much a score may differ, and a side of a box as a share of the longest one."""
_CHECKED = 40
"""Boxes of the run that are compared, at most."""
_MOST_PLACES = 4096
"""Along the axis of classes, at most."""
_TRIES = 4
"""Runs in which a place is planted, elsewhere on the other axes, until it is reported."""


class NoCandidatesError(Exception):
    """Why there are no candidates, for people."""


@dataclass(frozen=True, eq=False)
class CandidateGraphs:
    """The graphs of candidates before it is known whether they can be used.

    Attributes:
        opened, plain: the selection, without suppressing anything and as it is.
    """

    opened: Selection
    plain: Selection

    @property
    def context(self) -> tuple[str, ...]:
        """Names of values of the detector that they read in addition to the logits."""
        return tuple(dict.fromkeys((*self.opened.context, *self.plain.context)))


def cut(base: ir.Model, model: ir.Model, traced: Trace, outputs: Outputs) -> CandidateGraphs:
    """Cut the selection out of a detector.

    Args:
        base: the detector, folded.
        model: the same with the outputs of the trace.
        traced: of the class logit.
        outputs: which of its outputs hold the detections.

    Raises:
        NoCandidatesError: without suppression, boxes cannot be followed to their logits.
    """
    logits = [str(value.name) for value in traced.logits]
    wanted = tuple(dict.fromkeys((outputs.boxes, outputs.scores, outputs.labels, str(traced.origin.name))))
    opened = with_factors(base, traced.factors, lambda op, f: op.Mul(op.Add(f, 1.0), 0.5))
    open_selection(opened, logits)
    try:
        again = trace(opened.graph, outputs, traced.target)
    except TraceError as error:
        raise NoCandidatesError(str(error).partition(". ")[0]) from error
    if [str(value.name) for value in again.logits] != logits:
        raise NoCandidatesError("without suppression, its scores come from other logits")
    return CandidateGraphs(cut_selection(opened, logits, wanted, [ASKED]), cut_selection(model, logits, wanted))


def usable(
    graphs: CandidateGraphs,
    model: ir.Model,
    ends: Sequence[Logits],
    outputs: Outputs,
    count: int,
    origin: str,
    run: Run,
) -> Candidates:
    """What the manifest says of candidates, if the graphs tell what the detector reported in a run.

    Args:
        graphs: of the selection.
        model: the detector with the outputs of the trace.
        ends: the tensors of class logits.
        outputs: which outputs hold the detections.
        count: of classes.
        origin: the output with the origins.
        run: a pass of it.

    Raises:
        NoCandidatesError: they do not, or it is not known which logits are those of candidates.
    """
    trial = _Trial(graphs, model, tuple(ends), outputs, count, origin, run)
    rows = tuple(trial.rows(number) for number in range(len(ends)))
    return Candidates(OPENED, SELECTION, graphs.context, rows, trial.form(rows))


class _Trial:
    """The graphs on one pass of the detector."""

    def __init__(
        self,
        graphs: CandidateGraphs,
        model: ir.Model,
        ends: Sequence[Logits],
        outputs: Outputs,
        count: int,
        origin: str,
        run: Run,
    ) -> None:
        self._ends, self._outputs, self._count, self._origin, self._run = ends, outputs, count, origin, run
        self._names = list(dict.fromkeys(end.name for end in ends))
        try:
            self._seen = seen_of(model, graphs.context, run)
            self._opened, self._plain = open_session(graphs.opened.model), open_session(graphs.plain.model)
        except Exception as error:
            raise NoCandidatesError(f"what selects its boxes is no graph by itself ({reason(error)})") from error

    def rows(self, number: int) -> Rows:
        """Where the logits of candidates are in a tensor: found by planting, all over it."""
        end, values = self._ends[number], self._run.found[self._ends[number].name]
        ways = [end.classes] if end.classes is not None else _ways_of_one(values.shape) if self._count == 1 else []
        for way in ways:
            size, known = values.shape[way.axis], end.shape[way.axis]
            if known is None or size > _MOST_PLACES:
                continue
            labels = self._labels(number, way)
            firsts = tuple(int(k) for k in np.flatnonzero(labels == 0))
            expected = np.full(size, -1)
            for first in firsts:
                along = first + way.step * np.arange(self._count)
                if along[-1] >= size or (expected[along] >= 0).any():
                    raise NoCandidatesError(f"its classes do not lie in {end.name} as those of its boxes do")
                expected[along] = np.arange(self._count)
            if firsts and (labels == expected).all():
                return Rows(way.axis, way.step, firsts)
        raise NoCandidatesError(f"it is not known where in {end.name} the classes of one candidate are")

    def _labels(self, number: int, way: ClassAxis) -> Int:
        """Of each place along the axis the class that is reported of a logit there; -1 for none: int64 [size]."""
        end, base = self._ends[number], self._run.found[self._ends[number].name]
        planting = Planting(base, Rows(way.axis, way.step, (0,)), 1, end.activation)
        rng, size = np.random.default_rng(0), base.shape[way.axis]
        spots = np.indices([1 if k == way.axis else n for k, n in enumerate(base.shape)]).reshape(base.ndim, -1).T
        found: Int = np.full(size, -1, np.int64)
        for _ in range(_TRIES):
            todo = np.flatnonzero(found < 0)
            for start in range(0, len(todo), len(spots)):
                some = todo[start : start + len(spots)]
                places = spots[rng.permutation(len(spots))[: len(some)]]
                places[:, way.axis] = some
                values = base.copy()
                values[tuple(places.T)] = planting.high
                _, _, labels, origin = self._run_opened({end.name: values}, base.size)
                asked = {tuple(place) for place in places.tolist()}
                for label, (tensor, *place) in zip(labels.tolist(), origin.tolist(), strict=True):
                    at = tuple(place[: base.ndim])
                    if tensor == number and at in asked:
                        found[at[way.axis]] = label
        return found

    def form(self, rows: Sequence[Rows]) -> Form:
        """How scores are made, by which those of the boxes that were found are what they are.

        Raises:
            NoCandidatesError: in neither way; or the box of one is another.
        """
        boxes, scores, labels, origin = self._read(self._run.found)
        real = np.flatnonzero(origin[:, 0] >= 0)[:_CHECKED]
        plantings, names = self.plantings(rows), [end.name for end in self._ends]
        tables = {
            int(label): _by_origin(
                *self._run_opened(planted(names, plantings, int(label)), sum(len(one.places(0)) for one in plantings)),
                plantings,
            )
            for label in np.unique(labels[real])
        }
        side = max(float(np.abs(boxes[real]).max(initial=0)), 1.0)
        fits: dict[Form, bool] = {"product": True, "root": True}
        for k in real.tolist():
            number, *place = origin[k].tolist()
            place = place[: plantings[number].values.ndim]
            there = tables[int(labels[k])].get((number, *place))
            if there is None or np.abs(there[0] - boxes[k]).max() > _CLOSE * side:
                raise NoCandidatesError("without suppression, a logit gives another box than with it")
            share = float(plantings[number].probabilities(place)[int(labels[k])])
            for form in fits:
                fits[form] &= abs(score_of(share, there[1], form) - float(scores[k])) <= _CLOSE
        for form, fit in fits.items():
            if fit:
                return form
        raise NoCandidatesError("its scores are made of more than the probability of a class and one factor")

    def plantings(self, rows: Sequence[Rows]) -> list[Planting]:
        """Of each tensor of logits."""
        return [
            Planting(self._run.found[end.name], of, self._count, end.activation)
            for end, of in zip(self._ends, rows, strict=True)
        ]

    def _run_opened(self, planted: Mapping[str, Array], asked: int) -> tuple[Array, Array, Int, Int]:
        """Boxes, scores, labels and origins of what is planted; logits that are not given are those of the pass."""
        feeds = {**self._seen, **{name: self._run.found[name] for name in self._names}, **planted}
        try:
            names = [value.name for value in self._opened.get_outputs()]
            wanted = {given.name for given in self._opened.get_inputs()}
            given = {name: of for name, of in feeds.items() if name in wanted}
            if ASKED in wanted:
                given[ASKED] = np.array([asked], np.int64)
            return self._read(dict(zip(names, self._opened.run(names, given), strict=True)))
        except NoCandidatesError:
            raise
        except Exception as error:
            raise NoCandidatesError(
                f"what selects its boxes cannot be run on other logits ({reason(error)})"
            ) from error

    def _read(self, found: Mapping[str, Array]) -> tuple[Array, Array, Int, Int]:
        boxes, scores, labels = rows_of(self._outputs, found, "the selection")
        return boxes, scores, labels, found[self._origin].astype(np.int64)


def _by_origin(
    boxes: Array, scores: Array, labels: Int, origin: Int, plantings: Sequence[Planting]
) -> dict[tuple[int, ...], tuple[Array, float]]:
    """Box and score by where the logit is: the number of its tensor, and the place in it."""
    found = {}
    for box, score, (number, *place) in zip(boxes, scores.tolist(), origin.tolist(), strict=True):
        if number >= 0:
            found[number, *place[: plantings[number].values.ndim]] = box, score
    return found


def _ways_of_one(shape: Sequence[int]) -> list[ClassAxis]:
    """In which ways one class may lie in a tensor: its logits are all of it, or some places of an axis."""
    axes = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return [ClassAxis(axis, 1) for axis in axes]
