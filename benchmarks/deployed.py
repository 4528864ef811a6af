"""boxcam at work on one image and one layer, in the pieces that are timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

import boxcam
from benchmarks.equality import Array
from boxcam.explain.methods import METHODS
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.run import observe_values, record_ranks, serialized
from boxcam.export.graphs.weights import read_graph
from boxcam.runtime.engines import OnnxEngine, Patches
from boxcam.runtime.images import read_image
from boxcam.runtime.preprocess import prepare
from boxcam.runtime.sessions import Device, Session
from boxcam.runtime.tensors import Tensors
from boxcam.types import Patch

METHOD = "gradcam"
"""What all are compared by, as every library has it."""
CELLS_METHOD = "hirescam"
"""What reads the gradient of every cell."""


class TooFewBoxesError(Exception):
    """The detector draws fewer boxes than should be explained."""


class Deployed:
    """What boxcam runs for one layer; all of it deterministic, with the image and the boxes given.

    Attributes:
        origin: int64 [K, D], which logit made each of the K boxes, the best first.
        groups: which of the layer's tensors each box is explained on.
        engines: the gradients that there are.
        tensor: the model's input, float32 [1, 3, H, W].
    """

    origin: Array
    groups: list[int]
    engines: tuple[str, ...]
    tensor: Array

    def floor(self) -> object:
        """The original model's forward pass, in ONNX Runtime."""
        raise NotImplementedError

    def prepare(self) -> object:
        """From the image to the model's input."""
        raise NotImplementedError

    def detect(self) -> object:
        """From the image to boxes, with nothing of explaining."""
        raise NotImplementedError

    def forward(self) -> object:
        """From the image to boxes and what the ONNX gradient needs."""
        raise NotImplementedError

    def gradients(self, count: int) -> object:
        """The gradients of so many boxes, of a forward pass that is done, by the ONNX engine."""
        raise NotImplementedError

    def explain(self, count: int, engine: str, method: str = METHOD) -> list[Array]:
        """From the image to the maps of so many boxes, [H, W] each, in cells of the feature map."""
        raise NotImplementedError

    def whole_maps(self) -> Callable[[Sequence[int]], list[Array]]:
        """The same gradient without windows and rows: what gives the maps of some boxes after a forward pass.

        Raises:
            UnsupportedOperatorError: there is none.
        """
        raise NotImplementedError


class Bundle(Deployed):
    """A bundle's layer.

    Args:
        path: the bundle.
        layer: the layer's name.
        picture: the image.
        count: how many boxes there have to be.
        threads: CPU threads.
    """

    def __init__(self, path: Path, layer: str, picture: Path, count: int, threads: int) -> None:
        self.model = boxcam.load(path, threads=threads)
        self.layer = self.model.runtime.layer(layer)
        self.engines = self.layer.engines
        self.image = read_image(picture)
        self.tensor = prepare(self.image, self.model.manifest.preprocess)[0]
        self.prediction = self.model.runtime.predict(self.image, self.layer, "onnx")
        found = self.prediction.detections
        if len(found) < count:
            raise TooFewBoxesError(f"{path.name} draws {len(found)} boxes on {picture.name}; {count} are needed.")
        self.origin = found.origin[:count]
        self.groups = [patch.tensor for patch, *_ in self._patches(range(count))]
        self._device = Device("cpu", threads)
        outputs = self.model.manifest.outputs
        self._original = without_extras(
            path / "forward.onnx", [outputs.boxes, outputs.scores, outputs.labels], self._device
        )

    @property
    def rois(self) -> Array | None:
        """The proposals, [R, 4], of a two-stage detector."""
        for layer in self.model.manifest.layers:
            if layer.rois:
                return self.model.runtime.predict(self.image, layer, "onnx").outputs[layer.rois[0]]
        return None

    def maps(self, layer: str) -> list[Array]:
        """The values of a layer's tensors."""
        of = self.model.runtime.layer(layer)
        outputs = self.model.runtime.predict(self.image, of, "onnx").outputs
        return [outputs[tensor.name] for tensor in of.tensors]

    def floor(self) -> object:
        return self._original.run(Tensors({self.model.manifest.input: self.tensor}), list(self._original.outputs))

    def prepare(self) -> object:
        return prepare(self.image, self.model.manifest.preprocess)

    def detect(self) -> object:
        return self.model.detect(self.image)

    def forward(self) -> object:
        return self.model.runtime.predict(self.image, self.layer, "onnx")

    def gradients(self, count: int) -> object:
        return self._patches(range(count))

    def _patches(self, boxes: Sequence[int]) -> list[Patches]:
        return list(self.model.runtime.patches(self.prediction, self.layer, boxes, "onnx"))

    def explain(self, count: int, engine: str, method: str = METHOD) -> list[Array]:
        made = boxcam.explain(
            self.model, self.image, method=method, layer=self.layer.name, engine=engine, score=0.0, top=count
        )
        return [part.cells.values for parts in made.parts for part in parts]

    def whole_maps(self) -> Callable[[Sequence[int]], list[Array]]:
        graph = read_graph(self.model.path / "forward.onnx")
        names = [end.name for end in self.model.manifest.target().ends]
        features = [tensor.name for tensor in self.layer.tensors]
        return whole_maps(graph, names, features, {self.model.manifest.input: self.tensor}, self.origin, self._device)


