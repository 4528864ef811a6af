"""Verification of an ONNX gradient, without torch.

Directional derivatives by the gradient against central differences, at features that were disturbed: real ones can lie
exactly on a kink (a ReLU's input that is 0), where a difference means nothing.  The logits come from the detector's own
graph, cut at the layer, and everything beside it (the proposals) is held fixed: from ONNX's reference implementation in
float64 where that takes seconds, and from ONNX Runtime in float32 otherwise.

In float32 a step has to be so long that it takes some ReLUs past zero, and a random direction tells no more than that
nothing large is missing.  The direction of the gradients themselves changes a logit most for its length, so a much
shorter step does; it tells that what is there is right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from boxcam.export.graphs.query import Array
from boxcam.export.verify.check import Check, Derivative, Probe
from boxcam.export.verify.detections import at, disturb, inner
from boxcam.export.verify.replay import Arrays, Replay
from boxcam.runtime.engines import OnnxEngine, Patches
from boxcam.runtime.tensors import Tensors
from boxcam.types import Patch

_POINTS = 3
_TORCH_LIMIT = 1e-4


@dataclass(frozen=True)
class _Steps:
    """How far features are moved, and by how much a derivative may differ from the differences then.

    Attributes:
        lengths: of the steps, the longest first.
        limit: the largest relative error that passes.
    """

    lengths: tuple[float, ...]
    limit: float


_EXACT = _Steps((1e-6, 1e-7, 1e-8), 1e-4)
_RANDOM = _Steps((1e-2, 3e-3, 1e-3, 3e-4, 1e-4), 0.1)
_OWN = _Steps((3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4), 1e-2)  # changes of the targets, for a size of up to 10


def differences(
    of: Derivative, context: Sequence[str], running: OnnxEngine, probe: Probe, seed: int = 0
) -> list[Check]:
    """Check a layer's gradient against finite differences.

    A gradient that is wrong is wrong anywhere; that a kink lies within the steps is chance. So a check that fails is
    made again at features that are disturbed in another way, and of each box the best error counts.

    Args:
        of: what the gradient is of.
        context: the values of the forward pass that the gradient graph reads in addition to the features.
        running: an engine of that graph.
        probe: where to check.
        seed: of the disturbance and the directions.
    """
    found = _at_one_point(of, context, running, probe, seed)
    for again in range(1, _POINTS):
        if all(one.check.passed for one in found):
            break
        others = _at_one_point(of, context, running, probe, seed + again)
        found = [one.better(other) for one, other in zip(found, others, strict=True)]
    return [one.check for one in found]


@dataclass(frozen=True, eq=False)
class _Errors:
    """Of each box, how far its derivative is from differences.

    Attributes:
        name: of the check.
        of_boxes: [K], relative errors.
        limit: the largest that passes.
    """

    name: str
    of_boxes: Array
    limit: float

    @property
    def check(self) -> Check:
        """The worst box's."""
        return Check(self.name, float(self.of_boxes.max(initial=0.0)), self.limit)

    def better(self, other: _Errors) -> _Errors:
        """The smaller error of each box; what is no number is no chance, and stays."""
        return replace(self, of_boxes=np.where(other.of_boxes < self.of_boxes, other.of_boxes, self.of_boxes))


