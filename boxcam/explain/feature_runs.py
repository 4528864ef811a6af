"""Maps of methods that run the rest of the model again, with parts of a layer's feature maps set to zero.

Where a box's number depends on a window of cells, nothing else is run: the graph is run on the window alone where it
takes windows, and elsewhere cells outside of all windows are not tried, since they change nothing. Boxes that look at
the same feature map by the same tensor share runs of the whole map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boxcam.bundle import Layer
from boxcam.errors import EngineError, RunError
from boxcam.explain.evidence import Part
from boxcam.explain.methods import FeatureMasks
from boxcam.explain.methods.arithmetic import check_finite, inside
from boxcam.explain.options import Options
from boxcam.runtime.heads import Float64, HeadGraph
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.tensors import Array, Tensors
from boxcam.types import CellMap, Float, Int, Patch

Window = tuple[slice, slice]


def count_parts(method: FeatureMasks, layer: Layer, prediction: Prediction) -> int:
    """How many channels, or cells, the tensors of a layer have: so many are counted for each box."""
    return sum(_sizes(method, layer, prediction))


def masked_feature_parts(
    model: Model,
    method: FeatureMasks,
    layer: Layer,
    options: Options,
    prediction: Prediction,
    boxes: Sequence[int],
    progress: Callable[[int], None],
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its map by each tensor of a layer that it depends on.

    Args:
        model, method, layer, options: what is asked for.
        prediction: of the image, made with ``rest``.
        boxes: indices into its detections.
        progress: called with how many more of `count_parts` are done, for each box.

    Raises:
        EngineError: the bundle has no graph of the rest of the model up to the number of one of the boxes.
        RunError: a run fails, or its numbers are not finite.
    """
    origins = model.origin(prediction, boxes, options.target)
    found = list(model.patches(prediction, layer, boxes, options.engine, target=options.target, means=method.means))
    ends = [end.name for end in model.manifest.target(options.target).ends]
    # The window of a whole gradient is where it is not zero, which is less than what the number depends on.
    local = model.gradient(layer, options.engine, options.target).form == "windows"
    groups: dict[tuple[int, int, int], list[tuple[int, Patch]]] = {}
    for box, of in enumerate(found):
        for patch in of:
            groups.setdefault((patch.tensor, patch.row, int(origins[box, 0])), []).append((box, patch))
    total = count_parts(method, layer, prediction)
    mine = _sizes(method, layer, prediction)
    for of in found:
        progress(total - sum(mine[patch.tensor] for patch in of))
    made: list[dict[int, Part]] = [{} for _ in boxes]
    for (tensor, row, end), members in groups.items():
        head = model.head(layer, ends[end])
        if head is None:
            raise EngineError(
                f"bundle {model.path} has no graph of the model from layer {layer.name!r} to {ends[end]}, which the"
                f" method {options.method!r} runs again. Choose another layer, or another method."
            )
        runs = FeatureRuns(head, prediction.outputs, layer.tensors[tensor].name, row)
        asked = [
            Asked(origins[box, 1:], _window(runs.features, patch), local and patch.uniform is None)
            for box, patch in members
        ]
        together = [[one] for one in asked] if head.on_windows else [asked]
        measured = [each for some in together for each in runs.measure(method, some, progress)]
        for (box, patch), one in zip(members, measured, strict=True):
            values = method.compute(runs.features, one.before, one.values)
            part = Part(layer.tensors[tensor].name, CellMap(values, one.corner), model.grid(prediction, layer, patch))
            made[box][tensor] = part
    return tuple(tuple(of[tensor] for tensor in sorted(of)) for of in made)


@dataclass(frozen=True, eq=False)
class Asked:
    """A number of the output that is looked at.

    Attributes:
        position: where it is in the output, in the forward pass.
        window: rows and columns of the feature map that its gradient is of.
        is_window: whether nothing outside of the window counts.
    """

    position: Int
    window: Window
    is_window: bool


@dataclass(frozen=True, eq=False)
class Measured:
    """What one number was in all runs.

    Attributes:
        before: as the method compares it with: with nothing changed, or with everything zero.
        values: float64, of each channel [C], or of each cell [h, w] from ``corner`` on.
        corner: y0, x0: where a map begins that is made of them.
    """

    before: float
    values: Float64
    corner: tuple[int, int]


