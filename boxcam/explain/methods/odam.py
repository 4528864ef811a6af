"""ODAM."""

from __future__ import annotations

from collections.abc import Sequence

from boxcam.explain.methods.arithmetic import positive
from boxcam.explain.methods.hirescam import hirescam
from boxcam.types import CellMap, Float, Patch


def odam(activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
    """ODAM: ReLU(Σₖ Gₖ ⊙ Aₖ), cell by cell.

    Zhao and Chan, "ODAM: Gradient-based Instance-specific Visual Explanations for Object Detection", ICLR 2023,
    section 3: HiResCAM's product, of which what speaks for the box is kept, on the level that the box comes from, for
    its class (the target ``logit``) and for each of its sides (``x1``, ``y1``, ``x2``, ``y2``). The code
    that they publish (tools/savefig_odam.py) scales each map to 0..1 afterwards; here it stays raw.
    As ``odam-combined``, the maps of the class and of all sides become one, by the largest share of each one's peak.
    """
    return positive(hirescam(activation, patches))
