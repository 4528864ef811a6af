"""What is in an image, and what a file of annotations says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from boxcam.explain.metrics.arithmetic import Array, Mask
from boxcam.explain.metrics.sample import Thing


@dataclass(frozen=True)
class Entry:
    """An object as an annotation has it.

    Attributes:
        box: float64 [4], x1 y1 x2 y2 in pixels of the image; it may lie outside.
        category: number of its class among the ``names`` of the annotations.
        mask: bool [H, W], its pixels; None if they are not known.
        crowd: whether it stands for several objects.
    """

    box: Array
    category: int
    mask: Mask | None = None
    crowd: bool = False


class Source(Protocol):
    """Annotations of one form.

    Attributes:
        form: its name for people.
        names: the classes; None if the annotations only have the numbers of the model's.
        masks: whether any object's pixels are known.
    """

    form: str
    names: tuple[str, ...] | None
    masks: bool

    def images(self) -> Collection[str]:
        """What tells the images that are annotated apart; `key` gives the same for a file."""
        ...

    def key(self, file: Path) -> str | None:
        """Which of them a file is; None if it is none of them."""
        ...

    def entries(self, key: str, file: Path, shape: tuple[int, ...]) -> list[Entry]:
        """The objects in one of them.

        Args:
            key: of the image.
            file: its file, for messages.
            shape: its height and width.

        Raises:
            InputError: the annotations are of an image of another size, or are broken.
        """
        ...


@dataclass(frozen=True)
class Truth:
    """What is in an image.

    Attributes:
        things: all objects, of the model's classes (by index) and of others (-1), without crowds.
        crowds: boxes, [4] each, and classes of regions that stand for several objects.
        left_out: how many annotations are no object in this image, by what they are for people.
        judged: the classes whose objects are annotated; None for all.
    """

    things: tuple[Thing, ...]
    crowds: tuple[Thing, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    judged: frozenset[int] | None = None


NO_AREA = "annotations without an area"
OUTSIDE = "annotations outside of the image"
CUT = "annotations that reach out of the image and are cut at its edge"
_ROUNDING = 1.0
"""Pixels by which a box may reach out of the image without a word: so much do forms differ in where pixels begin."""


def within(box: Array, shape: tuple[int, ...]) -> tuple[Array | None, str]:
    """The part of a box that lies in the image, and what has to be said of it; None if nothing of it does.

    >>> import numpy as np
    >>> within(np.array([-3.0, 2, 4, 4]), (6, 8))[0].tolist()
    [0.0, 2.0, 4.0, 4.0]
    """
    height, width = shape[:2]
    inside: Array = np.clip(box, 0, [width, height, width, height])
    if not (box[2:] > box[:2]).all():
        return None, NO_AREA
    if not (inside[2:] > inside[:2]).all():
        return None, OUTSIDE
    return inside, CUT if np.abs(inside - box).max() > _ROUNDING else ""
