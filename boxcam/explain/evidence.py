"""What was computed of an image: its boxes and, in cells, their maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from boxcam.arguments import number_of_box
from boxcam.explain.candidate import Candidate
from boxcam.explain.placement import place
from boxcam.types import IMAGE, CellMap, Corners, Detections, Float, Grid, Image

Color = Literal["BGR", "RGB"]
"""Order of a picture's channels."""
Fusion = Literal["max", "mean"]
"""How several maps of a box become one: by the largest value of each pixel, or by its mean."""
DETECTION = "detection"
"""The target of methods that run the model again: whether it still finds the box, in its place and of its class."""
NO_ENGINE = "none"
"""The engine of methods that read no gradient at all."""
Parts = tuple[tuple["Part", ...], ...]
"""Of each box, maps whose sum is a map of it."""


@dataclass(frozen=True, eq=False)
class Part:
    """A map by one tensor of a layer.

    Attributes:
        tensor: its name.
        cells: the map as the method made it, in cells of the tensor.
        grid: where those cells lie on the image.
        of_regions: whether each cell has what a region around it has together, and not what it has alone.
    """

    tensor: str
    cells: CellMap
    grid: Grid
    of_regions: bool = False

    @property
    def visible(self) -> Float:
        """Those of the cells that show any of the image, and not only padding."""
        rows, columns = (
            slice(max(first - corner, 0), max(end - corner, 0))
            for (first, end), corner in zip((self.grid.rows, self.grid.columns), self.cells.corner, strict=True)
        )
        return self.cells.values[rows, columns]


@dataclass(frozen=True)
class Query:
    """What was asked for, of which picture and model.

    Attributes:
        bundle: name of the bundle.
        classifier: whether the model's only box is the whole image, and what is explained are its classes.
        device: what the model ran on, ``cpu`` or ``cuda``.
        providers: the execution providers of ONNX Runtime that it ran on, the preferred one first.
        image: the picture's path, or None if it was given as pixels.
        color: order of the channels of pictures that are given back.
        score: lowest score of a box.
        top: at most so many boxes, or None for all.
        classes: names or numbers of the classes asked for, as they were given; empty for all.
        rank: places of the boxes asked for, counted from the best one, which is 1; empty for all.
        at: the place that was asked about, x1 y1 x2 y2 in image pixels; None for the boxes that were reported.
        against: the class that each box's own is contrasted with, as it was given; empty for none.
        signed: whether values below zero speak against the box and are drawn.
        drawn: how the picture is drawn of an image that does not have three colours; empty if it has.
        masks: how many masks were drawn; None for methods without masks.
        passes: how many forward passes each box was given; None for methods that do not search.
        samples, noise: how many noisy images were made, and of how much noise; None for methods without noise.
        seed: by which it was drawn; None for methods that draw nothing.
    """

    bundle: str
    classifier: bool = False
    device: str = "cpu"
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    image: str | None = None
    color: Color = "BGR"
    score: float = 0.0
    top: int | None = None
    classes: tuple[str, ...] = ()
    rank: tuple[int, ...] = ()
    at: Corners | None = None
    against: str = ""
    signed: bool = False
    drawn: str = ""
    masks: int | None = None
    passes: int | None = None
    samples: int | None = None
    noise: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class LeftOut:
    """How many of the boxes that a model drew are not explained, by the first reason that holds.

    Attributes:
        classes: of other classes than those asked for.
        ranks: at other places than those asked for.
        same: of the class that the others are contrasted with.
        score: with too low a score.
        top: more than were asked for.
    """

    classes: int = 0
    ranks: int = 0
    same: int = 0
    score: int = 0
    top: int = 0


