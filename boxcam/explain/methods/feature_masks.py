"""What a method is that runs the rest of the model again, with parts of a layer's feature maps set to zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Rules
from boxcam.explain.methods.runs_again import RunsAgain
from boxcam.types import Float

Float64 = npt.NDArray[np.float64]
Compute = Callable[[Float, float, Float64], Float]
"""From a feature map, float32 [C, h, w], a box's target before anything is changed, and the target in each run, to the
map: float32 [h, w]."""


@dataclass(frozen=True)
class FeatureMasks(RunsAgain):
    """A method of forward passes from a layer on, each with other parts of one of its feature maps.

    See `boxcam.explain.feature_runs`.

    Attributes:
        compute: the map of one box by one feature map. Its third argument has a number for each channel, or for each
            cell.
        shows: what its maps are good for, in a few words for people.
        parts: what is changed in a run: a ``channel`` is set to zero, all else of the layer is as it is; or a ``cell``
            is as it is, all else of the layer is zero.
        rules, means: which gradient tells the cells that a box comes from.
    """

    compute: Compute
    shows: str
    parts: Literal["channel", "cell"]
    rules: Rules = "plain"
    means: bool = False

    @property
    def passes(self) -> str:
        """How many forward passes of the model an image takes, for all of its boxes together."""
        return "1 + rests"

    @property
    def counts(self) -> str:
        """What its progress is counted in, in the singular."""
        return self.parts
