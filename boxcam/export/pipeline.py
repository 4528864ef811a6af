"""Export, step by step: prepare, follow, believe, differentiate, cut, describe, observe, try, write, verify.

Each step takes frozen values and gives one; graphs in them are finished, and a step that adds to a graph adds to a copy
of it. The files are written before they are verified, since what is verified is what lies in the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from boxcam import bundle
from boxcam._version import __version__
from boxcam.arguments import check_distinct
from boxcam.bundle import FORWARD, SAMPLE, WEIGHTS, Manifest
from boxcam.errors import SourceError
from boxcam.export import sources as _sources  # noqa: F401  (registers boxcam's own)
from boxcam.export.gradients import CHOICES
from boxcam.export.graphs.dequantized import dequantized_constants
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.quiet import quiet_onnx_ir
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.passes import float16
from boxcam.export.source import Options, Progress, Request, SourceModel, detect_source, load_model
from boxcam.export.steps.believe import Belief, believe
from boxcam.export.steps.candidates import CandidateStep, cut_candidates
from boxcam.export.steps.class_axes import with_class_axes
from boxcam.export.steps.describe import Contents, describe, without_lost
from boxcam.export.steps.differentiate import Gradients, differentiate
from boxcam.export.steps.follow import follow
from boxcam.export.steps.numbering import numbered
from boxcam.export.steps.prepare import Preparation, Wishes, prepare
from boxcam.export.steps.rest import Heads, check_heads, cut, tried, with_heads, write_heads
from boxcam.export.verify.check import Check, require
from boxcam.export.verify.expected import read as expected_of
from boxcam.export.verify.forward_pass import Forward, Observation
from boxcam.export.verify.plausible import check_names
from boxcam.export.verify.sample import save
from boxcam.runtime.planes import read_colors
from boxcam.targets import TARGETS, Target, available

_PRECISION = "float16; its gradients are computed in float32"


@quiet_onnx_ir()
def export(
    *arguments: str | os.PathLike[str],
    output: str | os.PathLike[str],
    source: str | None = None,
    layers: Sequence[str] = (),
    shape: tuple[int, int] | None = None,
    score_threshold: float | None = None,
    nms_threshold: float | None = None,
    sample: str | os.PathLike[str] | None = None,
    engine: str = "auto",
    targets: Sequence[str] = ("logit",),
    overwrite: bool = False,
    accept: Sequence[str] = (),
    expect: str | os.PathLike[str] | None = None,
    progress: Progress = lambda step: None,
    **options: Unpack[Options],
) -> Manifest:
    """Turn a trained detector into a bundle.

    Args:
        arguments: what the source is made of: for mmdet a config and a checkpoint.
        output: the bundle's directory.
        source: kind of source; found out from the arguments by default.
        layers: names of layers or tensors; the source's own choice by default.
        shape: height and width of the model's input; the source's own by default.
        score_threshold, nms_threshold: instead of the source's own.
        sample: an image to verify with; drawn ones by default.
        engine: which gradients to build: ``onnx``, ``torchscript``, ``both``, which are checked against each other, or
            ``auto``: ONNX, and TorchScript where its operators suffice.
        targets: what of a box can be explained: ``logit``, the class logit; ``score``, as reported; ``x1``, ``y1``,
            ``x2``, ``y2``, the sides in canvas pixels; ``all`` for all that the model has: a classifier has no sides.
        overwrite: replace a bundle that is there.
        accept: names of criteria of `boxcam.export.verify.plausible` that are overruled.
        expect: a JSON file with what the user's own code finds on the sample, to be compared.
        progress: called with a few words as each step begins.
        options: how to read a model that does not say enough about itself, above all a plain ONNX file: ``scores``,
            ``boxes``, ``preprocess`` and others, which `boxcam.export.source.Request` explains.

    Returns:
        The manifest that was written.

    Raises:
        ArgumentError: a layer or target is given twice.
        ExportError: the model cannot be exported, or the result does not agree with it; nothing is written then.
        ImplausibleError: the model was read in a way that is not to be believed; it is an ExportError, too.
        InputError: a picture, or the file of ``expect``, cannot be read.
        OutputError: the bundle cannot be written there.
    """
    if engine not in CHOICES:
        raise ValueError(f"engine={engine!r} is not one of: {', '.join(CHOICES)}")
    targets = (targets,) if isinstance(targets, str) else tuple(targets)
    if not targets or not set(targets) <= {*TARGETS, "all"}:
        raise ValueError(f"targets={targets!r} are not some of: {', '.join(TARGETS)}, all")
    layers = (layers,) if isinstance(layers, str) else tuple(layers)
    check_distinct("targets", targets)
    check_distinct("layers", layers)
    given = tuple(str(a) for a in arguments)
    kind = source or detect_source(given)
    bundle.check_target(output, overwrite=overwrite)
    accept = (accept,) if isinstance(accept, str) else tuple(accept)
    check_names(accept)
    expected = None if expect is None else expected_of(expect)
    if expected is not None and sample is None:
        raise SourceError("expect= is what your own code finds on the sample. Pass that image with sample=.")
    pixels = None if sample is None else read_colors(sample)
    file = None if sample is None else os.fspath(sample)
    called = "the sample" if sample is None else Path(sample).name
    picture = {"sample": pixels, "sample_file": file, "sample_name": called}
    request = Request(given, shape, score_threshold, nms_threshold, layers, **picture, **options)  # type: ignore[arg-type]
    model = load_model(request, kind, progress)
    wishes = Wishes(request, _targets(targets, model), engine, progress, Path(output), accept, expected)
    with bundle.write(output, overwrite=overwrite) as folder:
        return _export(model, wishes, folder)


def _export(model: SourceModel, wishes: Wishes, folder: Path) -> Manifest:
    """The steps, from a detector to a bundle in a folder."""
    prepared = prepare(model, wishes)
    traced = follow(prepared, wishes.targets, wishes.progress)
    belief = believe(prepared, wishes)
    gradients = differentiate(prepared, traced, wishes.progress)
    heads, candidates = cut(prepared, traced, gradients), cut_candidates(prepared, traced)
    described = describe(prepared, traced, gradients, heads, candidates.context)
    forward = Forward(prepared.source, prepared.graphs.base, described.forward, traced.traces, prepared.tensors)
    seen = observe(forward, prepared, wishes.progress)
    heads = tried(heads, prepared, seen, wishes.progress)
    targets = with_class_axes(described.targets, prepared, traced, seen[0])
    candidates = candidates.tried(targets, prepared, traced, seen[0])
    described = without_lost(replace(described, targets=targets), heads, candidates.context)
    forward = replace(forward, model=described.forward)
    wishes.progress("writing the graphs")
    write(folder, forward, prepared, gradients, heads, candidates, seen[0])
    if belief.picture is not None:
        save(belief.picture, folder / SAMPLE)
    checks = forward.check(folder / FORWARD, seen[0])
    checks += verify(folder, prepared, gradients, seen, wishes.progress)
    checks += check_heads(folder, heads, prepared, seen)
    figures = require(checks)
    described = replace(described, layers=with_heads(described.layers, folder, heads, prepared, seen[0]))
    with bundle.disk_errors(folder.parent):
        return bundle.write_manifest(folder, _manifest(prepared, described, candidates, belief, figures))


def observe(forward: Forward, prepared: Preparation, progress: Progress) -> list[Observation]:
    """Run the forward graph where it finds something; if its size is dynamic, on a sample of another size too.

    Raises:
        ExportError: the model's numbers are not finite.
        VerificationError: the graph cannot be run, or nothing is found in any sample.
    """
    progress("running the forward graph")
    seen = [forward.observe(prepared.samples)]
    if prepared.source.preprocess.multiple:
        other = forward.observe_another_size(prepared.samples)
        seen += [] if other is None else [other]
    return seen


def write(
    folder: Path,
    forward: Forward,
    prepared: Preparation,
    gradients: Gradients,
    heads: Heads,
    candidates: CandidateStep,
    example: Observation,
) -> None:
    """Write all graphs, which share one file of weights: the forward one in the detector's own types, gradients, the
    rest of the model after each layer, and its selection."""
    model, half = forward.model, prepared.source.half
    if half is not None:
        model = clone_model(model)
        float16.narrow(model, half.types)
    quantized = dequantized_constants(prepared.source.model.graph)
    with bundle.disk_errors(folder.parent), WeightsFile(folder / WEIGHTS, quantized) as weights:
        weights.save(model, folder / FORWARD)
        for name, several in gradients.items():
            for one in several:
                one.write(folder / prepared.files[name], weights, example.probe(one.subject.target.name))
        write_heads(folder, heads, prepared, weights)
        candidates.write(folder, weights)


def verify(
    folder: Path, prepared: Preparation, gradients: Gradients, seen: Sequence[Observation], progress: Progress
) -> list[Check]:
    """Check all gradients that were written, at the first observation, and those of ONNX at the others too."""
    checks: list[Check] = []
    total = sum(one.checked + len(seen) - 1 for several in gradients.values() for one in several)
    step = numbered(progress, total)
    for name, several in gradients.items():
        for one in several:
            file, target = folder / prepared.files[name], one.subject.target.name
            checks += one.check(file, prepared.graphs, seen[0].probe(target), step)
            for other in seen[1:]:
                checks += one.check_another_size(file, prepared.graphs, other.probe(target), step)
    return checks


def _manifest(
    prepared: Preparation, described: Contents, candidates: CandidateStep, belief: Belief, figures: dict[str, float]
) -> Manifest:
    source = prepared.source
    return Manifest(
        boxcam=__version__,
        source={**source.description, **({} if source.half is None else {"precision": _PRECISION})},
        labels=source.labels,
        input=source.input,
        preprocess=source.preprocess,
        outputs=source.outputs,
        targets=described.targets,
        layers=described.layers,
        verification=figures,
        plausibility=belief.findings,
        sample=belief.sample,
        candidates=candidates.told,
        without_candidates=candidates.why,
    )


def _targets(asked: Sequence[str], model: SourceModel) -> tuple[Target, ...]:
    """The targets that are asked for, each once.

    Raises:
        SourceError: one that the model does not have.
    """
    known = available(model.outputs.whole_image)
    missing = [name for name in asked if name != "all" and name not in known]
    if missing:
        raise SourceError(
            f'targets="{missing[0]}" has no meaning here: a classifier\'s box is the whole image. Leave it out.'
        )
    return tuple(TARGETS[name] for name in dict.fromkeys(known if "all" in asked else asked))
