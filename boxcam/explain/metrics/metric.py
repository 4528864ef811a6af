"""What a metric is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from boxcam.explain.metrics.sample import Sample
from boxcam.registry import Registry

Needs = Literal["box", "objects", "masks"]
"""What of the truth: a box, which may be the model's own; all objects in the image; or the object's pixels."""


@dataclass(frozen=True)
class Metric:
    """A metric.

    Attributes:
        measure: from a sample and a variant to a number; NaN where there is none to give.
        shows: what it says, in a few words for people.
        better: which way is better: ``higher``, ``lower``, or ``neither``.
        needs: what of the truth.
        variants: of what there is one figure each, as of thresholds; a single empty name if there is one figure.
        fills: whether there is one figure for each fill.
        passes: whether it runs the model again.
    """

    measure: Callable[[Sample, str], float]
    shows: str
    better: Literal["higher", "lower", "neither"]
    needs: Needs = "box"
    variants: tuple[str, ...] = ("",)
    fills: bool = False
    passes: bool = False


METRICS: Registry[Metric] = Registry("metric")
