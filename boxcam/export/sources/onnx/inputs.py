"""The inputs of a deployed model: one image of one size, and nothing else.

What some exporters add (the image's size, its scale) is put in as a constant: the canvas, and 1.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Preprocess
from boxcam.errors import SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import Array, name_and_shape, static_shape
from boxcam.export.passes.dynamic_size import forget_shapes
from boxcam.export.sources.onnx.fixed import put

_NUMBERS = (ir.DataType.FLOAT, ir.DataType.UINT8, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE, None)
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32)

# What extra inputs are for an image that fills the canvas, by name.
_EXTRA: dict[str, tuple[str | int, ...]] = {
    "im_shape": ("height", "width"),  # Paddle
    "scale_factor": (1, 1),  # Paddle
    "image_shape": ("height", "width"),  # YOLOv3 of the ONNX model zoo
    "orig_target_sizes": ("width", "height"),  # RT-DETR, D-FINE
    "im_info": ("height", "width", 1),  # Caffe2, old Paddle
}


def image(model: ir.Model) -> ir.Value:
    """The input that is the image, of rank 4; one of rank 3 is given a batch of one.

    Raises:
        SourceError: there is none, or several.
    """
    inputs = list(model.graph.inputs)
    ranks = {value: len(static_shape(value) or ()) for value in inputs}
    others = {*_EXTRA, "pixel_mask"}
    found = [v for v in inputs if v.dtype in _NUMBERS and ranks[v] in (3, 4) and _plain(v) not in others]
    if len(found) == 1:
        return found[0] if ranks[found[0]] == 4 else _with_batch(model.graph, found[0])
    known = ", ".join(name_and_shape(value) for value in inputs) or "none"
    if not found and any(v.dtype in _INTEGERS and ranks[v] == 2 for v in inputs):
        raise SourceError(
            f"the model takes token IDs or similar ({known}), but boxcam explains image models. Export one with an"
            " image input."
        )
    if found:
        raise SourceError(
            f"the model has several inputs that may be the image: {known}. Fix all but the image with inputs=, such as"
            f' inputs="{found[-1].name}={_plain(found[-1])}.npy".'
        )
    raise SourceError(
        f"the model has no image input: {known}. Export it with one, [1, 3, height, width] or [1, height, width, 3]."
    )


def settle(model: ir.Model, picture: ir.Value, spec: Preprocess, batch: int = 1) -> None:
    """Fix the batch and the image to its size, if it has one; other inputs become constants, or its size.

    Raises:
        SourceError: it is not known what to put into an input.
    """
    wanted = spec.shape if batch == 1 else (batch, *spec.shape[1:])
    if static_shape(picture) != wanted:
        down, across = (2, 3) if spec.layout == "NCHW" else (1, 2)
        names = {down: "height", across: "width"}
        picture.shape = ir.Shape([names[axis] if size is None else size for axis, size in enumerate(wanted)])
        forget_shapes(model.graph)
    for extra in [value for value in model.graph.inputs if value is not picture]:
        _settle_extra(model.graph, extra, picture, spec)


def axis_names(picture: ir.Value) -> list[str | None]:
    """What the file calls the axes of an input; None for an axis of a known size, or without a name."""
    dims = () if picture.shape is None else picture.shape.dims
    return [None if isinstance(size, int) or size.value is None else str(size.value) for size in dims]


def tells_pixels(model: ir.Model) -> bool:
    """Whether a model reads how large its picture is, or was: then it reports boxes in pixels of the picture."""
    return any(_plain(value) in ("scale_factor", "orig_target_sizes") for value in model.graph.inputs)


def training_size(metadata: Mapping[str, str]) -> tuple[int, int] | None:
    """Height and width of the images that a model was trained with, as Ultralytics writes it down."""
    size = literal(metadata.get("imgsz", "None"))
    if isinstance(size, int):
        return size, size
    if isinstance(size, (list, tuple)) and len(size) == 2 and all(isinstance(s, int) for s in size):
        return size[0], size[1]
    return None


def literal(text: str) -> Any:
    """What a literal of Python stands for, as Ultralytics writes them into files; None if it is none."""
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    return found


def _with_batch(graph: ir.Graph, image: ir.Value) -> ir.Value:
    """Put a batch of one before an input [3, height, width]."""
    batched = ir.Value(name=image.name, type=image.type, shape=ir.Shape([1, *(image.shape or ())]))
    op = Ops(graph, "boxcam.input")
    single = op.Squeeze(batched, [0])
    single.shape, single.type = image.shape, image.type
    ir.convenience.replace_all_uses_with(image, single, replace_graph_outputs=True)
    graph.inputs[list(graph.inputs).index(image)] = batched
    graph.sort()
    return batched


def _settle_extra(graph: ir.Graph, extra: ir.Value, picture: ir.Value, spec: Preprocess) -> None:
    """Put a constant, or what the image's shape tells, in the place of an input that is not the image."""
    shape = static_shape(extra)
    plain = _plain(extra)
    entries: tuple[str | int, ...]
    if plain in _EXTRA and shape is not None and len(shape) in (1, 2):
        entries = _EXTRA[plain]
    elif plain == "pixel_mask" and shape is not None and len(shape) == 3:
        entries = (1, "height", "width")
    else:
        raise SourceError(
            f"the model has a second input, {name_and_shape(extra)}, and boxcam does not know what to feed it. Fix it"
            f' with inputs=, such as inputs="{extra.name}=1" or inputs="{extra.name}=FILE.npy".'
        )
    if extra.dtype is None:
        raise SourceError(f"the model's input {extra.name} has no type. Check the file with onnx.checker.")
    mask = plain == "pixel_mask"
    if not mask and shape[-1] not in (None, len(entries)):
        raise SourceError(
            f"the model's input {name_and_shape(extra)} should hold {', '.join(map(str, entries))}. Fix it with"
            f' inputs=, such as inputs="{extra.name}=FILE.npy".'
        )
    lead = [1] * (len(shape) - 1)
    if spec.multiple:
        op = Ops(graph, f"boxcam.input/{extra.name}")
        numbers = _sizes_of(op, picture, spec, entries)
        found = op.Cast(op.Expand([1], numbers) if mask else op.Reshape(numbers, [*lead, -1]), to=extra.dtype)
        found.type, found.shape = extra.type, extra.shape
    else:
        sizes = [getattr(spec, entry) if isinstance(entry, str) else entry for entry in entries]
        values: Array = np.ones(sizes) if mask else np.array(sizes).reshape([*lead, -1])
        rows = max(shape[0] or 1, 1) if len(values) == 1 else len(values)
        whole = np.broadcast_to(values, (rows, *values.shape[1:]))
        put(graph, extra, whole.astype(extra.dtype.numpy()))
        return
    ir.convenience.replace_all_uses_with(extra, found, replace_graph_outputs=True)
    graph.inputs.remove(extra)
    graph.sort()


def _sizes_of(op: Ops, picture: ir.Value, spec: Preprocess, entries: Sequence[str | int]) -> ir.Value:
    """Numbers int64 [entries]: each as it is given, or the height or width of the image that comes."""
    down = 2 if spec.layout == "NCHW" else 1
    place = {"height": down, "width": down + 1}
    sizes = op.Shape(picture)
    parts = [op.Gather(sizes, [place[entry]]) if isinstance(entry, str) else [entry] for entry in entries]
    return op.Concat(*parts, axis=0)


def _plain(value: ir.Value) -> str:
    """The name of a value without what exporters put around it."""
    return str(value.name).rpartition("/")[2].partition(":")[0]
