"""What is said of a map in a line, on sheets and on the page of all boxes: its figures, or why it has none."""

from __future__ import annotations

from typing import Protocol


class Told(Protocol):
    """A map of which something is said; see `boxcam.explain.panel.Panel`."""

    @property
    def peak(self) -> float: ...
    @property
    def inside(self) -> float | None: ...
    @property
    def depends(self) -> bool: ...
    @property
    def against(self) -> float | None: ...
    @property
    def rounding(self) -> bool: ...


def without(told: Told) -> str:
    """Why a map has no figures; empty if it has."""
    if not told.depends:
        return "does not depend on this layer"
    if told.rounding:
        return f"no evidence: {max(told.peak, told.against or 0):.2g} is rounding"
    if told.peak > 0 or told.against:
        return ""
    return "empty map: no positive value" if told.against is None else "empty map: nothing for or against"


def signed(told: Told) -> list[str]:
    """The figures of a map with a sign, the fullest way to say them first; empty for one without."""
    if told.against is None:
        return []
    up, down = max(told.peak, 0.0), told.against
    inside = "" if told.inside is None else f", {told.inside:.0%} inside"
    full = [f"peak for {up:.3g}{more}, peak against {down:.3g}" for more in dict.fromkeys((inside, ""))]
    return [*full, f"peaks +{up:.3g} and -{down:.3g}"]
