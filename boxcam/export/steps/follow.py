"""Second step: the forward graph tells for each detection where its numbers come from."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from boxcam.errors import BoxcamWarning, NoLogitError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.source import Progress
from boxcam.export.steps.prepare import Preparation
from boxcam.export.trace.trace import Trace, trace
from boxcam.targets import LOGIT, SCORE, Target


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
    """Trace every target; if no logit can be told, and nothing else is asked for, the score as it is reported.

    Raises:
        TraceError: the way from a reported number back to its origin is not known.

    Warns:
        BoxcamWarning: the score is explained instead of its logit.
    """
    progress("tracing scores to logits")
    try:
        return _traced(prepared, targets)
    except NoLogitError as error:
        if targets != (LOGIT,):
            raise
        found = _traced(prepared, (SCORE,))
        why = str(error).partition(" Use targets=")[0]
        warnings.warn(
            f'{why} So the bundle explains the score as it is reported. Pass targets="score" if this is meant.',
            BoxcamWarning,
            stacklevel=2,
        )
        return found


def _traced(prepared: Preparation, targets: tuple[Target, ...]) -> Provenance:
    model = clone_model(prepared.graphs.base)
    return Provenance(model, {one.name: trace(model.graph, prepared.source.outputs, one) for one in targets})
