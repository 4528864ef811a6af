"""Sums of gradients that are of the same place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from boxcam.types import Float, Patch


def same_place(one: Patch, other: Patch) -> bool:
    """Whether two gradients are of the same cells of the same feature map."""
    places = [(of.tensor, of.row, of.corner, of.gradient.shape, of.uniform is None) for of in (one, other)]
    return places[0] == places[1]


def add_to(total: Patch, other: Patch) -> None:
    """Add a gradient of the same place to one that nobody else holds, in its own memory."""
    total.gradient[:] += other.gradient
    if total.uniform is not None and other.uniform is not None:
        total.uniform[:] += other.uniform


def scale(patch: Patch, factor: float) -> None:
    """Multiply a gradient that nobody else holds, in its own memory."""
    patch.gradient[:] *= np.float32(factor)
    if patch.uniform is not None:
        patch.uniform[:] *= np.float32(factor)


def weighted_sum(patches: Sequence[Patch], weights: Sequence[float]) -> Patch:
    """Σ wᵢ Gᵢ of gradients that are of the same place: `same_place` says whether they are."""
    first = patches[0]
    gradient: Float = np.zeros_like(first.gradient)
    uniform: Float | None = None if first.uniform is None else np.zeros_like(first.uniform)
    for patch, weight in zip(patches, weights, strict=True):
        gradient += np.float32(weight) * patch.gradient
        if uniform is not None and patch.uniform is not None:
            uniform += np.float32(weight) * patch.uniform
    return Patch(first.tensor, first.row, first.corner, gradient, uniform)
