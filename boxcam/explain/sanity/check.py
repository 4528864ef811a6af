"""Maps before and after the weights are shuffled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from boxcam.bundle import WEIGHTS
from boxcam.errors import ArgumentError, RunError
from boxcam.explain.again import explain_again
from boxcam.explain.explainer import prepare
from boxcam.explain.explanation import Explanation
from boxcam.explain.metrics.similarity import rank_correlation, structural_similarity
from boxcam.explain.options import Options
from boxcam.explain.plan import Plan
from boxcam.explain.sanity.randomised import Weights
from boxcam.explain.selection import select
from boxcam.runtime.model import Model
from boxcam.types import Float, Image

_KEPT = 1 << 30
"""Bytes of weights of shuffled models that stay open from one image to the next: of more, one is open at a time."""
Similarities = tuple[tuple[float, float], ...]
"""Of each stage, rank correlation and structural similarity with the map of the model as it is; NaN where a map is
without evidence."""


@dataclass(frozen=True, eq=False)
class Sanity:
    """Shuffles a model's weights in stages, from its outputs down, and compares the maps of the same numbers.

    Attributes:
        model: as it is.
        rows: method and layer of each row; the choice of boxes and the target are the same.
        stages: how many.
        seed: of the order of the weights.

    Raises:
        ArgumentError: a method has no gradient of one number.
        EngineError: see `Weights`.
    """

    model: Model
    rows: Sequence[Options]
    stages: int
    seed: int

    def __post_init__(self) -> None:
        for options in self.rows:
            plan = Plan(self.model, options)
            if not plan.is_of_logits:
                raise ArgumentError(
                    f"sanity= compares gradients of the same logit, and the method {plan.method!r} is made of"
                    " several numbers, of other forward passes, or of whole boxes, which a model with shuffled weights"
                    " does not draw. Leave out one of them."
                )
        self.counts  # noqa: B018 - says what cannot be shuffled before any picture is read

    @cached_property
    def weights(self) -> Weights:
        """The weights of the bundle."""
        return Weights(self.model, self.rows[0].target)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Of each stage how many layers are shuffled: equal steps, the last one all; no two are the same."""
        total = len(self.weights.layers)
        return tuple(dict.fromkeys(-(-stage * total // self.stages) for stage in range(1, self.stages + 1)))

    @property
    def names(self) -> tuple[str, ...]:
        """Of each stage what it is, for people: ``3/13``."""
        return tuple(f"{count}/{len(self.weights.layers)}" for count in self.counts)

    @cached_property
    def _open(self) -> dict[int, Model]:
        """The models that stay open, by how many layers are shuffled."""
        return {}

    def _model(self, count: int) -> Model:
        """The model of a stage, opened when it is needed; it stays open if those of all stages can."""

        def opened(model: Model) -> None:
            for options in self.rows:
                prepare(model, options)

        if count in self._open:
            return self._open[count]
        made = self.weights.shuffled(count, self.seed, opened)
        files = 1 + len(self.rows)  # each graph holds its weights for itself
        if (self.model.path / WEIGHTS).stat().st_size * files * len(self.counts) <= _KEPT:
            self._open[count] = made
        return made

    def measure(
        self, image: Image, explanations: Sequence[Explanation], chosen: Sequence[int]
    ) -> list[tuple[Similarities, ...]]:
        """How alike maps are before and after.

        Args:
            image: uint8 [H, W, channels], as `Model.predict` takes it.
            explanations: of each row, by the model as it is.
            chosen: which of their boxes.

        Returns:
            Of each of these boxes, of each row, of each stage.
        """
        found: list[list[list[tuple[float, float]]]] = [[[] for _ in self.rows] for _ in chosen]
        if not chosen:
            return []
        of = self.model.predict(image, target=self.rows[0].target)
        all_boxes = select(self.model, self.rows[0]).of(of.detections)
        boxes = [all_boxes[k] for k in chosen]
        for model in map(self._model, self.counts):
            for row, (options, before) in enumerate(zip(self.rows, explanations, strict=True)):
                try:
                    after = explain_again(model, image, options, of, boxes)
                except RunError:  # numbers that cannot be, as a box of infinite size: there is no map
                    for of_box in found:
                        of_box[row].append((float("nan"), float("nan")))
                    continue
                for place, k in enumerate(chosen):
                    found[place][row].append(_alike(before.map(k), after.map(place)))
        return [tuple(tuple(of_row) for of_row in of_box) for of_box in found]


def _alike(before: Float, after: Float) -> tuple[float, float]:
    """How alike two maps are; not at all a number if that of shuffled weights is none."""
    if not np.isfinite(after).all():
        return float("nan"), float("nan")
    return rank_correlation(before, after), structural_similarity(before, after)


def agreement(explanations: Sequence[Explanation], k: int) -> tuple[tuple[float, ...], ...]:
    """The rank correlation of the maps of one box by each two rows, a symmetric matrix; NaN for one without evidence.

    Args:
        explanations: of each row.
        k: the box.
    """
    maps = [one.map(k) for one in explanations]
    found = np.full((len(maps), len(maps)), np.nan)
    for row in range(len(maps)):
        for other in range(row, len(maps)):
            found[row, other] = found[other, row] = rank_correlation(maps[row], maps[other])
    return tuple(map(tuple, found.tolist()))
