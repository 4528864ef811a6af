"""Fourth step: the forward graph as it is written, and what the manifest says of the layers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from boxcam.bundle import Layer, Logits, Preprocess, Tensor, TracedTarget
from boxcam.errors import BoxcamWarning, ExportError
from boxcam.export.autodiff import gradient
from boxcam.export.gradients import LayerGradient
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import all_values, static_shape
from boxcam.export.layers.receptive_field import Cells, tiles
from boxcam.export.layers.resolve import check_map, check_rows
from boxcam.export.layers.tokens import ImageInput
from boxcam.export.passes import dynamic_size
from boxcam.export.source import LayerTensors
from boxcam.export.steps.differentiate import Gradients
from boxcam.export.steps.follow import Provenance
from boxcam.export.steps.prepare import Preparation
from boxcam.export.steps.rest import Heads
from boxcam.export.trace.trace import Trace
from boxcam.types import IMAGE


@dataclass(frozen=True, eq=False)
class Contents:
    """What a bundle holds.

    Attributes:
        forward: the forward graph, in float32, with everything that is read of it as an output.
        targets, layers: what the manifest says of them.
        read: names of the outputs that are read whatever becomes of the rest of the model after layers.
    """

    forward: ir.Model
    targets: tuple[TracedTarget, ...]
    layers: tuple[Layer, ...]
    read: tuple[str, ...]


def describe(
    prepared: Preparation, traced: Provenance, gradients: Gradients, heads: Heads, more: Sequence[str] = ()
) -> Contents:
    """Give the forward graph all outputs that gradients, maps and the rest of the model read, and describe them.

    Args:
        prepared, traced, gradients, heads: of the steps before.
        more: names of further values that are read.

    Raises:
        ExportError: where the cells of a layer lie is not known.

    Warns:
        BoxcamWarning: maps of a layer show little, or its gradients are straight-through.
    """
    forward = clone_model(traced.model)
    for graph in (graph for of in gradients.values() for one in of for graph in one.by_onnx.values()):
        gradient.provide(forward, graph)
    places = _Places(prepared.source.preprocess, _cells(prepared, forward))
    values = {str(value.name): value for value in all_values(forward.graph)}
    proposals = _proposals(forward.graph, prepared.layers, gradients)
    layers = []
    for name, layer in prepared.layers.items():
        first = gradients[name][0]
        if layer.kind == "roi":
            rois = dict(zip(layer.tensors, layer.rois, strict=True))
            tensors = [_pooled(name, values[n], proposals[rois[n]]) for n in first.subject.features]
        else:
            tensors = [places.tensor(name, values[n], first.field) for n in first.subject.features]
        _warn(name, gradients[name])
        found = [each for one in gradients[name] for each in one.described(prepared.files[name])]
        layers.append(Layer(name, layer.kind, tuple(tensors), tuple(found)))
    read = [str(v.name) for found in traced.traces.values() for v in (found.origin, found.logit)]
    read += [str(v.name) for found in traced.traces.values() for v in found.logits]  # the target, in any other pass
    for made in layers:
        read += [tensor.name for tensor in made.tensors]
        read += [value for one in gradients[made.name] for value in one.context]
        read += made.rois
    own = [str(v.name) for v in prepared.source.model.graph.outputs]
    _set_outputs(forward, own, read, _read_by(heads), more)
    targets = tuple(_target(found) for found in traced.traces.values())
    return Contents(forward, targets, tuple(layers), (*own, *read))


def without_lost(described: Contents, heads: Heads, more: Sequence[str] = ()) -> Contents:
    """The same, without outputs of the forward graph that were for graphs alone which are not in the bundle.

    Args:
        described: with all that were cut out.
        heads: those that are kept.
        more: names of further values that are read.
    """
    read = {*described.read, *_read_by(heads), *more}
    outputs = [str(value.name) for value in described.forward.graph.outputs]
    if read.issuperset(outputs):
        return described
    forward = clone_model(described.forward)
    _set_outputs(forward, [name for name in outputs if name in read])
    return replace(described, forward=forward)


def _read_by(heads: Heads) -> list[str]:
    """What the rest of the model after layers reads in addition to their tensors."""
    return [value for of in heads.values() for head in of for value in head.rest.context]


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the cells of maps lie on the model's input.

    Attributes:
        preprocess: how an image becomes the input.
        known: by the names of maps.
    """

    preprocess: Preprocess
    known: Mapping[str, Cells]

    def tensor(self, layer: str, value: ir.Value, field: int | None) -> Tensor:
        """What the manifest says of a feature map.

        Args:
            layer: name of its layer.
            value: the map.
            field: cells across that a target depends on; None if that is not a window.
        """
        spec = self.preprocess
        channels, height, width = check_map(value, layer, bool(spec.multiple))
        place = self.known.get(str(value.name))
        if place is None or place.axes != (2, 3):  # of tokens, and of what comes out of an attention
            if height is None or width is None:
                raise ExportError(
                    f"layer {layer!r}: where the cells of {value.name} lie is not known while the input size is"
                    f" dynamic. {dynamic_size.ADVICE}"
                )
            place = tiles((spec.height, spec.width), height, width)
        stride, center = (place.y.stride, place.x.stride), (place.y.center, place.x.center)
        return Tensor(str(value.name), channels, height, width, stride, field, center)