def _at_one_point(
    of: Derivative, context: Sequence[str], running: OnnxEngine, probe: Probe, seed: int
) -> list[_Errors]:
    """The errors at one disturbance of the features; the arguments are those of `differences`."""
    rng = np.random.default_rng(seed)
    found, feeds, origin = probe.run.found, probe.run.feeds, probe.origin
    base = {n: disturb(found[n], rng) for n in of.features}
    values = Replay(of.model, of.features, context, feeds)(base) if context else {}
    patches = running.patches(Tensors({**base, **values}), of.features, (), origin)
    targets = [of.ends[n] for n in sorted({int(row[0]) for row in origin})]
    replay = Replay(of.model, of.features, targets, feeds)
    lines = _Lines(of.features, base, patches, origin, [found.get(n) for n in of.ends], list(of.ends))
    scale = {n: max(float(np.abs(a).mean()), 1e-3) for n, a in base.items()}
    random = {n: rng.standard_normal(a.shape) * scale[n] for n, a in base.items()}
    what = f"{of.name}: ONNX gradient against finite differences"
    if replay.small:
        errors = lines.disagreement(replay.exactly, np.float64, random, _EXACT, lines.expected(scale))
        return [_Errors(f"{what}, float64", errors, _EXACT.limit)]
    own, longest = lines.along_gradients(rng)
    size = max(float(np.abs(at(origin, [found[n] for n in of.ends])).max(initial=0.0)) / 10, 1.0)
    steps = _Steps(tuple(step * size / longest for step in _OWN.lengths), _OWN.limit)
    return [
        _Errors(
            f"{what}, random direction, float32",
            lines.disagreement(replay, np.float32, random, _RANDOM, None),
            _RANDOM.limit,
        ),
        _Errors(
            f"{what}, own direction, float32",
            lines.disagreement(replay, np.float32, own, steps, lines.largest(own) / 10),
            _OWN.limit,
        ),
    ]


@dataclass(frozen=True, eq=False)
class _Lines:
    """Logits of some boxes along lines through the features."""

    features: Sequence[str]
    base: Arrays
    patches: Sequence[Patches]
    origin: Array
    found: Sequence[Array | None]
    logits: list[str]

    def along_gradients(self, rng: np.random.Generator) -> tuple[dict[str, Array], float]:
        """The gradients of all boxes added up with random signs, and the largest derivative in this direction."""
        ways = {n: np.zeros(a.shape) for n, a in self.base.items()}
        for of in self.patches:
            sign = rng.choice([-1.0, 1.0])
            size = float(np.sqrt(sum(np.square(patch.gradient, dtype=np.float64).sum() for patch in of))) or 1.0
            for patch in of:
                way = ways[self.features[patch.tensor]][patch.row]
                way += sign * embedded(patch, *way.shape[1:]) / size
        return ways, max(self.largest(ways), 1e-12)

    def expected(self, scale: Mapping[str, float]) -> Array:
        """Of each box, how large its derivative in a random direction is: the root of its mean square.

        Of a box whose target is saturated, as good as nothing is left in float32: it counts as a hundredth of the
        largest.
        """
        squares = [
            sum(
                np.square(embedded(p, *self.base[name].shape[2:]), dtype=np.float64).sum() * scale[name] ** 2
                for p in of
                for name in [self.features[p.tensor]]
            )
            for of in self.patches
        ]
        sizes = np.sqrt(np.array(squares, np.float64))
        result: Array = np.maximum(sizes, sizes.max(initial=0.0) / 100)
        return result

    def largest(self, ways: Arrays) -> float:
        """The largest derivative of any box in a direction."""
        return float(np.abs(self.derivatives(ways)).max(initial=0.0))

    def derivatives(self, ways: Arrays) -> Array:
        """Of each box's logit in a direction, by the gradients."""
        return np.array([sum(_along(patch, ways[self.features[patch.tensor]]) for patch in of) for of in self.patches])

    def disagreement(
        self,
        run: Callable[[Arrays], Mapping[str, Array]],
        dtype: type[np.floating],
        ways: Arrays,
        steps: _Steps,
        least: Array | float | None,
    ) -> Array:
        """Of each box, the difference between its derivative by the gradient and by differences.

        A box counts by the size of its own derivative, or by ``least`` if this is larger, since of a derivative that
        happens to be small noise is all there is. None is the typical size among the boxes.
        """
        along = self.derivatives(ways)
        best: Array = np.full(len(along), np.inf)
        # A step that takes one ReLU past zero spoils a difference: each box's best step counts.
        for step in steps.lengths:
            measured = self._measured(run, dtype, ways, step)
            sizes = np.abs(measured)
            floor = float(np.sqrt((measured**2).mean())) if least is None else least
            best = np.minimum(best, np.abs(along - measured) / np.maximum(np.maximum(sizes, floor), 1e-12))
            if best.max(initial=0.0) < steps.limit / 10:
                break
        return best

    def _measured(
        self,
        run: Callable[[Arrays], Mapping[str, Array]],
        dtype: type[np.floating],
        ways: Arrays,
        step: float,
    ) -> Array:
        exact = {n: a.astype(np.float64) for n, a in self.base.items()}
        sides = []
        for sign in (1, -1):
            moved = {n: a + sign * step * ways[n] for n, a in exact.items()}
            logit = run({n: a.astype(dtype) for n, a in moved.items()})
            values = [logit.get(n, given) for n, given in zip(self.logits, self.found, strict=True)]
            sides.append(at(self.origin, values))  # type: ignore[arg-type]
        measured: Array = (sides[0] - sides[1]) / (2 * step)
        return measured


