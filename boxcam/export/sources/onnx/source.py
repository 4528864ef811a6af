"""Any ONNX file: a detector or classifier as it is deployed, whatever made it."""

from __future__ import annotations

import ast
import difflib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import BoxcamWarning, ExportError, SourceError
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import (
    RUNNABLE,
    STANDARD,
    Array,
    all_values,
    ancestors,
    describe_node,
    find_value,
    static_shape,
)
from boxcam.export.graphs.run import observe_values, record_ranks
from boxcam.export.heads import hook
from boxcam.export.heads.boxes import canvas_of
from boxcam.export.heads.convention import Convention, Piece, append
from boxcam.export.heads.observed import ObservedTensor
from boxcam.export.heads.selection import report
from boxcam.export.layers.candidates import Candidate, worth
from boxcam.export.passes import check
from boxcam.export.passes.dynamic_size import fixed
from boxcam.export.preprocessing import parse
from boxcam.export.source import HalfPrecision, Interpretation, LayerTensors, Progress, Request, SourceModel
from boxcam.export.sources import class_names
from boxcam.export.sources.onnx import file
from boxcam.export.sources.onnx import inputs as onnx_inputs
from boxcam.export.sources.onnx import layers as onnx_layers
from boxcam.export.sources.onnx import outputs as onnx_outputs
from boxcam.export.trace import proposals
from boxcam.runtime.preprocess import prepare
from boxcam.types import IMAGE, Image


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A file that was read.

    Attributes:
        model: the graph, one image in.
        image: its image input.
        preprocess: how an image becomes the input.
        metadata: what the file says about itself.
        producer: what wrote it.
        half: the graph in float16, if the file computes in it; the graph above is then a float32 copy.
        sample: a picture in which the model finds something, if the user gave one.
        in_pixels: whether the file says that its boxes are in pixels, by what it reads beside the image.
    """

    model: ir.Model
    image: ir.Value
    preprocess: Preprocess
    metadata: Mapping[str, str]
    producer: str
    half: HalfPrecision | None
    sample: Image | None
    in_pixels: bool = False

    @property
    def feeds(self) -> dict[str, Array]:
        """An input to run the graph with."""
        return next(self.inputs())

    def inputs(self) -> Iterator[dict[str, Array]]:
        """Inputs to run the graph with: the user's picture, or drawn ones, as no model finds something in each."""
        spec = self.preprocess
        pictures = _drawn(spec.height, spec.width) if self.sample is None else iter([self.sample])
        for picture in pictures:
            tensor = prepare(picture, spec)[0]
            wide = tensor.astype(np.float32) if self.half is not None and tensor.dtype.kind == "f" else tensor
            yield {str(self.image.name): wide}


def _drawn(height: int, width: int) -> Iterator[Image]:
    """Waves, and noise in patches of several sizes."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 5 * channel) + channel) * np.cos(y / (11 + 3 * channel)) for channel in range(3)]
    yield (127 + 120 * np.stack(waves, 2)).astype(np.uint8)
    for seed, size in enumerate((1, 8, 32)):
        coarse = np.random.default_rng(seed).integers(0, 256, (height // size + 1, width // size + 1, 3))
        yield coarse.repeat(size, 0).repeat(size, 1)[:height, :width].astype(np.uint8)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a model reports, as outputs of its graph.

    Attributes:
        outputs: names of boxes, scores and labels.
        convention: what was found in the file.
        labels: class names by index; empty if they are not known and not to be counted.
    """

    outputs: Outputs
    convention: Convention
    labels: tuple[str, ...]


