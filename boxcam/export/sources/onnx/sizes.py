"""Sizes of the input at which a model with a dynamic height and width can run, and those at which it cannot."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Preprocess
from boxcam.errors import ExportError, SourceError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.run import run_model
from boxcam.export.passes.dynamic_size import forget_shapes

_MULTIPLES = (2, 4, 8, 16, 32, 64, 128, 14, 28)
"""What the sides of a model's input may have to be multiples of: total strides; then patches of transformers."""
_FARTHER = (0, 16, 32, 64)
"""How much larger sizes are tried: a size may suit some strides by chance."""


def unsuitable(
    model: ir.Model, image: ir.Value, spec: Preprocess, failed: tuple[int, int], parameter: str
) -> SourceError | None:
    """What to say of a model that failed to run at a size, if there are others at which it runs.

    Args:
        model: the model, whose height and width are dynamic in its file.
        image: its image input.
        spec: what the input is made by.
        failed: height and width at which it failed.
        parameter: what sets the size: ``shape`` or ``preprocess``.
    """
    multiple = _multiple(model, image, spec, failed)
    if multiple is None:
        return None
    needs = f"both sides have to be multiples of {multiple}"
    if spec.multiple:
        return SourceError(
            f"the model cannot run on pictures padded to multiples of {spec.multiple}: {needs}. Pass"
            f' preprocess="multiple={multiple}", or fix the size with shape=.'
        )
    height, width = (-(-side // multiple) * multiple for side in failed)
    size = f"shape=({height}, {width})" if parameter == "shape" else f'preprocess="size={height}x{width}"'
    return SourceError(f"the model cannot run on an input of {failed[0]}x{failed[1]}: {needs}. Pass {size}.")


def _multiple(model: ir.Model, image: ir.Value, spec: Preprocess, failed: tuple[int, int]) -> int | None:
    """The smallest of the multiples that suffices, as far as a few sizes tell; None if none does."""
    for multiple in _MULTIPLES:
        if any(side % multiple for side in failed):  # otherwise it is known not to suffice
            sizes = dict.fromkeys(tuple(_odd_multiple(side + more, multiple) for side in failed) for more in _FARTHER)
            if all(_runs(model, image, spec, sides) for sides in sizes):
                return multiple
    return None


def _odd_multiple(side: int, multiple: int) -> int:
    """The least multiple from a side on that is no multiple of twice as much."""
    times = -(-side // multiple)
    return (times + 1 - times % 2) * multiple


def _runs(model: ir.Model, image: ir.Value, spec: Preprocess, sides: Iterable[int]) -> bool:
    copy = clone_model(model)
    given = next(value for value in copy.graph.inputs if value.name == image.name)
    height, width = sides
    channels = spec.channels
    shape = (1, channels, height, width) if spec.layout == "NCHW" else (1, height, width, channels)
    given.shape = ir.Shape(shape)
    forget_shapes(copy.graph)
    passes.ShapeInferencePass()(copy)
    dtype = np.float32 if given.dtype is None else given.dtype.numpy()
    try:
        run_model(copy, {str(given.name): np.full(shape, 0.5, dtype)})
    except ExportError:
        return False
    return True
