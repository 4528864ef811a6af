"""A bundle whose weights are shuffled, layer by layer from the outputs down."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from boxcam.bundle import FORWARD, WEIGHTS, Manifest, write_manifest
from boxcam.bundle.graph import Weight, parse_graph
from boxcam.errors import EngineError, RunError
from boxcam.explain.metrics.arithmetic import Array
from boxcam.explain.sanity.copies import find_copy, is_learned
from boxcam.explain.sanity.layers import weight_layers
from boxcam.runtime.model import Model
from boxcam.types import Int


class Weights:
    """The weights of a bundle, as all of its graphs read them: one file, each tensor once.

    Args:
        model: the bundle at work.
        target: what of the boxes is explained; None for the bundle's first one.

    Attributes:
        layers: of the forward graph, those with no other layer after them first; see `weight_layers`.

    Raises:
        EngineError: the weights cannot be shuffled in all graphs alike, or what a box's target is depends on them.
    """

    def __init__(self, model: Model, target: str | None = None) -> None:
        self._model = model
        self._root, self._manifest = model.path, _of_onnx(model.manifest)
        graph = parse_graph((self._root / FORWARD).read_bytes())
        ends = [end.name for end in model.manifest.target(target).ends]
        if operator := model.selecting_operator(target):
            raise EngineError(
                f"bundle {self._root} chooses its boxes in the middle of the model ({operator}), so that with other"
                " weights its logits are of other boxes, and maps cannot be compared. Leave out sanity=."
            )
        self.layers = weight_layers(graph, ends)
        if not self.layers:
            raise EngineError(
                f"bundle {self._root} has no weights of 1 KB or more that its boxes depend on. Leave out sanity=."
            )
        self._copies = self._find_copies(list(graph.weights.values()))

    def shuffled(self, count: int, seed: int, opened: Callable[[Model], None]) -> Model:
        """The model with the weights of the first layers shuffled, each tensor's own numbers among themselves.

        Adebayo et al. 2018 (see `rank_correlation`), cascading randomisation, who draw weights anew as before training.
        What was drawn then a bundle does not know; a tensor's own numbers in random order have the same size, and
        nothing that was learned. Biases and what else is below 1 KB stay as they are.

        Args:
            count: how many layers.
            seed: of the order; that of a tensor is the same whatever else is shuffled.
            opened: is called with the model while its files are there, to open what will be needed of them.

        Raises:
            RunError: there is no room for the shuffled weights.
        """
        with tempfile.TemporaryDirectory(prefix="boxcam-") as folder:
            root = Path(folder)
            try:
                for name in {
                    FORWARD,
                    *(file for of in self._manifest.layers for g in of.gradients for file in g.files),
                }:
                    shutil.copyfile(self._root / name, root / name)
                data = bytearray((self._root / WEIGHTS).read_bytes())
                for weight in (weight for layer in self.layers[:count] for weight in layer):
                    values = _values(data, weight).copy()
                    order = np.random.default_rng([seed, weight.offset]).permutation(values.size)
                    _put(data, weight, values[order])
                    for copy, index in self._copies.get(weight.place, ()):
                        _put(data, copy, values[order][index])
                (root / WEIGHTS).write_bytes(data)
                write_manifest(root, self._manifest)
            except OSError as error:
                raise RunError(
                    f"the shuffled weights of {self._root} cannot be written into {root.parent}:"
                    f" {error.strerror or error}. Make room there, or leave out sanity=."
                ) from error
            model = self._model.like(root)
            opened(model)
            return model

    def _find_copies(self, weights: Sequence[Weight]) -> dict[tuple[int, int], list[tuple[Weight, Int]]]:
        """Of each weight, by its place, the copies that gradient graphs keep, and in what order."""
        data = bytearray((self._root / WEIGHTS).read_bytes())
        known = {weight.place: weight for weight in weights}
        learned = list({weight.place: weight for layer in self.layers for weight in layer}.values())
        found: dict[tuple[int, int], list[tuple[Weight, Int]]] = {}
        seen = set(known)
        for name in {file for of in self._manifest.layers for g in of.gradients for file in g.files}:
            for copy in parse_graph((self._root / name).read_bytes()).weights.values():
                values = _values(data, copy)
                if copy.place in seen or not is_learned(values):
                    continue
                seen.add(copy.place)
                same = [one for one in learned if np.prod(one.shape, dtype=np.int64) == values.size]
                match = find_copy(values, [_values(data, one).reshape(one.shape).astype(values.dtype) for one in same])
                if match is None:
                    raise EngineError(
                        f"{self._root / name} keeps weights in a form of its own ({copy.name}), which cannot be"
                        " shuffled as those of the model. Leave out sanity=."
                    )
                found.setdefault(same[match[0]].place, []).append((copy, match[1]))
        return found


def _of_onnx(manifest: Manifest) -> Manifest:
    """A manifest without gradients of other engines, which keep weights in files of their own, heads and candidates."""
    layers = [
        dataclasses.replace(layer, gradients=tuple(one for one in layer.gradients if one.engine == "onnx"), heads=())
        for layer in manifest.layers
    ]
    kept = tuple(layer for layer in layers if layer.gradients)
    return dataclasses.replace(manifest, layers=kept, candidates=None)


def _values(data: bytearray, weight: Weight) -> Array:
    """A tensor's numbers, flat; what is written into them is written into the file's bytes."""
    return np.frombuffer(memoryview(data)[weight.offset : weight.offset + weight.length], weight.dtype)


def _put(data: bytearray, weight: Weight, values: Array) -> None:
    _values(data, weight)[:] = values.astype(weight.dtype)
