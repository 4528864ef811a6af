"""The forward graph of a bundle: run on samples, and checked against the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from boxcam.bundle import Outputs, Preprocess
from boxcam.errors import ExportError, VerificationError
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.query import Array, all_values
from boxcam.export.graphs.run import failure_message, observe_values, open_session, run_model
from boxcam.export.passes import float16
from boxcam.export.trace.trace import Trace
from boxcam.export.verify import detections, samples
from boxcam.export.verify.check import Check, Run
from boxcam.types import Image

CHECKED_BOXES = 12


@dataclass(frozen=True, eq=False)
class Forward:
    """A forward graph, and what it has to agree with.

    Attributes:
        original: the detector.
        base: the same, folded.
        forward: the forward graph, in float32.
        written: the one that is written: another one, if the detector computes in float16.
        input: name of its input.
        outputs: where its detections are.
        spec: how a picture becomes the input.
        given: the picture to verify with, if the user gave one.
        traces: by target.
        tensors: names of the layers' tensors.
    """

    original: ir.Model
    base: ir.Model
    forward: ir.Model
    written: ir.Model
    input: str
    outputs: Outputs
    spec: Preprocess
    given: Image | None
    traces: Mapping[str, Trace]
    tensors: Sequence[str]

    def origins(self, run: Run) -> dict[str, Array]:
        """For each target, at which numbers of a run its gradients are checked."""
        origins = {}
        for target, found in self.traces.items():
            values = [run.found[str(v.name)] for v in found.logits]
            sampled = detections.sample_origins(run.found, values, str(found.origin.name))
            origins[target] = sampled[: max(CHECKED_BOXES, 2 * len(values))]
        return origins

    def at_another_size(self) -> Run | None:
        """One pass on a sample of other sides; None if nothing is found in any."""
        ends = [v for found in self.traces.values() for v in found.logits]
        by_name = {str(value.name): value for value in all_values(self.forward.graph)}
        wanted = dict.fromkeys([*(str(v.name) for v in self.forward.graph.outputs), *(str(v.name) for v in ends)])
        origin = str(next(iter(self.traces.values())).origin.name)
        for image in samples.of_another_size(self.spec, self.given):
            feeds = self.wide(image)
            found = dict(zip(wanted, observe_values(self.forward, [by_name[n] for n in wanted], feeds), strict=True))
            if (found[origin][:, 0] >= 0).any():
                return Run(found, feeds)
        return None

    def checked(self, file: Path) -> tuple[Run, list[Check]]:
        """One pass on a sample in which something is found, and the checks of what was written into a file.

        Raises:
            ExportError: the model's numbers are not finite.
            VerificationError: it cannot be run, or finds nothing in any sample.
        """
        probe = clone_model(self.forward)
        by_name = {str(value.name): value for value in all_values(probe.graph)}
        ends = [str(v.name) for found in self.traces.values() for v in found.logits]
        for name in ends:
            add_output(probe.graph, by_name[name])
        session = open_session(probe)
        written = open_session(file)
        names = [output.name for output in session.get_outputs()]
        origin = str(next(iter(self.traces.values())).origin.name)
        best: dict[str, Array] | None = None
        failure: Exception | None = None
        for image in samples.inputs(self.spec, self.given):
            try:
                found = dict(zip(names, session.run(names, self.wide(image)), strict=True))
            except Exception as error:  # noqa: BLE001 - onnxruntime's own errors share no public root
                failure = error  # some models cannot run where they find nothing; another picture may do
                continue
            count = int((found[origin][:, 0] >= 0).sum())
            if best is None or count > int((best[origin][:, 0] >= 0).sum()):
                best, chosen = found, image
            if count:
                break
        if best is None:
            assert failure is not None
            raise VerificationError(failure_message(self.base, failure)) from failure
        if not all(np.isfinite(best[name]).all() for name in ends):
            raise ExportError("the model's logits are not finite on the sample image. Are the weights whole?")
        if not (best[origin][:, 0] >= 0).any():
            where = "the sample image" if self.given is not None else "the pictures that are drawn for it"
            raise VerificationError(
                f"the model finds no box in {where}, so nothing can be verified. Give a picture of the kind that it was"
                " trained for with --sample, or lower --score-threshold."
            )
        given, feeds = {self.input: chosen}, self.wide(chosen)
        deployed = dict(zip([o.name for o in written.get_outputs()], written.run(None, given), strict=True))
        if self.written is not self.forward:
            checks = self._half_checks(best, feeds, given, ends)
        else:
            checks = [detections.outputs(run_model(self.original, feeds), deployed)]
        for target, traced in self.traces.items():
            checks += self._target_checks(target, traced, best, feeds)
        return Run(best, feeds), checks

    def _half_checks(
        self, found: Mapping[str, Array], feeds: Mapping[str, Array], given: Mapping[str, Array], ends: Sequence[str]
    ) -> list[Check]:
        """The float32 copy against that of the detector; the float16 graph that is written against the detector.

        The last bit of a score may change the order of boxes, or which of two is suppressed; so what is compared in
        float16 are layers and logits.
        """
        graphs = self.original, self.written
        by_name = [{str(value.name): value for value in all_values(of.graph)} for of in graphs]
        renamed = {
            name.removesuffix(float16.RENAMED): name for name in by_name[1]
        }  # outputs are float32 under its name
        names = [n for n in dict.fromkeys([*self.tensors, *ends]) if n in by_name[0] and n in renamed]
        runs = [
            observe_values(of, [values[name] for name in wanted], given)
            for of, values, wanted in zip(graphs, by_name, (names, [renamed[n] for n in names]), strict=True)
        ]
        pairs = [dict(zip(names, run, strict=True)) for run in runs]
        return [detections.outputs(run_model(float16.widened(self.original), feeds), found), detections.halves(*pairs)]

    def _target_checks(
        self, target: str, traced: Trace, found: Mapping[str, Array], feeds: Mapping[str, Array]
    ) -> list[Check]:
        """Whether a target's origins name the numbers that are reported."""
        outputs, spec = self.outputs, self.spec
        if target != "logit":
            return [detections.values(target, outputs, found, max(spec.height, spec.width))]
        values = [found[str(v.name)] for v in traced.logits]
        probabilities = detections.softmax(self.base, traced, values, feeds)
        checks = [detections.scores(traced, outputs, found, values, probabilities)]
        return [*checks, detections.products(self.base, outputs, feeds)] if any(traced.products) else checks

    def wide(self, image: Array) -> dict[str, Array]:
        """An image for the float32 graph."""
        return wide(self.input, image)


def wide(name: str, image: Array) -> dict[str, Array]:
    """An image as an input of graphs that gradients are made of, which have no float16."""
    return {name: image.astype(np.float32) if image.dtype == np.float16 else image}
