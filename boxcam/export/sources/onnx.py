"""Any ONNX file: a detector or classifier as it is deployed, whatever made it."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import SourceError
from boxcam.export import admission, preprocessing
from boxcam.export import graph as onnx
from boxcam.export.graph import Array, Ops
from boxcam.export.heads import hook
from boxcam.export.heads.convention import Convention, Piece, append
from boxcam.export.heads.selection import report
from boxcam.export.source import SOURCES, LayerTensors, Options, Progress, Request, Source, Way
from boxcam.export.sources import onnx_file, onnx_inputs, onnx_layers, onnx_outputs
from boxcam.export.sources.onnx_outputs import Seen
from boxcam.runtime.preprocess import prepare
from boxcam.types import Image


def recognises(arguments: tuple[str, ...]) -> bool:
    """One file that ends in .onnx."""
    return len(arguments) == 1 and arguments[0].lower().endswith(".onnx")


@dataclass(frozen=True, eq=False)
class Deployed:
    """A file that was read, with its detections as the graph's outputs.

    Attributes:
        model: the graph; outputs are boxes, scores, labels.
        input: name of its image input.
        outputs: names of the outputs.
        preprocess: how an image becomes the input.
        convention: what was found in the file.
        labels: class names by index; empty if they are not known and not to be counted.
        metadata: what the file says about itself.
        producer: what wrote it.
    """

    model: ir.Model
    input: str
    outputs: Outputs
    preprocess: Preprocess
    convention: Convention
    labels: tuple[str, ...]
    metadata: Mapping[str, str]
    producer: str

    @property
    def feeds(self) -> dict[str, Array]:
        """An input to run the graph with."""
        return {self.input: _input(self.preprocess)}


def load(request: Request, progress: Progress) -> Source:
    """Read an ONNX file, find its detections, and choose its layers.

    Raises:
        SourceError: the file cannot be read, or does not tell enough: the message asks for what is missing.
    """
    found = deploy(request, progress)
    layers: dict[str, LayerTensors] = {}
    for name in request.layers:
        if name != "image" and (tensor := onnx_layers.by_name(found.model, name)) != name:
            layers[name] = LayerTensors((tensor,))
    names: tuple[str, ...] = ()
    if not request.layers:
        progress("looking for layers")
        classifier = found.convention.kind == "classes"
        seen = onnx_layers.look(found.model, found.input, found.outputs, found.feeds, not classifier)
        default = onnx_layers.default(seen, classifier)
        layers, names = {**default, **layers}, tuple(default)
    return Source(
        model=found.model,
        input=found.input,
        outputs=found.outputs,
        preprocess=found.preprocess,
        labels=found.labels,
        layers=layers,
        default_layers=names,
        description={
            "kind": "onnx",
            "file": os.path.basename(request.arguments[0]),
            "producer": found.producer,
            **found.convention.describe(),
        },
    )


def deploy(request: Request, progress: Progress) -> Deployed:
    """Read an ONNX file and append what lies between its outputs and its detections.

    Raises:
        SourceError: see `load`.
    """
    if len(request.arguments) != 1:
        raise SourceError("an ONNX model is given by one file: MODEL.onnx.")
    progress("reading the model")
    model = onnx_file.read(request.arguments[0])
    metadata = onnx_file.metadata(model)
    producer = " ".join(part for part in (model.producer_name, model.producer_version) if part) or "unknown"
    picture = onnx_inputs.image(model)
    size = request.shape
    shape = onnx.static_shape(picture)
    if size is None and shape is not None and None in shape[1:]:
        size = onnx_inputs.training_size(metadata)
    specs = _specs(request.preprocess, metadata)
    spec = preprocessing.parse(specs, shape, picture.dtype, size)
    onnx_inputs.settle(model, picture, spec)
    passes.ShapeInferencePass()(model)
    admission.check_operators(model)
    progress("looking for scores and boxes")
    named = _names(request.class_names, metadata)
    if request.decode is not None:
        convention = _decoded(model, request, spec)
    else:
        seen = _run(model, picture, spec, [n for n in (request.scores, request.boxes, request.labels) if n])
        convention = onnx_outputs.find(seen, request, len(named) or None, metadata.get("task", ""))
    labels = _labels(convention, named)
    canvas = (spec.height, spec.width)
    op = Ops(model.graph, "boxcam.head")
    selected = append(op, convention, canvas, request.score_threshold, request.nms_threshold)
    names = report(model.graph, op, selected)
    passes.RemoveUnusedNodesPass()(model)
    return Deployed(model, str(picture.name), Outputs(*names), spec, convention, labels, metadata, producer)


def _specs(given: str | Sequence[str], metadata: Mapping[str, str]) -> Sequence[str]:
    """What the user says of the preprocessing; else what the file says of itself."""
    specs = [given] if isinstance(given, str) else list(given)
    if specs or "stride" not in metadata or "names" not in metadata:
        return specs
    if metadata.get("task") == "classify":
        return ["resize=cover", "scale=0-1", "color=RGB"]
    return ["yolo"]


def _run(model: ir.Model, picture: ir.Value, spec: Preprocess, named: Sequence[str]) -> list[Seen]:
    """The outputs, and the tensors that the user names, in one run on a drawn picture."""
    values = {str(value.name): value for value in onnx.values(model.graph)}
    for name in named:
        if name not in values:
            raise SourceError(f"there is no tensor {name!r} in the graph.")
    targets = list(dict.fromkeys([*model.graph.outputs, *(values[name] for name in named)]))
    try:
        arrays = onnx.observe(model, targets, {str(picture.name): _input(spec)})
    except Exception as error:  # onnxruntime's own errors share no public root
        said = " ".join(str(error).split())[:400]
        raise SourceError(f"onnxruntime cannot run the model (opset {onnx.opset(model)}): {said}") from error
    for value, array in zip(targets, arrays, strict=True):
        if value.shape is None:
            value.shape = ir.Shape([None] * array.ndim)
    return [Seen(value, array) for value, array in zip(targets, arrays, strict=True)]


def _input(spec: Preprocess) -> Array:
    """What the model sees of a drawn picture."""
    y, x = np.mgrid[: spec.height, : spec.width]
    waves = [np.sin(x / (7 + 5 * channel) + channel) * np.cos(y / (11 + 3 * channel)) for channel in range(3)]
    picture: Image = (127 + 120 * np.stack(waves, 2)).astype(np.uint8)
    return prepare(picture, spec)[0]


def _decoded(model: ir.Model, request: Request, spec: Preprocess) -> Convention:
    """Boxes and scores as the user's function writes them."""
    assert request.decode is not None
    idle = [name for name in ("scores", "boxes", "labels", "box_format", "score_activation") if getattr(request, name)]
    if idle:
        raise SourceError(f"--decode says what boxes and scores are; leave out --{idle[0].replace('_', '-')}.")
    op = Ops(model.graph, "boxcam.decode")
    outputs = {str(value.name): value for value in model.graph.outputs}
    boxes, scores = hook.call(hook.find(request.decode), op, outputs)
    names = [str(boxes.name), str(scores.name)]
    picture = next(value for value in model.graph.inputs)
    seen = {str(one.value.name): one.array.shape for one in _run(model, picture, spec, names)}
    first, second = (seen[name] for name in names)
    if len(first) != 3 or first[2] != 4 or len(second) != 3 or first[:2] != second[:2] or first[0] != 1:
        raise SourceError(
            f"the function of --decode returns boxes {list(first)} and scores {list(second)}; [1, N, 4] and [1, N, C]"
            " are needed."
        )
    for value in (boxes, scores):
        value.shape = value.shape or ir.Shape([1, None, None])
    sizes = (first[1], second[2])
    return Convention("boxes and scores by --decode", "candidates", Piece(scores), Piece(boxes), sizes=sizes)


def _names(given: str | os.PathLike[str] | Sequence[str] | None, metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Class names: from a file, as given, or as Ultralytics writes them into a model; empty if there are none."""
    if isinstance(given, (str, os.PathLike)):
        try:
            lines = Path(given).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
            raise SourceError(f"class names {given} cannot be read: {reason}.") from error
        named = tuple(line.strip() for line in lines if line.strip())
        if not named:
            raise SourceError(f"class names {given} is empty; one name a line is needed.")
        return named
    if given is not None:
        return tuple(given)
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
            f"there are {len(named)} class names, and the model ({convention.scores}) has {count} classes. Give one"
            " name for each with --class-names."
        )
    return named or tuple(f"class {index}" for index in range(count))


SOURCES.register("onnx")(
    Way("MODEL.onnx", recognises, load, frozenset(Options.__annotations__)),
)
