"""Which tensors can be looked at, and where their cells lie on the canvas."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import onnx_ir as ir

from boxcam.errors import ExportError, UnknownLayerError
from boxcam.export import graph as onnx
from boxcam.export.source import LayerTensors, Source

Stride = tuple[float, float]


def resolve(source: Source, names: Sequence[str]) -> dict[str, LayerTensors]:
    """The layers that were asked for: names that the source knows, or names of tensors.

    Raises:
        UnknownLayerError: a name is neither.
        ExportError: a tensor is no feature map.
    """
    values = {str(value.name): value for value in onnx.values(source.model.graph)}
    chosen: dict[str, LayerTensors] = {}
    for name in names or source.default_layers:
        if name in source.layers:
            chosen[name] = source.layers[name]
        elif name in values:
            chosen[name] = LayerTensors((name,))
        else:
            close = difflib.get_close_matches(name, [*source.layers, *values], n=3, cutoff=0.6)
            raise UnknownLayerError(name, source.layers, "the model", close)
    return chosen


def check_map(value: ir.Value, layer: str) -> tuple[int, int, int]:
    """Channels, height and width of a feature map of the whole image.

    Raises:
        ExportError: the value is no such thing.
    """
    shape = onnx.static_shape(value)
    if shape is None or len(shape) != 4 or shape[0] != 1 or None in shape:
        known = "of unknown rank" if shape is None else f"of shape {['?' if d is None else d for d in shape]}"
        raise ExportError(
            f"layer {layer!r}: tensor {value.name} is {known}; a feature map [1, channels, height, width] is needed."
        )
    return shape[1], shape[2], shape[3]  # type: ignore[return-value]


def strides(graph: ir.Graph, image: ir.Value) -> dict[ir.Value, Stride]:
    """Canvas pixels per cell, down and across, of every map that is computed from the image."""
    found: dict[ir.Value, Stride] = {image: (1.0, 1.0)}
    for node in graph:
        source = next((v for v in node.inputs if v is not None and v in found), None)
        if source is None:
            continue
        factor = _factor(node, source)
        if factor is None:
            continue
        before = found[source]
        for value in node.outputs:
            found[value] = (before[0] * factor[0], before[1] * factor[1])
    return found


def _factor(node: ir.Node, source: ir.Value) -> Stride | None:
    """By how much larger an operator's cells are; None where there are no cells any more."""
    shape = onnx.static_shape(node.outputs[0])
    if shape is None or len(shape) != 4:
        return None
    if node.op_type in ("Conv", "MaxPool", "AveragePool", "LpPool"):
        step = onnx.attribute(node, "strides", [1, 1])
        return float(step[0]), float(step[1])
    if node.op_type == "ConvTranspose":
        step = onnx.attribute(node, "strides", [1, 1])
        return 1 / float(step[0]), 1 / float(step[1])
    before = onnx.static_shape(source)
    if before is None or len(before) != 4 or None in (*before[2:], *shape[2:]):
        return None
    sizes = [(int(b or 0), int(s or 0)) for b, s in zip(before[2:], shape[2:], strict=True)]
    if node.op_type in ("Resize", "Upsample", "DepthToSpace", "SpaceToDepth"):
        return _ratio(*sizes[0]), _ratio(*sizes[1])
    if node.op_type == "Slice":
        sliced = _ints(node, 3) or range(len(shape))
        steps = {axis % len(shape): step for axis, step in zip(sliced, _ints(node, 4), strict=False)}
        return float(steps.get(2, 1)), float(steps.get(3, 1))
    return (1.0, 1.0) if node.op_type == "Pad" or all(b == s for b, s in sizes) else None


def _ratio(old: int, new: int) -> float:
    """Old over new size; a whole number (or one over it) if rounding at the map's edge explains the rest."""
    large, small = max(old, new), min(old, new)
    whole = round(large / small)
    ratio = whole if abs(large - whole * small) < whole else large / small
    return ratio if old >= new else 1 / ratio


def _ints(node: ir.Node, position: int) -> list[int]:
    found = onnx.array(node.inputs[position]) if len(node.inputs) > position else None
    return [] if found is None else [int(v) for v in found.reshape(-1)]
