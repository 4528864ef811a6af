"""What a method is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from boxcam.bundle import Rules
from boxcam.registry import Registry
from boxcam.types import CellMap, Float, Patch

Compute = Callable[[Float, Sequence[Patch]], list[CellMap]]


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        compute: from an activation and patches to maps.
        means: whether of a gradient it needs only each channel's mean over the map, which can be had for less: a patch
            may then hold nothing but a uniform gradient with that mean.
        rules: which gradient it is made of: the plain one, or the guided one, which activations pass only where they
            are active and what arrives is positive (`boxcam.export.autodiff.guided`).
        image: whether it is for the gradient to the model's input, the layer ``image``, and for no other layer.
        times: the method whose map on another layer, placed on the image, its own map is multiplied with there.
    """

    compute: Compute
    means: bool = False
    rules: Rules = "plain"
    image: bool = False
    times: str | None = None

    def __call__(self, activation: Float, patches: Sequence[Patch]) -> list[CellMap]:
        return self.compute(activation, patches)


METHODS: Registry[Method] = Registry("method", "boxcam.methods")