class FeatureRuns:
    """Runs the rest of a model with one feature map changed.

    Args:
        head: the graph.
        tensors: of the forward pass.
        name: of the feature map's tensor.
        row: which entry of its first axis.
    """

    def __init__(self, head: HeadGraph, tensors: Tensors, name: str, row: int) -> None:
        self._head, self._tensors, self._name, self._row = head, tensors, name, row
        self.features: Float = tensors[name][row]

    def measure(
        self, method: FeatureMasks, asked: Sequence[Asked], progress: Callable[[int], None]
    ) -> Iterator[Measured]:
        """What some numbers are in each run; on windows it is one number at a time."""
        windows = self._head.on_windows and all(one.is_window for one in asked)
        assert not windows or len(asked) == 1
        whole = slice(0, self.features.shape[1]), slice(0, self.features.shape[2])
        seen = asked[0].window if windows else whole
        features = np.ascontiguousarray(self.features[:, *seen])
        if method.parts == "channel":
            count, parts = len(features), np.flatnonzero(features.any(axis=(1, 2)))
            changed = self._without(features, parts)
        else:
            count, tried = features[0].size, features.any(axis=0)
            if self._head.is_local and all(one.is_window for one in asked) and not windows:
                tried &= _union(tried.shape, asked)
            parts = np.flatnonzero(tried.ravel())
            changed = self._alone(features, parts)
        positions = [self._position(one, seen) for one in asked]
        runs = self._head.run(self._tensors, self._row, changed)
        before = self._read(next(runs), positions)
        values = np.repeat(before[:, None], count, axis=1)
        everything = len(self.features) if method.parts == "channel" else self.features[0].size
        progress(len(asked) * (everything - len(parts)))
        for part, output in zip(parts, runs, strict=True):
            values[:, part] = self._read(output, positions)
            progress(len(asked))
        check_finite(values)
        corner = (0, 0) if method.parts == "channel" else (seen[0].start, seen[1].start)
        for start, line in zip(before, values, strict=True):
            shaped = line if method.parts == "channel" else line.reshape(features.shape[1:])
            yield Measured(float(start), shaped, corner)

    def _without(self, features: Float, channels: Int) -> Iterator[Mapping[str, Array]]:
        """The layer as it is, then with one channel zero after another."""
        others = {name: self._tensors[name][self._row] for name in self._head.features if name != self._name}
        yield {**others, self._name: features}
        for channel in channels:
            changed = features.copy()
            changed[channel] = 0
            yield {**others, self._name: changed}

    def _alone(self, features: Float, cells: Int) -> Iterator[Mapping[str, Array]]:
        """The layer with nothing, then with one cell after another."""
        others = {
            name: np.zeros_like(self._tensors[name][self._row]) for name in self._head.features if name != self._name
        }
        yield {**others, self._name: np.zeros_like(features)}
        for cell in cells:
            changed = np.zeros_like(features)
            y, x = divmod(int(cell), features.shape[2])
            changed[:, y, x] = features[:, y, x]
            yield {**others, self._name: changed}

    def _position(self, asked: Asked, seen: Window) -> list[int]:
        """Where a number is in the output of a run."""
        position = [int(place) for place in asked.position]
        if self._head.is_batched:
            if position[0] != self._row:
                raise RunError(
                    f"{self._head.file} gives row {position[0]} for row {self._row} of {self._name}. Export the model"
                    " again."
                )
            position[0] = 0
        if self._head.on_windows:
            position[2:4] = position[2] - seen[0].start, position[3] - seen[1].start
        return position

    def _read(self, output: Array, positions: Sequence[Sequence[int]]) -> Float64:
        """The numbers of an output: float64 [K]."""
        for position in positions:
            inside = all(0 <= at < size for at, size in zip(position, output.shape, strict=False))
            if len(position) < output.ndim or not inside:
                raise RunError(
                    f"{self._head.file} gives {list(output.shape)}, which has no place {position}. Export the model"
                    " again."
                )
        return np.array([output[tuple(position[: output.ndim])] for position in positions], np.float64)


def _sizes(method: FeatureMasks, layer: Layer, prediction: Prediction) -> list[int]:
    """Of each tensor of a layer, how many channels or cells it has."""
    shapes = [prediction.outputs.shape(tensor.name) for tensor in layer.tensors]
    return [shape[1] if method.parts == "channel" else shape[2] * shape[3] for shape in shapes]


def _window(features: Float, patch: Patch) -> Window:
    return inside(features, patch)[1]


def _union(shape: tuple[int, ...], asked: Sequence[Asked]) -> Array:
    """The cells that lie in some window: bool [h, w]."""
    found = np.zeros(shape, bool)
    for one in asked:
        found[one.window] = True
    return found
