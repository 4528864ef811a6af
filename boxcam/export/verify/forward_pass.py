"""The forward graph of a bundle: run on samples, and checked against the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from boxcam.errors import ExportError, VerificationError
from boxcam.export.graphs.extract import add_output, clone_model
from boxcam.export.graphs.query import Array, all_values
from boxcam.export.graphs.run import failure_message, observe_values, open_session, run_model
from boxcam.export.graphs.weights import read_graph
from boxcam.export.passes import float16
from boxcam.export.source import HalfPrecision, SourceModel
from boxcam.export.trace.trace import Trace
from boxcam.export.verify import detections, rows
from boxcam.export.verify.check import Check, Probe, Run
from boxcam.export.verify.highest import highest_score
from boxcam.export.verify.samples import Samples, wide

CHECKED_BOXES = 12


@dataclass(frozen=True, eq=False)
class Observation:
    """One pass of the forward graph on a sample, and where gradients are checked in it.

    Attributes:
        given: the sample, in the type that the detector takes.
        run: the pass of the float32 graph.
        origins: by target, int64 [K, D]: at which elements of the tensors that it is taken from.
    """

    given: Mapping[str, Array]
    run: Run
    origins: Mapping[str, Array]

    def probe(self, target: str) -> Probe:
        """Where the gradients of a target are checked."""
        return Probe(self.run, self.origins[target])


@dataclass(frozen=True, eq=False)
class Forward:
    """A forward graph, and what it has to agree with.

    Attributes:
        source: the detector.
        base: the same, folded.
        model: the forward graph, in float32.
        traces: by target.
        tensors: names of the layers' tensors, as the detector has them.
    """

    source: SourceModel
    base: ir.Model
    model: ir.Model
    traces: Mapping[str, Trace]
    tensors: Sequence[str]

    def observe(self, samples: Samples) -> Observation:
        """A pass on the first sample in which something is found.

        Raises:
            ExportError: the model's numbers are not finite.
            VerificationError: it cannot be run, or finds nothing in any sample.
        """
        probe = clone_model(self.model)
        by_name = {str(value.name): value for value in all_values(probe.graph)}
        ends = self._ends()
        for name in ends:
            add_output(probe.graph, by_name[name])
        session = open_session(probe)
        names = [output.name for output in session.get_outputs()]
        best: dict[str, Array] | None = None
        failure: Exception | None = None
        for sample in samples:
            try:
                found = dict(zip(names, session.run(names, wide(sample)), strict=True))
            except Exception as error:  # noqa: BLE001 - onnxruntime's own errors share no public root
                failure = error  # some models cannot run where they find nothing; another picture may do
                continue
            if best is None or self._count(found) > self._count(best):
                best, chosen = found, sample
            if self._count(found):
                break
        if best is None:
            assert failure is not None
            raise VerificationError(failure_message(self.base, failure)) from failure
        if not all(np.isfinite(best[name]).all() for name in ends):
            raise ExportError(
                "the model's logits are not finite on the sample image. Is the checkpoint complete? Check its values,"
                " or try another image with sample=."
            )
        if not self._count(best):
            raise VerificationError(self._nothing_found(Run(best, wide(chosen)), samples.given is not None))
        return self._observation(chosen, best)

    def _nothing_found(self, run: Run, is_given: bool) -> str:
        """What to say where the model finds nothing: how sure it was at most, and what may help."""
        trace = self.traces.get("score") or self.traces.get("logit")
        highest = None if trace is None else highest_score(self.base, trace, self.source.outputs, run)
        where = "the sample image" if is_given else "the synthetic images"
        if highest is not None and highest.steps is not None:
            return (
                f"the model finds no box in {where}: it rounds scores to steps of {highest.steps:.3g}, and the highest"
                f" one, {highest.exact:.3g}, becomes {highest.score:.3g} as any other does, so nothing can be verified."
                " Quantize it with an own scale for its scores, or without its outputs."
            )
        best = "" if highest is None else f" (its highest score there is {highest.score:.3g})"
        lower = "" if highest is None or highest.score <= 0 else f", or a score_threshold= below {highest.score:.3g}"
        return (
            f"the model finds no box in {where}{best}, so"
            f" nothing can be verified. Pass an image of the kind that it was trained for with sample={lower}."
        )

    def observe_another_size(self, samples: Samples) -> Observation | None:
        """A pass on a sample of other sides; None if nothing is found in any."""
        by_name = {str(value.name): value for value in all_values(self.model.graph)}
        wanted = dict.fromkeys([*(str(v.name) for v in self.model.graph.outputs), *self._ends()])
        for sample in samples.of_another_size():
            values = observe_values(self.model, [by_name[n] for n in wanted], wide(sample))
            found = dict(zip(wanted, values, strict=True))
            if self._count(found):
                return self._observation(sample, found)
        return None

    def check(self, file: Path, seen: Observation) -> list[Check]:
        """Check what was written into a file.

        Args:
            file: the forward graph, in the detector's own types.
            seen: a pass of it in float32.
        """
        session, run = open_session(file), seen.run
        deployed = dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(seen.given)), strict=True))
        original = run_model(self.source.model, run.feeds)
        if self.source.half is None:
            checks = [rows.outputs(self.source.outputs, original, deployed)]
        else:
            checks = [
                rows.outputs(self.source.outputs, original, run.found),
                self._half_check(self.source.half, file, seen),
            ]
        for traced in self.traces.values():
            checks += self._target_checks(traced, run)
        return checks

    def _half_check(self, half: HalfPrecision, file: Path, seen: Observation) -> Check:
        """The float16 graph that was written against the detector.

        The last bit of a score may change the order of boxes, or which of two is suppressed; so what is compared in
        float16 are layers and logits.
        """
        graphs = half.model, read_graph(file)
        by_name = [{str(value.name): value for value in all_values(of.graph)} for of in graphs]
        renamed = {
            name.removesuffix(float16.RENAMED): name for name in by_name[1]
        }  # outputs are float32 under its name
        names = [n for n in dict.fromkeys([*self.tensors, *self._ends()]) if n in by_name[0] and n in renamed]
        runs = [
            observe_values(of, [values[name] for name in wanted], seen.given)
            for of, values, wanted in zip(graphs, by_name, (names, [renamed[n] for n in names]), strict=True)
        ]
        return detections.halves(*(dict(zip(names, run, strict=True)) for run in runs))

    def _target_checks(self, traced: Trace, run: Run) -> list[Check]:
        """Whether a target's origins name the numbers that are reported."""
        outputs, spec = self.source.outputs, self.source.preprocess
        if not traced.target.to_logit:
            return [detections.values(traced.target, outputs, run.found, max(spec.height, spec.width))]
        values = [run.found[str(v.name)] for v in traced.logits]
        probabilities = detections.softmax(self.base, traced, values, run.feeds)
        checks = [detections.scores(traced, outputs, run.found, values, probabilities)]
        return [*checks, detections.products(self.base, outputs, run.feeds)] if any(traced.products) else checks

    def _ends(self) -> list[str]:
        """Names of the tensors that the targets are taken from."""
        return [str(v.name) for found in self.traces.values() for v in found.logits]

    def _count(self, found: Mapping[str, Array]) -> int:
        """How many boxes were found in a run."""
        origin = str(next(iter(self.traces.values())).origin.name)
        return int((found[origin][:, 0] >= 0).sum())

    def _observation(self, given: dict[str, Array], found: Mapping[str, Array]) -> Observation:
        origins = {}
        for target, traced in self.traces.items():
            values = [found[str(v.name)] for v in traced.logits]
            sampled = detections.sample_origins(found, values, str(traced.origin.name))
            origins[target] = sampled[: max(CHECKED_BOXES, 2 * len(values))]
        return Observation(given, Run(found, wide(given)), origins)
