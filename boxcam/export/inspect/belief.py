"""Whether it is believed that a file was read right, as an export will ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from onnx_ir.passes import common as passes

from boxcam.bundle import Finding, SampleResult
from boxcam.errors import ExportError
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.fold import fold_model
from boxcam.export.graphs.query import all_values, static_shape
from boxcam.export.graphs.run import record_ranks
from boxcam.export.preprocessing import parse
from boxcam.export.source import Request
from boxcam.export.sources.onnx import stated
from boxcam.export.sources.onnx.detections import Detections, interpretation
from boxcam.export.sources.onnx.inputs import axis_names
from boxcam.export.sources.onnx.opened import OnnxFile
from boxcam.export.verify.plausible import Subject, judge, read
from boxcam.export.verify.sample import result, shown
from boxcam.export.verify.samples import Samples


@dataclass(frozen=True)
class Belief:
    """Whether it is believed that a file was read right, see `Survey`."""

    findings: tuple[Finding, ...] = ()
    found: SampleResult | None = None
    refused: str = ""


def believe(
    opened: OnnxFile, found: Detections, request: Request, guessed: Sequence[str], accept: Sequence[str]
) -> Belief:
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
        specs = [*guessed, *stated.given_by(request)]
        axes = axis_names(opened.image)
        spec = parse.parse(specs, static_shape(opened.image), opened.image.dtype, request.shape, usual, axes=axes)
    stated_here = stated.preprocessing_of(request, opened.metadata, found.convention)
    said = bool(guessed) or parse.is_complete(stated_here, spec.channels)
    model, how = clone_model(opened.model), interpretation(found.convention)
    add_output(model.graph, next(value for value in all_values(model.graph) if value.name == how.scores))
    passes.RemoveUnusedNodesPass()(model)
    model = fold_model(model)
    samples = Samples(str(opened.image.name), spec, request.picture(spec.channels), request.sample_name)
    try:
        record_ranks(model, samples.first())
        subject = Subject(request.arguments[0], model, samples, found.outputs, found.labels, how, said)
        reading = read(subject)
    except ExportError as error:
        return Belief(refused=str(error))
    report = shown(reading)
    findings = judge(reading, accept)
    against = [one.sentence for one in findings if one.verdict == "implausible" and not one.accepted]
    return Belief(findings, None if report is None else result(reading, report), " ".join(against))
