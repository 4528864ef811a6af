"""Cells that a value between cells is made of, and their weights, along one axis."""

from __future__ import annotations

import numpy as np

from boxcam.export.graphs.query import Array


def nearest(at: Array) -> list[tuple[Array, Array]]:
    """The nearest cell, halves to even."""
    return [(np.rint(at), np.ones_like(at))]


def linear(at: Array) -> list[tuple[Array, Array]]:
    """The cells on both sides."""
    low = np.floor(at)
    return [(low, 1 - (at - low)), (low + 1, at - low)]


def cubic(at: Array, a: float = -0.75) -> list[tuple[Array, Array]]:
    """Two cells on both sides, by cubic convolution."""
    low = np.floor(at)
    taps = []
    for offset in (-1, 0, 1, 2):
        d = np.abs(at - low - offset)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
        taps.append((low + offset, np.where(d <= 1, near, far)))
    return taps
