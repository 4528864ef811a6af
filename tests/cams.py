"""Methods that make a map of a layer's cells of one forward pass; the others are of pixels, passes or targets."""

from __future__ import annotations

from boxcam.explain.methods import METHODS

CAMS = tuple(
    name for name in METHODS if not METHODS[name].image and not METHODS[name].path and not METHODS[name].targets
)
PLACED = ("gradcam", "hirescam")
"""One of those whose maps cover the whole feature map, and one of those whose maps cover what a box depends on."""
