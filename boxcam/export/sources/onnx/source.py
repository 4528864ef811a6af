"""Any ONNX file: a detector or classifier as it is deployed, whatever made it."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import MAX_LABELS, Outputs, Preprocess
from boxcam.errors import ExportError, NothingToExplainError, SourceError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.ops import Ops
from boxcam.export.graphs.query import (
    Array,
    all_values,
    find_value,
    static_shape,
)
from boxcam.export.graphs.run import observe_values, record_ranks
from boxcam.export.heads import hook
from boxcam.export.heads.boxes import canvas_of
from boxcam.export.heads.convention import Convention, Piece, append
from boxcam.export.heads.conventions.question import Question
from boxcam.export.heads.conventions.recognise import UnknownOutputsError, recognise
from boxcam.export.heads.observed import ObservedTensor
from boxcam.export.heads.selection import report
from boxcam.export.layers.candidates import Candidate, worth
from boxcam.export.passes import check
from boxcam.export.passes.dynamic_size import fixed, forget_shapes
from boxcam.export.passes.single_image import take_one
from boxcam.export.passes.single_trip import write_out
from boxcam.export.passes.stale_shapes import contradict
from boxcam.export.passes.tensorrt_nms import write_standard
from boxcam.export.preprocessing import parse
from boxcam.export.preprocessing.guess import Guess, guess
from boxcam.export.source import HalfPrecision, Interpretation, LayerTensors, Progress, Request, SourceModel
from boxcam.export.sources import class_names
from boxcam.export.sources.onnx import file, foreign, sizes, stated
from boxcam.export.sources.onnx import inputs as onnx_inputs
from boxcam.export.sources.onnx import layers as onnx_layers
from boxcam.export.sources.onnx import outputs as onnx_outputs
from boxcam.export.sources.onnx.conversion import prove_conversion
from boxcam.export.sources.onnx.fixed import fix
from boxcam.export.sources.onnx.picture_size import check_picture_size
from boxcam.export.trace import proposals
from boxcam.plurals import counted, verb
from boxcam.runtime.preprocess import prepare
from boxcam.types import IMAGE, Image

_PROBED = (640, 640)
"""Height and width to look into a model with that has dynamic ones, as long as nothing else is known of it."""


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A file that was read.

    Attributes:
        path: where it lies.
        model: the graph, one image in.
        image: its image input.
        preprocess: how an image becomes the input.
        metadata: what the file says about itself.
        producer: what wrote it.
        half: the graph in float16, if the file computes in it; the graph above is then a float32 copy.
        sample: a picture in which the model finds something, if the user gave one.
        in_pixels: whether the file says that its boxes are in pixels, by what it reads beside the image.
        fixed: what was put into other inputs, for people.
        sized_by: what says the height and width of the input: ``file``, ``shape``, ``preprocess``, or ``nothing``: then
            they are some that the model may not be meant for.
    """

    path: str
    model: ir.Model
    image: ir.Value
    preprocess: Preprocess
    metadata: Mapping[str, str]
    producer: str
    half: HalfPrecision | None
    sample: Image | None
    in_pixels: bool = False
    fixed: Mapping[str, str] = field(default_factory=dict)
    sized_by: str = "file"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input to run the graph with."""
        down, across = (2, 3) if self.preprocess.layout == "NCHW" else (1, 2)
        shape = self.feeds[str(self.image.name)].shape
        return shape[down], shape[across]

    @property
    def feeds(self) -> dict[str, Array]:
        """An input to run the graph with."""
        return next(self.inputs())

    def inputs(self) -> Iterator[dict[str, Array]]:
        """Inputs to run the graph with: the user's picture, or drawn ones, as no model finds something in each."""
        spec = self.preprocess
        pictures = _drawn(spec) if self.sample is None else iter([self.sample])
        for picture in pictures:
            tensor = prepare(picture, spec)[0]
            wide = tensor.astype(np.float32) if self.half is not None and tensor.dtype.kind == "f" else tensor
            yield {str(self.image.name): wide}