def load(request: Request, progress: Progress) -> SourceModel:
    """Read an ONNX file, find its detections, and choose its layers.

    Raises:
        SourceError: the file cannot be read, or does not tell enough: the message asks for what is missing.
    """
    progress("reading the model")
    opened = read(request)
    progress("looking for scores and boxes")
    found = detections(opened, request)
    opened = settled(opened, request, found.convention)
    layers: dict[str, LayerTensors] = {}
    names: tuple[str, ...] = ()
    if not request.layers or set(request.layers) & set(onnx_layers.DEFAULTS):
        progress("looking for layers")
        layers = onnx_layers.default(_candidates(opened, found), found.convention.kind == "classes")
        names = tuple(layers)
    if any(node.op_type == "RoiAlign" for node in opened.model.graph):
        record_ranks(opened.model, opened.feeds)
    for name in request.layers:
        if name not in (*names, IMAGE):
            tensor = onnx_layers.by_name(opened.model, name, lambda: _worth(opened, found))
            pooled = proposals.are_rows(find_value(opened.model.graph, tensor))
            layers[name] = LayerTensors((tensor,), "roi" if pooled else "map", layout=request.layout)
    layers = _with_proposals(opened, layers)
    _drop_unused(opened.model, request.layers, layers)
    return SourceModel(
        model=opened.model,
        input=str(opened.image.name),
        outputs=found.outputs,
        preprocess=opened.preprocess,
        labels=found.labels,
        layers=layers,
        default_layers=names,
        description={
            "kind": "onnx",
            "file": os.path.basename(request.arguments[0]),
            "producer": opened.producer,
            **found.convention.describe(),
        },
        half=opened.half,
        admitted=True,
        interpretation=interpretation(found.convention),
    )


def interpretation(convention: Convention) -> Interpretation:
    """How a file's outputs were read."""
    c, name = convention, str(convention.scores.value.name)
    per_class = c.kind != "selected"
    return Interpretation(name, c.scores.columns, c.scores.across, c.activation, c.form, c.scale, per_class)


def _with_proposals(opened: OnnxFile, layers: Mapping[str, LayerTensors]) -> dict[str, LayerTensors]:
    """The same layers; those of pooled features with the proposals of their rows, which are added to the graph."""
    return {
        name: replace(layer, rois=tuple(proposals.of(opened.model.graph, tensor) for tensor in layer.tensors))
        if layer.kind == "roi"
        else layer
        for name, layer in layers.items()
    }


def _candidates(opened: OnnxFile, found: Detections) -> list[Candidate]:
    """The tensors that can be layers."""
    feeds = opened.feeds
    work = onnx_layers.Work(fixed(opened.model, feeds), opened.preprocess, str(opened.image.name), feeds)
    return work.candidates(found.outputs, boxes=found.convention.kind != "classes")


def _worth(opened: OnnxFile, found: Detections) -> list[str]:
    """The layers that a message lists, which are those of `boxcam inspect`, the last one first."""
    try:
        return [one.name for one in reversed(worth(_candidates(opened, found), 6))]
    except ExportError:
        return []  # the message is about something else


def _drop_unused(model: ir.Model, names: Sequence[str], layers: Mapping[str, LayerTensors]) -> None:
    """Drop what neither the detections nor the layers are computed by: masks, rival heads, counts."""
    wanted = {*names, *(tensor for layer in layers.values() for tensor in (*layer.tensors, *layer.rois))}
    reported = list(model.graph.outputs)
    model.graph.outputs.extend(v for v in all_values(model.graph) if v.name in wanted and v not in reported)
    passes.RemoveUnusedNodesPass()(model)
    model.graph.outputs.clear()
    model.graph.outputs.extend(reported)


def read(request: Request, otherwise: Sequence[str] = ()) -> OnnxFile:
    """Read an ONNX file, and fix its input to one image, of one size if it is not to have its own.

    Args:
        request: what the user says of it.
        otherwise: the preprocessing, if neither the user nor the file says it.

    Raises:
        SourceError: see `load`.
    """
    if len(request.arguments) != 1:
        raise SourceError(f"an ONNX model is one file, not {len(request.arguments)} arguments. Pass MODEL.onnx alone.")
    model = file.read(request.arguments[0])
    metadata = file.metadata(model)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part) or "unknown"
    image = onnx_inputs.image(model)
    said, shape = preprocessing_of(request, metadata), static_shape(image)
    usual = onnx_inputs.training_size(metadata)
    spec = parse.parse(said or otherwise, shape, image.dtype, request.shape, usual, is_said=bool(said))
    in_pixels = onnx_inputs.tells_pixels(model)
    onnx_inputs.settle(model, image, spec)
    _leave_out_foreign(model)
    passes.ShapeInferencePass()(model)
    model, half = check.admit(model, str(image.name))
    image = next(value for value in model.graph.inputs if value.name == image.name)
    return OnnxFile(model, image, spec, metadata, producer, half, request.sample, in_pixels)


