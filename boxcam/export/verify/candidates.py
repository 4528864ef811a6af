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

from boxcam.bundle import Candidates, ClassAxis, Logits, Outputs, Rows, ScoreForm
from boxcam.errors import TraceError
from boxcam.export.graphs.factors import with_factors
from boxcam.export.graphs.query import Array
from boxcam.export.graphs.run import open_session, run_model
from boxcam.export.graphs.selection import Selection, cut_selection
from boxcam.export.passes.open_selection import open_selection
from boxcam.export.trace.trace import Trace, trace
from boxcam.export.verify.check import Run
from boxcam.export.verify.class_axis import seen_of
from boxcam.runtime.failures import reason
from boxcam.runtime.outputs import rows_of
from boxcam.runtime.planting import Planting, every_place, planted, scores_of
from boxcam.runtime.selection import ASKED
from boxcam.types import Int

OPENED, SELECTION = "candidates.onnx", "selection.onnx"
_CLOSE = 2e-3
"""By how much a score may differ, and a side of a box as a share of the longest one."""
_SAME = 1e-4
"""By how much what the same operators give may differ, as a share of the largest number."""
_CHECKED = 40
"""Boxes of the run that are compared, at most."""
_MOST_PLACES = 4096
"""Along the axis of classes, at most."""
_MOST = 0.5
"""Share of candidates that have to be reported: some are not, as boxes of no area."""
_SOME = 100
"""Places of the only class that are planted to tell in which way it lies."""
_CROWD = 4096
"""Boxes of the run itself, at most, that may have better scores than what is planted among them, and come out too."""
_TRIES = 8
"""Runs in which a place is planted, elsewhere on the other axes, until it is reported."""


class NoCandidatesError(Exception):
    """Why there are no candidates, for people."""


@dataclass(frozen=True, eq=False)
class Parts:
    """The selection, cut out of a detector.

    Attributes:
        traced: as the model selects, with the origins of boxes.
        plain: without origins, to be opened.
    """

    traced: Selection
    plain: Selection

    @property
    def context(self) -> tuple[str, ...]:
        """Names of values of the detector that they read in addition to the logits."""
        return tuple(dict.fromkeys((*self.traced.context, *self.plain.context)))


@dataclass(frozen=True, eq=False)
class Question:
    """What candidates are asked of.

    Attributes:
        base: the detector, folded.
        model: the same with the outputs of the trace.
        traced: of the class logit.
        outputs: which of its outputs hold the detections.
        count: of classes; 0 if they have no names.
    """

    base: ir.Model
    model: ir.Model
    traced: Trace
    outputs: Outputs
    count: int

    @property
    def logits(self) -> list[str]:
        """Names of the tensors of class logits."""
        return [str(value.name) for value in self.traced.logits]

    @property
    def origin(self) -> str:
        """The output with the origins."""
        return str(self.traced.origin.name)


def cut(asked: Question) -> Parts:
    """Cut the selection out of a detector."""
    outputs = tuple(dict.fromkeys((asked.outputs.boxes, asked.outputs.scores, asked.outputs.labels)))
    return Parts(
        cut_selection(asked.model, asked.logits, (*outputs, asked.origin)),
        cut_selection(asked.base, asked.logits, outputs),
    )


def usable(parts: Parts, asked: Question, ends: Sequence[Logits], run: Run) -> tuple[Selection, Candidates]:
    """The opened selection, if it tells what the detector reported in a run, and what the manifest says of it.

    Args:
        parts: cut out of the detector.
        asked: what they were cut from.
        ends: what the manifest says of the tensors of class logits.
        run: a pass of the detector.

    Raises:
        NoCandidatesError: it does not, or it is not known which logits are those of candidates.
    """
    why = None
    for sorts in (True, False):
        try:
            opened = _opened(parts.plain, asked, sorts)
            trial = _Trial(opened, asked, ends, run)
            trial.check(parts.traced)
            rows = trial.every_row()
            at_once = trial.at_once(rows)
            return opened, Candidates(
                OPENED, SELECTION, parts.context, rows, trial.count, trial.form(rows, at_once), at_once, trial.silent
            )
        except NoCandidatesError as error:
            why = why or error
    assert why is not None
    raise why


