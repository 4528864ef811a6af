"""What was measured of methods on many images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from boxcam.errors import BoxcamError
from boxcam.explain.evaluation.bootstrap import interval
from boxcam.explain.metrics import METRICS

SANITY = ("sanity", "sanity-ssim")
"""Rank correlation, and structural similarity, of maps before and after weights are shuffled."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How methods are compared.

    Attributes:
        metrics: names out of `METRICS`.
        fills: what hides images, names out of `FILLS`.
        steps: of curves over the whole image.
        iou: above which a box shows an object.
        seed: of everything that is drawn at random.
        sanity: in how many stages weights are shuffled; 0 for none.
        agreement: whether the rows' maps are compared with each other.
    """

    metrics: tuple[str, ...]
    fills: tuple[str, ...] = ("blur",)
    steps: int = 20
    iou: float = 0.5
    seed: int = 0
    sanity: int = 0
    agreement: bool = False

    def columns(self) -> tuple[tuple[str, str], ...]:
        """What metrics measure: each of them with each of its variants."""
        return tuple(
            (name, variant)
            for name in self.metrics
            for variant in (self.fills if METRICS[name].fills else METRICS[name].variants)
        )


@dataclass(frozen=True)
class Case:
    """A box that was measured.

    Attributes:
        image: number of the image.
        name, box, score: its class, sides and score.
        empty: of each row whether its map is without evidence.
        values: of each row and column; NaN where there is none to give.
    """

    image: int
    name: str
    box: tuple[float, ...]
    score: float
    empty: tuple[bool, ...]
    values: tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Figure:
    """A mean over boxes.

    Attributes:
        row: number of the method and layer.
        metric: its name, with the variant after an ``@``.
        mean, low, high: NaN without a box; the ends of the interval also with boxes of one image only.
        boxes: how many.
    """

    row: int
    metric: str
    better: str
    mean: float
    low: float
    high: float
    boxes: int


@dataclass(eq=False, repr=False)
class Measurements:
    """Methods at layers, compared by metrics on the same boxes.

    Attributes:
        bundle: its name.
        device, providers: what ran the model.
        annotations: name of the file, or None for the boxes of the model itself.
        protocol: how.
        rows: method and layer of each.
        images: names of the images that were measured.
        cases: the boxes that were measured.
        counts: how many boxes and objects there were of each kind, by its name for people.
        seconds: of each row, what its maps took altogether.
        passes: forward passes that the metrics took.
        stages: of the shuffling of weights, what each is, as ``3/13``.
        failures: the errors of images that could not be measured, in their order.
        remarks: sentences about the annotations that have to be known.
    """

    bundle: str
    annotations: str | None
    protocol: Protocol
    rows: tuple[tuple[str, str], ...]
    images: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    passes: int = 0
    stages: tuple[str, ...] = ()
    failures: list[BoxcamError] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    device: str = "cpu"
    providers: tuple[str, ...] = ()

    @property
    def common(self) -> list[Case]:
        """The boxes of which no row has an empty map: means are over these, as ODAM's authors do it."""
        return [case for case in self.cases if not any(case.empty)]

    def empty(self) -> Mapping[int, int]:
        """Of each row, how many of its maps are empty."""
        return {row: sum(case.empty[row] for case in self.cases) for row in range(len(self.rows))}

    def columns(self) -> list[tuple[str, str]]:
        """What is measured of each map: the name, with the variant after an ``@``, and which way is better."""
        metrics = [
            (f"{name}@{variant}" if variant else name, str(METRICS[name].better))
            for name, variant in self.protocol.columns()
        ]
        shuffled = [(f"{name}@{stage}", "lower") for stage in self.stages for name in SANITY]
        others = [(f"agreement@{', '.join(filter(None, row))}", "neither") for row in self.rows]
        return [*metrics, *shuffled, *(others if self.protocol.agreement else ())]

    def figures(self) -> list[Figure]:
        """A figure for each metric and row, over the boxes of which every row has a number."""
        cases, found = self.common, []
        groups = np.array([case.image for case in cases], np.int64)
        for column, (name, better) in enumerate(self.columns()):
            table = np.array([[values[column] for values in case.values] for case in cases], np.float64)
            table = table.reshape(len(cases), len(self.rows))
            good = np.isfinite(table).all(axis=1)
            for row in range(len(self.rows)):
                values = table[good, row]
                mean = float(values.mean()) if len(values) else float("nan")
                low, high = interval(values, groups[good], self.protocol.seed)
                found.append(Figure(row, name, better, mean, low, high, len(values)))
        return found
