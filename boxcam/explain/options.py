"""What can be asked of an explanation, apart from its model and its image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boxcam.errors import ArgumentError

Classes = str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `boxcam.explain`, which tells of each. Their defaults and their ranges stand here.

    Raises:
        ArgumentError: a number is out of its range.
    """

    method: str = "gradcam"
    layer: str | None = None
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
        if not all(_is_whole(place) and place >= 1 for place in self.places or ()):
            raise ArgumentError(
                f"rank={self.rank!r} is not a whole number above 0, or several. Pass 1 for the best box, 2 for the"
                " second best."
            )

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
