"""One box with its map: what a metric is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from boxcam.explain.metrics.arithmetic import Array, Mask
from boxcam.explain.metrics.curve import Curve, curve
from boxcam.explain.metrics.scene import Scene
from boxcam.types import Float, Int


@dataclass(frozen=True)
class Thing:
    """An object in an image, or a box that stands for one.

    Attributes:
        box: [4], x1 y1 x2 y2 in image pixels.
        label: index of its class; -1 for one that the model does not have.
        mask: bool [H, W], its pixels; None if they are not known.
    """

    box: Array
    label: int
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class Sample:
    """A map, and what it should be about.

    Attributes:
        values: [H, W], the map of a box in image pixels.
        thing: the object that the box shows, or the box itself.
        others: all other objects in the image, of any class, without crowds.
        scene: the image, for metrics that run the model again.
        steps: of their curves.
    """

    values: Float
    thing: Thing
    others: tuple[Thing, ...]
    scene: Scene
    steps: int = 20
    _curves: dict[tuple[str, str], Curve] = field(default_factory=dict)

    @cached_property
    def order(self) -> Int:
        """Indices of the pixels from where the map is highest to where it is lowest."""
        return self.scene.order(self.values)

    def insertion(self, fill: str) -> Curve:
        """The box that is found again while the image is shown, the map's highest pixels first; computed once."""
        return self._curve("insertion", fill)

    def deletion(self, fill: str) -> Curve:
        """The box that is found again while the image is hidden, the map's highest pixels first; computed once."""
        return self._curve("deletion", fill)

    def _curve(self, way: str, fill: str) -> Curve:
        if (way, fill) not in self._curves:
            scene = self.scene
            ends, found = (scene.fill(fill), scene.image), (scene.hidden(fill), scene.whole)
            if way == "deletion":
                ends, found = (ends[1], ends[0]), (found[1], found[0])
            made = curve(scene.look, ends, found, self.order, self.steps, self.thing.box, self.thing.label)
            self._curves[way, fill] = made
        return self._curves[way, fill]
