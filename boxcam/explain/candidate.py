"""A box that the model might have reported, and why it did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from boxcam.types import Int

Reason = Literal["reported", "nothing", "proposal", "threshold", "class", "suppressed", "rank", "dropped"]
"""Why a candidate was not reported: see `Candidate`."""
NUMBERS = frozenset({"by", "other", "rank"})
"""Which of its figures are whole numbers: of a box, a class, a rank."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """The best candidate of a class at a place of an image, and why the model did not report it.

    Attributes:
        name: class name.
        label: class index.
        box: x1 y1 x2 y2 in image pixels.
        iou: overlap of the box and the place that was asked about, 0 to 1.
        score: 0 to 1, as the model would report it.
        logit: of the class.
        reason: one word:

            - ``reported``: it was reported, or a box of the class that lies there as well.
            - ``nothing``: no candidate of the class overlaps the place by an IoU of 0.5; this is the nearest one.
            - ``proposal``: the same, but the first stage had a box there, and dropped it.
            - ``threshold``: its score is below what the model reports.
            - ``class``: another class won.
            - ``suppressed``: a better box overlaps it.
            - ``rank``: the model keeps so many candidates, and as many have better scores.
            - ``dropped``: the model drops it whatever its score, as a box without an area.
        why: the same as a sentence, with figures.
        figures: these by name: ``threshold``, ``threshold_logit`` (of a ``class`` whose score is too low besides, too),
            ``factor`` (what all classes share, as objectness);
            ``other`` (class index) and ``other_logit``, ``other_score``; ``by`` (the number of the box that suppressed
            it, or that it is, counted from the best one, which is 1) and ``by_iou``; ``rank``; ``proposal_iou``.
        origin: int64 [D], which logit it is: the number of the logit tensor, then the position in it.

    >>> import boxcam
    >>> model = boxcam.load("signs.boxcam")
    >>> found, = model.candidates("street.jpg", (150, 5, 240, 95), classes="stop")
    >>> found.name, found.reason
    ('stop', 'class')
    """

    name: str
    label: int
    box: tuple[float, float, float, float]
    iou: float
    score: float
    logit: float
    reason: Reason
    why: str
    figures: Mapping[str, float] = field(default_factory=dict)
    origin: Int = field(repr=False, kw_only=True)

    @property
    def sentence(self) -> str:
        """The class and why, as a sentence.

        >>> import boxcam
        >>> found, = boxcam.load("signs.boxcam").candidates("street.jpg", (159, 8, 237, 89), classes="stop")
        >>> found.sentence.startswith("stop: another class won")
        True
        """
        return f"{self.name}: {self.why[0].lower()}{self.why[1:]}"