def _leave_out_foreign(model: ir.Model) -> None:
    """Leave out outputs that only a plugin can compute, as a TensorRT suppression, if there are others.

    Warns:
        BoxcamWarning: there were such.
    """
    known = (*STANDARD, *RUNNABLE)
    lost: dict[ir.Value, ir.Node] = {}
    for output in model.graph.outputs:
        makers = [node for node in ancestors([output]) if node.domain not in known]
        if makers:
            lost[output] = makers[0]
    if not lost or len(lost) == len(model.graph.outputs):
        return
    kept = [output for output in model.graph.outputs if output not in lost]
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
    passes.RemoveUnusedNodesPass()(model)
    names = ", ".join(str(output.name) for output in lost)
    warnings.warn(
        f"{names} are left out: {describe_node(next(iter(lost.values())))}, which ONNX Runtime does not have, computes"
        " them. Pass other outputs with scores= and boxes= if these were meant.",
        BoxcamWarning,
        stacklevel=2,
    )


def detections(opened: OnnxFile, request: Request) -> Detections:
    """Append to a graph what lies between its outputs and its detections.

    Args:
        opened: its graph is changed.
        request: what the user says of it.

    Raises:
        SourceError: see `load`.
    """
    model = opened.model
    named = _names(request.class_names, opened.metadata)
    if request.decode is not None:
        convention = _decoded(opened, request)
    else:
        seen = _run(opened, [n for n in (request.scores, request.boxes, request.labels) if n])
        asked = replace(request, box_scale="pixels") if opened.in_pixels and request.box_scale is None else request
        convention = onnx_outputs.find(seen, asked, len(named) or None, opened.metadata.get("task", ""))
        _check_idle(convention, request)
    labels = _labels(convention, named)
    spec, op = opened.preprocess, Ops(model.graph, "boxcam.head")
    canvas = (
        canvas_of(op, opened.image, spec.layout) if spec.multiple else np.array([spec.width, spec.height], np.float32)
    )
    selected = append(op, convention, canvas, request.score_threshold, request.nms_threshold)
    names = report(model.graph, op, selected)
    return Detections(Outputs(*names, whole_image=convention.kind == "classes"), convention, labels)


_IDLE = {
    "selected": ("nms_threshold", "score_activation", "background"),
    "classes": ("nms_threshold", "box_format", "box_scale"),
}
_WHY = {"selected": "the model selects its detections itself", "classes": "a classifier's box is the whole image"}


def _check_idle(convention: Convention, request: Request) -> None:
    """Refuse options that are not read for models of a kind.

    Raises:
        SourceError: there is one.
    """
    for name in _IDLE.get(convention.kind, ()):
        if getattr(request, name) is not None:
            raise SourceError(
                f"{name}= has no meaning here: {_WHY[convention.kind]} ({convention.name}). Leave it out."
            )


def settled(opened: OnnxFile, request: Request, convention: Convention) -> OnnxFile:
    """The same file with its preprocessing, now that it is known how the model reports its detections."""
    if preprocessing_of(request, opened.metadata, convention) == preprocessing_of(request, opened.metadata):
        return opened
    return replace(opened, preprocess=replace(opened.preprocess, resize="stretch"))


