"""What a forward pass gives becomes detections, once it is made sure that it is what the manifest says."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Layer, Logits, Manifest, Outputs, TracedTarget
from boxcam.errors import BundleError, RunError
from boxcam.plurals import counted
from boxcam.runtime.preprocess import Transform
from boxcam.runtime.tensors import Array, Tensors
from boxcam.types import Detections, Float, Int

_ROUNDING = 2e-3
"""How far beyond 0 and 1 a score may be: as much as float16 rounds."""
_FEATURES = ("tensor(float)",)
_FLOATS = (*_FEATURES, "tensor(double)", "tensor(float16)")
_INTEGERS = ("tensor(int64)", "tensor(int32)")
_AGAIN = "Export the model again."


def read_detections(
    manifest: Manifest, found: Mapping[str, Array], transform: Transform, model: str
) -> tuple[Detections, Int]:
    """The boxes of a forward pass, best score first, and which rows of the outputs they are.

    Args:
        manifest: of the bundle.
        found: the outputs, by name.
        transform: where the image lies on the model's input.
        model: the forward graph, for messages.

    Raises:
        RunError: an output has another shape than it must have, or a number that cannot be: a box, a score or a logit
            that is not finite, a score outside of 0 to 1, an origin outside of the logits.
    """
    first = manifest.target()
    boxes, scores, labels = rows_of(manifest.outputs, found, model)
    origin = read_origin(first, found, len(scores), model)
    logits = found[first.value]
    if logits.shape != scores.shape:
        raise RunError(f"{model}: {first.value} is {list(logits.shape)}, not one number for each box. {_AGAIN}")
    real = np.flatnonzero(origin[:, 0] >= 0)  # a row without an origin is filler that the export put in
    for what, values in (("boxes", boxes), ("scores", scores), (f"values of {first.name!r}", logits)):
        if not np.isfinite(values[real]).all():
            raise RunError(
                f"{model} gives {what} that are NaN or infinite on this image, so nothing it says of it counts. Check"
                " the model on this image."
            )
    beyond = scores[real][(scores[real] < -_ROUNDING) | (scores[real] > 1 + _ROUNDING)]
    if beyond.size:
        raise RunError(
            f"{model} gives a score of {beyond[0]:g}, and scores are 0 to 1. Check which output holds the scores, and"
            " export the model again."
        )
    order = real[np.argsort(-scores[real], kind="stable")]
    names, chosen = manifest.labels, labels[order]
    detections = Detections(
        boxes=transform.boxes_to_image(boxes[order]),
        scores=scores[order].astype(np.float32),
        labels=chosen,
        names=tuple(names[k] if 0 <= k < len(names) else f"class {k}" for k in chosen),
        origin=origin[order],
        logits=logits[order].astype(np.float32),
    )
    return detections, order.astype(np.int64)


def read_origin(target: TracedTarget, found: Mapping[str, Array], count: int, model: str) -> Int:
    """Where a target's numbers come from: int64 [count, D], inside of the tensors that the manifest names.

    Raises:
        RunError: they are something else.
    """
    origin = found[target.origin]
    if origin.ndim != 2 or len(origin) != count or not origin.shape[1] or origin.dtype.kind not in "iu":
        raise RunError(
            f"{model}: {target.origin} is {origin.dtype} {list(origin.shape)}, not one row of whole numbers for each"
            f" of {count} boxes. {_AGAIN}"
        )
    axes = origin.shape[1] - 1
    for end in target.ends:
        if len(end.shape) > axes:
            raise RunError(
                f"{model}: {target.origin} has {counted(axes, 'index', 'indices')}, and {end.name} has"
                f" {counted(len(end.shape), 'axis', 'axes')}."
                f" {_AGAIN}"
            )
    lowest, sizes = _ranges(target.ends, axes)
    known = origin[(origin[:, 0] >= 0) & (origin[:, 0] < len(target.ends))]
    numbers, places = known[:, 0], known[:, 1:]
    outside = ((places < lowest[numbers]) | (places >= sizes[numbers])).any(axis=1)
    if outside.any():
        end = target.ends[int(numbers[outside].min())]
        raise RunError(f"{model}: {target.origin} points outside of {end.name} {list(end.shape)}. {_AGAIN}")
    if (origin[:, 0] >= len(target.ends)).any():
        raise RunError(f"{model}: {target.origin} points to a tensor that the manifest does not list. {_AGAIN}")
    return origin.astype(np.int64)


@lru_cache(maxsize=64)
def _ranges(ends: tuple[Logits, ...], axes: int) -> tuple[Int, Int]:
    """Of each tensor, the first place along each axis and how many there are: any place on axes that it has not."""
    limits = np.iinfo(np.int64)
    lowest, sizes = (np.full((len(ends), axes), of, np.int64) for of in (limits.min, limits.max))
    for number, end in enumerate(ends):
        lowest[number, : len(end.shape)] = 0
        sizes[number, : len(end.shape)] = [limits.max if size is None else size for size in end.shape]
    return lowest, sizes


def check_types(manifest: Manifest, types: Mapping[str, str], model: str) -> None:
    """Make sure that the outputs of a forward graph are of the types that numbers are read as.

    Args:
        manifest: of the bundle.
        types: of the graph's outputs by name, as ONNX Runtime writes them.
        model: the forward graph, for messages.

    Raises:
        BundleError: one is not.
    """
    wanted: dict[str, tuple[str, ...]] = {}
    for target in manifest.targets:
        wanted |= {target.value: _FLOATS, target.origin: _INTEGERS}
    for layer in manifest.layers:
        wanted |= dict.fromkeys((*(tensor.name for tensor in layer.tensors), *layer.rois), _FEATURES)
    for name, kinds in wanted.items():
        if types[name] not in kinds:
            raise BundleError(f"{model}: {name} is {types[name]}, not {' or '.join(kinds)}. {_AGAIN}")


def check_features(layer: Layer, found: Tensors, model: str) -> None:
    """Make sure that the feature maps of a layer are what the manifest says.

    Raises:
        RunError: they are not.
    """
    for tensor in layer.tensors:
        shape = found.shape(tensor.name)
        if len(shape) != 4 or shape[1] != tensor.channels or 0 in shape[1:]:
            raise RunError(
                f"{model}: {tensor.name} is {list(shape)}, and the manifest says that it has {tensor.channels}"
                f" channels. {_AGAIN}"
            )
        if tensor.rois is not None and found.shape(tensor.rois) != (shape[0], 4):
            raise RunError(
                f"{model}: {tensor.rois} is {list(found.shape(tensor.rois))}, and not [{shape[0]}, 4] for the proposals"
                f" of {tensor.name}. {_AGAIN}"
            )


def rows_of(outputs: Outputs, found: Mapping[str, Array], model: str) -> tuple[Float, Float, npt.NDArray[np.int64]]:
    """Boxes [N, 4] on the canvas, scores [N] and labels [N], in the types that the model has.

    Args:
        outputs: which outputs hold them.
        found: the outputs, by name.
        model: the graph, for messages.

    Raises:
        RunError: they are not of such shapes or types.
    """
    boxes, scores, labels = found[outputs.boxes], found[outputs.scores], found[outputs.labels].reshape(-1)
    if outputs.box_columns is not None:
        boxes = _last_axis(boxes, outputs.boxes, outputs.box_columns[1], model)[..., slice(*outputs.box_columns)]
    if outputs.score_column is not None:
        last = _last_axis(scores, outputs.scores, outputs.score_column + 1, model)
        scores = last[..., outputs.score_column]
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise RunError(f"{model}: {outputs.boxes} is {list(boxes.shape)}, and boxes have 4 numbers each. {_AGAIN}")
    boxes, scores = boxes.reshape(-1, 4), scores.reshape(-1)
    if not len(boxes) == len(scores) == len(labels):
        raise RunError(
            f"{model} gives {counted(len(boxes), 'box', 'boxes')}, {counted(len(scores), 'score')} and"
            f" {counted(len(labels), 'label')}, and not one of each for every detection. {_AGAIN}"
        )
    if any(values.dtype.kind != "f" for values in (boxes, scores)) or labels.dtype.kind not in "iu":
        raise RunError(
            f"{model}: boxes are {boxes.dtype}, scores {scores.dtype} and labels {labels.dtype}, and not floating-point"
            f" numbers and whole ones. {_AGAIN}"
        )
    return boxes, scores, labels.astype(np.int64)


def _last_axis(values: Array, name: str, least: int, model: str) -> Array:
    if values.ndim < 1 or values.shape[-1] < least:
        raise RunError(
            f"{model}: {name} is {list(values.shape)}, and the manifest names its column {least - 1}. {_AGAIN}"
        )
    return values
