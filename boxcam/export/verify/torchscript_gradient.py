"""Verification of a TorchScript gradient module.

1. Its logits are those of the forward graph, on the sample and on features that were disturbed; for the latter the
   detector's own graph is cut at the layer and run by ONNX Runtime.
2. Its gradients are those of central finite differences, in float64, along random directions; taken at the disturbed
   features, since real ones can lie exactly on a kink (a ReLU's input that is 0), where a difference means nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from boxcam.export.graphs.query import Array
from boxcam.export.torchscript.score import ScoreGraph
from boxcam.export.verify.check import Check, Derivative, Probe
from boxcam.export.verify.detections import at, disturb, inner, relative
from boxcam.export.verify.replay import Arrays, Replay
from boxcam.runtime.engines import Patches
from boxcam.types import Patch

_LIMIT = 1e-4
_STEPS = (1e-6, 1e-7, 1e-8)


def gradients(
    of: Derivative, score: ScoreGraph, module: torch.jit.ScriptModule, probe: Probe, seed: int = 0
) -> list[Check]:
    """Check a layer's gradient module.

    Args:
        of: what the gradient is of.
        score, module: its score graph, and what was made of it.
        probe: where to check.
        seed: of the disturbances and directions.
    """
    rng = np.random.default_rng(seed)
    found, origin, name = probe.run.found, probe.origin, of.name
    given = _Given.of(score, found)
    here = _run(module, given, origin)[2]
    expected = at(origin, [found[n] for n in of.ends])
    disturbed = replace(given, features={n: disturb(a, rng) for n, a in given.features.items()})
    there = _logits(module, disturbed, origin)
    targets = [of.ends[n] for n in sorted({leaf for part in score.parts for leaf in part.leaves})]
    ran = Replay(of.model, score.features, targets, probe.run.feeds)(disturbed.features)
    expected_there = at(origin, [ran.get(n, found[n]) for n in of.ends])
    own = np.isin(origin[:, 0], [leaf for part in score.parts for leaf in part.leaves])
    others = [origin[:1], np.repeat(origin[:1], 3, axis=0)]  # the module was traced with another number of boxes
    several = np.concatenate([_run(module, given, some)[2] for some in others])
    again = np.repeat(here[:1], 4)
    return [
        Check(f"{name}: TorchScript logits", relative(here[own], expected[own]), 1e-4),
        Check(f"{name}: TorchScript logits, other numbers of boxes", relative(several, again), 1e-4),
        Check(f"{name}: TorchScript logits, disturbed features", relative(there[own], expected_there[own]), 1e-4),
        Check(
            f"{name}: TorchScript gradient against finite differences",
            _differences(module, disturbed, origin, rng),
            _LIMIT,
        ),
    ]


def patches(module: torch.jit.ScriptModule, score: ScoreGraph, probe: Probe) -> list[Patches]:
    """The module's patches of some boxes, for comparison."""
    tensors, places, _ = _run(module, _Given.of(score, probe.found), probe.origin)
    return [
        (Patch(int(tensor), int(row), (int(y), int(x)), np.ascontiguousarray(patch.numpy())),) if patch.numel() else ()
        for patch, (tensor, row, y, x) in zip(tensors, places.tolist(), strict=True)
    ]


@dataclass(frozen=True, eq=False)
class _Given:
    """What a module is given in addition to an origin: the layer's features, and the values that it reads with them."""

    features: Arrays
    context: Arrays

    @classmethod
    def of(cls, score: ScoreGraph, found: Arrays) -> _Given:
        """What a run found."""
        return cls({n: found[n] for n in score.features}, {n: found[n] for n in score.context})

    def tensors(self, dtype: torch.dtype) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Both as tensors, real numbers in a type."""
        return _tensors(self.features, dtype), _tensors(self.context, dtype)


def _run(
    module: torch.jit.ScriptModule, given: _Given, origin: Array, dtype: torch.dtype = torch.float32
) -> tuple[list[torch.Tensor], torch.Tensor, Array]:
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        patches, places, logits = module(*given.tensors(dtype), torch.from_numpy(origin))
    return patches, places, logits.numpy()


def _logits(module: torch.jit.ScriptModule, given: _Given, origin: Array, dtype: torch.dtype = torch.float32) -> Array:
    """The module's logits, without the cost of their gradients."""
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        logits: Array = module.logits(*given.tensors(dtype), torch.from_numpy(origin)).numpy()
    return logits


def _tensors(arrays: Arrays, dtype: torch.dtype) -> list[torch.Tensor]:
    found = [torch.from_numpy(np.array(array)) for array in arrays.values()]
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in found]


def _differences(module: torch.jit.ScriptModule, given: _Given, origin: Array, rng: np.random.Generator) -> float:
    """Directional derivatives by the gradient and by central differences, both in float64: the largest disagreement.

    The proposals and everything else in the context are held fixed.
    """
    double = module.double()
    try:
        exact = {name: array.astype(np.float64) for name, array in given.features.items()}
        scale = {name: max(float(np.abs(array).mean()), 1e-3) for name, array in exact.items()}
        way = {name: rng.standard_normal(array.shape) * scale[name] for name, array in exact.items()}
        here = replace(given, features=exact)
        patches, places, _ = _run(double, here, origin, torch.float64)
        names = list(exact)
        along = []
        for patch, (tensor, row, y, x) in zip(patches, places.tolist(), strict=True):
            direction = way[names[tensor]][row]
            along.append(inner(patch.numpy(), direction, y, x))
        along_ways = np.array(along)
        # A step that takes one ReLU past zero spoils a difference, a shorter one does not: each box's best step counts.
        best: Array = np.full(len(along_ways), np.inf)
        for step in _STEPS:
            sides = []
            for sign in (1, -1):
                moved = {name: exact[name] + sign * step * way[name] for name in names}
                sides.append(_moved_one_by_one(double, here, moved, origin, places.numpy()[:, 0]))
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
    module: torch.jit.ScriptModule, given: _Given, moved: Arrays, origin: Array, number: Array
) -> Array:
    """The logits when of all features only the one moves that a box's gradient is of; the others may matter too."""
    logits: Array = np.zeros(len(origin))
    for index, name in enumerate(given.features):
        mine = number == index
        if mine.any():
            one = replace(given, features={**given.features, name: moved[name]})
            logits[mine] = _logits(module, one, origin[mine], torch.float64)
    return logits
