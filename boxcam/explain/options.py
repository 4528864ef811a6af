"""What can be asked of an explanation, apart from its model and its image."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from boxcam.arguments import check_distinct, is_number, is_whole, several
from boxcam.errors import ArgumentError
from boxcam.explain.evidence import Fusion
from boxcam.types import Corners

RUNNER_UP = "runner-up"
"""The other class whose logit is the highest, of each box its own."""
Classes = str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `boxcam.explain`, which tells of each. Their defaults and their ranges stand here.

    Layers, classes and ranks are kept as tuples: what they were given by is read once.

    Raises:
        ArgumentError: a number is out of its range, or a value is of another type.
    """

    method: str | None = None
    layer: str | Sequence[str] | None = None
    fuse: str | None = None
    target: str | None = None
    engine: str = "auto"
    score: float | None = None
    top: int | None = None
    classes: Classes | None = None
    at: Sequence[float] | None = None
    against: str | int | None = None
    rank: int | Sequence[int] | None = None
    masks: int | None = None
    passes: int | None = None
    samples: int | None = None
    noise: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        self._keep("layer", _is_name, "the name of a layer, or several. Pass one of model.layers")
        check_distinct("layer", self.layers or ())
        self._keep("classes", _is_class, "the name or number of a class, or several. Pass one, such as classes=0")
        self._keep(
            "rank",
            lambda place: is_whole(place) and place >= 1,
            "a whole number above 0, or several. Pass 1 for the best box, 2 for the second best",
        )
        if self.score is not None and not (is_number(self.score) and 0 <= self.score <= 1):
            raise ArgumentError(f"score={self.score!r} is not a number from 0 to 1. Pass one, such as score=0.3.")
        if self.top is not None and not (is_whole(self.top) and self.top >= 1):
            raise ArgumentError(
                f"top={self.top!r} is not a whole number above 0. Pass the largest number of boxes to explain, or leave"
                " it out to explain all."
            )
        self._check_place()
        if self.against is not None and not _is_class(self.against):
            raise ArgumentError(
                f'against={self.against!r} is not the name or number of a class. Pass one, or "runner-up" for the class'
                " that comes next."
            )
        if isinstance(self.against, str) and re.sub("[ _]", "-", self.against.strip().lower()) == RUNNER_UP:
            object.__setattr__(self, "against", RUNNER_UP)  # however it is spelled
        if self.target is not None and not isinstance(self.target, str):
            raise ArgumentError(f"target={self.target!r} is not the name of a target. Pass one of model.targets.")
        if self.fuse is not None and self.fuse not in get_args(Fusion):
            raise ArgumentError(
                f'fuse={self.fuse!r} is no way to make one map of several. Pass fuse="max" for the largest value of'
                ' each pixel, or fuse="mean".'
            )
        self._count("masks", "how many masks to draw, such as masks=1000")
        self._count("passes", "how many forward passes each box may take, such as passes=40")
        self._count("samples", "how many noisy images to make, such as samples=50")
        if self.noise is not None and not (is_number(self.noise) and 0 < self.noise <= 1):
            raise ArgumentError(
                f"noise={self.noise!r} is not a number above 0, and 1 at most. Pass the noise as a share of the range"
                " of the image's values, such as noise=0.15."
            )
        if self.seed is not None and not (is_whole(self.seed) and self.seed >= 0):
            raise ArgumentError(f"seed={self.seed!r} is not a whole number, 0 or above. Pass one, such as seed=0.")

    @property
    def layers(self) -> tuple[str, ...] | None:
        """The layers; None for the default."""
        if self.layer is None:
            return None
        return several(self.layer)

    @property
    def fusion(self) -> Fusion:
        """How several maps become one, by the largest value if nothing is said."""
        return "mean" if self.fuse == "mean" else "max"

    @property
    def place(self) -> Corners:
        """The place that is asked about, which has to be given."""
        x1, y1, x2, y2 = several(self.at)
        return x1, y1, x2, y2

    @property
    def places(self) -> tuple[int, ...] | None:
        """The ranks, each once and in order; None for all boxes."""
        return None if self.rank is None else tuple(sorted(set(map(int, several(self.rank)))))

    @property
    def named_classes(self) -> tuple[str, ...]:
        """The classes as they were given; empty for all."""
        return () if self.classes is None else tuple(map(str, several(self.classes)))

    def _check_place(self) -> None:
        """Keep the place as four numbers, and refuse one without an area."""
        if self.at is None:
            return
        sides = several(self.at)
        if len(sides) != 4 or not all(is_number(side) and math.isfinite(side) for side in sides):
            raise ArgumentError(
                f"at={self.at!r} is not a place of the image. Pass x1, y1, x2, y2 in its pixels, such as"
                " at=(10, 20, 50, 80)."
            )
        x1, y1, x2, y2 = (float(side) for side in sides)
        if not (x1 < x2 and y1 < y2):
            raise ArgumentError(
                f"at={self.at!r} has no area: x2 must be above x1, and y2 above y1. Pass the corners of a box."
            )
        object.__setattr__(self, "at", (x1, y1, x2, y2))

    def _count(self, name: str, what: str) -> None:
        """Make sure that an option, if it is given, is a whole number above 0; ``what`` says what to pass."""
        given = getattr(self, name)
        if given is not None and not (is_whole(given) and given >= 1):
            raise ArgumentError(f"{name}={given!r} is not a whole number above 0. Pass {what}.")

    def _keep(self, name: str, fits: Callable[[Any], bool], what: str) -> None:
        """Read one value or several, and keep them as a tuple.

        Args:
            name: of the option.
            fits: whether a value may be one of them.
            what: they are, and what to pass.
        """
        given = getattr(self, name)
        if given is None:
            return
        values = several(given)
        if not values:
            raise ArgumentError(f"{name}= names none. Pass one or several, or leave it out for the default.")
        if not all(map(fits, values)):
            shown = values if isinstance(given, Iterator) else given
            raise ArgumentError(f"{name}={shown!r} is not {what}.")
        object.__setattr__(self, name, values)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_class(value: object) -> bool:
    return isinstance(value, str) or is_whole(value)
