"""Looking into an ONNX file."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir
from onnx_ir.passes import common as passes

from boxcam.bundle import Finding, SampleResult
from boxcam.errors import ExportError, NothingToExplainError, SourceError
from boxcam.export.autodiff import gradient
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values, name_and_shape, opset_of, static_shape
from boxcam.export.graphs.quiet import quiet_onnx_ir
from boxcam.export.graphs.reach import used_features
from boxcam.export.graphs.run import record_ranks
from boxcam.export.inspect.command import PRESET, export_line, layer_to_name
from boxcam.export.inspect.detached import selected_queries
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
from boxcam.export.sources.onnx import source as source
from boxcam.export.verify.plausible import Subject, check_names, judge, read
from boxcam.export.verify.sample import result, shown
from boxcam.export.verify.samples import Samples

_NEUTRAL = ("resize=stretch", "scale=0-255", "color=RGB")
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
    opened = source.read(request, _NEUTRAL)
    said = tuple(source.preprocessing_of(request, opened.metadata))
    if not said:
        opened = replace(opened, preprocess=in_its_range(opened.image, opened.preprocess))
    outputs = tuple(name_and_shape(value) for value in opened.model.graph.outputs)
    parameters = _parameters(opened.model.graph)
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
    image = next(value for value in work.model.graph.inputs if value.name == work.image)
    selected = selected_queries(work.model.graph, image, work.values(logits))
    unsaid = () if said else (PRESET,) if guessed is None else guessed.specs
    belief = _Belief()
    if found is not None and not problem:
        progress("looking at what it finds")
        belief = _believe(opened, found, request, () if said or guessed is None else guessed.specs, accept)
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
        command=""
        if problem or belief.refused
        else export_line(request, sample, unsaid, "" if chosen else layer_to_name(layers), accept),
        plausibility=belief.findings,
        found=belief.found,
        refused=belief.refused,
        selected=selected,
    )


@dataclass(frozen=True)
class _Belief:
    """Whether it is believed that a file was read right, see `Survey`."""

    findings: tuple[Finding, ...] = ()
    found: SampleResult | None = None
    refused: str = ""


def _believe(
    opened: source.OnnxFile, found: source.Detections, request: Request, guessed: Sequence[str], accept: Sequence[str]
) -> _Belief:
    """Ask all criteria, as an export does.

    Args:
        opened: the file, with its detections.
        found: its detections.
        request: the file, and what the user says of it.
        guessed: the preprocessing that the line to run will have; empty where it is said, or not known.
        accept: names of criteria that are overruled.
    """
    spec = opened.preprocess
    if guessed:
        usual = (spec.height, spec.width)
        spec = parse.parse(guessed, static_shape(opened.image), opened.image.dtype, request.shape, usual)
    said = bool(guessed) or bool(source.preprocessing_of(request, opened.metadata, found.convention))
    model, how = clone_model(opened.model), source.interpretation(found.convention)
    add_output(model.graph, next(value for value in all_values(model.graph) if value.name == how.scores))
    passes.RemoveUnusedNodesPass()(model)
    model = fold_model(model)
    samples = Samples(str(opened.image.name), spec, request.sample, request.sample_name)
    try:
        record_ranks(model, samples.first())
        subject = Subject(request.arguments[0], model, samples, found.outputs, found.labels, how, said)
        reading = read(subject)
    except ExportError as error:
        return _Belief(refused=str(error))
    report = shown(reading)
    findings = judge(reading, accept)
    against = [one.sentence for one in findings if one.verdict == "implausible" and not one.accepted]
    return _Belief(findings, None if report is None else result(reading, report), " ".join(against))


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
                    name = as_map(graph, name, one.layout, ImageInput(work.image, work.spec), None)
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
