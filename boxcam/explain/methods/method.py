"""What a method is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boxcam.bundle import Rules
from boxcam.explain.methods.channel_masks import ChannelMasks
from boxcam.explain.methods.feature_masks import FeatureMasks
from boxcam.explain.methods.perturbation import Perturbation
from boxcam.explain.methods.search import Search
from boxcam.registry import Registry
from boxcam.types import CellMap, Float, Patch

Compute = Callable[[Float, Sequence[Patch]], list[CellMap]]


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        compute: from an activation and patches to maps.
        shows: what its maps are good for, in a few words for people.
        means: whether of a gradient it needs only each channel's mean over the map, which can be had for less: a patch
            may then hold nothing but a uniform gradient with that mean.
        gradient: whether it reads the gradient at all; one that does not tells no box of a feature map from another.
        features: whether it is for feature maps only, as it weighs channels, and those of the image are its colours.
        rectified: whether its weights suppose features that are nowhere negative, as after a ReLU.
        rivals: with how many classes that the box might have had instead its own is compared; 0 for a method of the
            box's own target. See `boxcam.explain.rivals`.
        samples: how many noisy images its gradient is the mean of; 0 for a method of the image as it is. See
            `boxcam.explain.noise`.
        path: how many steps the path has from a blurred image to the image, along which it is added up; 0 for a method
            of one forward pass. See `boxcam.explain.path`.
        regions: of a method with a path, standard deviations of the Gaussian windows that its map is summed over, as
            shares of the box's height and width; 0 for a map of cells as they are. See `boxcam.explain.regions`.
        rules: which gradient it is made of: the plain one, or the guided one, which activations pass only where they
            are active and what arrives is positive (`boxcam.export.autodiff.guided`).
        image: whether it is for the gradient to the model's input, the layer ``image``, and for no other layer.
        targets: the targets whose maps become one; empty for the one that is asked for.
        signed: whether its maps are linear in the gradient, and values below zero speak against the box.
        times: the method whose map on another layer, placed on the image, its own map is multiplied with there.
    """

    compute: Compute
    shows: str = ""
    means: bool = False
    gradient: bool = True
    features: bool = False
    rectified: bool = False
    rivals: int = 0
    samples: int = 0
    path: int = 0
    regions: float = 0.0
    rules: Rules = "plain"
    image: bool = False
    targets: tuple[str, ...] = ()
    signed: bool = False
    times: str | None = None

    @property
    def passes(self) -> str:
        """How many forward passes of the model an image takes, for all of its boxes together."""
        return str(1 + self.path + self.samples)

    @property
    def counts(self) -> str:
        """What its progress is counted in, in the singular."""
        return "pass" if self.samples else "box"

    @property
    def takes(self) -> tuple[str, ...]:
        """Options that are for it and not for every method."""
        return ("samples", "noise", "seed") if self.samples else ()

    @property
    def averages(self) -> bool:
        """Whether it averages the gradient over the whole feature map."""
        return self.means and self.gradient

    @property
    def layers(self) -> str:
        """The layers that it is for, for people."""
        if self.times is not None:
            return "maps, image"
        return "image" if self.image else "maps" if self.features else "any"

    @property
    def reads(self) -> str:
        """What it reads of the gradient, for people."""
        if not self.gradient:
            return "none"
        return "means" if self.means else "guided" if self.rules == "guided" else "cells"

    def __call__(self, activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
        return self.compute(activation, patches)


AnyMethod = Method | Perturbation | ChannelMasks | FeatureMasks | Search
METHODS: Registry[AnyMethod] = Registry("method", "boxcam.methods")
"""Those of gradients, and those that run the model again."""
