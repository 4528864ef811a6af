"""Which tensors can be looked at."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import onnx_ir as ir

from boxcam.errors import ExportError, UnknownLayerError
from boxcam.export.graphs.query import all_values, name_and_shape, static_shape
from boxcam.export.source import LayerTensors, Layout, SourceModel
from boxcam.types import IMAGE


def resolve(source: SourceModel, names: Sequence[str], layout: Layout | None = None) -> dict[str, LayerTensors]:
    """The layers that were asked for: names that the source knows, or names of tensors.

    Args:
        source: the source.
        names: the layers; its own choice if there are none.
        layout: of those that are tensors; None to see it from the graph.

    Raises:
        UnknownLayerError: a name is neither.
        ExportError: a tensor is no feature map.
    """
    values = {str(value.name): value for value in all_values(source.model.graph)}
    chosen: dict[str, LayerTensors] = {}
    for name in names or source.default_layers:
        if name in source.layers:
            chosen[name] = source.layers[name]
        elif name == IMAGE:
            chosen[name] = LayerTensors((_pixels(values[source.input]),))
        elif name in values:
            chosen[name] = LayerTensors((name,), layout=layout)
        else:
            close = difflib.get_close_matches(name, [*source.layers, IMAGE, *values], n=3, cutoff=0.6)
            advice = "Any feature map of the graph can be passed by the name of its tensor."
            raise UnknownLayerError(name, source.layers, "the model", close, advice)
    return chosen


def _pixels(image: ir.Value) -> str:
    """The image as real numbers: an input in whole ones is cast first."""
    casts = [node for node in image.consumers() if node.op_type == "Cast"]
    if image.dtype in (None, ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return str(image.name)
    if len(casts) != 1 or len(casts) != len(list(image.consumers())):
        raise ExportError(
            f"the model's input {image.name} is {image.dtype}, so its pixels have no gradient. Choose another layer"
            " with layers=."
        )
    return str(casts[0].outputs[0].name)


def check_rows(value: ir.Value, layer: str) -> tuple[int, int, int]:
    """Channels, height and width of pooled features.

    Raises:
        ExportError: the value is no such thing.
    """
    shape = static_shape(value)
    if shape is None or len(shape) != 4 or None in shape[1:]:
        raise ExportError(
            f"layer {layer!r}: the pooled features {name_and_shape(value)} have no fixed shape. Choose another layer"
            " with layers=."
        )
    return shape[1], shape[2], shape[3]  # type: ignore[return-value]


def check_map(value: ir.Value, layer: str, is_open: bool = False) -> tuple[int, int | None, int | None]:
    """Channels, height and width of a feature map of the whole image.

    Args:
        value: the map.
        layer: its name.
        is_open: whether the image has no fixed size; then height and width are None.

    Raises:
        ExportError: the value is no such thing.
    """
    shape = static_shape(value)
    if is_open and shape is not None and len(shape) == 4 and shape[0] in (1, None) and shape[1] is not None:
        return shape[1], None, None
    if shape is None or len(shape) != 4 or shape[0] != 1 or None in shape:
        known = "of unknown rank" if shape is None else f"of shape {['?' if d is None else d for d in shape]}"
        raise ExportError(
            f"layer {layer!r}: tensor {value.name} is {known}; a feature map [1, channels, height, width] is needed."
            " Choose another with layers=."
        )
    return shape[1], shape[2], shape[3]  # type: ignore[return-value]