def preprocessing_of(
    request: Request, metadata: Mapping[str, str], convention: Convention | None = None
) -> Sequence[str]:
    """What the user says of the preprocessing; else what the file says of itself, as one of Ultralytics does.

    Args:
        request: what the user says.
        metadata: what the file says.
        convention: how the model reports its detections, if that is known: Ultralytics stretches pictures for RT-DETR,
            which not every file names.
    """
    given = request.preprocess
    specs = [given] if isinstance(given, str) else list(given)
    if specs or "stride" not in metadata or "names" not in metadata:
        return specs
    if metadata.get("task") == "classify":
        return ["resize=cover", "scale=0-1", "color=RGB", "interpolation=area"]  # Pillow's bilinear averages
    named = f"{metadata.get('description', '')} {metadata.get('task', '')}".lower().replace("-", "")
    if convention is not None:  # RT-DETR's rows, or its table of them: those of YOLOs have corners
        queries = convention.kind == "queries" or (convention.kind == "selected" and convention.form == "cxcywh")
    else:
        queries = False
    return ["yolo", "resize=stretch"] if queries or "rtdetr" in named else ["yolo"]


def _run(opened: OnnxFile, named: Sequence[str]) -> list[ObservedTensor]:
    """The outputs, and the tensors that the user names, in one run on a drawn picture."""
    model = opened.model
    values = {str(value.name): value for value in all_values(model.graph)}
    for name in named:
        if name not in values:
            close = difflib.get_close_matches(name, values, n=3, cutoff=0.6)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise SourceError(
                f"there is no tensor {name!r} in the graph.{hint} 'boxcam inspect MODEL.onnx' lists what there is."
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
        raise failure
    for value, array in zip(targets, arrays, strict=True):
        if value.shape is None:
            value.shape = ir.Shape([None] * array.ndim)
    return [ObservedTensor(value, array) for value, array in zip(targets, arrays, strict=True)]


def _observed(model: ir.Model, targets: Sequence[ir.Value], feeds: Mapping[str, Array]) -> list[Array]:
    try:
        return observe_values(model, targets, feeds)
    except ExportError as error:
        raise SourceError(str(error)) from error


def _decoded(opened: OnnxFile, request: Request) -> Convention:
    """Boxes and scores as the user's function writes them."""
    assert request.decode is not None
    names = ["scores", "boxes", "labels", "box_format", "box_scale", "score_activation", "background"]
    idle = [name for name in names if getattr(request, name)]
    if idle:
        raise SourceError(f"decode= defines boxes and scores, so {idle[0]}= has no meaning. Leave it out.")
    model = opened.model
    op = Ops(model.graph, "boxcam.decode")
    outputs = {str(value.name): value for value in model.graph.outputs}
    boxes, scores = hook.call(hook.find(request.decode), op, outputs)
    names = [str(boxes.name), str(scores.name)]
    model.graph.sort()
    seen = {str(one.value.name): one.array.shape for one in _run(opened, names)}
    first, second = (seen[name] for name in names)
    if len(first) != 3 or first[2] != 4 or len(second) != 3 or first[:2] != second[:2] or first[0] != 1:
        raise SourceError(
            f"the function of decode= returns boxes {list(first)} and scores {list(second)}. Return [1, N, 4] and"
            " [1, N, C]."
        )
    for value in (boxes, scores):
        value.shape = value.shape or ir.Shape([1, None, None])
    sizes = (first[1], second[2])
    return Convention("boxes and scores of a decode function", "candidates", Piece(scores), Piece(boxes), sizes=sizes)


def _names(given: str | os.PathLike[str] | Sequence[str] | None, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names: from a file, as given, or as Ultralytics writes them into a model; empty if there are none."""
    if given is not None:
        return class_names.read(given)
    try:
        found = ast.literal_eval(metadata.get("names", "None"))
    except (ValueError, SyntaxError):
        return ()
    if isinstance(found, dict) and found and all(isinstance(key, int) for key in found):
        return tuple(str(found.get(index, f"class {index}")) for index in range(max(found) + 1))
    return tuple(str(name) for name in found) if isinstance(found, (list, tuple)) else ()


def _labels(convention: Convention, named: tuple[str, ...]) -> tuple[str, ...]:
    """Names for all classes that the model reports."""
    if convention.kind == "selected":
        return named
    count = convention.sizes[1] - (convention.background != "none")
    if named and len(named) != count:
        raise SourceError(
            f"there are {len(named)} class names, and the model ({convention.scores}) has {count} classes. Pass one"
            " name for each with class_names=."
        )
    return named or tuple(f"class {index}" for index in range(count))
