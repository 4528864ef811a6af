"""Verification: before a bundle is finished, everything in it is run and compared.

1. The forward graph gives the source model's own outputs.
2. The logit that `origin` names, put through its activation, gives the reported score.
3. The gradient module's logits are those of the forward graph, on the sample and on features that were disturbed; for
   the latter the detector's own graph is cut at the layer and run by ONNX Runtime.
4. The gradients are those of central finite differences, in float64, along random directions; taken at the disturbed
   features, since real ones can lie exactly on a kink (a ReLU's input that is 0), where a difference means nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
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
    """The new graph's outputs against the original's: largest difference, relative to the largest value."""
    worst = 0.0
    for name, expected in original.items():
        found = augmented[name]
        if found.shape != expected.shape:
            return Check("outputs", float("inf"), 1e-4)
        if expected.size:
            differs = found != expected
            error = np.abs(found[differs].astype(np.float64) - expected[differs]).max(initial=0.0)
            worst = float(np.maximum(worst, error / max(np.abs(expected).max(), 1.0)))  # unlike max(), keeps NaN
    return Check("outputs", worst, 1e-4)


def scores(trace: Trace, names: Outputs, found: Arrays, logits: Sequence[onnx.Array]) -> Check:
    """Scores recomputed from the logits that origin names, in float64, against the reported ones."""
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
            row = tensor[position[:-1]]
            value = np.exp(value - row.max()) / np.exp(row - row.max()).sum()
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
    there = _run(module, disturbed, context, origin)[2]
    ran = _run_cut(model, score, logits, disturbed, feeds)
    expected_there = _at(origin, [ran.get(n, found[n]) for n in logits])
    own = np.isin(origin[:, 0], [leaf for part in score.parts for leaf in part.leaves])
    return [
        Check(f"{name}: logits", _relative(here[own], expected[own]), 1e-4),
        Check(f"{name}: logits, disturbed features", _relative(there[own], expected_there[own]), 1e-4),
        Check(
            f"{name}: gradient against finite differences",
            _differences(module, disturbed, context, origin, rng),
            _LIMIT,
        ),
    ]


def sample_origins(
    trace: Trace, found: Arrays, logits: Sequence[onnx.Array], origin_name: str, at_most: int
) -> onnx.Array:
    """Origins to check gradients at: of real detections, and of the highest logit and a corner of each tensor."""
    real = found[origin_name]
    real = real[real[:, 0] >= 0]
    width = real.shape[1]
    chosen = list(real[: at_most // 2])
    for number, tensor in enumerate(logits):
        if not tensor.size:
            continue
        for position in (np.unravel_index(int(tensor.argmax()), tensor.shape), [s - 1 for s in tensor.shape]):
            row = np.zeros(width, np.int64)
            row[0], row[1 : 1 + tensor.ndim] = number, position
            chosen.append(row)
    rest = real[at_most // 2 :]
    chosen.extend(rest[: max(at_most - len(chosen), 0)])
    return np.array(chosen, np.int64).reshape(-1, width)


def _run(
    module: torch.jit.ScriptModule,
    features: Arrays,
    context: Arrays,
    origin: onnx.Array,
    dtype: torch.dtype = torch.float32,
) -> tuple[list[torch.Tensor], torch.Tensor, onnx.Array]:
    given = [
        [t.to(dtype) if t.is_floating_point() else t for t in (torch.from_numpy(np.array(a)) for a in group.values())]
        for group in (features, context)
    ]
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        patches, places, logits = module(*given, torch.from_numpy(origin))
    return patches, places, logits.numpy()


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
            size = max(float(np.abs(measured).max()), 1e-12) if measured.size else 1.0
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
            logits[mine] = _run(module, given, context, origin[mine], torch.float64)[2]
    return logits


def _inner(patch: onnx.Array, direction: onnx.Array, y: int, x: int) -> float:
    """Inner product of a patch with the part of a map that it covers."""
    height, width = direction.shape[1:]
    y0, y1 = max(y, 0), min(y + patch.shape[1], height)
    x0, x1 = max(x, 0), min(x + patch.shape[2], width)
    return float((patch[:, y0 - y : y1 - y, x0 - x : x1 - x] * direction[:, y0:y1, x0:x1]).sum())


def _run_cut(
    model: ir.Model, score: ScoreGraph, logits: Sequence[str], features: Arrays, feeds: Arrays
) -> dict[str, onnx.Array]:
    """Logits by the detector's own operators between the layer and the logits, from features that were disturbed.

    What those operators read beside the path of the gradient (proposals, indices, sizes) is held as it was.
    """
    work = onnx.clone(model)
    by_name = {str(value.name): value for value in onnx.values(work.graph)}
    sources = [by_name[name] for name in score.features]
    leaves = [by_name[logits[n]] for n in sorted({leaf for part in score.parts for leaf in part.leaves})]
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
    return onnx.run(onnx.cut(work, [*sources, *extra], leaves), {**fixed, **features})


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
