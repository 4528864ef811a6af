"""Verification: before a bundle is finished, everything in it is run and compared.

1. The forward graph gives the source model's own outputs.
2. The logit that `origin` names, put through its activation, gives the reported score. Where the score is a product,
   the logit alone moves it, and no other (`products`). Other targets are the reported numbers (`values`).
3. The gradients: `boxcam.export.verify.torchscript_gradient`, `boxcam.export.verify.onnx_gradient`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.errors import VerificationError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import Array, all_values, attribute_of, static_shape
from boxcam.export.graphs.run import observe_values
from boxcam.export.trace.trace import Trace, trace
from boxcam.export.trace.trace import names as output_names
from boxcam.export.trace.tracer import Rounding
from boxcam.export.verify.check import FAINT, Check
from boxcam.export.verify.replay import Replay
from boxcam.targets import LOGIT, SCORE, Target

Arrays = Mapping[str, Array]


def outputs(original: Arrays, augmented: Arrays) -> Check:
    """The new graph's outputs against the original's: largest difference, relative to the largest value.

    Each column of the last axis counts for itself: boxes and scores may share one output.
    """
    worst = 0.0
    for name, expected in original.items():
        found = augmented[name]
        if found.shape != expected.shape:
            return Check("outputs", float("inf"), 1e-4)
        columns = range(expected.shape[-1]) if expected.ndim > 2 else [slice(None)]
        for column in columns if expected.size else []:
            want, have = expected[..., column].astype(np.float64), found[..., column]
            differs = have != want
            error = np.abs(have[differs] - want[differs]).max(initial=0.0)
            worst = float(np.maximum(worst, error / max(np.abs(want).max(), 1.0)))  # unlike max(), keeps NaN
    return Check("outputs", worst, 1e-4)


def halves(original: Arrays, narrowed: Arrays) -> Check:
    """Tensors of the graph that was brought back to float16 against the detector's: largest difference, relative to
    the largest value of each.

    They may be rounded at other places: an operator that was put into another rounds once less.
    """
    worst = 0.0 if original else np.inf
    for name, expected in original.items():
        want = expected.astype(np.float64)
        error = np.abs(narrowed[name].astype(np.float64) - want).max(initial=0.0)
        worst = float(np.maximum(worst, error / max(float(np.abs(want).max(initial=0.0)), 1e-3)))
    return Check("float16 layers and logits", worst, 2e-2)


def softmax(
    model: ir.Model, trace: Trace, logits: Sequence[Array], feeds: Arrays
) -> dict[int, npt.NDArray[np.float64]]:
    """The softmax of every logit, in float64, in the layout of the logits: tensor of logits → probabilities.

    Which logits share a softmax is found by sending the numbers of the logits through the detector's own operators in
    front of it; this does not use the trace's arithmetic.
    """
    result: dict[int, npt.NDArray[np.float64]] = {}
    groups: dict[str, list[int]] = {}
    for index, (value, activation) in enumerate(zip(trace.inputs, trace.activations, strict=True)):
        if activation == "Softmax":
            groups.setdefault(str(value.name), []).append(index)
    for target, members in groups.items():
        names = [str(trace.logits[i].name) for i in members]
        ends = np.cumsum([logits[i].size for i in members])
        starts = ends - [logits[i].size for i in members]
        values = {n: logits[i] for n, i in zip(names, members, strict=True)}
        if [target] == names:
            numbers, row = np.arange(ends[-1]).reshape(logits[members[0]].shape), logits[members[0]]
        else:
            if ends[-1] >= 1 << 24:
                raise VerificationError(
                    f"{target} has more than 2^24 logits, too many to index in float32. Fix a smaller input size with"
                    " shape=."
                )
            counted = {
                n: np.arange(start, start + logits[i].size, dtype=np.float32).reshape(logits[i].shape)
                for n, i, start in zip(names, members, starts, strict=True)
            }
            replay = Replay(model, names, [target], feeds)
            numbers, row = replay(counted)[target].astype(np.int64), replay(values)[target]
        axis = _softmax_axis(model, target)
        exponent = np.exp(row.astype(np.float64) - row.max(axis=axis, keepdims=True, initial=-np.inf))
        flat = np.full(ends[-1], np.nan)
        flat[numbers.reshape(-1)] = (exponent / exponent.sum(axis=axis, keepdims=True)).reshape(-1)
        for index, start in zip(members, starts, strict=True):
            result[index] = flat[start : start + logits[index].size].reshape(logits[index].shape)
    return result


def _softmax_axis(model: ir.Model, name: str) -> int:
    for node in model.graph:
        if node.op_type == "Softmax" and node.inputs[0] is not None and node.inputs[0].name == name:
            return int(attribute_of(node, "axis", -1))
    raise VerificationError(
        f"the softmax of {name} is lost, which is a fault of boxcam. Please report it with the model."
    )


def scores(
    trace: Trace,
    names: Outputs,
    found: Arrays,
    logits: Sequence[Array],
    probabilities: Mapping[int, npt.NDArray[np.float64]],
) -> Check:
    """Scores recomputed from the logits that origin names, in float64, against the reported ones.

    Scores that are products do not follow from a logit and are left to `products`.

    Args:
        trace: which activation belongs to which logits.
        names: the outputs.
        found: the forward graph's outputs in one run.
        logits: the tensors of logits.
        probabilities: of `softmax`.
    """
    worst = 0.0
    for score, origin in zip(reported(names, found, SCORE), found[names.origin], strict=True):
        if origin[0] < 0:  # a filler has no score
            worst = float(np.maximum(worst, score))
            continue
        if trace.products and trace.products[origin[0]]:
            continue
        tensor, activation = logits[origin[0]].astype(np.float64), trace.activations[origin[0]]
        position = tuple(origin[1 : 1 + tensor.ndim])
        value = tensor[position]
        if activation == "Softmax":
            value = probabilities[int(origin[0])][position]
        roundings = trace.roundings[origin[0]] if trace.roundings else ()
        worst = float(np.maximum(worst, _beside(float(score), float(value), activation, roundings)))
    return Check("scores", worst, 1e-6)


def _beside(score: float, value: float, activation: str, roundings: Sequence[Rounding]) -> float:
    """How far a score is from what a logit (or a probability, of a softmax) gives.

    Where that is rounded, which of two steps it is may be noise.
    """
    noise = 1e-6 * max(abs(value), 1.0) if roundings else 0.0
    found = []
    for number in {value - noise, value, value + noise}:
        for rounding in roundings:
            number = rounding(number) if rounding.of_logits else number
        if activation == "Sigmoid":
            number = float(1 / (1 + np.exp(-number)))
        for rounding in roundings:
            number = number if rounding.of_logits else rounding(number)
        found.append(abs(number - score))
    return min(found)


def reported(names: Outputs, found: Arrays, target: Target) -> Array:
    """The scores, or one side of all boxes in pixels of the model's input, as the detector gives them: float32 [K]."""
    if target.column is None:
        scores = found[names.scores]
        return (scores if names.score_column is None else scores[..., names.score_column]).reshape(-1)
    first = 0 if names.box_columns is None else names.box_columns[0]
    return found[names.boxes][..., first + target.column].reshape(-1)


