"""Compares methods, image by image."""

from __future__ import annotations

import itertools
import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from boxcam.errors import ArgumentError, BoxcamWarning
from boxcam.explain.advice import MEANING
from boxcam.explain.defaults import default_of
from boxcam.explain.evaluation.annotations import Annotations
from boxcam.explain.evaluation.evaluation import Evaluation
from boxcam.explain.evaluation.matching import match
from boxcam.explain.evaluation.measurements import Case, Protocol
from boxcam.explain.evaluation.request import metrics_for
from boxcam.explain.evaluation.truth import Truth
from boxcam.explain.explainer import explain, prepare
from boxcam.explain.explanation import Explanation
from boxcam.explain.metrics import METRICS
from boxcam.explain.metrics.sample import Sample, Thing
from boxcam.explain.metrics.scene import Scene
from boxcam.explain.options import Options
from boxcam.explain.sanity.check import Sanity, agreement
from boxcam.runtime.model import Model
from boxcam.runtime.pixels import load_image
from boxcam.types import Detections, Image


class Evaluator:
    """Measures the maps of several methods on the same boxes.

    Args:
        model: a detector.
        options: what is asked of each row: method and layer, and the same choice of boxes.
        protocol: how.
        annotations: the truth; without it, the model's own boxes are taken for it.

    Raises:
        ArgumentError: a metric needs annotations, or the model is a classifier, which has no boxes.
        UnknownNameError, UnknownLayerError, EngineError: as for `boxcam.explain`.
    """

    def __init__(
        self, model: Model, options: Sequence[Options], protocol: Protocol, annotations: Annotations | None = None
    ) -> None:
        if model.manifest.outputs.whole_image:
            raise ArgumentError(
                f"bundle {model.path} is of a classifier, whose box is the whole image: there is nothing to compare its"
                " maps with. Pass a bundle of a detector."
            )
        for name in protocol.metrics:
            if name in metrics_for(annotations):
                continue
            if annotations is None:
                raise ArgumentError(
                    f"the metric {name!r} needs to know the objects in the image. Pass annotations=, or another metric."
                )
            raise ArgumentError(
                f"the metric {name!r} needs the objects' pixels, and {annotations.path} has no outlines or masks. Pass"
                " another metric, or annotations= with masks."
            )
        for one in options:
            prepare(model, one)
        if protocol.agreement and len(options) < 2:
            raise ArgumentError(
                "agreement=True compares the maps of methods and layers, and there is only one of each. Pass several"
                " method= or layer=, or leave it out."
            )
        self._model, self._options, self._annotations = model, options, annotations
        self._told: set[str] = set()
        self._sanity = Sanity(model, options, protocol.sanity, protocol.seed) if protocol.sanity else None
        self.result = Evaluation(
            bundle=model.path.name,
            annotations=None if annotations is None else annotations.path.name,
            protocol=protocol,
            rows=tuple(
                (one.method or default_of(model.manifest, one.layers).method, ", ".join(one.layers or ()))
                for one in options
            ),
            seconds=[0.0] * len(options),
            device=model.device,
            providers=model.providers,
            stages=() if self._sanity is None else self._sanity.names,
        )

    def add(self, file: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Measure the boxes on an image.

        Args:
            file: the image.
            progress: called with the number of maps that were measured, and their total.

        Raises:
            InputError: the image cannot be read, or does not fit its annotations.
            RunError: the model fails on it.
        """
        result = self.result
        counts, cases, seconds = dict(result.counts), len(result.cases), list(result.seconds)
        try:
            self._add(file, progress or (lambda done, total: None))
        except BaseException:  # nothing of an image that could not be measured to its end
            result.counts, result.cases, result.seconds = counts, result.cases[:cases], seconds
            raise

    def _add(self, file: Path, progress: Callable[[int, int], None]) -> None:
        model, result = self._model, self.result
        pixels = load_image(file, "BGR", model.manifest.preprocess.channels)
        truth = None if self._annotations is None else self._annotations.of(file, pixels.shape[:2])
        if truth is None and self._annotations is not None:
            self._count("images without annotations", 1)
            return
        if not result.images:
            model.detect(pixels)  # a model's first run takes longer, and would count for the first row alone
        explanations = [self._explain(row, pixels) for row in range(len(self._options))]
        result.rows = tuple((one.method, one.layer) for one in explanations)
        found = explanations[0].detections
        scene = Scene(model.detect, pixels, result.protocol.seed)
        self._count("boxes", len(found))
        samples = self._things(found, truth)
        done, total = 0, len(samples) * len(explanations)
        progress(0, total)
        compared = self._compared(pixels, explanations, [k for k, _, _ in samples])
        for (k, thing, others), similar in zip(samples, compared, strict=True):
            empty, values = [], []
            for explanation, further in zip(explanations, similar, strict=True):
                heat = explanation.map(k)
                sample = Sample(heat, thing, others, scene, result.protocol.steps)
                empty.append(not bool((heat > 0).any()))
                values.append((*(self._nothing if empty[-1] else self._measure(sample)), *further))
                done += 1
                progress(done, total)
            box = tuple(round(float(side), 3) for side in found.boxes[k])
            case = Case(len(result.images), found.names[k], box, float(found.scores[k]), tuple(empty), tuple(values))
            result.cases.append(case)
        result.images.append(file.name)
        result.passes += scene.passes

    def end(self, files: Sequence[Path]) -> None:
        """Count what the annotations have beyond the images that were given.

        Args:
            files: these images.
        """
        if self._annotations is None:
            return
        if others := self._annotations.others(files):
            self._count("annotated images that were not given", others)
        self.result.remarks.extend(self._annotations.remarks)

    def _explain(self, row: int, pixels: Image) -> Explanation:
        began = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", BoxcamWarning)
            made = explain(self._model, pixels, self._options[row])
        self.result.seconds[row] += time.perf_counter() - began
        for one in caught:
            self._pass_on(one)
        return made

    def _pass_on(self, caught: warnings.WarningMessage) -> None:
        """Warn of what explaining warns of, once of all images; empty maps are counted instead."""
        said = str(caught.message)
        if not issubclass(caught.category, BoxcamWarning):
            warnings.warn_explicit(caught.message, caught.category, caught.filename, caught.lineno)
        elif not said.startswith(MEANING) and said not in self._told:
            self._told.add(said)
            warnings.warn(said, BoxcamWarning, stacklevel=4)

    def _compared(
        self, pixels: Image, explanations: Sequence[Explanation], chosen: Sequence[int]
    ) -> list[list[tuple[float, ...]]]:
        """Of each box and row, how alike its map is to those of shuffled weights, and to those of all rows."""
        found: list[list[tuple[float, ...]]] = [[() for _ in explanations] for _ in chosen]
        if self._sanity is not None:
            lost = 0
            for of_box, k, stages in zip(
                found, chosen, self._sanity.measure(pixels, explanations, chosen), strict=True
            ):
                for row, similar in enumerate(stages):
                    of_box[row] += tuple(itertools.chain.from_iterable(similar))
                    if explanations[row].has_evidence(k):  # what was empty before has lost nothing
                        lost += sum(math.isnan(rank) for rank, _ in similar)
            if lost:
                self._count("maps without evidence once weights are shuffled", lost)
        if self.result.protocol.agreement:
            for of_box, k in zip(found, chosen, strict=True):
                for row, with_each in enumerate(agreement(explanations, k)):
                    of_box[row] += with_each
        return found

    def _things(self, found: Detections, truth: Truth | None) -> list[tuple[int, Thing, tuple[Thing, ...]]]:
        """The boxes that are measured, what each should show, and the other objects in the image."""
        if truth is None:
            return [(k, Thing(found.boxes[k], int(found.labels[k])), ()) for k in range(len(found))]
        matches = match(found, truth, self.result.protocol.iou)
        samples = []
        for k, number in enumerate(matches.things):
            if number is not None:
                others = tuple(thing for other, thing in enumerate(truth.things) if other != number)
                samples.append((k, truth.things[number], others))
        self._count("boxes that match an object", len(samples))
        rest = len(found) - len(samples) - len(matches.crowded) - len(matches.unjudged)
        self._count("boxes that match none", rest)
        self._count("boxes in crowds", len(matches.crowded))
        self._count("objects", len(truth.things))
        self._count("objects of classes that the model lacks", sum(thing.label < 0 for thing in truth.things))
        self._count("objects that none of these boxes shows", matches.missed)
        if matches.unjudged:
            self._count("boxes of classes that the annotations lack", len(matches.unjudged))
        for what, number in truth.left_out.items():
            self._count(what, number)
        return samples

    def _measure(self, sample: Sample) -> tuple[float, ...]:
        columns = self.result.protocol.columns()
        return tuple(METRICS[name].measure(sample, variant) for name, variant in columns)

    @property
    def _nothing(self) -> tuple[float, ...]:
        return (float("nan"),) * len(self.result.protocol.columns())

    def _count(self, what: str, number: int) -> None:
        self.result.counts[what] = self.result.counts.get(what, 0) + number
