"""What a method is that runs the model again on changed images, and what it sees of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from boxcam.explain.methods.runs_again import RunsAgain
from boxcam.types import Float, Int

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objects:
    """What a model finds on an image, masked or not.

    Attributes:
        boxes: float32 [N, 4], x1 y1 x2 y2 in image pixels.
        labels: int64 [N], class indices.
        scores: float32 [N], as the model reports them.
        classes: float64 [N, C], the probabilities of all classes for each box; None if the bundle does not tell them.
    """

    boxes: Float
    labels: Int
    scores: Float
    classes: Float64 | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def objectness(self) -> Float64:
        """What the score is of the probability of its class, at most 1: float64 [N]. 1 where a score is that alone."""
        assert self.classes is not None
        own = self.classes[np.arange(len(self)), self.labels]
        share = np.divide(self.scores, own, out=np.ones(len(self)), where=own > 0, dtype=np.float64)
        found: Float64 = np.clip(share, 0, 1)
        return found


Weigh = Callable[[Objects, Objects], Float64]
"""From the K boxes that are explained and what is found on a changed image to the weight of that image for each box,
float64 [K]."""


@dataclass(frozen=True)
class Perturbation(RunsAgain):
    """A method of forward passes alone: of the image behind random masks, which all boxes of an image share.

    A box's map is the mean of the masks, each counting as much as its weight.

    Attributes:
        weigh: how much a masked image speaks for each box.
        shows: what its maps are good for, in a few words for people.
        masks: how many masks there are, if nothing else is said.
    """

    weigh: Weigh
    shows: str
    masks: int

    @property
    def passes(self) -> str:
        """How many forward passes of the model an image takes, for all of its boxes together."""
        return str(1 + self.masks)

    @property
    def counts(self) -> str:
        """What its progress is counted in, in the singular."""
        return "mask"

    @property
    def takes(self) -> tuple[str, ...]:
        """Options that are for it and not for every method."""
        return "masks", "seed"

    @property
    def layers(self) -> str:
        """The layers that it is for, for people."""
        return "none"


def overlaps(boxes: Float, others: Float) -> Float64:
    """The intersection over union of each box with each other one: float64 [K, N].

    Args:
        boxes, others: float32 [K, 4] and [N, 4], x1 y1 x2 y2.
    """
    one, other = boxes.astype(np.float64), others.astype(np.float64)
    common = _areas(np.maximum(one[:, None, :2], other[:, :2]), np.minimum(one[:, None, 2:], other[:, 2:]))
    union = _areas(one[:, :2], one[:, 2:])[:, None] + _areas(other[:, :2], other[:, 2:]) - common
    found: Float64 = np.divide(common, union, out=np.zeros(common.shape), where=union > 0)
    return found


def _areas(corners: Float64, opposite: Float64) -> Float64:
    sides = np.maximum(opposite - corners, 0)
    areas: Float64 = sides[..., 0] * sides[..., 1]
    return areas
