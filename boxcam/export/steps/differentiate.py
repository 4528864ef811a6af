"""Third step: differentiate every target by every layer."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

from boxcam.errors import BoxcamWarning, ExportError, UnsupportedOperatorError
from boxcam.export.gradients import LayerGradient, Subject, build
from boxcam.export.graphs.dependency import gradient_reaches
from boxcam.export.graphs.query import all_values
from boxcam.export.graphs.reach import used_features
from boxcam.export.passes import dynamic_size
from boxcam.export.source import LayerTensors, Progress, SourceModel
from boxcam.export.steps.follow import Provenance
from boxcam.export.steps.numbering import numbered
from boxcam.export.steps.prepare import Preparation
from boxcam.export.trace.trace import Trace
from boxcam.types import IMAGE

Gradients = Mapping[str, Sequence[LayerGradient]]
"""By layer, one for each target that depends on it."""


def differentiate(prepared: Preparation, traced: Provenance, progress: Progress) -> Gradients:
    """The gradients of all layers.

    Raises:
        ExportError: nothing that is explained depends on a layer, or an operator in between has no gradient.

    Warns:
        BoxcamWarning: one of several targets does not depend on a layer, or there is no TorchScript gradient.
    """
    found, step = {}, numbered(progress, len(prepared.layers) * len(traced.traces))
    for name, layer in prepared.layers.items():
        try:
            found[name] = _by_layer(prepared, traced.traces, name, layer, step)
        except ExportError as error:
            dynamic = prepared.source.preprocess.multiple and isinstance(error, UnsupportedOperatorError)
            said = dynamic_size.told(str(error)) if dynamic else str(error)
            raise type(error)(f"layer {name!r}: {said}") from error
    return found


def _by_layer(
    prepared: Preparation, traces: Mapping[str, Trace], name: str, layer: LayerTensors, progress: Progress
) -> list[LayerGradient]:
    """Every target by one layer."""
    ends = {target: tuple(str(v.name) for v in found.logits) for target, found in traces.items()}
    used = {target: _used(prepared, name, target, ends) for target in ends}
    if not any(used.values()):
        raise ExportError(
            f"none of {', '.join(ends)} depends on it, so there is nothing to explain there. Choose another with"
            " layers=."
        )
    features = tuple(tensor for tensor in layer.tensors if any(tensor in of for of in used.values()))
    guided = name == IMAGE and prepared.engine != "torchscript"
    built = []
    for target in ends:
        subject = Subject(name, traces[target].target, ends[target], features)
        progress(f"differentiating {subject.title}")
        if used[target]:
            built.append(build(prepared.graphs, subject, prepared.engine, guided))
    return built


def _used(prepared: Preparation, name: str, target: str, ends: Mapping[str, Sequence[str]]) -> list[str]:
    """Those of a layer's tensors that a target depends on; of one among several it may be none."""
    try:
        return used_features(
            prepared.graphs.base, ends[target], prepared.layers[name].tensors, lambda: _explained(prepared.source)
        )
    except ExportError:
        if len(ends) == 1:
            raise
        message = f"target {target!r} does not depend on layer {name!r}, which gets no gradient of it."
        warnings.warn(message, BoxcamWarning, stacklevel=2)
        return []


def _explained(source: SourceModel) -> str:
    """Of the layers that the source names, those that a score depends on."""
    graph = source.model.graph
    values = {str(value.name): value for value in all_values(graph)}
    found = []
    for name, layer in source.layers.items():
        reached = gradient_reaches(graph, [values[n] for n in layer.tensors])
        if values[source.outputs.scores] in reached:
            found.append(name)
    return ", ".join(found)
