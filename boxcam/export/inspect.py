"""What a person has to know about an ONNX file to export it: its input, its detections, and the layers to choose"
" from."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, NothingToExplainError, SourceError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import name_and_shape, opset_of
from boxcam.export.graphs.reach import used_features
from boxcam.export.layers.candidates import Candidate, worth
from boxcam.export.layers.layout import as_map
from boxcam.export.passes import check, straight_through
from boxcam.export.passes.dynamic_size import fixed
from boxcam.export.preprocessing.guess import Guess, guess, in_its_range
from boxcam.export.preprocessing.presets import PRESETS
from boxcam.export.source import LayerTensors, Progress, Request
from boxcam.export.sources.onnx import layers as onnx_layers
from boxcam.export.sources.onnx import source as source

_NEUTRAL = ("resize=stretch", "scale=0-255", "color=RGB")
_SECONDS = 20.0
_PRESET = "PRESET"
_ROLES = {
    "head": "what the heads read",
    "late": "what the heads read, cell by cell: one lit cell",
    "before": "in front of the heads' last window",
    "roi": "pooled features of proposals",
    "stage": "the last of its stride",
    "tokens": "what the last transformer block reads",
    "": "",
}


@dataclass(frozen=True)
class LayerFacts:
    """A tensor that can be a layer.

    Attributes:
        name: of the tensor.
        kind: ``map`` or ``roi``.
        layout: ``NCHW``, ``NHWC`` or ``tokens``.
        channels, height, width: of it.
        stride: pixels of the input per cell, down and across; None for RoI features.
        role: what it is to the model, for people.
        maker: the operator that makes it.
        readers: the operators that read it.
        form: of its gradient: windows, rows or whole; empty if it was not looked at.
        receptive_field: cells across that one logit depends on; None if that is all of them, or not known.
        problem: why it cannot be a layer; empty if it can, or was not looked at.
    """

    name: str
    kind: str
    layout: str
    channels: int
    height: int
    width: int
    stride: tuple[float, float] | None
    role: str
    maker: str
    readers: tuple[str, ...]
    form: str = ""
    receptive_field: int | None = None
    problem: str = ""


@dataclass(frozen=True)
class Survey:
    """What was found in a file.

    Attributes:
        file: its path.
        producer, opset, parameters: what wrote it, its opset, how many numbers it holds.
        input: its image input, for people.
        preprocessing: what ``--preprocess`` is, if the user or the file says it; otherwise empty.
        guessed: what it may be, if nobody says it, and what that is guessed from; None if no preset fits.
        outputs: its outputs, for people.
        detections: which of them hold what, by part; empty if that was not found.
        classes: names of the first classes, and how many there are in all.
        problem: why there are no detections, or why no score can be followed; empty if all is well.
        explainable: whether it may be a detector or classifier at all.
        layers: tensors that can be layers, in the order of the graph.
        left_out: how many others there are.
        default: the layer that is exported when none is asked for, and its tensors; None if that is not clear.
        command: the line to run; empty as long as there is a problem.
    """

    file: str
    producer: str
    opset: int
    parameters: int
    input: str
    preprocessing: tuple[str, ...]
    guessed: Guess | None
    outputs: tuple[str, ...]
    detections: dict[str, str]
    classes: tuple[tuple[str, ...], int]
    problem: str
    explainable: bool
    layers: tuple[LayerFacts, ...]
    left_out: int
    default: tuple[str, tuple[str, ...]] | None
    command: str


def _is_stored(node: ir.Node) -> bool:
    """Whether a node is a tensor in the file."""
    return node.op_type == "Constant" and "value" in node.attributes


def survey(
    request: Request,
    progress: Progress,
    *,
    sample: str | None = None,
    everything: bool = False,
    seconds: float = _SECONDS,
) -> Survey:
    """Look into an ONNX file.

    Args:
        request: the file, and what the user says of it, as for an export.
        progress: called with a few words as each step begins.
        sample: the file of the request's picture, for the line to run.
        everything: tell of all maps, not only of those that are worth looking at first.
        seconds: how long gradients may be tried to see their forms.

    Raises:
        SourceError: the file cannot be read, or its size is not known.
    """
    progress("reading the model")
    opened = source.read(request, _NEUTRAL)
    said = tuple(source.preprocessing_of(request, opened.metadata))
    if not said:
        opened = replace(opened, preprocess=in_its_range(opened.image, opened.preprocess))
    outputs = tuple(name_and_shape(value) for value in opened.model.graph.outputs)
    graph = opened.model.graph
    weights = [value.const_value for value in graph.initializers.values()]
    weights += [node.attributes["value"].as_tensor() for node in graph if _is_stored(node)]  # Paddle's are
    parameters = sum(tensor.size for tensor in weights if tensor is not None)
    progress("looking for scores and boxes")
    problem, explainable, found, logits = "", True, None, []
    guessed: Guess | None = None
    try:
        found = source.detections(opened, request)
        opened = source.settled(opened, request, found.convention)
        said = tuple(source.preprocessing_of(request, opened.metadata, found.convention))
        guessed = None if said else guess(opened.image, opened.preprocess, found.convention, opened.producer)
    except SourceError as error:
        problem, explainable = str(error), not isinstance(error, NothingToExplainError)
    progress("looking for layers")
    feeds = opened.feeds
    work = onnx_layers.Work(fixed(opened.model, feeds), opened.preprocess, str(opened.image.name), feeds)
    candidates: list[Candidate] = []
    default: dict[str, LayerTensors] = {}
    if found is None:
        candidates = work.all_maps()
    else:
        classifier = found.convention.kind == "classes"
        try:
            candidates = work.candidates(found.outputs, boxes=not classifier)
            logits = work.logits(found.outputs)
            default = onnx_layers.default(candidates, classifier)
        except SourceError:
            pass  # several layers may be meant: the list tells them apart
        except ExportError as error:
            problem = str(error)
    shown = candidates if everything else worth(candidates)
    layers = tuple(_with_forms(work, logits, shown, progress, seconds))
    chosen = next(iter(default.items()), None)
    named = () if found is None else found.labels
    return Survey(
        file=request.arguments[0],
        producer=opened.producer,
        opset=opset_of(opened.model),
        parameters=parameters,
        input=f"{name_and_shape(opened.image)} {opened.preprocess.dtype} {opened.preprocess.layout}",
        preprocessing=said,
        guessed=guessed,
        outputs=outputs,
        detections={} if found is None else found.convention.describe(),
        classes=(named[:6], len(named)),
        problem=problem,
        explainable=explainable,
        layers=layers,
        left_out=len(candidates) - len(layers),
        default=None if chosen is None else (chosen[0], chosen[1].tensors),
        command="" if problem else _command(request, sample, said, guessed, layers, chosen is not None),
    )


def _with_forms(
    work: onnx_layers.Work, logits: Sequence[str], shown: Sequence[Candidate], progress: Progress, seconds: float
) -> Iterator[LayerFacts]:
    """Differentiate by each layer, as an export would, as long as there is time; the last layers take the least."""
    smooth = straight_through.straight_through(work.model)
    until, found = time.monotonic() + seconds, []
    for number, one in enumerate(reversed(shown), 1):
        form, field, problem = "", None, ""
        if logits and time.monotonic() < until:
            progress(f"differentiating by layer {number} of {len(shown)}")
            try:
                graph, name = smooth, one.name
                if one.layout != "NCHW":
                    graph = clone_model(smooth)
                    name = as_map(graph, name, one.layout, (work.spec.height, work.spec.width), None)
                    passes.ShapeInferencePass()(graph)
                used = used_features(graph, logits, [name])
                check.check_path(graph, logits, used)
                built = gradient.build(graph, logits, used)
                form, field = built.form, built.field
            except ExportError as error:
                problem = str(error)
        found.append(
            LayerFacts(
                one.name,
                one.kind,
                one.layout,
                *one.shape,
                one.stride,
                _ROLES[one.role],
                one.maker,
                one.readers,
                form,
                field,
                problem,
            )
        )
    yield from reversed(found)


def _command(
    request: Request,
    sample: str | None,
    said: Sequence[str],
    guessed: Guess | None,
    layers: Sequence[LayerFacts],
    clear: bool,
) -> str:
    """The line to run; what has to be filled in is in capitals."""
    words = ["boxcam", "export", request.arguments[0]]
    given = [request.preprocess] if isinstance(request.preprocess, str) else list(request.preprocess)
    for spec in given or ([] if said else [_PRESET] if guessed is None else guessed.specs):
        words += ["--preprocess", spec]
    if request.shape is not None:
        words += ["--shape", f"{request.shape[0]}x{request.shape[1]}"]
    for option in request.options:
        value = getattr(request, option)
        if option not in ("preprocess", "tokens") and isinstance(value, str):
            words += [f"--{option.replace('_', '-')}", value]
    if request.score_threshold is not None:
        words += ["--score-threshold", f"{request.score_threshold:g}"]
    if request.nms_threshold is not None:
        words += ["--nms", f"{request.nms_threshold:g}"]
    if not clear:
        good = [layer for layer in layers if not layer.problem]
        wide = [layer for layer in good if layer.receptive_field != 1]  # the others show one lit cell
        words += ["--layer", (wide or good)[-1].name if good else "TENSOR"]
    if sample is not None:
        words += ["--sample", sample]
    return shlex.join([*words, "-o", f"{PurePath(request.arguments[0]).stem}.boxcam"])


def lines(found: Survey) -> Iterator[str]:
    """What `boxcam inspect MODEL.onnx` prints."""
    yield f"{found.file}  (opset {found.opset}, {found.producer}, {found.parameters / 1e6:.1f} M parameters)"
    yield ""
    yield f"input           {found.input}"
    if found.preprocessing:
        yield f"preprocessing   {' '.join(found.preprocessing)}"
    elif found.guessed is not None:
        specs = " ".join(found.guessed.specs)
        yield f"preprocessing   the file does not say it; guessed, as {found.guessed.why}: {specs}"
        yield f"{'':<16}(check it: others are {', '.join(PRESETS)}, and key=value)"
    else:
        yield f"preprocessing   the file does not say it: --preprocess {', '.join(PRESETS)}, or key=value"
    for number, output in enumerate(found.outputs):
        yield f"{'outputs' if not number else '':<16}{output}"
    yield ""
    if found.problem:
        yield f"detections      not found: {found.problem}"
    for number, (part, what) in enumerate(found.detections.items()):
        yield f"{'detections' if not number else '  ' + part:<16}{what}"
    names, count = found.classes
    if count:
        yield f"{'  classes':<16}{', '.join(names)}{f', … ({count} in all)' if count > len(names) else ''}"
    yield ""
    if not found.explainable:
        yield "There is nothing to export: boxcam explains boxes and classes, and this model gives neither."
        return
    yield from _table(found)
    yield ""
    if found.default is not None:
        name, tensors = found.default
        yield f"Without --layer, the layer {name!r} is exported: {', '.join(tensors)}."
        if any(layer.role == _ROLES["late"] for layer in found.layers):
            yield "(What the heads read themselves would show one lit cell for each box: an earlier map shows more.)"
    if found.command:
        words = shlex.split(found.command)
        fill = "with PRESET filled in, " if _PRESET in words else ""
        add = "" if "--sample" in words else "best with --sample PICTURE, in which it finds something, "
        yield f"Run, {fill}{add}".rstrip(", ") + ":"
        yield f"  {found.command}"
    else:
        yield "Inspect it again with what is missing; then the line to run is printed here."


def _table(found: Survey) -> Iterator[str]:
    if not found.layers:
        yield "layers          none: there is no map between the image and the scores"
        return
    yield "layers          (the image itself is one too: --layer image)"
    rows = [("tensor", "channels", "cells", "stride", "made by", "read by", "what it is", "a score depends on")]
    for layer in found.layers:
        stride = "" if layer.stride is None else "x".join(f"{s:g}" for s in dict.fromkeys(layer.stride))
        readers = ", ".join(layer.readers[:2]) + (" …" if len(layer.readers) > 2 else "")
        cells = f"{layer.height}x{layer.width}"
        gradient = f"not possible: {layer.problem}" if layer.problem else _gradient(layer)
        rows.append((layer.name, str(layer.channels), cells, stride, layer.maker, readers, layer.role, gradient))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        yield (
            "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        )
    if found.left_out:
        yield f"  … and {found.left_out} more: --all"


def _gradient(layer: LayerFacts) -> str:
    if layer.form == "windows" and layer.receptive_field is not None:
        return f"a window of {layer.receptive_field}x{layer.receptive_field} cells"
    words = {"windows": "some cells", "rows": "the proposal's own cells", "whole": "the whole map (slower)", "": "?"}
    return words[layer.form]
