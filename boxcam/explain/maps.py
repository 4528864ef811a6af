"""From patches to maps of cells, by a method."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from boxcam.explain.methods import Method
from boxcam.types import CellMap, Float, Patch


def maps_of(method: Method, patches: Sequence[Patch], activation: Callable[[Patch], Float]) -> list[CellMap]:
    """One map for each patch; a method sees the patches of one feature map together.

    Args:
        method: what makes the maps.
        patches: of any boxes and feature maps.
        activation: gives the feature map that a patch is of.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, patch in enumerate(patches):
        groups.setdefault((patch.tensor, patch.row), []).append(index)
    found: dict[int, CellMap] = {}
    for members in groups.values():
        mine = [patches[index] for index in members]
        found.update(zip(members, method(activation(mine[0]), mine), strict=True))
    return [found[index] for index in range(len(patches))]
