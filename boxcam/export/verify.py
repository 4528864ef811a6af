"""Verification: before a bundle is finished, everything in it is run and compared.

1. The forward graph gives the source model's own outputs.
2. The logit that `origin` names, put through its activation, gives the reported score.
3. The gradient module's logits are those of the forward graph, on the sample and on features that were disturbed; for
   the latter the detector's own graph is cut at the layer and run by ONNX Runtime.
4. The gradients are those of central finite differences, in float64, along random directions; taken at the disturbed
   features, since real ones can lie exactly on a kink (a ReLU's input that is 0), where a difference means nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from boxcam.bundle import Outputs
from boxcam.errors import VerificationError
from boxcam.export import graph as onnx
from boxcam.export.dependency import differentiable_inputs, gradient_reaches
from boxcam.export.score import ScoreGraph
from boxcam.export.trace import Trace

Arrays = Mapping[str, onnx.Array]
_LIMIT = 1e-4
_STEPS = (1e-6, 1e-7, 1e-8)


@dataclass(frozen=True)
class Check:
    """One comparison: its name, the error that was measured, and the largest that passes."""

    name: str
    error: float
    limit: float


def require(checks: Sequence[Check]) -> dict[str, float]:
    """The figures by name.

    Raises:
        VerificationError: one is above its limit, or no number.
    """
    bad = [check for check in checks if not check.error <= check.limit]
    if bad:
        figures = "; ".join(f"{check.name}: {check.error:.2e}, at most {check.limit:.0e} passes" for check in bad)
        raise VerificationError(
            f"the exported files do not agree with the model ({figures}). No bundle was written. Try another --sample"
            " image; if it stays, please report it with the model."
        )
    return {check.name: float(f"{check.error:.3g}") for check in checks}


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


def softmax(
    model: ir.Model, trace: Trace, logits: Sequence[onnx.Array], feeds: Arrays
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
                raise VerificationError(f"{target} has more than 2^24 logits, too many to number in float32.")
            counted = {
                n: np.arange(start, start + logits[i].size, dtype=np.float32).reshape(logits[i].shape)
                for n, i, start in zip(names, members, starts, strict=True)
            }
            numbers = _run_between(model, names, [target], counted, feeds)[target].astype(np.int64)
            row = _run_between(model, names, [target], values, feeds)[target]
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
            return int(onnx.attribute(node, "axis", -1))
    raise VerificationError(f"the softmax of {name} is lost; this is a fault of boxcam.")


def scores(
    trace: Trace,
    names: Outputs,
    found: Arrays,
    logits: Sequence[onnx.Array],
    probabilities: Mapping[int, npt.NDArray[np.float64]],
) -> Check:
    """Scores recomputed from the logits that origin names, in float64, against the reported ones.

    Args:
        trace: which activation belongs to which logits.
        names: the outputs.
        found: the forward graph's outputs in one run.
        logits: the tensors of logits.
        probabilities: of `softmax`.
    """
    reported = found[names.scores]
    reported = (reported[..., names.score_column] if names.score_column is not None else reported).reshape(-1)
    worst = 0.0
    for score, origin in zip(reported, found[names.origin], strict=True):
        if origin[0] < 0:  # a filler has no score
            worst = float(np.maximum(worst, score))
            continue
        tensor, activation = logits[origin[0]].astype(np.float64), trace.activations[origin[0]]
        position = tuple(origin[1 : 1 + tensor.ndim])
        value = tensor[position]
        if activation == "Sigmoid":
            value = 1 / (1 + np.exp(-value))
        elif activation == "Softmax":
            value = probabilities[int(origin[0])][position]
        worst = float(np.maximum(worst, abs(float(value) - float(score))))
    return Check("scores", worst, 1e-6)


def gradients(
    name: str,
    score: ScoreGraph,
    module: torch.jit.ScriptModule,
    model: ir.Model,
    logits: Sequence[str],
    found: Arrays,
    origin: onnx.Array,
    feeds: Arrays,
    seed: int = 0,
) -> list[Check]:
    """Check a layer's gradient module.

    Args:
        name: of the layer.
        score, module: its score graph, and what was made of it.
        model: the folded detector.
        logits: names of the tensors of logits.
        found: the forward graph's outputs and logits in one run.
        origin: int64 [K, D], where to check.
        feeds: what that run was fed with.
        seed: of the disturbances and directions.
    """
    rng = np.random.default_rng(seed)
    features = {n: found[n] for n in score.features}
    context = {n: found[n] for n in score.context}
    here = _run(module, features, context, origin)[2]
    expected = _at(origin, [found[n] for n in logits])
    disturbed = {n: _disturb(a, rng) for n, a in features.items()}
    there = _logits(module, disturbed, context, origin)
    targets = [logits[n] for n in sorted({leaf for part in score.parts for leaf in part.leaves})]
    ran = _run_between(model, score.features, targets, disturbed, feeds)
    expected_there = _at(origin, [ran.get(n, found[n]) for n in logits])
    own = np.isin(origin[:, 0], [leaf for part in score.parts for leaf in part.leaves])
    others = [origin[:1], np.repeat(origin[:1], 3, axis=0)]  # the module was traced with another number of boxes
    several = np.concatenate([_run(module, features, context, some)[2] for some in others])
    again = np.repeat(here[:1], 4)
    return [
        Check(f"{name}: logits", _relative(here[own], expected[own]), 1e-4),
        Check(f"{name}: logits, other numbers of boxes", _relative(several, again), 1e-4),
        Check(f"{name}: logits, disturbed features", _relative(there[own], expected_there[own]), 1e-4),
        Check(
            f"{name}: gradient against finite differences",
            _differences(module, disturbed, context, origin, rng),
            _LIMIT,
        ),
    ]


def sample_origins(found: Arrays, logits: Sequence[onnx.Array], origin_name: str) -> onnx.Array:
    """Origins to check gradients at: every tensor of logits in turn, best detection first.

    For each tensor they are its first detection, its highest logit, a corner, and its further detections; the result
    takes the first of each tensor, then the second of each, and so on.
    """
    real = found[origin_name]
    real = real[real[:, 0] >= 0]
    queues: list[list[onnx.Array]] = []
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


def _run(
    module: torch.jit.ScriptModule,
    features: Arrays,
    context: Arrays,
    origin: onnx.Array,
    dtype: torch.dtype = torch.float32,
) -> tuple[list[torch.Tensor], torch.Tensor, onnx.Array]:
    given = (_tensors(features, dtype), _tensors(context, dtype))
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        patches, places, logits = module(*given, torch.from_numpy(origin))
    return patches, places, logits.numpy()


def _logits(
    module: torch.jit.ScriptModule,
    features: Arrays,
    context: Arrays,
    origin: onnx.Array,
    dtype: torch.dtype = torch.float32,
) -> onnx.Array:
    """The module's logits, without the cost of their gradients."""
    given = (_tensors(features, dtype), _tensors(context, dtype))
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        logits: onnx.Array = module.logits(*given, torch.from_numpy(origin)).numpy()
    return logits


