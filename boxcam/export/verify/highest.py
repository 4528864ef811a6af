"""How sure a detector was at most in a run in which it found nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Outputs
from boxcam.export.graphs.query import Array, all_values, attribute_of
from boxcam.export.graphs.run import observe_values
from boxcam.export.layers.marks import Flows, backward, everything
from boxcam.export.trace.trace import Trace
from boxcam.export.trace.tracer import Rounding
from boxcam.export.verify.check import Run


@dataclass(frozen=True)
class Highest:
    """The highest score of a run.

    Attributes:
        score: as the model reports it, which rounds it if it is quantized.
        exact: as it was before that.
        steps: of scores, if these are so large that even a probability of 1 is rounded to 0; otherwise None.
    """

    score: float
    exact: float
    steps: float | None = None


def highest_score(base: ir.Model, trace: Trace, outputs: Outputs, run: Run) -> Highest | None:
    """The highest score before selection.

    Of scores that are products it is that of their class, which the product does not exceed.

    Args:
        base: the detector, folded.
        trace: of its scores or logits.
        outputs: names of its outputs.
        run: a pass of it.

    Returns:
        The score; None if it cannot be told: of a softmax that may have a background, because none of its classes is
        left out on the way to the scores.
    """
    found: list[Highest] = []
    for number, (value, given, activation) in enumerate(
        zip(trace.logits, trace.inputs, trace.activations, strict=True)
    ):
        roundings = [one for one in (trace.roundings[number] if trace.roundings else ()) if not one.of_logits]
        logits = run.found[str(value.name)].astype(np.float64)
        if activation == "Softmax":
            best = _of_softmax(base, str(given.name), outputs, run)
            if best is None:
                return None
            found.append(_rounded(best, roundings))
        elif activation not in ("Sigmoid", "Identity"):
            return None
        elif logits.size:
            best = float(1 / (1 + np.exp(-logits.max())) if activation == "Sigmoid" else logits.max())
            found.append(_rounded(best, roundings))
    return max(found, key=lambda one: (one.score, one.exact), default=None)


def _rounded(exact: float, roundings: Sequence[Rounding]) -> Highest:
    score, most = exact, 1.0
    for rounding in roundings:
        score, most = rounding(score), rounding(most)
    lost = bool(roundings) and most <= 0
    return Highest(score, exact, max(one.scale for one in roundings) if lost else None)


def _of_softmax(base: ir.Model, given: str, outputs: Outputs, run: Run) -> float | None:
    """The highest probability of a class that can be reported."""
    softmax = [n for n in base.graph if n.op_type == "Softmax" and n.inputs[0] and n.inputs[0].name == given]
    reported = next(value for value in all_values(base.graph) if value.name == outputs.scores)
    if not softmax:
        return None
    made = softmax[0].outputs[0]
    marks = backward(Flows(base.graph), {reported: everything(reported, 1)}, [made]).get(made)
    if marks is None or marks.shape[int(attribute_of(softmax[0], "axis", -1))] == 1:
        return None
    (probabilities,) = observe_values(base, [made], run.feeds)
    taken: Array = probabilities[np.broadcast_to(marks > 0, probabilities.shape)]
    return float(taken.max()) if taken.size else None
