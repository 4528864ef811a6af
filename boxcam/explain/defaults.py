"""Which method explains a model where none is named, and why that one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from boxcam.bundle import Manifest
from boxcam.types import IMAGE


@dataclass(frozen=True)
class Default:
    """A method for a kind of model.

    Attributes:
        method: its name.
        reason: why, in a few words; docs/choosing.md has the figures.
    """

    method: str
    reason: str


OF_DETECTORS = Default(
    "hirescam", "a box's score comes from a few cells, whose place is lost in a mean over the whole map"
)
OF_CLASSIFIERS = Default("gradcam", "the whole map belongs to the one score")
OF_PIXELS = Default(
    "hirescam", "the channels of the image are its colours, which have no mean gradient to be weighed by"
)


def default_of(manifest: Manifest, layers: Collection[str] | None = None) -> Default:
    """The default for a bundle's kind of model.

    Args:
        manifest: the bundle's.
        layers: those that are looked at; None for the bundle's first one.
    """
    if not manifest.outputs.whole_image:
        return OF_DETECTORS
    maps = [layer.name for layer in manifest.layers if layer.name != IMAGE]
    return OF_PIXELS if IMAGE in (layers or maps or (IMAGE,)) else OF_CLASSIFIERS
