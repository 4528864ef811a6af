"""What a method is that runs the model again on the image behind the channels of a feature map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Rules
from boxcam.explain.methods.runs_again import RunsAgain

Float64 = npt.NDArray[np.float64]
Weigh = Callable[[Float64], Float64]
"""From a box's target on the image behind each channel, float64 [C], to the channels' weights, float64 [C]."""


@dataclass(frozen=True)
class ChannelMasks(RunsAgain):
    """A method of forward passes alone: of the image behind each channel of the maps that its boxes come from.

    A box's map is ReLU(Σₖ wₖ Aₖ). See `boxcam.explain.channels`.

    Attributes:
        weigh: from the box's targets behind the channels to the weights of the channels.
        shows: what its maps are good for, in a few words for people.
        rules, means: which gradient tells what maps a box comes from: of any, the cheapest one.
    """

    weigh: Weigh
    shows: str
    rules: Rules = "plain"
    means: bool = True

    @property
    def passes(self) -> str:
        """How many forward passes of the model an image takes, for all of its boxes together."""
        return "1 + channels"

    @property
    def counts(self) -> str:
        """What its progress is counted in, in the singular."""
        return "channel"