def _opened(part: Selection, asked: Question, sorts: bool) -> Selection:
    """The selection, opened, with the origins of what it lets through.

    Raises:
        NoCandidatesError: these cannot be followed to the logits.
    """
    model = with_factors(part.model, asked.traced.factors, lambda op, f: op.Mul(op.Add(f, 1.0), 0.5))
    open_selection(model, asked.logits, sorts=sorts)
    made = _with_makers(model.graph, part.logits)
    try:
        found = trace(model.graph, asked.outputs, asked.traced.target)
    except TraceError as error:
        raise NoCandidatesError(str(error).partition(". ")[0]) from error
    if [str(value.name) for value in found.logits] != asked.logits:
        raise NoCandidatesError("without suppression, its scores come from other logits")
    for node, given in made:
        for user, index in tuple(node.outputs[0].uses()):
            user.replace_input_with(index, given)
        model.graph.remove(node)
        node.outputs[0].name, given.name = f"{given.name}.made", node.outputs[0].name
    return Selection(model, part.logits, part.context)


def _with_makers(graph: ir.Graph, logits: Sequence[str]) -> list[tuple[ir.Node, ir.Value]]:
    """Let the tensors of logits be made by an operator for now, since what is traced ends at one."""
    made = []
    for value in [value for value in graph.inputs if value.name in logits]:
        node = ir.node("Gemm", [value, value], num_outputs=1)
        output = node.outputs[0]
        output.name, output.type, output.shape = value.name, value.type, value.shape
        value.name = f"{value.name}.given"
        for user, index in tuple(value.uses()):
            if user is not node:
                user.replace_input_with(index, output)
        graph.append(node)
        made.append((node, value))
    graph.sort()
    return made


