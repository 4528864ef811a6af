"""Methods that make a map of a layer's cells of one forward pass; the others are of pixels, passes or targets."""

from __future__ import annotations

from boxcam.explain.methods import METHODS, Method

BY_GRADIENT = {name: of for name, of in METHODS._things.items() if isinstance(of, Method)}
"""Methods of gradients; the others run the model again."""
CAMS = tuple(
    name for name, of in BY_GRADIENT.items() if not of.image and not of.path and not of.targets and not of.rivals
)
PLACED = ("gradcam", "hirescam")
"""One of those whose maps cover the whole feature map, and one of those whose maps cover what a box depends on."""
