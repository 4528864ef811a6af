"""Which of a model's boxes are explained: by class, by rank, by score."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.arguments import several
from boxcam.errors import UnknownNameError, did_you_mean
from boxcam.explain.evidence import LeftOut
from boxcam.explain.options import RUNNER_UP, Classes, Options
from boxcam.plurals import counted
from boxcam.runtime.model import Model
from boxcam.types import Detections

DEFAULT_SCORE = 0.3
_DIGITS = 19
"""What has as many is no index: those are int64."""


@dataclass(frozen=True)
class Selection:
    """Which boxes are explained.

    Attributes:
        score: lowest score of a box.
        top: at most so many boxes, the best first; None for all.
        classes: class indices; None for all.
        rank: places in the order of scores, from 1, within the classes; None for all.
        against: the class that boxes are contrasted with, of which none is explained; None without.
    """

    score: float
    top: int | None
    classes: tuple[int, ...] | None
    rank: tuple[int, ...] | None
    against: int | None = None

    def of(self, found: Detections) -> list[int]:
        """The indices of the boxes chosen, best score first; ``found`` is in that order."""
        chosen: list[int] = self._steps(found)[-1].tolist()
        return chosen

    def left_out(self, found: Detections) -> LeftOut:
        """Why the others are not chosen."""
        sizes = [len(found), *map(len, self._steps(found))]
        return LeftOut(*(before - after for before, after in itertools.pairwise(sizes)))

    def _steps(self, found: Detections) -> tuple[npt.NDArray[Any], ...]:
        """The indices that are left by class, then by rank, then by contrast, then by score, then by number."""
        of_class: npt.NDArray[Any] = np.arange(len(found))
        if self.classes is not None:
            of_class = np.flatnonzero(np.isin(found.labels, self.classes))
        ranked = of_class
        if self.rank is not None:
            ranked = of_class[[place - 1 for place in self.rank if place <= len(of_class)]]
        others = ranked if self.against is None else ranked[found.labels[ranked] != self.against]
        scored = others[found.scores[others] >= self.score]
        return of_class, ranked, others, scored, scored[: self.top]


def select(model: Model, options: Options) -> Selection:
    """The choice that options stand for.

    Raises:
        UnknownNameError: the model has no such class.
    """
    indices = class_indices(model, options.classes)
    return Selection(
        score=lowest_score(model, options.score, options.classes, options.rank),
        top=None if options.top is None else int(options.top),
        classes=None if indices is None else tuple(indices),
        rank=options.places,
        against=None if options.at is not None else class_against(model, options),
    )


def class_against(model: Model, options: Options) -> int | None:
    """The class that others are contrasted with; None for each box's runner-up, or without contrast.

    Raises:
        UnknownNameError: the model has no such class, or several of that name.
    """
    given = options.against
    if given is None or given == RUNNER_UP:
        return None
    try:
        indices = class_indices(model, [given]) or []
    except UnknownNameError as error:
        raise UnknownNameError(f'{error} "runner-up" stands for the class that comes next of each box.') from error
    if len(indices) > 1:
        numbers = ", ".join(map(str, indices))
        raise UnknownNameError(
            f"against={given!r} is the name of {counted(len(indices), 'class', 'classes')}. Pass the number of one of"
            f" them: {numbers}."
        )
    return indices[0]


def lowest_score(model: Model, score: float | None = None, classes: object = None, rank: object = None) -> float:
    """The score below which nothing is explained.

    It is 0.3 unless another is given. Of what is named there is nothing to leave out: of boxes given by rank, and of a
    classifier's classes, each of which is there once.

    Args:
        model: a detector or classifier.
        score, classes, rank: as for `explain`.
    """
    if score is not None:
        return float(score)
    named = rank is not None or (classes is not None and model.manifest.outputs.whole_image)
    return 0.0 if named else DEFAULT_SCORE


def class_indices(model: Model, classes: Classes | None) -> list[int] | None:
    """Class names or numbers as indices; letters need not match in case.

    A bundle without class names says nothing of how many there are: then any number is taken, also as ``class 7``.

    Raises:
        UnknownNameError: the model has no such class.
    """
    if classes is None:
        return None
    names = model.manifest.labels
    result = []
    for wanted in several(classes):
        text = str(wanted)
        number = text if names else text.lower().removeprefix("class ")
        if isinstance(wanted, str):
            of_name = [k for k, name in enumerate(names) if name == wanted]  # ImageNet has two cranes
            of_name = of_name or [k for k, name in enumerate(names) if name.lower() == text.lower()]
            if of_name:
                result += of_name
                continue
        index = int(number) if number.isdecimal() and len(number) < _DIGITS else -1
        if index < 0 or (names and index >= len(names)):
            raise _unknown_class(text, names)
        result.append(index)
    return result


def _unknown_class(wanted: str, names: Sequence[str]) -> UnknownNameError:
    if not names:
        return UnknownNameError(
            f"the model has no class {wanted!r}: it has no class names. Pass the class's number, or export the model"
            " again with class_names=."
        )
    hint = did_you_mean(wanted, names)
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return UnknownNameError(f"the model has no class {wanted!r}.{hint} There are: {shown}.")
