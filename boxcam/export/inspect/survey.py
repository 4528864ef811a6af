"""Looking into an ONNX file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.errors import ExportError, NothingToExplainError, SourceError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import name_and_shape, opset_of
from boxcam.export.graphs.quiet import quiet_onnx_ir
from boxcam.export.graphs.reach import used_features
from boxcam.export.heads.convention import Convention
from boxcam.export.inspect.belief import Belief, believe
from boxcam.export.inspect.command import PRESET, export_line, layer_to_name
from boxcam.export.inspect.detached import added_queries, passed_boxes, selected_queries
from boxcam.export.inspect.facts import ROLES, LayerFacts, Survey
from boxcam.export.layers.candidates import Candidate, worth
from boxcam.export.layers.layout import as_map
from boxcam.export.layers.tokens import ImageInput
from boxcam.export.passes import check, straight_through
from boxcam.export.passes.dynamic_size import fixed
from boxcam.export.preprocessing import parse
from boxcam.export.preprocessing.guess import Guess, guess, in_its_range
from boxcam.export.source import LayerTensors, Progress, Request
from boxcam.export.sources.onnx import layers as onnx_layers
from boxcam.export.sources.onnx import stated
from boxcam.export.sources.onnx.detections import detections
from boxcam.export.sources.onnx.inputs import training_size
from boxcam.export.sources.onnx.opened import OnnxFile, read, settled
from boxcam.export.verify.plausible import check_names

_SECONDS = 20.0


@quiet_onnx_ir()
def survey(
    request: Request,
    progress: Progress,
    *,
    sample: str | None = None,
    everything: bool = False,
    accept: Sequence[str] = (),
    seconds: float = _SECONDS,
) -> Survey:
    """Look into an ONNX file.

    Args:
        request: the file, and what the user says of it, as for an export.
        progress: called with a few words as each step begins.
        sample: the file of the request's picture, for the line to run.
        everything: tell of all maps, not only of those that are worth looking at first.
        accept: names of criteria of plausibility that are overruled.
        seconds: how long gradients may be tried to see their forms.

    Raises:
        SourceError: the file cannot be read, or its size is not known.
    """
    check_names(accept)
    progress("reading the model")
    opened = read(request)
    said = _said(request, opened)
    if not said:
        opened = replace(opened, preprocess=in_its_range(opened.image, opened.preprocess))
    outputs = tuple(name_and_shape(value) for value in opened.model.graph.outputs)
    parameters = _parameters(opened.model.graph)
    progress("looking for scores and boxes")
    problem, explainable, found, logits = "", True, None, []
    guessed: Guess | None = None
    try:
        found = detections(opened, request)
        opened = settled(opened, request, found.convention)
        said = _said(request, opened, found.convention)
        guessed = None if said else guess(opened.image, opened.preprocess, found.convention, opened.producer)
    except SourceError as error:
        problem, explainable = str(error), not isinstance(error, NothingToExplainError)
    progress("looking for layers")
    feeds = opened.feeds
    try:
        work = onnx_layers.Work(fixed(opened.model, feeds), opened.preprocess, str(opened.image.name), feeds)
    except ExportError as error:
        if problem:  # it is why the model cannot be run
            raise SourceError(problem) from error
        raise
    candidates: list[Candidate] = []
    default: dict[str, LayerTensors] = {}
    if found is None:
        candidates = work.all_maps()
    else:
        classifier = found.convention.kind == "classes"
        try:
            candidates = work.candidates(found.outputs, boxes=not classifier)
            logits = work.logits(found.outputs)
            default = onnx_layers.default(candidates, classifier, opened.path, opened.model.graph)
        except SourceError:
            pass  # several layers may be meant: the list tells them apart
        except ExportError as error:
            problem = str(error)
    shown = candidates if everything else worth(candidates)
    chosen = next(iter(default.items()), None)
    source_image = next(value for value in work.model.graph.inputs if value.name == work.image)
    ends = work.values(logits)
    selected = selected_queries(work.model.graph, source_image, ends)
    passed = passed_boxes(work.model.graph, source_image, ends)
    added = added_queries(work.model.graph, ends) if passed else ()
    together = () if chosen is None else chosen[1].tensors
    cut = [(one, together if one.name in together else (one.name,)) for one in shown]
    layers = tuple(_with_forms(work, logits, cut, progress, seconds))
    missing = () if said else (PRESET,) if guessed is None else guessed.specs
    unsaid = (*missing, *stated.given_by(request))
    belief = Belief()
    if found is not None and not problem:
        progress("looking at what it finds")
        belief = believe(opened, found, request, () if said or guessed is None else guessed.specs, accept)
    named = () if found is None else found.labels
    return Survey(
        file=request.arguments[0],
        producer=opened.producer,
        opset=opset_of(opened.model),
        parameters=parameters,
        input=(
            f"{name_and_shape(opened.image)} {opened.preprocess.dtype} {opened.preprocess.layout}"
            f"{_own_size(request, opened)}"
        ),
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
        command=""
        if problem or belief.refused
        else export_line(request, sample, unsaid, "" if chosen else layer_to_name(layers), accept),
        selected=selected,
        passed=passed,
        added=added,
        plausibility=belief.findings,
        found=belief.found,
        refused=belief.refused,
    )


def _said(request: Request, opened: OnnxFile, convention: Convention | None = None) -> tuple[str, ...]:
    """What is said of the preprocessing; nothing as long as that is not all of it."""
    said = stated.preprocessing_of(request, opened.metadata, convention)
    return tuple(said) if parse.is_complete(said, opened.preprocess.channels) else ()


def _own_size(request: Request, opened: OnnxFile) -> str:
    """How large the input is where that is dynamic, and what says it; empty where it is not."""
    spec = opened.preprocess
    if not spec.multiple:
        return ""
    if spec.resize == "none":
        return ", dynamic: each picture keeps its size"
    size = spec.fit_height, spec.fit_width
    stated_in_file = training_size(opened.metadata) == size and not parse.has_size(stated.given_by(request))
    by = " (imgsz in the file's metadata)" if stated_in_file else ""
    return f", dynamic: pictures are fitted into {size[0]}x{size[1]}{by}"


def _with_forms(
    work: onnx_layers.Work,
    logits: Sequence[str],
    shown: Sequence[tuple[Candidate, Sequence[str]]],
    progress: Progress,
    seconds: float,
) -> Iterator[LayerFacts]:
    """Differentiate by each layer, as an export would, as long as there is time; the last layers take the least.

    With each comes what is cut for it: maps that are one layer are cut together, and what goes from one of them into
    another one is then no part of the gradient.
    """
    smooth = straight_through.straight_through(work.model)
    until, found = time.monotonic() + seconds, []
    for number, (one, cut) in enumerate(reversed(shown), 1):
        form, field, problem = "", None, ""
        if logits and time.monotonic() < until:
            progress(f"differentiating by layer {number} of {len(shown)}")
            try:
                graph, names = smooth, tuple(cut)
                if one.layout != "NCHW":
                    graph = clone_model(smooth)
                    image = ImageInput(work.image, work.spec)
                    names = tuple(as_map(graph, name, one.layout, image, None) for name in names)
                    passes.ShapeInferencePass()(graph)
                used = used_features(graph, logits, names)
                check.check_path(graph, logits, used)
                built = gradient.build(graph, logits, used, means=False)  # its form is all that is told
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
                ROLES[one.role],
                one.maker,
                one.readers,
                form,
                field,
                problem,
            )
        )
    yield from reversed(found)


def _parameters(graph: ir.Graph) -> int:
    """How many numbers a graph holds."""
    weights = [value.const_value for value in graph.initializers.values()]
    weights += [node.attributes["value"].as_tensor() for node in graph if _is_stored(node)]  # Paddle's are
    return sum(tensor.size for tensor in weights if tensor is not None)


def _is_stored(node: ir.Node) -> bool:
    """Whether a node is a tensor in the file."""
    return node.op_type == "Constant" and "value" in node.attributes
