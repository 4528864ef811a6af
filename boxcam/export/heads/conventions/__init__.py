"""Conventions of outputs: how exporters lay out scores and boxes, a file each, and the table of them.

A convention is a function that looks at a model's outputs in one run, and says what they hold if it knows them. Those
of this table are asked first, in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from boxcam.export.heads.convention import Convention
from boxcam.export.heads.observed import ObservedTensor
from boxcam.registry import Registry

Recognise = Callable[[Sequence[ObservedTensor], int | None], Convention | None]
"""Of a model's outputs, and how many class names are known: what they hold, or None."""

CONVENTIONS: Registry[Recognise] = Registry("output convention", "boxcam.conventions")


def recognise(seen: Sequence[ObservedTensor], classes: int | None) -> Convention | None:
    """What the first convention that knows a model's outputs says of them; None if none does.

    Args:
        seen: the outputs in one run.
        classes: how many class names are known, or None.
    """
    for known in CONVENTIONS.loaded().values():
        if (found := known(seen, classes)) is not None:
            return found
    return None
