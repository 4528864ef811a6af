"""What an empty map means, and what to try then."""

from __future__ import annotations

from boxcam.explain.evidence import Evidence
from boxcam.explain.methods import METHODS

CELL_BY_CELL = "hirescam"
"""What shows more than a method that averages gradients; it is there wherever such a method is."""


def averages(method: str) -> bool:
    """Whether a method, or the one whose map multiplies its own, averages gradients over the whole feature map."""
    chosen = METHODS[method]
    return chosen.averages or (chosen.times is not None and METHODS[chosen.times].averages)


def on_empty_maps(evidence: Evidence) -> str:
    """What to say where a box that depends on the layer has a map without a positive value; else nothing."""
    if not any(evidence.depends(k) and not evidence.may_have_evidence(k) for k in range(len(evidence))):
        return ""
    found = f"an empty map means that {evidence.method} found nothing at layer {evidence.layer!r} that speaks for the"
    if averages(evidence.method):
        return (
            f"{found} box, not that there is nothing: it averages the gradient over the whole feature map, where few"
            f' cells matter. Use method="{CELL_BY_CELL}", which takes each cell\'s own gradient.'
        )
    return f"{found} box. Choose another layer with layer=, or another method with method=."