@dataclass(frozen=True, eq=False)
class Evidence:
    """The boxes of one image, and what speaks for each of them.

    Attributes:
        image: uint8 [H, W, 3], BGR, the image given.
        detections: the K boxes that were explained.
        method, layer, engine, target: how, and what of the boxes. Methods that ask whether the box is found again in
            changed images have the target ``detection``; the layer and the engine of the map that guides them, or
            the layer ``image`` and the engine ``none``.
        values: float32 [K], the number of each box that was explained: its logit, its score, or a side in pixels of the
            model's input.
        parts: of each of the K boxes, maps whose sum is its map: one for each tensor of the layer that its target
            depends on.
        guides: of each of the K boxes, maps of another method at the image; the sum of these multiplies its map, pixel
            by pixel. None for most methods.
        other_boxes: how many boxes the model drew that were not asked for (too low a score, another class); 0 where a
            place was asked about, and no boxes.
        query: what was asked for.
        completeness: float32 [K], of methods that add up along a path from a blurred image, what each map adds up to in
            cells as a share of the change of the box's target; NaN where that does not change. None for other methods.
        fused: further maps of each box, as of other layers: what is positive of each, as a share of its peak, becomes
            one map with theirs. Empty for one map.
        fusion: how they become one.
        left_out: why the other boxes were not explained; None if that is not known.
        candidates: of each box, why the model did not report it, where it was asked about a place; otherwise empty.
        others: of each box, the name of the class that its own is contrasted with; empty without contrast.
    """

    image: Image
    detections: Detections
    method: str
    layer: str
    engine: str
    target: str
    values: Float
    parts: Parts
    guides: Parts | None
    other_boxes: int
    query: Query
    completeness: Float | None = None
    fused: tuple[Parts, ...] = ()
    fusion: Fusion = "max"
    left_out: LeftOut | None = None
    candidates: tuple[Candidate, ...] = ()
    others: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.detections)

    def map(self, index: int) -> Float:
        """The map of one box: float32 [H, W], raw, in image pixels.

        Raises:
            IndexError, ArgumentError: there is no such box, or it is no index; as of `depends` and the others below.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").map(0).shape
        (320, 320)
        """
        number = number_of_box(index, len(self))
        if self.fused:
            maps = [self._sum(parts[number]) for parts in (self.parts, *self.fused)]
            return fuse(maps, [float(one.max()) for one in maps], self.fusion)
        result = self._sum(self.parts[number])
        if self.guides is not None:
            result *= self._sum(self.guides[number])
        return result

    @property
    def maps(self) -> Float:
        """All maps: float32 [K, H, W], raw. For many boxes on a large image, take `map` one by one.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").maps.shape
        (5, 320, 320)
        """
        height, width = self.image.shape[:2]
        result = np.zeros((len(self), height, width), np.float32)
        for index in range(len(self)):
            result[index] = self.map(index)
        return result

    @property
    def of_pixels(self) -> bool:
        """Whether the maps are of single pixels, and not of the cells of a layer or of regions.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg", layer="neck").of_pixels
        False
        """
        guided = self.target == DETECTION and self.engine != NO_ENGINE  # a search for patches, which a layer guided
        regions = any(part.of_regions for parts in self.parts for part in parts)
        return (self.layer == IMAGE and not guided and not regions) or self.guides is not None

    @property
    def signed(self) -> bool:
        """Whether values below zero speak against the box and are drawn.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").signed
        False
        """
        return self.query.signed

    def depends(self, index: int) -> bool:
        """Whether the box's target depends on the layer at all.

        If not, its map is empty because there was nothing to look at: when the layer is one level of a pyramid, say,
        the boxes that other levels drew. That is no absence of evidence.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").depends(0)
        True
        """
        number = number_of_box(index, len(self))
        return any(parts[number] for parts in (self.parts, *self.fused))

    def has_evidence(self, index: int) -> bool:
        """Whether any pixel of the map speaks for the box. If not, there is no positive evidence.

        Cells that show padding only, or lie outside a proposal's part of the image, are no evidence.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").has_evidence(0)
        True
        """
        return self.may_have_evidence(index) and bool((self.map(index) > 0).any())

    def may_have_evidence(self, index: int) -> bool:
        """Whether any cell that shows the image speaks for the box: `has_evidence`, without making the map.

        >>> import boxcam
        >>> boxcam.explain("signs.boxcam", "street.jpg").may_have_evidence(0)
        True
        """
        return any((part.visible > 0).any() for part in self.all_parts(index))

    def all_parts(self, index: int) -> tuple[Part, ...]:
        """The maps of one box in cells, of all layers.

        >>> import boxcam
        >>> [part.tensor for part in boxcam.explain("signs.boxcam", "street.jpg").all_parts(0)]
        ['/neck/fpn_convs.1/activate/Relu_output_0']
        """
        number = number_of_box(index, len(self))
        return tuple(part for parts in (self.parts, *self.fused) for part in parts[number])

    def _sum(self, parts: Sequence[Part]) -> Float:
        height, width = self.image.shape[:2]
        result: Float = np.zeros((height, width), np.float32)
        for part in parts:
            result += place(part.cells, part.grid, height, width)
        return result


def fuse(maps: Sequence[Float], peaks: Sequence[float], fusion: Fusion) -> Float:
    """What is positive of each map, as a share of its peak; of these the largest or the mean, pixel by pixel.

    Args:
        maps: float32 [H, W], several of one box.
        peaks: the largest value of each.
        fusion: ``max`` or ``mean``.
    """
    shares = [
        np.maximum(one, 0) / np.float32(peak) if peak > 0 else np.zeros_like(one)
        for one, peak in zip(maps, peaks, strict=True)
    ]
    result: Float = np.maximum.reduce(shares) if fusion == "max" else np.mean(shares, axis=0, dtype=np.float32)
    return result
