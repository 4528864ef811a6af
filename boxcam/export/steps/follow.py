"""Second step: the forward graph tells for each detection where its numbers come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.export.graphs.extract import clone_model
from boxcam.export.source import Progress
from boxcam.export.steps.prepare import Preparation
from boxcam.export.trace.trace import Trace, trace
from boxcam.targets import Target


@dataclass(frozen=True, eq=False)
class Provenance:
    """A detector whose graph says where its detections come from.

    Attributes:
        model: the folded graph with an origin and a value for each target.
        traces: by target.
    """

    model: ir.Model
    traces: Mapping[str, Trace]


def follow(prepared: Preparation, targets: tuple[Target, ...], progress: Progress) -> Provenance:
    """Trace every target.

    Raises:
        TraceError: the way from a reported number back to its origin is not known.
    """
    progress("tracing scores to logits")
    model = clone_model(prepared.graphs.base)
    return Provenance(model, {one.name: trace(model.graph, prepared.source.outputs, one) for one in targets})
