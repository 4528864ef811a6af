"""Methods that make a map of a layer's cells of one forward pass; the others are of pixels, passes or targets."""

from __future__ import annotations

from boxcam.explain.methods import METHODS

CAMS = tuple(
    name for name in METHODS if not METHODS[name].image and not METHODS[name].path and not METHODS[name].targets
)
