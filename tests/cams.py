"""Methods that make a map of a layer's cells, whatever the layer; the others are of pixels."""

from __future__ import annotations

from boxcam.explain.methods import METHODS

CAMS = tuple(name for name in METHODS if not METHODS[name].image)
