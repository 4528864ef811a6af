"""What the tensors of an ONNX file hold in a run."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, SourceError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import (
    Array,
    all_values,
    static_shape,
)
from boxcam.export.graphs.run import observe_values
from boxcam.export.heads.observed import ObservedTensor
from boxcam.export.passes.dynamic_size import fixed, forget_shapes
from boxcam.export.passes.stale_shapes import contradict
from boxcam.export.sources.onnx import sizes
from boxcam.export.sources.onnx.opened import OnnxFile


def observe(opened: OnnxFile, named: Sequence[str]) -> list[ObservedTensor]:
    """The outputs, and the tensors that the user names, in one run on a drawn picture."""
    model = opened.model
    values = {str(value.name): value for value in all_values(model.graph)}
    for name in named:
        if name not in values:
            close = difflib.get_close_matches(name, values, n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise SourceError(
                f"there is no tensor {name!r} in the graph.{hint} 'boxcam inspect {opened.path}' lists what there is."
            )
    targets = list(dict.fromkeys([*model.graph.outputs, *(values[name] for name in named)]))
    arrays: list[Array] = []
    failure: SourceError | None = None
    for feeds in opened.inputs():
        try:
            arrays = _observed(model, targets, feeds)
        except SourceError as error:
            failure = error
            continue
        if all(array.size for array in arrays):
            break
    if not arrays:
        assert failure is not None
        raise _unsuitable(opened) or failure
    if any(contradict(static_shape(value), array.shape) for value, array in zip(targets, arrays, strict=True)):
        forget_shapes(model.graph)
        passes.ShapeInferencePass()(model)
    for value, array in zip(targets, arrays, strict=True):
        if value.shape is None or contradict(static_shape(value), array.shape):
            value.shape = ir.Shape([None] * array.ndim)
    folded = _folded(model, targets, feeds)
    return [
        ObservedTensor(value, array, folded.get(str(value.name))) for value, array in zip(targets, arrays, strict=True)
    ]


def _folded(model: ir.Model, targets: Sequence[ir.Value], feeds: Mapping[str, Array]) -> dict[str, ir.Value]:
    """The same tensors in a copy of the graph for one size of input, with its constants folded."""
    copy = clone_model(fixed(model, feeds))
    values = {str(value.name): value for value in all_values(copy.graph)}
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(v for target in targets if (v := values[str(target.name)]) not in copy.graph.inputs)
    passes.RemoveUnusedNodesPass()(copy)
    return {str(value.name): value for value in fold_model(copy).graph.outputs}


def _unsuitable(opened: OnnxFile) -> SourceError | None:
    """That the model cannot run at this size, if it can at another one, and the size is not the file's own."""
    if opened.sized_by == "file":
        return None
    shape = opened.feeds[str(opened.image.name)].shape
    failed = shape[2:] if opened.preprocess.layout == "NCHW" else shape[1:3]
    return sizes.unsuitable(opened.model, opened.image, opened.preprocess, (failed[0], failed[1]), opened.sized_by)


def _observed(model: ir.Model, targets: Sequence[ir.Value], feeds: Mapping[str, Array]) -> list[Array]:
    try:
        return observe_values(model, targets, feeds)
    except ExportError as error:
        raise SourceError(str(error)) from error