def _tensors(arrays: Arrays, dtype: torch.dtype) -> list[torch.Tensor]:
    found = [torch.from_numpy(np.array(array)) for array in arrays.values()]
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in found]


def _differences(
    module: torch.jit.ScriptModule, features: Arrays, context: Arrays, origin: onnx.Array, rng: np.random.Generator
) -> float:
    """Directional derivatives by the gradient and by central differences, both in float64: the largest disagreement.

    The proposals and everything else in the context are held fixed.
    """
    double = module.double()
    try:
        exact = {name: array.astype(np.float64) for name, array in features.items()}
        scale = {name: max(float(np.abs(array).mean()), 1e-3) for name, array in exact.items()}
        way = {name: rng.standard_normal(array.shape) * scale[name] for name, array in exact.items()}
        patches, places, _ = _run(double, exact, context, origin, torch.float64)
        names = list(exact)
        along = []
        for patch, (tensor, row, y, x) in zip(patches, places.tolist(), strict=True):
            direction = way[names[tensor]][row]
            along.append(_inner(patch.numpy(), direction, y, x))
        along_ways = np.array(along)
        # A step that takes one ReLU past zero spoils a difference, a shorter one does not: each box's best step counts.
        best: onnx.Array = np.full(len(along_ways), np.inf)
        for step in _STEPS:
            sides = []
            for sign in (1, -1):
                moved = {name: exact[name] + sign * step * way[name] for name in names}
                sides.append(_moved_one_by_one(double, exact, moved, context, origin, places.numpy()[:, 0]))
            measured = (sides[0] - sides[1]) / (2 * step)
            largest = max(float(np.abs(measured).max(initial=0.0)), 1e-12)
            size = np.maximum(np.abs(measured), largest / 1000)  # a box counts by its own size, down to the noise
            best = np.minimum(best, np.abs(along_ways - measured) / size)
            if best.max(initial=0.0) < _LIMIT / 10:
                break
        return float(best.max(initial=0.0))
    finally:
        module.float()