def _drawn(spec: Preprocess) -> Iterator[Image]:
    """Waves, and noise in patches of several sizes."""
    height, width, channels = spec.height, spec.width, spec.channels
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + 5 * channel) + channel) * np.cos(y / (11 + 3 * channel)) for channel in range(channels)]
    yield (127 + 120 * np.stack(waves, 2)).astype(np.uint8)
    for seed, size in enumerate((1, 8, 32)):
        coarse = np.random.default_rng(seed).integers(0, 256, (height // size + 1, width // size + 1, channels))
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
    opened = read(request, _PROBED)
    progress("looking for scores and boxes")
    opened, found = _known(opened, request)
    layers: dict[str, LayerTensors] = {}
    names: tuple[str, ...] = ()
    if not request.layers or set(request.layers) & set(onnx_layers.DEFAULTS):
        progress("looking for layers")
        kind, file_name = found.convention.kind, request.arguments[0]
        layers = onnx_layers.default(_candidates(opened, found), kind == "classes", file_name, opened.model.graph)
        names = tuple(layers)
    if any(node.op_type == "RoiAlign" for node in opened.model.graph):
        record_ranks(opened.model, opened.feeds)
    for name in request.layers:
        if name not in (*names, IMAGE):
            tensor = onnx_layers.by_name(opened.model, name, request.arguments[0], lambda: _worth(opened, found))
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
            **(
                {"inputs": ", ".join(f"{name}={value}" for name, value in opened.fixed.items())} if opened.fixed else {}
            ),
            **found.convention.describe(),
        },
        half=opened.half,
        admitted=True,
        interpretation=interpretation(found.convention),
    )


def _known(opened: OnnxFile, request: Request) -> tuple[OnnxFile, Detections]:
    """The file and its detections, once its preprocessing is known; what is wrong with its outputs is said before.

    Raises:
        SourceError: see `load`.
    """
    said = stated.preprocessing_of(request, opened.metadata)
    more = [*stated.given_by(request), *(["size=640x640"] if opened.sized_by == "nothing" else [])]
    guessed: Guess | None = None
    try:
        found = detections(opened, request)
        guessed = guess(opened.image, opened.preprocess, found.convention, opened.producer)
    except (UnknownOutputsError, NothingToExplainError):
        raise
    except SourceError:  # it may be for the pixels that stand for those that the model expects
        if (missing := stated.missing(opened.image, said, None, more)) is not None:
            raise missing from None
        raise
    if (missing := stated.missing(opened.image, said, guessed, more)) is not None:
        raise missing
    return settled(opened, request, found.convention), found


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
    """The layers that a message lists: the default, by its name, and those of `boxcam inspect`, the last one first."""
    try:
        candidates = _candidates(opened, found)
    except ExportError:
        return []  # the message is about something else
    names = [one.name for one in reversed(worth(candidates, 6))]
    with contextlib.suppress(SourceError):  # several may be meant: there is no name for one
        names = [*onnx_layers.default(candidates, found.convention.kind == "classes", opened.path), *names]
    return names


def _drop_unused(model: ir.Model, names: Sequence[str], layers: Mapping[str, LayerTensors]) -> None:
    """Drop what neither the detections nor the layers are computed by: masks, rival heads, counts."""
    wanted = {*names, *(tensor for layer in layers.values() for tensor in (*layer.tensors, *layer.rois))}
    reported = list(model.graph.outputs)
    model.graph.outputs.extend(v for v in all_values(model.graph) if v.name in wanted and v not in reported)
    passes.RemoveUnusedNodesPass()(model)
    model.graph.outputs.clear()
    model.graph.outputs.extend(reported)


def read(request: Request, size: tuple[int, int] | None = None) -> OnnxFile:
    """Read an ONNX file, and fix its input to one image, of one size if it is not to have its own.

    As long as the preprocessing is not known, plain pixels stand for it.

    Args:
        request: what the user says of it.
        size: height and width to look into it with as long as neither they nor the preprocessing are known; None to
            refuse it.

    Raises:
        SourceError: see `load`.
    """
    if len(request.arguments) != 1:
        raise SourceError(f"an ONNX model is one file, not {len(request.arguments)} arguments. Pass MODEL.onnx alone.")
    model = file.read(request.arguments[0])
    metadata = file.metadata(model)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part) or "unknown"
    in_pixels = onnx_inputs.tells_pixels(model)
    given = fix(model, request.inputs)
    image = onnx_inputs.image(model)
    said, shape = stated.preprocessing_of(request, metadata), static_shape(image)
    axes = onnx_inputs.axis_names(image)
    channels = parse.channels_of(said, shape, axes)
    is_known, trained = parse.is_complete(said, channels), onnx_inputs.training_size(metadata)
    usual = trained if is_known or trained is not None else size
    specs = said if is_known else parse.completed(said, channels)
    is_said = is_known or size is not None
    spec = parse.parse(specs, shape, image.dtype, request.shape, usual, is_said=is_said, axes=axes)
    batch = (shape[0] if shape else 1) or 1
    onnx_inputs.settle(model, image, spec, batch)
    if request.decode is None:
        write_standard(model)
    foreign.leave_out(model, request)
    sample = request.picture(spec.channels)
    if batch > 1:
        take_one(model, image, batch, _example(image, spec, sample))
        given = {"images at once": str(batch), **given}
    passes.ShapeInferencePass()(model)
    write_out(model, lambda values: observe_values(model, values, _example(image, spec, sample)))
    passes.ShapeInferencePass()(model)
    prove_conversion(request.arguments[0], model, lambda: _example(image, spec, sample))
    model, half = check.admit(model, str(image.name))
    image = next(value for value in model.graph.inputs if value.name == image.name)
    sized_by = _sized_by(shape or (), request, said, is_known or trained is not None)
    path = request.arguments[0]
    return OnnxFile(path, model, image, spec, metadata, producer, half, sample, in_pixels, given, sized_by)


