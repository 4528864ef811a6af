"""Further step: boxes that the detector did not report, and why it did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from boxcam.bundle import Candidates, TracedTarget
from boxcam.errors import LimitError
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import all_values, static_shape
from boxcam.export.graphs.selection import Selection
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.steps.follow import Provenance
from boxcam.export.steps.prepare import Preparation
from boxcam.export.trace.stages import proposals
from boxcam.export.verify.candidates import OPENED, SELECTION, NoCandidatesError, Parts, Question, cut, usable
from boxcam.export.verify.forward_pass import Observation
from boxcam.targets import LOGIT

_MOST = 900
"""Letters of a reason."""


@dataclass(frozen=True, eq=False)
class CandidateStep:
    """The graphs of candidates, as far as the export has come.

    Attributes:
        parts: the selection, cut out of the detector; None if there is none.
        opened: the same without suppression, once it has been tried.
        proposals: names of values that an earlier stage decoded.
        told: what the manifest says of them, once they have been tried.
        why: why there are none.
    """

    parts: Parts | None = None
    opened: Selection | None = None
    proposals: tuple[str, ...] = ()
    told: Candidates | None = None
    why: str = ""

    @property
    def context(self) -> tuple[str, ...]:
        """Names of values that the forward pass has to give."""
        return () if self.parts is None else tuple(dict.fromkeys((*self.parts.context, *self.proposals)))

    def tried(
        self, targets: Sequence[TracedTarget], prepared: Preparation, traced: Provenance, seen: Observation
    ) -> CandidateStep:
        """The same, with the graphs that tell what the detector reported, if there are any.

        Args:
            targets: what the manifest says of them, with class axes.
            prepared, traced, seen: of the steps before.
        """
        if self.parts is None:
            return self
        ends = next(target.ends for target in targets if target.name == LOGIT.name)
        try:
            opened, told = usable(self.parts, _question(prepared, traced), ends, seen.run)
        except Exception as error:  # noqa: BLE001 - see _told
            return CandidateStep(why=_told(error))
        return replace(self, opened=opened, told=replace(told, proposals=self.proposals))

    def write(self, folder: Path, weights: WeightsFile) -> None:
        """Write the graphs."""
        if self.parts is not None and self.opened is not None:
            for selection, file in ((self.opened, OPENED), (self.parts.traced, SELECTION)):
                weights.save(clone_model(selection.model), folder / file)


def cut_candidates(prepared: Preparation, traced: Provenance) -> CandidateStep:
    """Cut the selection out, where the class logits are known that it begins with."""
    if prepared.source.outputs.whole_image:
        return CandidateStep(why="it is a classifier, whose only box is the whole image")
    if LOGIT.name not in traced.traces:
        return CandidateStep(why="its class logits are not known")
    try:
        return CandidateStep(cut(_question(prepared, traced)), proposals=_proposals(traced.model.graph, prepared))
    except Exception as error:  # noqa: BLE001 - see _told
        return CandidateStep(why=_told(error))


def _told(error: Exception) -> str:
    """Why there are no candidates; a bundle without them is still one, so no fault here ends an export.

    Raises:
        LimitError: the export is over its limits.
    """
    if isinstance(error, LimitError):
        raise error
    if isinstance(error, NoCandidatesError):
        return str(error)[:_MOST]
    return f"finding them failed, which is a fault of boxcam ({type(error).__name__}: {error})"[:_MOST]


def _question(prepared: Preparation, traced: Provenance) -> Question:
    source = prepared.source
    return Question(prepared.graphs.base, traced.model, traced.traces[LOGIT.name], source.outputs, len(source.labels))


def _proposals(graph: ir.Graph, prepared: Preparation) -> tuple[str, ...]:
    """Names of the boxes that an earlier stage decoded."""
    outputs = prepared.source.outputs
    names = proposals(prepared.graphs.base.graph, (outputs.boxes, outputs.scores))
    values = {str(value.name): value for value in all_values(graph)}
    rows = (_as_rows(values[name]) for name in names if name in values)
    return tuple(dict.fromkeys(str(value.name) for value in rows if value is not None))


_LAYOUT = {"Cast", "Concat", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that move numbers, all of them."""


def _as_rows(decoded: ir.Value) -> ir.Value | None:
    """Where decoded boxes, or sides of them, lie in rows of four before any is selected; None if nowhere."""
    todo, seen = [decoded], {decoded}
    while todo:
        value = todo.pop(0)
        if (static_shape(value) or (0,))[-1] == 4:
            return value
        for user, _ in value.uses():
            if user.op_type in _LAYOUT and user.outputs[0] not in seen:
                seen.add(user.outputs[0])
                todo.append(user.outputs[0])
    return None
