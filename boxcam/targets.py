"""Targets: the numbers of a box that can be explained.

A target is a row here. Everything that depends on which number it is (where the graph reports it, how far the way back
to its origin goes, how it is verified, what a caption says) asks the row, and nobody compares names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boxcam.registry import Registry


@dataclass(frozen=True)
class Target:
    """A number of a box.

    Attributes:
        name: its name, in the command line, in manifests and in file names.
        meaning: what it is, in a few words for people.
        reads: which output of the detector reports it: the scores, or the boxes.
        column: which of a box's four numbers x1 y1 x2 y2 it is; None for a score.
        to_logit: whether it is the class logit that the score is computed from, and not the reported number itself.
        relative: whether its errors are relative to the number itself; otherwise to the longest side of the model's
            input, in pixels.
        tolerance: the largest error with which the number that its origin names may differ from the reported one.
        larger: where a larger number moves the box's side, in a caption; empty for what has no direction.
    """

    name: str
    meaning: str
    reads: Literal["scores", "boxes"]
    column: int | None = None
    to_logit: bool = False
    relative: bool = True
    tolerance: float = 1e-6
    larger: str = ""

    @property
    def of_class(self) -> bool:
        """Whether it is of the box's class: then a classifier, whose only box is the whole image, has it too."""
        return self.reads == "scores"

    @property
    def unit(self) -> str:
        """The unit of the number, for people; a score and a logit have none."""
        return "" if self.reads == "scores" else "pixels of the model input"

    @property
    def suffix(self) -> str:
        """What is added to names of files and tensors that are of this target: nothing for the class logit."""
        return "" if self.to_logit else f".{self.name}"


TARGETS: Registry[Target] = Registry("target", "boxcam.targets")
"""What of a box can be explained, by name; the first one is the default."""


def register(target: Target) -> Target:
    """Make a target known by its name."""
    return TARGETS.register(target.name)(target)


def side(name: str, column: int, larger: str) -> Target:
    """A side of the box, as the detector reports it."""
    what = ("left", "upper", "right", "lower")[column]
    return Target(name, f"the {what} side of the box", "boxes", column, relative=False, tolerance=1e-5, larger=larger)


LOGIT = register(Target("logit", "the logit of the box's class", "scores", to_logit=True))
SCORE = register(Target("score", "the box's score, as it is reported", "scores"))
register(side("x1", 0, "to the right"))
register(side("y1", 1, "down"))
register(side("x2", 2, "to the right"))
register(side("y2", 3, "down"))


def available(classifier: bool) -> tuple[str, ...]:
    """Names of the targets that a model has.

    Args:
        classifier: whether its only box is the whole image.
    """
    return tuple(name for name in TARGETS if TARGETS[name].of_class or not classifier)


def of_boxes() -> tuple[str, ...]:
    """Names of the targets that are numbers of the box itself, and not of its class."""
    return tuple(name for name in TARGETS if not TARGETS[name].of_class)