def _moved_one_by_one(
    module: torch.jit.ScriptModule,
    features: Arrays,
    moved: Arrays,
    context: Arrays,
    origin: onnx.Array,
    number: onnx.Array,
) -> onnx.Array:
    """The logits when of all features only the one moves that a box's gradient is of; the others may matter too."""
    logits: onnx.Array = np.zeros(len(origin))
    for index, name in enumerate(features):
        mine = number == index
        if mine.any():
            given = {**features, name: moved[name]}
            logits[mine] = _logits(module, given, context, origin[mine], torch.float64)
    return logits


def _inner(patch: onnx.Array, direction: onnx.Array, y: int, x: int) -> float:
    """Inner product of a patch with the part of a map that it covers."""
    height, width = direction.shape[1:]
    y0, y1 = max(y, 0), min(y + patch.shape[1], height)
    x0, x1 = max(x, 0), min(x + patch.shape[2], width)
    return float((patch[:, y0 - y : y1 - y, x0 - x : x1 - x] * direction[:, y0:y1, x0:x1]).sum())


def _run_between(
    model: ir.Model, names: Sequence[str], targets: Sequence[str], given: Arrays, feeds: Arrays
) -> dict[str, onnx.Array]:
    """Some values by the detector's own operators, from other values that are given.

    What those operators read beside the path of the gradient (proposals, indices, sizes) is held as it was when the
    detector ran with ``feeds``.
    """
    work = onnx.clone(model)
    by_name = {str(value.name): value for value in onnx.values(work.graph)}
    sources = [by_name[name] for name in names]
    leaves = [by_name[name] for name in targets]
    reached = gradient_reaches(work.graph, sources)
    held: dict[ir.Value, None] = {}
    seen: set[ir.Value] = set(sources)
    todo = [leaf for leaf in leaves if leaf not in seen]
    while todo:
        value = todo.pop()
        node = value.producer()
        if value in seen or node is None:
            continue
        seen.add(value)
        carrying = [used for used in differentiable_inputs(node) if used in reached]
        todo.extend(carrying)
        moving = [used for used in onnx.uses(node) if onnx.array(used) is None]
        held.update(dict.fromkeys(used for used in moving if not any(used is c for c in carrying)))
    extra = [value for value in held if value not in sources]
    fixed = dict(zip((str(v.name) for v in extra), onnx.observe(work, extra, feeds), strict=True))
    return onnx.run(onnx.cut(work, [*sources, *extra], leaves), {**fixed, **given})


def _at(origin: onnx.Array, logits: Sequence[onnx.Array]) -> onnx.Array:
    return np.array([logits[row[0]][tuple(row[1 : 1 + logits[row[0]].ndim])] for row in origin], np.float64)


def _disturb(array: onnx.Array, rng: np.random.Generator) -> onnx.Array:
    spread = float(array.std()) or 1.0
    disturbed: onnx.Array = (array + 0.1 * spread * rng.standard_normal(array.shape)).astype(array.dtype)
    return disturbed


def _relative(found: onnx.Array, expected: onnx.Array) -> float:
    if not expected.size:
        return 0.0
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-12))
