"""What can be asked of an evaluation, apart from its model, its images and its annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from boxcam.arguments import check_distinct, is_number, is_whole, several
from boxcam.errors import ArgumentError
from boxcam.explain.evaluation.annotations import Annotations
from boxcam.explain.evaluation.measurements import Protocol
from boxcam.explain.metrics import METRICS
from boxcam.explain.metrics.fills import FILLS
from boxcam.explain.options import Options
from boxcam.registry import Registry

DEFAULT_METHODS = ("gradcam", "hirescam")
Names = str | Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `boxcam.evaluate`, which tells of each. Their defaults and their ranges stand here.

    Raises:
        ArgumentError: a number is out of its range, or a value is of another type.
        UnknownNameError: there is no such metric or fill.
    """

    method: Names = DEFAULT_METHODS
    layer: Names | None = None
    metrics: Names | None = None
    fills: Names = "blur"
    steps: int = 20
    iou: float = 0.5
    seed: int = 0
    score: float | None = None
    top: int | None = None
    sanity: int = 0
    agreement: bool = False

    def __post_init__(self) -> None:
        tables: Mapping[str, Registry[Any]] = {"metrics": METRICS, "fills": FILLS}
        for name in ("method", "layer", "metrics", "fills"):
            if (given := getattr(self, name)) is None:
                continue
            values = several(given)
            check_distinct(name, values)
            if not values:
                raise ArgumentError(f"{name}= names none. Pass one or several, or leave it out for the default.")
            for value in values if name in tables else ():
                tables[name][value]  # says what there is
            object.__setattr__(self, name, values)
        if not (is_whole(self.steps) and self.steps >= 1):
            raise ArgumentError(f"steps={self.steps!r} is not a whole number above 0. Pass one, such as steps=20.")
        if not (is_number(self.iou) and 0 <= self.iou <= 1):
            raise ArgumentError(f"iou={self.iou!r} is not a number from 0 to 1. Pass one, such as iou=0.5.")
        if not (is_whole(self.seed) and self.seed >= 0):
            raise ArgumentError(f"seed={self.seed!r} is not a whole number, 0 or above. Pass one, such as seed=0.")

        if not (is_whole(self.sanity) and self.sanity >= 0):
            raise ArgumentError(
                f"sanity={self.sanity!r} is not a whole number, 0 or above. Pass in how many stages weights are"
                " shuffled, such as sanity=5, or leave it out."
            )
        if not isinstance(self.agreement, bool):
            raise ArgumentError(f"agreement={self.agreement!r} is neither True nor False. Pass one of them.")

    @property
    def rows(self) -> list[Options]:
        """What is asked of each row: each method at each layer, and the same choice of boxes."""
        return [
            Options(method=method, layer=layer, score=self.score, top=self.top)
            for method in several(self.method)
            for layer in ((None,) if self.layer is None else several(self.layer))
        ]

    def protocol(self, annotations: Annotations | None) -> Protocol:
        """How it is measured: by all metrics that can be had, if none is named."""
        return Protocol(
            metrics=metrics_for(annotations) if self.metrics is None else several(self.metrics),
            fills=several(self.fills),
            steps=int(self.steps),
            iou=float(self.iou),
            seed=int(self.seed),
            sanity=int(self.sanity),
            agreement=self.agreement,
        )


def metrics_for(annotations: Annotations | None) -> tuple[str, ...]:
    """The metrics that can be had with annotations, or without any."""
    known = {"box", *(() if annotations is None else ("objects", "masks") if annotations.masks else ("objects",))}
    return tuple(name for name, one in METRICS.loaded().items() if one.needs in known)