class _Trial:
    """The graphs on one pass of the detector."""

    def __init__(self, opened: Selection, asked: Question, ends: Sequence[Logits], run: Run) -> None:
        self._asked, self._ends, self._run, self._count = asked, ends, run, asked.count
        self._reported: set[int] = set()
        try:
            self._seen = seen_of(asked.model, opened.context, run)
            self._opened = open_session(opened.model)
        except Exception as error:
            raise NoCandidatesError(f"what selects its boxes is no graph by itself ({reason(error)})") from error

    def check(self, plain: Selection) -> None:
        """Make sure that the selection reports by itself what the detector reported.

        Raises:
            NoCandidatesError: it does not.
        """
        logits = {end.name: self._run.found[end.name] for end in self._ends}
        try:
            feeds = {**seen_of(self._asked.model, plain.context, self._run), **logits}
            found = self._read(run_model(plain.model, feeds))
        except Exception as error:
            raise NoCandidatesError(f"what selects its boxes is no graph by itself ({reason(error)})") from error
        for mine, theirs in zip(found, self._read(self._run.found), strict=True):
            scale = max(float(np.abs(theirs).max(initial=0)), 1.0)
            if mine.shape != theirs.shape or np.abs(mine - theirs).max(initial=0) > _SAME * scale:
                raise NoCandidatesError("what selects its boxes reports others by itself")

    @property
    def count(self) -> int:
        """How many classes there are: as many as have a name or, if none has, as are reported of what is planted."""
        return self._count

    @property
    def silent(self) -> tuple[int, ...]:
        """The class that is never reported of what is planted, if that is one alone, at an end: the background."""
        never = set(range(self._count)) - self._reported
        return tuple(never) if len(never) == 1 and never <= {0, self._count - 1} else ()

    def every_row(self) -> tuple[Rows, ...]:
        """Where the logits of candidates are in each tensor.

        That is asked of the largest of those that have as many places along an axis, and in the same order of axes: the
        levels of a pyramid are alike, and the smallest of them has hardly a place for what is planted.
        """
        found: dict[tuple[object, ...], Rows] = {}
        kinds = [self._kind(number) for number in range(len(self._ends))]
        for number in sorted(range(len(kinds)), key=lambda number: -self._run.found[self._ends[number].name].size):
            if kinds[number] not in found:
                found[kinds[number]] = self.rows(number)
        return tuple(found[kind] for kind in kinds)

    def _kind(self, number: int) -> tuple[object, ...]:
        end, shape = self._ends[number], self._run.found[self._ends[number].name].shape
        known = end.classes or next((one.classes for one in self._ends if one.classes is not None), None)
        if known is None or known.axis >= len(shape):
            return (number,)
        return known, len(shape), shape[known.axis], end.activation

    def rows(self, number: int) -> Rows:
        """Where the logits of candidates are in a tensor: found by planting, all over it."""
        end, values = self._ends[number], self._run.found[self._ends[number].name]
        known = [end.classes] if end.classes is not None else [one.classes for one in self._ends]
        ways = [way for way in dict.fromkeys(known) if way] or _ways(values.shape, max(self._count, 1))
        best: tuple[float, Rows] | None = None
        for way in ways:
            if way.axis >= values.ndim or end.shape[way.axis] is None or values.shape[way.axis] > _MOST_PLACES:
                continue
            labels = self._labels(number, way)
            count = self._count or int(labels.max(initial=-1)) + 1
            rows = _rows_of(labels, way, count) if count else None
            if rows is not None and count > 1:
                self._count = count
                self._reported |= set(labels[labels >= 0].tolist())
                return rows
            if rows is not None and (share := self._share(number, rows)) > (best[0] if best else 0.0):
                best = share, rows
        if best is not None:
            self._count, self._reported = 1, {0}
            return best[1]
        raise NoCandidatesError(f"it is not known where in {end.name} the classes of one candidate are")

    def _share(self, number: int, rows: Rows) -> float:
        """Of some places of the only class, how many are reported."""
        end, base = self._ends[number], self._run.found[self._ends[number].name]
        planting = Planting(base, rows, 1, end.activation)
        places, values = planting.places(0), base.copy()
        places = places[np.random.default_rng(0).permutation(len(places))[:_SOME]]
        planting.lower(values)
        values[tuple(places.T)] = planting.high
        _, _, _, origin = self._run_opened({end.name: values}, len(places) + _CROWD)
        mine = {tuple(row[1 : 1 + base.ndim]) for row in origin.tolist() if row[0] == number}
        return len(mine & {tuple(place) for place in places.tolist()}) / len(places)

    def _labels(self, number: int, way: ClassAxis) -> Int:
        """Of each place along the axis the class that is reported of a logit there; -1 for none: int64 [size]."""
        end, base = self._ends[number], self._run.found[self._ends[number].name]
        planting = Planting(base, Rows(way.axis, way.step, (0,)), 1, end.activation)
        rng, size = np.random.default_rng(0), base.shape[way.axis]
        spots = np.indices([1 if k == way.axis else n for k, n in enumerate(base.shape)]).reshape(base.ndim, -1).T
        found: Int = np.full(size, -1, np.int64)
        if not base.size:  # as of proposals, where there are none
            return found
        for _ in range(_TRIES):
            todo = np.flatnonzero(found < 0)
            for start in range(0, len(todo), len(spots)):
                some = todo[start : start + len(spots)]
                places = spots[rng.permutation(len(spots))[: len(some)]]
                places[:, way.axis] = some
                values = base.copy()
                values[tuple(places.T)] = planting.high
                _, _, labels, origin = self._run_opened({end.name: values}, len(some) + _CROWD)
                asked = {tuple(place) for place in places.tolist()}
                for label, (tensor, *place) in zip(labels.tolist(), origin.tolist(), strict=True):
                    at = tuple(place[: base.ndim])
                    if tensor == number and at in asked:
                        found[at[way.axis]] = label
        return found

    def at_once(self, rows: Sequence[Rows]) -> int:
        """How many candidates a run reports: all, or as many as any tensor's own TopK, or the last one, lets through.

        Raises:
            NoCandidatesError: hardly any.
        """
        plantings, names = self.plantings(rows), [end.name for end in self._ends]
        every = every_place(plantings, min(self._reported))
        rng, most = np.random.default_rng(0), len(every)
        while most:
            chosen = every[rng.permutation(len(every))[:most]]
            _, _, _, origin = self._run_opened(planted(names, plantings, chosen), most)
            came = len(self._came(origin, chosen))
            if came >= _MOST * most:
                return most
            most = min(came, most // 2)
        raise NoCandidatesError("its selection reports hardly any of the logits that are made high")

    def _came(self, origin: Int, chosen: Int) -> set[tuple[int, ...]]:
        """Which of those that are asked for were reported."""
        width = chosen.shape[1]
        return {tuple(row) for row in chosen.tolist()} & {tuple(row[:width]) for row in origin.tolist()}

    def form(self, rows: Sequence[Rows], at_once: int) -> ScoreForm:
        """How scores are made, by which those of the boxes that were found are what they are.

        Raises:
            NoCandidatesError: in neither way; or the box of one is another.
        """
        boxes, scores, _, origin = self._read(self._run.found)
        plantings, names = self.plantings(rows), [end.name for end in self._ends]
        of: dict[tuple[int, ...], int] = {}  # one class of each candidate: two would share its softmax
        for k in np.flatnonzero(origin[:, 0] >= 0).tolist():
            number, *place = origin[k].tolist()
            of.setdefault((number, *plantings[number].classes(place)[0].tolist()), k)
        real = np.array(list(of.values())[: min(_CHECKED, at_once)], np.int64)
        found = self._run_opened(planted(names, plantings, origin[real]), len(real))
        there = {(*place,): (box, score) for box, score, place in zip(*found[:2], found[3].tolist(), strict=True)}
        side = max(float(np.abs(boxes[real]).max(initial=0)), 1.0)
        fits: dict[ScoreForm, bool] = {"product": True, "root": True}
        for k in real.tolist():
            number, *place = origin[k].tolist()
            one = there.get((number, *place))
            if one is None or np.abs(one[0] - boxes[k]).max() > _CLOSE * side:
                raise NoCandidatesError("without suppression, a logit gives another box than with it")
            share = plantings[number].shares(np.array([place], np.int64))
            for form in fits:
                made = float(scores_of(share, np.array([one[1]], np.float32), form)[0])
                fits[form] &= abs(made - float(scores[k])) <= _CLOSE
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
        feeds = {**self._seen, **{end.name: self._run.found[end.name] for end in self._ends}, **planted}
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
        boxes, scores, labels = rows_of(self._asked.outputs, found, "the selection")
        return boxes, scores, labels, found[self._asked.origin].astype(np.int64)


def _rows_of(labels: Int, way: ClassAxis, count: int) -> Rows | None:
    """Where candidates are along an axis, told by the classes that are reported of logits there; None if nowhere.

    Some may not be reported: the background, where it is counted as a class, and boxes without an area.
    """
    there = np.flatnonzero(labels >= 0)
    firsts = tuple(np.unique(there - labels[there] * way.step).tolist())
    expected = np.full(len(labels), -1)
    for first in firsts:
        along = first + way.step * np.arange(count)
        if first < 0 or along[-1] >= len(labels) or (expected[along] >= 0).any():
            return None
        expected[along] = np.arange(count)
    fits = (labels[there] == expected[there]).all() and len(there) >= _MOST * (expected >= 0).sum()
    return Rows(way.axis, way.step, firsts) if firsts and fits else None


def _ways(shape: Sequence[int], count: int) -> list[ClassAxis]:
    """In which ways classes may lie in a tensor where that is not known: next to each other, along the shortest axis
    first. The logits of one class are all of an axis, or some places of it."""
    axes = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return [ClassAxis(axis, 1) for axis in axes if shape[axis] >= count]
