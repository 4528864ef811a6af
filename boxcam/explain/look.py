"""How maps are drawn: as colours or as lines, each box on a scale of its own or all on one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from boxcam.errors import ArgumentError, UnknownNameError

Style = Literal["blend", "contours"]
"""Colours that cover the picture the more, the hotter it is; or lines of equal heat on the picture as it is."""
Scale = Literal["per-box", "common"]
"""Whether the strongest colour is the peak of each map, or the largest peak of all boxes of the image."""
STYLES: tuple[str, ...] = get_args(Style)
SCALES: tuple[str, ...] = get_args(Scale)


@dataclass(frozen=True)
class Look:
    """How maps are drawn.

    Attributes:
        style: ``blend`` or ``contours``.
        scale: ``per-box`` or ``common``.
        signed: whether values below zero are drawn, too, in colours of their own.
        fine: whether maps are of single pixels: lines of equal heat are then those of the map made smooth.
    """

    style: Style = "blend"
    scale: Scale = "per-box"
    signed: bool = False
    fine: bool = False

    @property
    def raw(self) -> bool:
        """Whether a colour stands for the same raw value on all maps: not if they are made smooth before."""
        return self.scale == "common" and not (self.fine and self.style == "contours")


def look(style: Any, scale: Any, signed: bool = False, fine: bool = False) -> Look:
    """How maps are to be drawn, by the words that people use.

    Raises:
        UnknownNameError: there is no such style or scale.
        ArgumentError: one is no word.
    """
    known: tuple[tuple[str, Any, Collection[str]], ...] = (("style", style, STYLES), ("scale", scale, SCALES))
    for kind, given, names in known:
        if not isinstance(given, str):
            raise ArgumentError(f"{kind}={given!r} is not a word. Pass {' or '.join(map(repr, names))}.")
        if given not in names:
            raise UnknownNameError.of(kind, given, names)
    return Look(style, scale, signed, fine)
