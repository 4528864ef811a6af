"""Verification of an ONNX gradient, without torch.

Directional derivatives by the gradient against central differences, at features that were disturbed: real ones can lie
exactly on a kink (a ReLU's input that is 0), where a difference means nothing.  The logits come from the detector's own
graph, cut at the layer, and everything beside it (the proposals) is held fixed: from ONNX's reference implementation in
float64 where that takes seconds, and from ONNX Runtime in float32 otherwise, which is less exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from boxcam.export import graph as onnx
from boxcam.export.gradient import GradientGraph
from boxcam.export.replay import Arrays, Replay
from boxcam.export.verify import Check, at, disturb, inner
from boxcam.runtime.onnx_gradient import OnnxGradient
from boxcam.types import Patch

_EXACT_LIMIT, _EXACT_STEPS = 1e-4, (1e-6, 1e-7, 1e-8)
_SINGLE_LIMIT, _SINGLE_STEPS = 2e-2, (1e-2, 3e-3, 1e-3, 3e-4)
_TORCH_LIMIT = 1e-4


def differences(
    name: str,
    gradient: GradientGraph,
    running: OnnxGradient,
    model: ir.Model,
    features: Sequence[str],
    logits: Sequence[str],
    found: Arrays,
    origin: onnx.Array,
    feeds: Arrays,
    seed: int = 0,
) -> Check:
    """Check a layer's gradient against finite differences.

    Args:
        name: of the layer.
        gradient, running: the gradient graph, and a session of it.
        model: the folded detector.
        features, logits: names of the layer's tensors and of the tensors of logits.
        found: the forward graph's outputs and logits in one run.
        origin: int64 [K, D], where to check.
        feeds: what that run was fed with.
        seed: of the disturbance and the directions.
    """
    rng = np.random.default_rng(seed)
    base = {n: disturb(found[n], rng) for n in features}
    saved = [n for n in gradient.inputs if n not in features]
    values = Replay(model, features, saved, feeds)(base) if saved else {}
    patches = running.patches({**base, **values}, origin)
    scale = {n: max(float(np.abs(a).mean()), 1e-3) for n, a in base.items()}
    ways = {n: rng.standard_normal(a.shape) * scale[n] for n, a in base.items()}
    along = np.array([_along(patch, ways[features[patch.tensor]]) for patch in patches])
    numbers = np.array([patch.tensor for patch in patches])
    targets = [logits[n] for n in sorted({int(row[0]) for row in origin})]
    replay = Replay(model, features, targets, feeds)
    run, steps, limit, dtype = replay, _SINGLE_STEPS, _SINGLE_LIMIT, np.float32
    if replay.small:
        run, steps, limit, dtype = replay.exactly, _EXACT_STEPS, _EXACT_LIMIT, np.float64  # type: ignore[assignment]
    exact = {n: a.astype(np.float64) for n, a in base.items()}
    best: onnx.Array = np.full(len(origin), np.inf)
    for step in steps:  # a step that takes one ReLU past zero spoils a difference: each box's best step counts
        measured = np.zeros(len(origin))
        for index in sorted(set(numbers.tolist())):  # only the feature moves that a box's gradient is of
            mine = numbers == index
            sides = []
            for sign in (1, -1):
                moved = {**exact, features[index]: exact[features[index]] + sign * step * ways[features[index]]}
                logit = run({n: a.astype(dtype) for n, a in moved.items()})
                sides.append(at(origin[mine], [logit.get(n, found[n]) for n in logits]))
            measured[mine] = (sides[0] - sides[1]) / (2 * step)
        largest = max(float(np.abs(measured).max(initial=0.0)), 1e-12)
        size = np.maximum(np.abs(measured), largest / (1000 if replay.small else 10))
        best = np.minimum(best, np.abs(along - measured) / size)
        if best.max(initial=0.0) < limit / 10:
            break
    how = "float64" if replay.small else "float32"
    return Check(f"{name}: ONNX gradient against finite differences, {how}", float(best.max(initial=0.0)), limit)


def against(
    name: str, patches: Sequence[Patch], expected: Sequence[Patch], shapes: Mapping[int, tuple[int, ...]]
) -> Check:
    """Check patches of the ONNX gradient against those of another engine, cell by cell.

    Args:
        name: of the layer.
        patches, expected: of the same boxes.
        shapes: height and width of each of the layer's tensors.
    """
    worst, largest = 0.0, 1e-12
    for one, other in zip(patches, expected, strict=True):
        if other.gradient.size == 0:
            worst = float(np.maximum(worst, np.abs(one.gradient).max(initial=0.0)))
            continue
        if (one.tensor, one.row) != (other.tensor, other.row):
            return Check(f"{name}: ONNX gradient against TorchScript", float("inf"), _TORCH_LIMIT)
        height, width = shapes[one.tensor]
        have, want = (_embedded(patch, height, width) for patch in (one, other))
        size = max(float(np.abs(want).max()), 1e-12)
        worst = float(np.maximum(worst, np.abs(have - want).max() / size))  # unlike max(), keeps NaN
        largest = max(largest, size)
    return Check(f"{name}: ONNX gradient against TorchScript", worst, _TORCH_LIMIT)


def _along(patch: Patch, way: onnx.Array) -> float:
    """The derivative along a direction of the whole feature."""
    direction = way[patch.row]
    result = inner(patch.gradient, direction, *patch.corner)
    if patch.uniform is not None:
        result += float((patch.uniform * direction.sum((1, 2))).sum())
    return result


def _embedded(patch: Patch, height: int, width: int) -> onnx.Array:
    """The gradient by a whole map: [C, H, W]."""
    channels, h, w = patch.gradient.shape
    whole = np.zeros((channels, height, width), np.float32)
    if patch.uniform is not None:
        whole += patch.uniform[:, None, None]
    y, x = patch.corner
    y0, y1, x0, x1 = max(y, 0), min(y + h, height), max(x, 0), min(x + w, width)
    whole[:, y0:y1, x0:x1] += patch.gradient[:, y0 - y : y1 - y, x0 - x : x1 - x]
    return whole