def _sized_by(shape: Sequence[int | None], request: Request, said: Sequence[str], is_known: bool) -> str:
    """What says the height and width of the input, see `OnnxFile`."""
    if None not in shape[1:]:
        return "file"
    if request.shape is not None:
        return "shape"
    return "preprocess" if is_known or parse.has_size(said) else "nothing"


def _example(image: ir.Value, spec: Preprocess, sample: Image | None) -> dict[str, Array]:
    """An input to run the graph with as it is deployed."""
    return {str(image.name): prepare(next(_drawn(spec)) if sample is None else sample, spec)[0]}


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
        asked = question(opened, request)
        convention = recognise(asked)
        _check_idle(convention, request)
    check_picture_size(model, convention, opened.feeds, opened.size, bool(opened.preprocess.multiple))
    labels = _labels(convention, named)
    spec, op = opened.preprocess, Ops(model.graph, "boxcam.head")
    canvas = (
        canvas_of(op, opened.image, spec.layout) if spec.multiple else np.array([spec.width, spec.height], np.float32)
    )
    selected = append(op, convention, canvas, request.score_threshold, request.nms_threshold)
    names = report(model.graph, op, selected)
    return Detections(Outputs(*names, whole_image=convention.kind == "classes"), convention, labels)


def question(opened: OnnxFile, request: Request) -> Question:
    """What a file gives in a run, and what the user says of it.

    Raises:
        SourceError: it cannot be run, or a tensor that is named is not there.
    """
    seen = observe(opened, [name for name in (request.scores, request.boxes, request.labels) if name])
    return onnx_outputs.question(
        seen,
        request,
        size=opened.size,
        classes=len(_names(request.class_names, opened.metadata)) or None,
        metadata=opened.metadata,
        in_pixels=opened.in_pixels,
    )


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
    if stated.resize_of(request, opened.metadata, convention) == stated.resize_of(request, opened.metadata):
        return opened
    return replace(opened, preprocess=replace(opened.preprocess, resize="stretch"))


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


def _decoded(opened: OnnxFile, request: Request) -> Convention:
    """Boxes and scores as the user's function writes them."""
    assert request.decode is not None
    names = ["scores", "boxes", "labels", "box_format", "box_scale", "score_activation", "background"]
    names += ["convention", "columns"]
    idle = [name for name in names if getattr(request, name)]
    if idle:
        raise SourceError(f"decode= defines boxes and scores, so {idle[0]}= has no meaning. Leave it out.")
    model = opened.model
    op = Ops(model.graph, "boxcam.decode")
    outputs = {str(value.name): value for value in model.graph.outputs}
    boxes, scores = hook.call(hook.find(request.decode), op, outputs)
    names = [str(boxes.name), str(scores.name)]
    model.graph.sort()
    seen = {str(one.value.name): one.array.shape for one in observe(opened, names)}
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
    found = onnx_inputs.literal(metadata.get("names", "None"))
    if isinstance(found, dict) and found and all(isinstance(key, int) for key in found):
        if not 0 <= max(found) < MAX_LABELS:
            raise SourceError(
                f"the file names a class of the number {max(found)}, and there can be {MAX_LABELS}. Pass the names with"
                " class_names=."
            )
        return class_names.checked(tuple(str(found.get(n, f"class {n}")) for n in range(max(found) + 1)))
    return class_names.checked(tuple(map(str, found))) if isinstance(found, (list, tuple)) else ()


def _labels(convention: Convention, named: tuple[str, ...]) -> tuple[str, ...]:
    """Names for all classes that the model reports."""
    if convention.kind == "selected":
        return named
    count = convention.sizes[1] - (convention.background != "none")
    if named and len(named) != count:
        raise SourceError(
            f"there {verb(len(named), 'is', 'are')} {counted(len(named), 'class name')}, and the model"
            f" ({convention.scores}) has {counted(count, 'class', 'classes')}. Pass one name for each with"
            " class_names=."
        )
    return named or tuple(f"class {index}" for index in range(count))
