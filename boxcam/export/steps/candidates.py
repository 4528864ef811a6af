"""Further step: boxes that the detector did not report, and why it did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir

from boxcam.bundle import Candidates, TracedTarget
from boxcam.export.candidates import OPENED, SELECTION, CandidateGraphs, NoCandidatesError, Question, cut, usable
from boxcam.export.graphs.extract import clone_model
from boxcam.export.graphs.query import all_values, static_shape
from boxcam.export.graphs.weights import WeightsFile
from boxcam.export.steps.follow import Provenance
from boxcam.export.steps.prepare import Preparation
from boxcam.export.trace.stages import proposals
from boxcam.export.verify.forward_pass import Observation
from boxcam.targets import LOGIT


@dataclass(frozen=True, eq=False)
class CandidateStep:
    """The graphs of candidates, as far as the export has come.

    Attributes:
        several: ways to open the selection; the one that is used, once they have been tried.
        proposals: names of values that an earlier stage decoded.
        told: what the manifest says of them, once they have been tried.
        why: why there are none.
    """

    several: tuple[CandidateGraphs, ...] = ()
    proposals: tuple[str, ...] = ()
    told: Candidates | None = None
    why: str = ""

    @property
    def context(self) -> tuple[str, ...]:
        """Names of values that the forward pass has to give."""
        if not self.several:
            return ()
        return tuple(dict.fromkeys((*(name for one in self.several for name in one.context), *self.proposals)))

    def tried(
        self, targets: Sequence[TracedTarget], prepared: Preparation, traced: Provenance, seen: Observation
    ) -> CandidateStep:
        """The same, with the graphs that tell what the detector reported, if there are any.

        Args:
            targets: what the manifest says of them, with class axes.
            prepared, traced, seen: of the steps before.
        """
        if not self.several:
            return self
        ends = next(target.ends for target in targets if target.name == LOGIT.name)
        try:
            graphs, told = usable(self.several, _question(prepared, traced), ends, seen.run)
        except NoCandidatesError as error:
            return CandidateStep(why=str(error))
        return replace(self, several=(graphs,), told=replace(told, proposals=self.proposals))

    def write(self, folder: Path, weights: WeightsFile) -> None:
        """Write the graphs."""
        if self.told is not None:
            for graphs in self.several:
                for selection, file in ((graphs.opened, OPENED), (graphs.plain, SELECTION)):
                    weights.save(clone_model(selection.model), folder / file)


def cut_candidates(prepared: Preparation, traced: Provenance) -> CandidateStep:
    """Cut the selection out, where the class logits are known that it begins with."""
    if prepared.source.outputs.whole_image:
        return CandidateStep(why="it is a classifier, whose only box is the whole image")
    if LOGIT.name not in traced.traces:
        return CandidateStep(why="its class logits are not known")
    try:
        several = cut(_question(prepared, traced))
    except NoCandidatesError as error:
        return CandidateStep(why=str(error))
    return CandidateStep(several, _proposals(traced.model.graph, prepared))


def _question(prepared: Preparation, traced: Provenance) -> Question:
    source = prepared.source
    return Question(prepared.graphs.base, traced.model, traced.traces[LOGIT.name], source.outputs, len(source.labels))


def _proposals(graph: ir.Graph, prepared: Preparation) -> tuple[str, ...]:
    """Names of the boxes that an earlier stage decoded."""
    outputs = prepared.source.outputs
    names = proposals(prepared.graphs.base.graph, (outputs.boxes, outputs.scores))
    values = {str(value.name): value for value in all_values(graph)}
    boxes = (name for name in names if name in values and (static_shape(values[name]) or (0,))[-1] == 4)
    return tuple(boxes)
