"""A bundle at work: detect, read features, compute gradients."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boxcam import bundle
from boxcam.bundle import Layer, Manifest
from boxcam.errors import BundleError, EngineError, UnknownLayerError
from boxcam.runtime.engines import ENGINES, GradientEngine
from boxcam.runtime.preprocess import Transform, prepare
from boxcam.runtime.sessions import Device, Session
from boxcam.runtime.tensors import Array, Tensors
from boxcam.types import Detections, Float, Grid, Image, Patch


@dataclass(frozen=True, eq=False)
class Prediction:
    """One forward pass.

    Attributes:
        detections: the boxes, best score first.
        transform: where the image lies on the canvas.
        outputs: the tensors that were asked for, by name; features are arrays only once they are read.
    """

    detections: Detections
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
        self._device = Device(device, threads, (providers,) if isinstance(providers, str) else tuple(providers))
        self._engines: dict[str, GradientEngine] = {}
        self._session = Session(self.path / bundle.FORWARD, self._device)
        self._check_outputs()

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
            str(name), self.layers, f"bundle {self.path}", advice="Export the model again with --layer for another one."
        )

    def detect(self, image: Image) -> Detections:
        """The boxes on an image, uint8 [H, W, 3] BGR, best score first, in image pixels."""
        return self.predict(image).detections

    def predict(self, image: Image, layer: Layer | None = None, engine: str = "auto") -> Prediction:
        """One forward pass.

        Args:
            image: uint8 [H, W, 3], BGR.
            layer: also return what explaining this layer needs.
            engine: by this gradient engine, or ``auto``.
        """
        tensor, transform = prepare(image, self.manifest.preprocess)
        keep: set[str] = set()
        if layer is not None:
            context = layer.gradients[self.engine_name(layer, engine)].context
            keep = {*(of.name for of in layer.tensors), *context}
        found = self._session.run(Tensors({self.manifest.input: tensor}), self._outputs_for(layer, keep), keep)
        return Prediction(self._detections(found, transform), transform, found)

    def patches(
        self,
        prediction: Prediction,
        layer: Layer,
        boxes: Sequence[int],
        engine: str = "auto",
        *,
        means: bool = False,
    ) -> Iterator[Patch]:
        """The gradient of each box's logit with respect to a layer, a few boxes at a time.

        Args:
            prediction: a forward pass made for this layer and engine.
            layer: the layer.
            boxes: indices into ``prediction.detections``.
            engine: name of a gradient engine, or ``auto``.
            means: whether the mean of each channel's gradient over the map is enough: where that is cheaper to compute,
                a patch is then a uniform gradient with this mean.

        Raises:
            EngineError: the engine is not in the bundle or cannot run here.
        """
        running, gradient = self.engine(layer, engine, means=means), layer.gradients[self.engine_name(layer, engine)]
        features = [tensor.name for tensor in layer.tensors]
        origin = prediction.detections.origin[np.asarray(boxes, np.int64)]
        step = max(gradient.boxes_at_once, 1)  # bounds the memory that gradients take
        for start in range(0, len(origin), step):
            yield from running.patches(prediction.outputs, features, gradient.context, origin[start : start + step])

    def activation(self, prediction: Prediction, layer: Layer, patch: Patch) -> Float:
        """The feature map that a patch belongs to: [C, H, W], the proposal's own for RoI features."""
        found: Float = prediction.outputs[layer.tensors[patch.tensor].name][patch.row]
        return found

    def grid(self, prediction: Prediction, layer: Layer, patch: Patch) -> Grid:
        """Where the cells of a patch's feature map lie on the image."""
        tensor = layer.tensors[patch.tensor]
        if layer.rois is not None:
            roi = prediction.outputs[layer.rois][patch.row]
            return prediction.transform.roi_grid(roi, tensor.height, tensor.width)
        assert tensor.stride is not None
        return prediction.transform.map_grid(tensor.height, tensor.width, tensor.stride, tensor.center)

    def engine_name(self, layer: Layer, engine: str = "auto") -> str:
        """The engine that will be used.

        Raises:
            UnknownNameError: there is no such engine.
            EngineError: the bundle has no such gradient.
        """
        if engine != "auto":
            ENGINES[engine]
        for name in ENGINES:
            if name in layer.gradients and engine in ("auto", name):
                return name
        there = ", ".join(layer.gradients) or "none"
        raise EngineError(
            f"bundle {self.path} has no {engine!r} gradient for layer {layer.name!r} (there is: {there})."
            " Export the model again, or choose another engine."
        )

    def engine(self, layer: Layer, engine: str = "auto", *, means: bool = False) -> GradientEngine:
        """The gradient engine of a layer, opened once and kept; with ``means``, the cheaper one if there is one."""
        name = self.engine_name(layer, engine)
        gradient = layer.gradients[name]
        file = gradient.means if means and gradient.means else gradient.file
        if file not in self._engines:
            self._engines[file] = ENGINES[name](self.path / file, self._device)
        return self._engines[file]

    def _outputs_for(self, layer: Layer | None, more: Iterable[str] = ()) -> list[str]:
        outputs = self.manifest.outputs
        names = dict.fromkeys([outputs.boxes, outputs.scores, outputs.labels, outputs.origin, outputs.logits])
        if layer is not None and layer.rois is not None:
            names[layer.rois] = None
        return [*names, *sorted(set(more) - set(names))]

    def _detections(self, found: Mapping[str, Array], transform: Transform) -> Detections:
        outputs = self.manifest.outputs
        boxes, scores = found[outputs.boxes], found[outputs.scores]
        if outputs.box_columns is not None:
            boxes = boxes[..., slice(*outputs.box_columns)]
        if outputs.score_column is not None:
            scores = scores[..., outputs.score_column]
        boxes, scores, labels = boxes.reshape(-1, 4), scores.reshape(-1), found[outputs.labels].reshape(-1)
        origin, logits = found[outputs.origin], found[outputs.logits]
        real = np.flatnonzero(origin[:, 0] >= 0)  # a row without an origin is filler that the export put in
        order = real[np.argsort(-scores[real], kind="stable")]
        names = self.manifest.labels
        chosen = labels[order].astype(np.int64)
        return Detections(
            boxes=transform.boxes_to_image(boxes[order]),
            scores=scores[order].astype(np.float32),
            labels=chosen,
            names=tuple(names[k] if 0 <= k < len(names) else f"class {k}" for k in chosen),
            origin=origin[order].astype(np.int64),
            logits=logits[order].astype(np.float32),
        )

    def _check_outputs(self) -> None:
        shapes = self._session.outputs
        wanted = set(self._outputs_for(None))
        for layer in self.manifest.layers:
            context = (name for gradient in layer.gradients.values() for name in gradient.context)
            wanted.update(self._outputs_for(layer, context), (tensor.name for tensor in layer.tensors))
        spec = self.manifest.preprocess
        size = self._session.inputs.get(self.manifest.input, ())
        size = size[2:] if spec.layout == "NCHW" else size[1:3]
        if wanted - set(shapes) or size != (spec.height, spec.width):
            lacks = ", ".join(sorted(wanted - set(shapes))[:3]) or f"an input of {spec.height}x{spec.width}"
            raise BundleError(f"{self.path / bundle.FORWARD} lacks {lacks}, which the manifest promises. Export again.")
        for layer in self.manifest.layers:
            for tensor in layer.tensors:
                sizes = tensor.channels, tensor.height, tensor.width
                known = shapes[tensor.name][1:] if len(shapes[tensor.name]) == 4 else ()
                if any(isinstance(have, int) and have != want for have, want in zip(known, sizes, strict=False)):
                    raise BundleError(
                        f"{self.path / bundle.FORWARD}: {tensor.name} is {list(known)}, and not {list(sizes)} as the"
                        " manifest says. Export again."
                    )
            if not layer.gradients:
                raise EngineError(f"bundle {self.path} has no gradient for layer {layer.name!r}. Export again.")