def finite(name: str, patches: Sequence[Patches]) -> Check:
    """Check that all numbers of some patches are finite."""
    arrays = [a for of in patches for patch in of for a in (patch.gradient, patch.uniform) if a is not None]
    good = all(np.isfinite(a).all() for a in arrays)
    return Check(f"{name}: finite", 0.0 if good else float("inf"), 0.5)


def against(
    name: str, patches: Sequence[Patches], expected: Sequence[Patches], shapes: Mapping[int, tuple[int, ...]]
) -> Check:
    """Check patches of the ONNX gradient against those of another engine, cell by cell.

    Args:
        name: of the layer.
        patches, expected: of the same boxes.
        shapes: height and width of each of the layer's tensors.
    """
    worst = 0.0
    for some, others in zip(patches, expected, strict=True):
        found = {(patch.tensor, patch.row): patch for patch in some}
        wanted = {(patch.tensor, patch.row): patch for patch in others}
        size = max(float(np.abs(embedded(p, *shapes[p.tensor])).max()) for p in others) if others else 0.0
        for place in {*found, *wanted}:
            have, want = (
                embedded(given[place], *shapes[place[0]]) if place in given else np.float32(0)
                for given in (found, wanted)
            )
            error = float(np.abs(have - want).max())
            worst = float(np.maximum(worst, error / max(size, 1e-12)))  # unlike max(), keeps NaN
    return Check(f"{name}: ONNX gradient against TorchScript", worst, _TORCH_LIMIT)


def means(
    name: str, patches: Sequence[Patches], expected: Sequence[Patches], shapes: Mapping[int, tuple[int, ...]]
) -> Check:
    """Check gradients of which only the means are given against whole ones; the other arguments as for `against`."""
    worst = 0.0
    for some, others in zip(patches, expected, strict=True):
        found = {patch.tensor: patch.uniform for patch in some}
        for other in others:
            mean = found.get(other.tensor)
            if mean is None:
                return Check(f"{name}: means of the ONNX gradient", float("inf"), _TORCH_LIMIT)
            height, width = shapes[other.tensor]
            want = embedded(other, height, width).mean((1, 2), dtype=np.float64)
            size = max(float(np.abs(want).max()), 1e-12)
            worst = float(np.maximum(worst, np.abs(mean - want).max() / size))
    return Check(f"{name}: means of the ONNX gradient", worst, _TORCH_LIMIT)


def _along(patch: Patch, way: Array) -> float:
    """The derivative along a direction of the whole feature."""
    direction = way[patch.row]
    result = inner(patch.gradient, direction, *patch.corner)
    if patch.uniform is not None:
        result += float((patch.uniform * direction.sum((1, 2))).sum())
    return result


def embedded(patch: Patch, height: int, width: int) -> Array:
    """The gradient by a whole map: [C, H, W]."""
    channels, h, w = patch.gradient.shape
    whole = np.zeros((channels, height, width), np.float32)
    if patch.uniform is not None:
        whole += patch.uniform[:, None, None]
    y, x = patch.corner
    y0, y1 = (min(max(edge, 0), height) for edge in (y, y + h))
    x0, x1 = (min(max(edge, 0), width) for edge in (x, x + w))
    whole[:, y0:y1, x0:x1] += patch.gradient[:, y0 - y : y1 - y, x0 - x : x1 - x]
    return whole