def _cells(prepared: Preparation, forward: ir.Model) -> dict[str, Cells]:
    """Where the cells of all maps of the forward graph lie, by the names of the maps."""
    graph = dynamic_size.fixed(forward, prepared.graphs.feeds).graph
    found = ImageInput(prepared.source.input, prepared.source.preprocess).placed(graph).cells
    return {str(value.name): place for value, place in found.items()}


def _pooled(layer: str, value: ir.Value, rois: str) -> Tensor:
    """What the manifest says of pooled features."""
    return Tensor(str(value.name), *check_rows(value, layer), None, rois=rois)


def _proposals(graph: ir.Graph, layers: Mapping[str, LayerTensors], gradients: Gradients) -> dict[str, str]:
    """The outputs with the proposals of pooled features, one for each value, though several layers may name it."""
    values = {str(value.name): value for value in all_values(graph)}
    found: dict[str, str] = {}
    for name, layer in layers.items():
        if layer.kind == "roi":
            rois = dict(zip(layer.tensors, layer.rois, strict=True))
            for number, tensor in enumerate(gradients[name][0].subject.features):
                value = values[rois[tensor]]
                if rois[tensor] not in found:
                    found[rois[tensor]] = _four_columns(graph, value, f"{name}.{number}" if number else name)
    return found


def _four_columns(graph: ir.Graph, value: ir.Value, layer: str) -> str:
    """The proposals as [R, 4]; some models put the image's number first."""
    shape = static_shape(value)
    if shape is None or len(shape) != 2 or shape[1] not in (4, 5):
        raise ExportError(
            f"layer {layer!r}: the proposals {value.name} are not [R, 4] or [R, 5]. Choose another layer with layers=."
        )
    if shape[1] == 4:
        return str(value.name)
    boxes = Ops(graph, f"{layer}.rois").Slice(value, [1], [5], [1])
    boxes.name = f"{layer}.rois"
    boxes.dtype, boxes.shape = ir.DataType.FLOAT, ir.Shape([None, 4])
    return str(boxes.name)


def _target(found: Trace) -> TracedTarget:
    """What the manifest says of a target."""
    ends = (
        Logits(str(v.name), static_shape(v) or (), activation)
        for v, activation in zip(found.logits, found.activations, strict=True)
    )
    return TracedTarget(found.target.name, str(found.origin.name), str(found.logit.name), tuple(ends))


def _warn(name: str, gradients: Sequence[LayerGradient]) -> None:
    """Say what a person should know of a layer before looking at it."""
    if gradients[0].field == 1 and name != IMAGE:
        warnings.warn(
            f"layer {name!r} is so late that each logit depends on a single cell of it, so its map shows one single"
            " active cell. Choose an earlier layer with layers=.",
            BoxcamWarning,
            stacklevel=2,
        )
    if any(one.rounded for one in gradients):
        warnings.warn(
            f"the model is quantized: gradients by layer {name!r} are straight-through, as if without rounding, and"
            " for the ONNX engine only.",
            BoxcamWarning,
            stacklevel=2,
        )


def _set_outputs(model: ir.Model, *groups: Sequence[str]) -> None:
    """Make the named values the outputs of a graph, in this order."""
    values = {str(value.name): value for value in all_values(model.graph)}
    names = dict.fromkeys(name for group in groups for name in group)
    model.graph.outputs.clear()
    model.graph.outputs.extend(values[name] for name in names)
    model.graph.sort()
