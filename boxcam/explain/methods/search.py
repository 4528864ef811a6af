"""What a method is that hides patches of the image, one set after another, and looks for those that matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boxcam.explain.methods.runs_again import RunsAgain

Float64 = npt.NDArray[np.float64]
Chosen = npt.NDArray[np.bool_]
Lost = Callable[[Chosen], float]
"""From which patches are hidden, bool [n], to how much of the box is left, 0 to 1, by one forward pass."""


@dataclass(frozen=True, eq=False)
class Patchwork:
    """The patches of one box, on and around it.

    Attributes:
        guide: float64 [n], how much of another method's map lies in each, nowhere negative.
        centres: float64 [n, 2], down and across, in sides of a patch.
        offsets: float64 [n, 2], how far the centres lie from the box's, in heights and widths of the box.
        share: of the box's area that one patch has.
        score: what is left of the box, 0 to 1, where nothing is hidden: its score.
    """

    guide: Float64
    centres: Float64
    offsets: Float64
    share: float
    score: float


@dataclass(frozen=True)
class Trials:
    """How many forward passes a search has, and the seed of what it draws."""

    passes: int
    seed: int


Find = Callable[[Patchwork, Lost, Trials], Float64]
"""From patches, and what hiding some of them leaves of the box, to how much each matters: float64 [n]."""


@dataclass(frozen=True)
class Search(RunsAgain):
    """A method that proposes patches by another method's map, and asks the model which of them matter.

    Attributes:
        find: the search, for one box.
        shows: what its maps are good for, in a few words for people.
        guide: the method of gradients whose map proposes patches.
        trials: forward passes for each box, if nothing else is said.
    """

    find: Find
    shows: str
    guide: str
    trials: int

    @property
    def passes(self) -> str:
        """How many forward passes of the model an image takes, for all of its boxes together."""
        return f"1 + {self.trials} a box"

    @property
    def counts(self) -> str:
        """What its progress is counted in, in the singular."""
        return "pass"

    @property
    def takes(self) -> tuple[str, ...]:
        """Options that are for it and not for every method."""
        return "passes", "seed"

    @property
    def layers(self) -> str:
        """The layers that it is for, for people."""
        return "any"

    @property
    def reads(self) -> str:
        """What it reads of the gradient, for people."""
        return "cells"