def values(target: Target, names: Outputs, found: Arrays, longest: int) -> Check:
    """The numbers that the origins of a target name, against the reported ones.

    Args:
        target: one whose numbers are the reported ones.
        names: the outputs.
        found: the forward graph's outputs in one run, `boxcam.export.trace.trace.names` among them.
        longest: longest side of the model's input, in pixels: errors of what is in pixels are relative to it.

    Returns:
        The largest error. A row without an origin is a filler: it may have no score.
    """
    origin, value = (found[name] for name in output_names(names, target))
    expected = reported(names, found, target).astype(np.float64)
    filler = origin[:, 0] < 0
    error = np.abs(value - expected)[~filler]
    if target.relative:
        error = np.concatenate([error / np.maximum(np.abs(expected[~filler]), 1e-12), expected[filler]])
    largest = float(np.max(error, initial=0.0))
    return Check(f"{target.name}: value", largest if target.relative else largest / longest, target.tolerance)


def products(model: ir.Model, names: Outputs, feeds: Arrays, most: int = 12) -> Check:
    """Whether the logit that is named for a score that is a product is its own: tried by moving it.

    Everything else is held. The score has to move with its logit, and no other element of the tensors in which scores
    are computed may: an objectness would move all classes of its box. Of a softmax, others may move the other way.

    Args:
        model: the folded detector, its ranks recorded; it is not changed.
        names: the outputs.
        feeds: of a run in which something is found.
        most: how many detections to try.

    Returns:
        The largest movement of anything else, relative to that of the score; infinite where this does not move.
    """
    work = clone_model(model)
    by_logit, by_score = trace(work.graph, names, LOGIT), trace(work.graph, names, SCORE)
    added = [n for target in (LOGIT, SCORE) for n in output_names(names, target)]
    by_name = {str(value.name): value for value in all_values(work.graph)}
    inner = [str(value.name) for value in by_logit.logits]
    wanted = list(dict.fromkeys([*added, *inner, names.scores]))
    found = dict(zip(wanted, observe_values(work, [by_name[n] for n in wanted], feeds), strict=True))
    origin, _, own, value = (found[n] for n in added)
    given = {n: found[n] for n in inner}
    replay = Replay(work, inner, [str(end.name) for end in by_score.logits], feeds)
    worst = 0.0 if np.array_equal(value[own[:, 0] >= 0], reported(names, found, SCORE)[own[:, 0] >= 0]) else np.inf
    lever = _Lever(replay, given, by_logit, by_score)
    rows = [k for k, row in enumerate(origin) if row[0] >= 0 and by_logit.products[row[0]]]
    for k in rows[:: max(len(rows) // most, 1)]:
        steps = (*_STEPS, abs(lever.logit(origin[k])))
        worst = float(np.maximum(worst, min(lever.moved(origin[k], own[k], step) for step in steps)))
    return Check("scores that are products", worst, 1e-6, advice=_PRODUCTS)


_PRODUCTS = (
    "A factor of the scores is computed of the same logits, so that none of these is one class's own. Pass"
    ' targets="score", which explains the score as it is reported.'
)
_STEPS = (0.5, 0.05, 0.005)
"""A large one may change the order of boxes, or saturate. A logit of 20 has a sigmoid of 1 in float32, which no small
step moves: one that leads to 0 does."""


@dataclass(frozen=True, eq=False)
class _Lever:
    """One logit is moved, and what moves with it is measured.

    Attributes:
        replay: from the tensors of logits to those in which scores are computed.
        given: the logits of a run.
        by_logit, by_score: where the numbers of both are.
    """

    replay: Replay
    given: Arrays
    by_logit: Trace
    by_score: Trace

    def logit(self, origin: Array) -> float:
        """The logit of an element, int64 [D]."""
        end = self.by_logit.logits[origin[0]]
        return float(self.given[str(end.name)][tuple(origin[1 : 1 + len(static_shape(end) or ())])])

    def moved(self, origin: Array, own: Array, step: float) -> float:
        """How much anything else moves, relative to a score, when its logit is moved by a step.

        Args:
            origin, own: int64 [D], the element that the logit is, and the one that the score is.
            step: how far.
        """
        end = self.by_logit.logits[origin[0]]
        softmax = self.by_logit.activations[origin[0]] == "Softmax"
        position = tuple(origin[1 : 1 + len(static_shape(end) or ())])
        changed = np.array(self.given[str(end.name)])
        direction = -1.0 if changed[position] > 0 else 1.0  # away from saturation
        changed[position] += direction * step
        before, after = self.replay(self.given), self.replay({**self.given, str(end.name): changed})
        score, others = 0.0, 0.0
        for number, tensor in enumerate(self.by_score.logits):
            name = str(tensor.name)
            moved = direction * (after[name].astype(np.float64) - before[name])
            if own[0] == number:
                place = tuple(own[1 : 1 + moved.ndim])
                score = float(moved[place])
                moved[place] = 0
            others = max(others, float((moved if softmax else np.abs(moved)).max(initial=0.0)))
        return others / score if 0 < score < np.inf else np.inf


def sample_origins(found: Arrays, logits: Sequence[Array], origin_name: str) -> Array:
    """Origins to check gradients at: every tensor of logits in turn, best detection first.

    For each tensor they are its first detection, its highest logit, a corner, and its further detections; the result
    takes the first of each tensor, then the second of each, and so on.
    """
    real = found[origin_name]
    real = real[real[:, 0] >= 0]
    queues: list[list[Array]] = []
    for number, tensor in enumerate(logits):
        drawn = list(real[real[:, 0] == number])
        made = []
        for position in (
            (np.unravel_index(int(tensor.argmax()), tensor.shape), [s - 1 for s in tensor.shape]) if tensor.size else []
        ):
            row = np.zeros(real.shape[1], np.int64)
            row[0], row[1 : 1 + tensor.ndim] = number, position
            made.append(row)
        unique = {tuple(row): row for row in (*drawn[:1], *made, *drawn[1:])}
        queues.append(list(unique.values()))
    turns = itertools.zip_longest(*queues)
    return np.array([row for turn in turns for row in turn if row is not None], np.int64).reshape(-1, real.shape[1])


def inner(patch: Array, direction: Array, y: int, x: int) -> float:
    """Inner product of a patch with the part of a map that it covers."""
    height, width = direction.shape[1:]
    y0, y1 = (min(max(edge, 0), height) for edge in (y, y + patch.shape[1]))
    x0, x1 = (min(max(edge, 0), width) for edge in (x, x + patch.shape[2]))
    return float((patch[:, y0 - y : y1 - y, x0 - x : x1 - x] * direction[:, y0:y1, x0:x1]).sum())


def at(origin: Array, logits: Sequence[Array]) -> Array:
    return np.array([logits[row[0]][tuple(row[1 : 1 + logits[row[0]].ndim])] for row in origin], np.float64)


def disturb(array: Array, rng: np.random.Generator) -> Array:
    """Features beside those of a run; of faint ones, as in a model without training, features of a usual size."""
    spread = float(array.std())
    spread = spread if spread > FAINT else 1.0
    disturbed: Array = (array + 0.1 * spread * rng.standard_normal(array.shape)).astype(array.dtype)
    return disturbed


def relative(found: Array, expected: Array) -> float:
    if not expected.size:
        return 0.0
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