class Graph(Deployed):
    """A graph that ends at feature maps and class logits, differentiated without a bundle.

    Args:
        model: inputs: the image; outputs: the detector's own.
        logits, features: names of tensors.
        tensor: the model's input.
        count: how many of the highest logits are explained.
        threads: CPU threads.
        origin: which logits are explained instead, int64 [K, D].
    """

    engines = ("onnx",)

    def __init__(
        self,
        model: ir.Model,
        logits: Sequence[str],
        features: Sequence[str],
        tensor: Array,
        count: int,
        threads: int,
        origin: Array | None = None,
    ) -> None:
        self.tensor, self.logits, self.features = tensor, list(logits), list(features)
        self._device = Device("cpu", threads)
        self._input = str(model.graph.inputs[0].name)
        self._own = [str(value.name) for value in model.graph.outputs]
        shown = [name for name in (*logits, *features) if name != self._input]
        self.base = fold_model(_with_outputs(model, shown))
        record_ranks(self.base, {self._input: tensor})
        self._gradient = gradient.build(self.base, logits, features)
        self._engine = OnnxEngine(serialized(self._gradient.model), self._device)
        wanted = dict.fromkeys([*self._own, *features, *self._gradient.inputs])
        self._wanted = [name for name in wanted if name != self._input]
        self._original = Session(serialized(_only_outputs(self.base, self._own)), self._device)
        self._forward = Session(serialized(_only_outputs(self.base, self._wanted)), self._device)
        if origin is None:
            maps = observe_values(self.base, [_values(self.base)[name] for name in logits], {self._input: tensor})
            origin = highest(maps, count)
        self.origin = origin
        self._values = self.forward()
        self.groups = [patch.tensor for patch in self._patches(self._values, self.origin)]

    def maps(self) -> list[Array]:
        """The values of the feature maps."""
        return [self._values[name] for name in self.features]

    def floor(self) -> object:
        return self._original.run(Tensors({self._input: self.tensor}), self._own)

    def prepare(self) -> object:
        return None

    def detect(self) -> object:
        return self.floor()

    def forward(self) -> Tensors:
        found = self._forward.run(Tensors({self._input: self.tensor}), self._wanted)
        return Tensors({self._input: self.tensor, **{name: found.ort(name) for name in found}})

    def gradients(self, count: int) -> object:
        return self._patches(self._values, self.origin[:count])

    def explain(self, count: int, engine: str, method: str = METHOD) -> list[Array]:
        values = self.forward()
        return cams(self._patches(values, self.origin[:count]), values, self.features, method)

    def whole_maps(self) -> Callable[[Sequence[int]], list[Array]]:
        feeds = {self._input: self.tensor}
        return whole_maps(self.base, self.logits, self.features, feeds, self.origin, self._device)

    def _patches(self, values: Tensors, origin: Array) -> list[Patch]:
        step = self._gradient.boxes_at_once
        return [
            patch
            for start in range(0, len(origin), step)
            for (patch,) in self._engine.patches(values, self.features, (), origin[start : start + step])
        ]


def cams(
    patches: Sequence[Patch], values: Mapping[str, Array], features: Sequence[str], method: str = METHOD
) -> list[Array]:
    """The map of each patch; those of one feature map are computed together."""
    found: list[Array | None] = [None] * len(patches)
    for key in dict.fromkeys((patch.tensor, patch.row) for patch in patches):
        mine = [i for i, patch in enumerate(patches) if (patch.tensor, patch.row) == key]
        made = METHODS[method](values[features[key[0]]][key[1]], [patches[i] for i in mine])
        for i, cells in zip(mine, made, strict=True):
            found[i] = cells.values
    return [values for values in found if values is not None]


def highest(maps: Sequence[Array], count: int) -> Array:
    """Origins of the highest logits."""
    flat = np.concatenate([values.reshape(-1) for values in maps])
    chosen = np.argsort(-flat, kind="stable")[:count]
    starts = np.cumsum([0, *(values.size for values in maps)])
    rows = []
    for position in chosen.tolist():
        number = int(np.searchsorted(starts, position, side="right")) - 1
        rows.append([number, *(int(i) for i in np.unravel_index(position - starts[number], maps[number].shape))])
    return np.array(rows, np.int64)


def without_extras(file: Path, outputs: Sequence[str], device: Device) -> Session:
    """A bundle's forward graph with the original model's outputs only, and what these need."""
    model = read_graph(file)
    return Session(serialized(_only_outputs(model, list(dict.fromkeys(outputs)))), device)


def whole_maps(
    model: ir.Model,
    logits: Sequence[str],
    features: Sequence[str],
    feeds: Mapping[str, Array],
    origin: Array,
    device: Device,
) -> Callable[[Sequence[int]], list[Array]]:
    """The gradient on whole maps of the same layer: from some of the boxes to their maps."""
    record_ranks(model, dict(feeds))
    built = gradient.build(model, logits, features, local=False)
    wanted = list(dict.fromkeys([*built.inputs, *features]))
    found = observe_values(model, [_values(model)[name] for name in wanted], dict(feeds))
    values = Tensors(dict(zip(wanted, found, strict=True)))
    engine = OnnxEngine(serialized(built.model), device)

    def run(boxes: Sequence[int]) -> list[Array]:
        step = built.boxes_at_once
        patches = [
            patch
            for start in range(0, len(boxes), step)
            for (patch,) in engine.patches(values, features, (), origin[list(boxes[start : start + step])])
        ]
        return cams(patches, values, features)

    return run


def _values(model: ir.Model) -> dict[str, Any]:
    return {str(value.name): value for value in all_values(model.graph)}


def _with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    work = clone_model(model)
    values = _values(work)
    for name in names:
        add_output(work.graph, values[name])
    return work


def _only_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    work = clone_model(model)
    values = _values(work)
    work.graph.outputs.clear()
    work.graph.outputs.extend(values[name] for name in names)
    passes.RemoveUnusedNodesPass()(work)
    return work
