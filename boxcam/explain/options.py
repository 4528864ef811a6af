"""What can be asked of an explanation, apart from its model and its image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from boxcam.errors import ArgumentError
from boxcam.explain.evidence import Fusion

Classes = str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `boxcam.explain`, which tells of each. Their defaults and their ranges stand here.

    Raises:
        ArgumentError: a number is out of its range.
    """

    method: str = "gradcam"
    layer: str | Sequence[str] | None = None
    fuse: str = "max"
    target: str | None = None
    engine: str = "auto"
    score: float | None = None
    top: int | None = None
    classes: Classes | None = None
    rank: int | Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.score is not None and not (_is_number(self.score) and 0 <= self.score <= 1):
            raise ArgumentError(f"score={self.score!r} is not a number from 0 to 1. Pass one, such as score=0.3.")
        if self.top is not None and not (_is_whole(self.top) and self.top >= 1):
            raise ArgumentError(
                f"top={self.top!r} is not a whole number above 0. Pass the largest number of boxes to explain, or leave"
                " it out to explain all."
            )
        if self.fuse not in get_args(Fusion):
            raise ArgumentError(
                f'fuse={self.fuse!r} is no way to make one map of several. Pass fuse="max" for the largest value of'
                ' each pixel, or fuse="mean".'
            )
        if self.layers == ():
            raise ArgumentError("layer= names no layer. Pass one or several names, or leave it out for the default.")
        if not all(_is_whole(place) and place >= 1 for place in self.places or ()):
            raise ArgumentError(
                f"rank={self.rank!r} is not a whole number above 0, or several. Pass 1 for the best box, 2 for the"
                " second best."
            )

    @property
    def layers(self) -> tuple[str, ...] | None:
        """The layers, each once; None for the default."""
        if self.layer is None:
            return None
        return tuple(dict.fromkeys([self.layer] if isinstance(self.layer, str) else self.layer))

    @property
    def fusion(self) -> Fusion:
        """How several maps become one."""
        return "mean" if self.fuse == "mean" else "max"

    @property
    def places(self) -> tuple[Any, ...] | None:
        """The ranks, each once and in order; None for all boxes."""
        rank: Any = self.rank
        if rank is None:
            return None
        given = tuple(rank) if isinstance(rank, Iterable) and not isinstance(rank, str) else (rank,)
        return tuple(sorted(set(given))) if all(map(_is_whole, given)) else given

    @property
    def named_classes(self) -> tuple[str, ...]:
        """The classes as they were given; empty for all."""
        if self.classes is None:
            return ()
        return tuple(map(str, [self.classes] if isinstance(self.classes, str | int | np.integer) else self.classes))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
