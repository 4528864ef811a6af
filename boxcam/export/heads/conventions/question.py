"""The question that the table of conventions answers: what a model gave, and what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from boxcam.export.heads.observed import ObservedTensor

_VOID = ("background", "bg", "noobject")


def void_of(names: Sequence[str]) -> str | None:
    """``first`` or ``last``, where that class is called ``background`` or alike; otherwise None.

    >>> void_of(["__background__", "cat"]), void_of(["cat", "no object"]), void_of(["cat"])
    ('first', 'last', None)
    """
    plain = ["".join(letter for letter in name.casefold() if letter.isalnum()) for name in names]
    if len(plain) < 2 or (plain[0] in _VOID) is (plain[-1] in _VOID):
        return None
    return "first" if plain[0] in _VOID else "last"


@dataclass(frozen=True, eq=False)
class Question:
    """A model's outputs, and all that narrows how they can be read.

    Attributes:
        seen: the outputs in one run, and the tensors that the user names.
        size: height and width of the model's input in that run.
        classes: how many class names are known, or None.
        names: the class names, where they are known.
        scores, boxes, labels: the tensors that the user names.
        box_format, box_scale, score_activation, background: what the user says of them, as in
            `boxcam.export.source.Request`.
        convention: the only entry that may be meant, if the user names one.
        columns: what each column of a table is, if the user says it.
        suppressed: whether the user asks for suppression.
        in_pixels: whether the file reads how large its picture was: then its boxes are in pixels.
        metadata: what the file says about itself.
    """

    seen: tuple[ObservedTensor, ...]
    size: tuple[int, int] = (0, 0)
    classes: int | None = None
    names: tuple[str, ...] = ()
    scores: ObservedTensor | None = None
    boxes: ObservedTensor | None = None
    labels: ObservedTensor | None = None
    box_format: str | None = None
    box_scale: str | None = None
    score_activation: str | None = None
    background: str | None = None
    convention: str | None = None
    columns: tuple[str, ...] = ()
    suppressed: bool = False
    in_pixels: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> dict[str, ObservedTensor]:
        """The tensors that the user names, by their part."""
        parts = {"scores": self.scores, "boxes": self.boxes, "labels": self.labels}
        return {part: one for part, one in parts.items() if one is not None}

    @property
    def void(self) -> str | None:
        """``first`` or ``last``, where that class is named as the one that stands for nothing."""
        return void_of(self.names)

    @property
    def settled(self) -> bool:
        """Whether the user says how the outputs are to be read: then a reading need not prove itself."""
        return bool(self.named or self.convention or self.classes is not None)

    def listed(self) -> str:
        """What was seen, for a message."""
        return f"Outputs of the model: {', '.join(map(str, self.seen))}."
