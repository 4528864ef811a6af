"""The rest of the model after a layer: cut out for each tensor that targets are taken from, tried, and checked.

Methods that run it again do so hundreds of times, so what makes them cheap is found out here, by running it: whether it
takes several maps at once, and whether a number of its output depends on the cells of its gradient alone, so that it
can be run on nothing but these. What is not so is not claimed: the maps are the same, and cost more.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Head, Scope
from boxcam.errors import ExportError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.head import Rest, cut_after
from boxcam.export.graphs.query import Array, static_shape
from boxcam.export.graphs.run import RunningGraph, open_session
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.passes.several_maps import take_several
from boxcam.export.verify.check import Run
from boxcam.runtime.engines import OnnxEngine, Patches
from boxcam.runtime.tensors import Tensors

_SAME = 1e-4
"""By how much numbers may differ, relative to the largest: they are added up in another order."""
_PLACES = (0.0, 0.5, 1.0)
"""Where along each axis of an output it is looked for what a number depends on."""
_ROWS = (-1, 0, -1)
"""Proposals that are run without the others."""


@dataclass(frozen=True, eq=False)
class LayerHead:
    """The rest of the model after a layer, up to one tensor.

    Attributes:
        end: name of the tensor.
        target: a target that is taken from it.
        number: of it among those of this target, as ``origin`` counts them.
        rest: the graph, for what the forward pass gives.
        several: the same for any number of maps, if it takes several.
        rows: names of the context that has a row for each proposal.
    """

    end: str
    target: str
    number: int
    rest: Rest
    several: ir.Model | None = None
    rows: tuple[str, ...] = ()

    def file(self, stem: str, place: int) -> str:
        """Its file's name, which no head of another layer has, whatever layers are called.

        Args:
            stem: of the layer's gradients.
            place: among the heads of the layer.
        """
        return f"{stem.replace('gradient', f'head-{place}' if place else 'head', 1)}.onnx"

    def described(self, file: str, scope: Scope) -> Head:
        """What the manifest says of it."""
        return Head(self.end, file, self.rest.context, self.several is not None, scope, self.rows)

    def write(self, file: Path, weights: WeightsFile) -> None:
        """Write the graph, its weights to those of the others, without what a run infers or does not need."""
        model = clone_model(self.several or self.rest.model)
        for node in model.graph:
            node.name = ""
            for value in node.outputs:
                if not value.is_graph_output():
                    value.shape = value.type = None
        weights.save(model, file)

    def tried(self, runs: Sequence[Run], rows: bool) -> LayerHead | None:
        """The same, with a graph for several maps if that gives what each gives alone.

        None if it does not run, or gives something else than the forward pass, as quantized models may that round
        elsewhere: methods that need it are refused then.

        Args:
            runs: of the forward graph.
            rows: whether the layer's features are of proposals.
        """
        try:
            alone = open_session(self.rest.model)
            found = [self._run(alone, {name: run.found[name] for name in self.rest.features}, run) for run in runs]
        except Exception:  # noqa: BLE001 - onnxruntime's own errors share no public root
            return None
        if not all(_close(one, run.found[self.end]) for one, run in zip(found, runs, strict=True)):
            return None
        several = clone_model(self.rest.model)
        opened = replace(self, several=several, rows=self._row_by_row(runs[0]) if rows else ())
        try:
            take_several(several, self.rest.features, opened.rows, repeat=not rows)
            running = open_session(several)
            same = all(opened._agrees(running, alone, run, rows) for run in runs)
        except Exception:  # noqa: BLE001 - as above; it counts on one image
            return self
        return opened if same else self

    def _row_by_row(self, run: Run) -> tuple[str, ...]:
        """Names of the context that has as many rows as there are proposals, which may be chance."""
        count = len(run.found[self.rest.features[0]])
        single = {value.name for value in self.rest.model.graph.inputs if (static_shape(value) or (1,))[0] == 1}
        rows = [name for name in self.rest.context if run.found[name].shape[:1] == (count,)]
        return tuple(name for name in rows if name not in single)

    def _agrees(self, running: RunningGraph, alone: RunningGraph, run: Run, rows: bool) -> bool:
        features = {name: run.found[name] for name in self.rest.features}
        expected = run.found[self.end]
        if rows:
            count = min(len(of) for of in features.values())
            if not count:
                return True
            chosen = [row % count for row in _ROWS]
            given = {name: run.found[name][chosen] for name in (*self.rest.features, *self.rows)}
            return _close(self._run(running, given, run), expected[chosen])
        changed = {name: np.ascontiguousarray(0.5 * of[..., ::-1]).astype(of.dtype) for name, of in features.items()}
        both = {name: np.concatenate([of, changed[name]]) for name, of in features.items()}
        found = self._run(running, both, run)
        return _close(found, np.concatenate([expected, self._run(alone, changed, run)]))

    def _run(self, running: RunningGraph, given: Mapping[str, Array], run: Run) -> Array:
        """The output for some features, and the context of a run unless that is given too."""
        (found,) = running.run([self.end], {**{name: run.found[name] for name in self.rest.context}, **given})
        return found

    def error(self, run: Run, file: Path) -> float:
        """By how much what the file gives differs from what the forward pass gave, relative to the largest number.

        Args:
            run: of the forward graph.
            file: where the graph was written.
        """
        try:
            session = open_session(file)
            (found,) = session.run([self.end], {given.name: run.found[given.name] for given in session.get_inputs()})
        except Exception:  # noqa: BLE001 - as above
            return float("inf")
        expected = run.found[self.end]
        if found.shape != expected.shape:
            return float("inf")
        worst = np.abs(found - expected).max(initial=0) / max(float(np.abs(expected).max(initial=0)), 1.0)
        return float(worst)

    def scope(self, run: Run, gradient: OnnxEngine, features: Sequence[str], origins: Array) -> Scope:
        """What of the layer's maps a number of the output depends on.

        Args:
            run: of the forward graph.
            gradient: of the layer, which tells windows.
            features: names of the layer's tensors, as the gradient numbers them.
            origins: int64 [K, D], numbers to look at in addition to some at fixed places.
        """
        try:
            return self._scope(run, gradient, features, origins)
        except Exception:  # noqa: BLE001 - as above; what cannot be told costs more, and is right
            return "map"

    def _scope(self, run: Run, gradient: OnnxEngine, features: Sequence[str], origins: Array) -> Scope:
        end = run.found[self.end]
        mine = origins[origins[:, 0] == self.number, 1 : 1 + end.ndim]
        places = [[round(place * (size - 1)) for size in end.shape] for place in _PLACES]
        positions = np.array([*mine[:2].tolist(), *places], np.int64).reshape(-1, end.ndim)
        asked = np.zeros((len(positions), origins.shape[1]), np.int64)
        asked[:, 0], asked[:, 1 : 1 + end.ndim] = self.number, positions
        patches = gradient.patches(Tensors(run.found), features, (), asked)
        if any(patch.uniform is not None for of in patches for patch in of):
            return "map"
        expected = np.array([end[tuple(position)] for position in positions])
        windows = [_inside(run, features, of) for of in patches]
        session = open_session(self.several or self.rest.model)
        names = self.rest.features
        found = []
        for of, position in zip(windows, positions, strict=True):
            kept = {name: _only(run.found[name], of.get(name)) for name in names}
            found.append(self._run(session, kept, run)[tuple(position)])
        if not _each_close(np.array(found), expected):
            return "map"
        if self.several is None or self.rest.context or len(names) != 1:
            return "cells"
        return "window" if self._runs_on_windows(session, run, windows, positions, expected) else "cells"

    def _runs_on_windows(
        self, session: RunningGraph, run: Run, windows: Sequence[Windows], positions: Array, expected: Array
    ) -> bool:
        (name,) = self.rest.features
        whole = run.found[name]
        if run.found[self.end].shape[2:] != whole.shape[2:]:
            return False
        found = []
        for of, position in zip(windows, positions, strict=True):
            window = of.get(name)
            if window is None:
                return False
            rows, columns = window
            try:
                (alone,) = session.run([self.end], {name: np.ascontiguousarray(whole[:, :, rows, columns])})
            except Exception:  # noqa: BLE001 - onnxruntime's own errors share no public root; it counts on whole maps
                return False
            there = position[2] - rows.start, position[3] - columns.start
            if alone.shape[2:] != (rows.stop - rows.start, columns.stop - columns.start) or min(there) < 0:
                return False
            if there[0] >= alone.shape[2] or there[1] >= alone.shape[3]:
                return False
            found.append(alone[position[0], position[1], there[0], there[1]])
        return _each_close(np.array(found), expected)


Windows = Mapping[str, tuple[slice, slice]]
"""Of the tensors that a number depends on, rows and columns."""


def build(model: ir.Model, features: Sequence[str], targets: Mapping[str, Sequence[str]]) -> tuple[LayerHead, ...]:
    """Cut the rest of the model out, for all targets for which that can be done.

    Args:
        model: the folded detector.
        features: names of the layer's tensors.
        targets: of each target, names of the tensors that it is taken from.
    """
    found: dict[str, LayerHead] = {}
    for target, ends in targets.items():
        mine = {}
        try:
            for number, end in enumerate(ends):
                rest = cut_after(model, features, end)
                if rest is not None:
                    mine[end] = LayerHead(end, target, number, rest)
        except ExportError:
            continue  # such methods are refused there, and say why
        found = {**mine, **found}
    return tuple(found.values())


def named(heads: Sequence[LayerHead], stem: str) -> Iterator[tuple[LayerHead, str]]:
    """The heads of a layer with the names of their files."""
    return ((head, head.file(stem, place)) for head, place in zip(heads, itertools.count()))


def _inside(run: Run, features: Sequence[str], patches: Patches) -> Windows:
    """The windows of some patches on their maps."""
    found = {}
    for patch in patches:
        name = features[patch.tensor]
        found[name] = tuple(
            slice(min(max(corner, 0), size), min(max(corner + extent, 0), size))
            for corner, extent, size in zip(
                patch.corner, patch.gradient.shape[1:], run.found[name].shape[2:], strict=True
            )
        )
    return found  # type: ignore[return-value]  # a pair


def _only(whole: Array, window: tuple[slice, slice] | None) -> Array:
    """A feature map that is zero outside of a window."""
    kept = np.zeros_like(whole)
    if window is not None:
        rows, columns = window
        kept[:, :, rows, columns] = whole[:, :, rows, columns]
    return kept


def _close(found: Array, expected: Array) -> bool:
    """Whether two arrays are the same but for rounding."""
    if found.shape != expected.shape or not np.isfinite(found).all():
        return False
    most = float(np.abs(expected).max(initial=0))
    return bool((np.abs(found - expected) <= _SAME * max(most, 1e-6)).all())


def _each_close(found: Array, expected: Array) -> bool:
    """The same, each number by itself: they may be of different units, as sides of boxes in pixels and logits are."""
    return bool((np.abs(found - expected) <= _SAME * np.maximum(np.abs(expected), 0.1)).all())
