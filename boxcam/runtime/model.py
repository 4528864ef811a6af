"""A bundle at work: detect, read features, compute gradients."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam import bundle
from boxcam.bundle import Gradient, Layer, Manifest, Rules
from boxcam.bundle.graph import parse_graph, selecting_operator
from boxcam.errors import EngineError, RunError, UnknownLayerError
from boxcam.runtime.engines import AUTOMATIC, ENGINES, GradientEngine, Patches
from boxcam.runtime.heads import HeadGraph
from boxcam.runtime.outputs import check_features, read_detections, read_origin
from boxcam.runtime.preprocess import Transform, prepare
from boxcam.runtime.promises import check_promises, first_outputs
from boxcam.runtime.selection import Selection
from boxcam.runtime.sessions import CPU, Device, Session
from boxcam.runtime.tensors import Tensors
from boxcam.types import Detections, Float, Grid, Image, Int, Patch

Targets = str | Sequence[str | None] | None
"""Names of targets; None is the bundle's first one."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """One forward pass.

    Attributes:
        detections: the boxes, best score first.
        rows: int64 [K], which row of the model's outputs each of them is.
        transform: where the image lies on the canvas.
        outputs: the tensors that were asked for, by name; features are arrays only once they are read.
    """

    detections: Detections
    rows: Int
    transform: Transform
    outputs: Tensors


class Model:
    """A detector out of a bundle.

    Attributes:
        path: the bundle.
        manifest: what it says about itself.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 0,
        device: str = "cpu",
        providers: str | Sequence[str] = (),
    ) -> None:
        """Open a bundle; `boxcam.load` is the same.

        Args:
            path: the bundle's directory.
            threads: CPU threads to use, 0 for as many as there are cores.
            device: ``cpu``, or ``cuda`` for the forward pass and the gradient on an NVIDIA GPU.
            providers: names of ONNX Runtime's execution providers, the preferred one first, instead of the device's.

        Raises:
            BundleError: the bundle is missing, altered, broken, or of a newer version.
            EngineError: ONNX Runtime is not installed, or twice.
            UnknownNameError: there is no such device or provider.

        Warns:
            BoxcamWarning: the device or a provider cannot be used, and the CPU is instead.
        """
        self.path = Path(path)
        self.manifest: Manifest = bundle.read(self.path)
        self._device = Device(device, threads, providers)
        self._engines: dict[str, GradientEngine] = {}
        self._heads: dict[tuple[str, str], HeadGraph] = {}
        self._selection: Selection | None = None
        self._selecting: dict[tuple[str, tuple[str, ...]], str | None] = {}
        self._session = Session(self.path / bundle.FORWARD, self._device)
        if self._session.providers == (CPU,):  # the gradient runs where the forward pass does
            self._device = Device("cpu", threads)
        check_promises(self.manifest, self._session)

    def like(self, path: str | os.PathLike[str]) -> Model:
        """Another bundle, on the same device and by as many threads.

        Args:
            path: the bundle's directory.

        Raises:
            BundleError: it is missing, altered or broken.
        """
        return Model(path, threads=self._device.threads, device=self._device.name, providers=self._device.providers)

    @property
    def device(self) -> str:
        """What it runs on: ``cpu`` or ``cuda``, whichever it got, or a word for the provider that was asked for."""
        return self._session.device

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers of ONNX Runtime that it got, the preferred one first."""
        return self._session.providers

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all that a forward pass can give."""
        return tuple(self._session.outputs)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that can be explained; the first is the default."""
        return tuple(layer.name for layer in self.manifest.layers)

    def layer(self, name: str | None = None) -> Layer:
        """A layer by name; the first one if no name is given.

        Raises:
            UnknownLayerError: there is none of that name.
        """
        for layer in self.manifest.layers:
            if name in (None, layer.name):
                return layer
        raise UnknownLayerError(
            str(name),
            self.layers,
            f"bundle {self.path}",
            advice="To explain another layer, export the model again with layers=.",
        )

    def detect(self, image: Image) -> Detections:
        """The boxes on an image, uint8 [H, W, channels], BGR of three, best score first, in image pixels."""
        return self.predict(image).detections

    def predict(
        self,
        image: Image,
        layers: Layer | Sequence[Layer] = (),
        engine: str = "auto",
        target: Targets = None,
        *,
        extra: Sequence[str] = (),
        ends: bool = False,
        rest: bool = False,
    ) -> Prediction:
        """One forward pass.

        Args:
            image: uint8 [H, W, channels], BGR of three.
            layers: also return what explaining these layers needs.
            engine: by this gradient engine, or ``auto``.
            target: of this target, or of these; the bundle's first one by default.
            extra: further outputs, each one of `outputs`.
            ends: also return the tensors that the targets are in, which `at_origin` reads.
            rest: also return what running the rest of the model after the layers reads, see `head`.
        """
        tensor, transform = prepare(image, self.manifest.preprocess)
        return self.forward(tensor, transform, layers, engine, target, extra=extra, ends=ends, rest=rest)

    def forward(
        self,
        tensor: npt.NDArray[Any],
        transform: Transform,
        layers: Layer | Sequence[Layer] = (),
        engine: str = "auto",
        target: Targets = None,
        *,
        extra: Sequence[str] = (),
        ends: bool = False,
        rest: bool = False,
    ) -> Prediction:
        """One forward pass on what `boxcam.runtime.preprocess.prepare` makes of an image.

        Args:
            tensor: the model's input.
            transform: where the image lies on it.
            layers, engine, target, ends, rest: as for `predict`.
            extra: further outputs, each one of `outputs`.
        """
        keep: set[str] = set()
        wanted = [layers] if isinstance(layers, Layer) else layers
        targets = dict.fromkeys([target] if target is None or isinstance(target, str) else target)
        for layer in wanted:
            keep.update(of.name for of in layer.tensors)
            keep.update(layer.rois)
            keep.update(name for head in layer.heads for name in head.context if rest)
            for gradient in (one for of in targets for one in self._gradients(layer, engine, of)):
                keep.update(gradient.context)
        aims = [self.manifest.target(of) for of in targets]
        keep.update(end.name for aim in aims for end in aim.ends if ends and end.name in self._session.outputs)
        numbers = [name for aim in aims for name in (aim.origin, aim.value)]
        names = dict.fromkeys([*first_outputs(self.manifest), *numbers, *extra, *sorted(keep)])
        found = self._session.run(Tensors({self.manifest.input: tensor}), list(names), keep)
        detections, rows = read_detections(self.manifest, found, transform, self._file)
        count = len(found[self.manifest.target().value])
        for aim in aims:
            if aim is self.manifest.target():
                continue  # that was read with the detections
            if len(read_origin(aim, found, count, self._file)) != found[aim.value].size:
                raise RunError(
                    f"{self._file}: {aim.value} does not have one number for each box. Export the model again."
                )
        for layer in wanted:
            check_features(layer, found, self._file)
        return Prediction(detections, rows, transform, found)

    def patches(
        self,
        prediction: Prediction,
        layer: Layer,
        boxes: Sequence[int],
        engine: str = "auto",
        *,
        target: str | None = None,
        rules: Rules = "plain",
        means: bool = False,
        of: Prediction | None = None,
    ) -> Iterator[Patches]:
        """The gradient of each box's target with respect to a layer, a few boxes at a time.

        Args:
            prediction: a forward pass made for this layer, engine and target.
            layer: the layer.
            boxes: indices into ``prediction.detections``.
            engine: name of a gradient engine, or ``auto``.
            target: name of the target; the bundle's first one by default.
            rules: ``guided`` for guided backpropagation.
            means: whether the mean of each channel's gradient over the map is enough: where that is cheaper to compute,
                a patch is then a uniform gradient with this mean.
            of: the forward pass whose boxes they are, if it is another one: their targets are those numbers that it
                was in that pass, whether or not the model draws the box in this one.

        Raises:
            EngineError: the engine is not in the bundle or cannot run here.
        """
        origin = self.origin(of or prediction, boxes, target)
        yield from self.patches_at(prediction, layer, origin, engine, target=target, rules=rules, means=means)

    def patches_at(
        self,
        prediction: Prediction,
        layer: Layer,
        origin: Int,
        engine: str = "auto",
        *,
        target: str | None = None,
        rules: Rules = "plain",
        means: bool = False,
    ) -> Iterator[Patches]:
        """As `patches`, of any numbers of the tensors that a target is in, whether or not a box came from them.

        Args:
            prediction, layer, engine, target, rules, means: as for `patches`.
            origin: int64 [N, D], which numbers, as `origin` gives those of boxes.
        """
        gradient = self.gradient(layer, engine, target, rules)
        running = self.engine(gradient, means=means)
        features = [tensor.name for tensor in layer.tensors]
        step = max(gradient.boxes_at_once, 1)  # bounds the memory that gradients take
        for start in range(0, len(origin), step):
            yield from running.patches(prediction.outputs, features, gradient.context, origin[start : start + step])

    def at_origin(
        self, prediction: Prediction, of: Prediction, boxes: Sequence[int], target: str | None = None
    ) -> Float | None:
        """The number of each box's target in another forward pass: float32 [K].

        Args:
            prediction: the other pass, made with ``ends``.
            of: the pass whose boxes they are, made for this target.
            boxes: indices into ``of.detections``.
            target: name of the target; the bundle's first one by default.

        Returns:
            The numbers; None if the bundle does not give the tensors that they are in.
        """
        ends = self.manifest.target(target).ends
        if not all(end.name in prediction.outputs for end in ends):
            return None
        tensors = [prediction.outputs[end.name] for end in ends]
        found = []
        for number, *position in self.origin(of, boxes, target).tolist():
            tensor = tensors[number]
            found.append(tensor[tuple(position[: tensor.ndim])])
        return np.array(found, np.float32)

    def origin(self, prediction: Prediction, boxes: Sequence[int], target: str | None = None) -> Int:
        """Which numbers the boxes' targets are: int64 [K, D], the number of a tensor, then a position in it.

        Args:
            prediction: a forward pass made for this target.
            boxes: indices into ``prediction.detections``.
            target: name of the target; the bundle's first one by default.
        """
        rows = prediction.rows[np.asarray(boxes, np.int64)]
        found: Int = prediction.outputs[self.manifest.target(target).origin][rows].astype(np.int64)
        return found

    def values(self, prediction: Prediction, target: str | None = None) -> Float:
        """The number that each box's target is: float32 [K]; the sides of boxes in pixels of the model input."""
        found: Float = prediction.outputs[self.manifest.target(target).value][prediction.rows].astype(np.float32)
        return found

    def activation(self, prediction: Prediction, layer: Layer, patch: Patch) -> Float:
        """The feature map that a patch belongs to: [C, H, W], the proposal's own for RoI features."""
        found: Float = prediction.outputs[layer.tensors[patch.tensor].name][patch.row]
        return found

    def grid(self, prediction: Prediction, layer: Layer, patch: Patch) -> Grid:
        """Where the cells of a patch's feature map lie on the image."""
        tensor = layer.tensors[patch.tensor]
        height, width = prediction.outputs.shape(tensor.name)[2:]
        try:
            if tensor.rois is not None:
                roi = prediction.outputs[tensor.rois][patch.row]
                return prediction.transform.roi_grid(roi, height, width)
            assert tensor.stride is not None
            return prediction.transform.map_grid(height, width, tensor.stride, tensor.center)
        except (ValueError, OverflowError) as error:
            raise RunError(
                f"{self._file}: where the cells of {tensor.name} lie cannot be told ({error}). Export the model again."
            ) from error

    def gradient(
        self, layer: Layer, engine: str = "auto", target: str | None = None, rules: Rules = "plain"
    ) -> Gradient:
        """The gradient that will be used.

        Raises:
            UnknownNameError: there is no such engine or target.
            EngineError: the bundle has no such gradient.
        """
        if engine != "auto":
            ENGINES[engine]
        aim = self.manifest.target(target).name
        there = [g.engine for g in layer.gradients if (g.target, g.rules) == (aim, rules)]
        for name in ENGINES:
            if name in there and (name in AUTOMATIC if engine == "auto" else name == engine):
                found = layer.gradient(name, aim, rules)
                assert found is not None
                return found
        what = f"{'' if rules == 'plain' else f' by {rules} rules'} of {aim!r} for layer {layer.name!r}"
        if engine == "auto" and there:
            raise EngineError(
                f"bundle {self.path} has a gradient{what} by {there[0]} only. That is a program, which runs with all"
                f' your rights: if you trust where the bundle comes from, pass engine="{there[0]}".'
            )
        raise EngineError(
            f"bundle {self.path} has no {engine!r} gradient{what} (engines that have one:"
            f" {', '.join(dict.fromkeys(there)) or 'none'}). Export the model again with it, or pass another engine=."
        )

    def selecting_operator(self, target: str | None = None, after: Layer | None = None) -> str | None:
        """The operator that chooses boxes before the numbers of a target, so that one place in their tensors is another
        box in another image, or with other weights; None if places are fixed. The graph is read once for each.

        Args:
            target: name of the target; the bundle's first one by default.
            after: a layer: what comes before it does not count.
        """
        aim, names = self.manifest.target(target), () if after is None else tuple(of.name for of in after.tensors)
        if (aim.name, names) not in self._selecting:
            graph = parse_graph((self.path / bundle.FORWARD).read_bytes())
            self._selecting[aim.name, names] = selecting_operator(graph, [end.name for end in aim.ends], names)
        return self._selecting[aim.name, names]

    def engine(self, gradient: Gradient, *, means: bool = False) -> GradientEngine:
        """The engine of a gradient, opened once and kept; with ``means``, the cheaper one if there is one."""
        file = gradient.means if means and gradient.means else gradient.file
        if file not in self._engines:
            self._engines[file] = ENGINES[gradient.engine](self.path / file, self._device)
        return self._engines[file]

    def head(self, layer: Layer, end: str) -> HeadGraph | None:
        """The rest of the model after a layer, up to a tensor that targets are in, opened once and kept.

        Args:
            layer: the layer.
            end: name of the tensor.

        Returns:
            The graph; None if the bundle has none.

        Raises:
            BundleError: it is broken.
        """
        head = layer.head(end)
        if head is None:
            return None
        which = layer.name, end
        if which not in self._heads:
            self._heads[which] = HeadGraph(self.path, layer, head, self._device)
        return self._heads[which]

    @property
    def selection(self) -> Selection:
        """What the model's selection makes of class logits, opened once and kept.

        Raises:
            EngineError: the bundle does not tell.
        """
        if self._selection is None:
            self._selection = Selection(self.path, self.manifest, self._device)
        return self._selection

    @property
    def _file(self) -> str:
        """The forward graph, for messages."""
        return str(self.path / bundle.FORWARD)

    def _gradients(self, layer: Layer, engine: str, target: str | None) -> list[Gradient]:
        """Those of a layer that may be used: by all rules that it has."""
        first = self.gradient(layer, engine, target)
        guided = layer.gradient(first.engine, first.target, "guided")
        return [first, *([] if guided is None else [guided])]
