"""What an empty map means, and what to try then: something of the same kind, cells for cells and pixels for pixels."""

from __future__ import annotations

from dataclasses import dataclass

from boxcam.explain.evidence import Evidence
from boxcam.explain.methods import METHODS, Method, Perturbation
from boxcam.explain.nouns import nouns_of
from boxcam.types import IMAGE

MEANING = "an empty map means"
"""How the warning of empty maps begins."""


@dataclass(frozen=True)
class Alternative:
    """A method that may show more.

    Attributes:
        method: its name.
        shows: what it shows, as a clause.
        layer: the layer that it is for, if not any.
    """

    method: str
    shows: str
    layer: str | None = None


CELL_BY_CELL = Alternative("hirescam", "which takes each cell's own gradient")
"""Instead of a method that weighs whole channels; it is there wherever such a method is."""
PIXEL_BY_PIXEL = Alternative("saliency", "which shows the pixels that matter, for or against", IMAGE)
"""Instead of another map of pixels."""
EDGES = Alternative("guided-backprop", "whose map of pixels is the other factor", IMAGE)
"""Instead of its product with a map of cells."""


def alternative(evidence: Evidence) -> Alternative | None:
    """What may show more where a map is empty, and shows the same kind of map; None if nothing is known to."""
    method = METHODS[evidence.method]
    if not isinstance(method, Method):
        return CELL_BY_CELL
    if not evidence.of_pixels:
        return CELL_BY_CELL if method.features else None
    other = PIXEL_BY_PIXEL if method.times is None else EDGES
    return None if other.method == evidence.method else other


def speaks_against(evidence: Evidence, k: int) -> bool:
    """Whether a map without a positive value is not empty all the same: what speaks against the box is drawn, too."""
    return evidence.signed and any((part.visible < 0).any() for part in evidence.all_parts(k))


def on_empty_maps(evidence: Evidence) -> str:
    """What to say where a box that depends on the layer has a map of which nothing is drawn; else nothing."""
    boxes = (k for k in range(len(evidence)) if evidence.depends(k))
    if all(evidence.may_have_evidence(k) or speaks_against(evidence, k) for k in boxes):
        return ""
    other = alternative(evidence)
    if other is not None:
        at = "" if other.layer is None else f' with layer="{other.layer}"'
        mend = f'Use method="{other.method}"{at}, {other.shows}.'
    elif evidence.of_pixels:
        mend = f'Choose another layer with layer=, and a method for it, such as method="{CELL_BY_CELL.method}".'
    else:
        mend = "Choose another layer with layer=."
    return (
        f"{MEANING} that {evidence.method} found nothing at layer {evidence.layer!r} that {speaks(evidence)}, not that"
        f" there is nothing{_why(evidence)}. {mend}"
    )


def speaks(evidence: Evidence) -> str:
    """What an empty map has nothing of, as the end of a sentence."""
    one, _ = nouns_of(evidence.query)
    return f"speaks for {'or against ' if evidence.signed else ''}the {one}"


def _why(evidence: Evidence) -> str:
    """What in a method makes a map empty although there may be something; empty if nothing is known to."""
    method = METHODS[evidence.method]
    if not isinstance(method, Method):
        return (
            ""
            if not isinstance(method, Perturbation)
            else f": the {nouns_of(evidence.query)[0]} was not found again behind any of the masks"
        )
    factor = None if method.times is None else METHODS[method.times]
    if isinstance(factor, Method) and factor.averages:
        return f": it multiplies the map of {method.times}, which averages the gradient over the whole feature map"
    if method.averages:
        return ": it averages the gradient over the whole feature map, where few cells matter"
    return ": it weighs whole channels of the feature map" if method.features else ""
