"""Detections + gradients + a method → an explanation."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boxcam.bundle import Gradient, Layer
from boxcam.errors import UnknownLayerError, UnknownNameError
from boxcam.explain.methods import METHODS, Method
from boxcam.explain.placement import place
from boxcam.runtime.images import check_array, read_image
from boxcam.runtime.model import Model, Prediction
from boxcam.types import IMAGE, CellMap, Detections, Float, Grid, Image, Patch

DEFAULT_METHOD = "gradcam"
DEFAULT_SCORE = 0.3
_WAITING = 1 << 26
"""Bytes of gradients that are kept to be made into maps together."""


@dataclass(frozen=True, eq=False)
class Part:
    """A map by one tensor of a layer.

    Attributes:
        tensor: its name.
        cells: the map as the method made it, in cells of the tensor.
        grid: where those cells lie on the image.
    """

    tensor: str
    cells: CellMap
    grid: Grid


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a model drew its boxes on one image.

    Attributes:
        image: uint8 [H, W, 3], BGR, the image given.
        detections: the K boxes that were explained.
        method, layer, engine, target: how, and what of the boxes.
        values: float32 [K], the number of each box that was explained: its logit, its score, or a side in canvas
            pixels.
        parts: of each of the K boxes, maps whose sum is its map: one for each tensor of the layer that its target
            depends on.
        guides: of each of the K boxes, maps of another method at the image; the sum of these multiplies its map, pixel
            by pixel. None for most methods.
        other_boxes: how many boxes the model drew that were not asked for (too low a score, another class).
    """

    image: Image
    detections: Detections
    method: str
    layer: str
    engine: str
    target: str
    values: Float
    parts: tuple[tuple[Part, ...], ...]
    guides: tuple[tuple[Part, ...], ...] | None
    other_boxes: int

    def __len__(self) -> int:
        return len(self.detections)

    def map(self, index: int) -> Float:
        """The map of one box: float32 [H, W], raw, in image pixels."""
        result = self._sum(self.parts[index])
        if self.guides is not None:
            result *= self._sum(self.guides[index])
        return result

    @property
    def maps(self) -> Float:
        """All maps: float32 [K, H, W], raw. For many boxes on a large image, take `map` one by one."""
        height, width = self.image.shape[:2]
        result = np.zeros((len(self), height, width), np.float32)
        for index in range(len(self)):
            result[index] = self.map(index)
        return result

    def depends(self, index: int) -> bool:
        """Whether the box's target depends on the layer at all.

        If not, its map is empty because there was nothing to look at: when the layer is one level of a pyramid, say,
        the boxes that other levels drew. That is no absence of evidence.
        """
        return bool(self.parts[index])

    def has_evidence(self, index: int) -> bool:
        """Whether any pixel of the map speaks for the box. If not, there is no positive evidence.

        Cells that show padding only, or lie outside a proposal's part of the image, are no evidence.
        """
        lit = any((part.cells.values > 0).any() for part in self.parts[index])
        return lit and bool((self.map(index) > 0).any())

    def _sum(self, parts: Sequence[Part]) -> Float:
        height, width = self.image.shape[:2]
        result: Float = np.zeros((height, width), np.float32)
        for part in parts:
            result += place(part.cells, part.grid, height, width)
        return result


def explain(
    model: Model,
    image: Image | str | os.PathLike[str],
    *,
    method: str = DEFAULT_METHOD,
    layer: str | None = None,
    target: str | None = None,
    engine: str = "auto",
    score: float | None = None,
    top: int | None = None,
    classes: str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]] | None = None,
    ranks: int | Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Explain the boxes that a model draws on an image.

    Args:
        model: from `boxcam.load`.
        image: a file, or uint8 [H, W, 3] in BGR (as ``cv2.imread`` gives it), or uint8 [H, W] grey.
        method: a CAM method, see ``boxcam.methods()``.
        layer: which layer to look at; the bundle's first one that the method can be used at by default.
        target: what of the boxes to explain, ``logit`` or ``x1``, say; the bundle's first one by default.
        engine: gradient engine, or ``auto``.
        score: explain boxes of at least this score; by default `lowest_score`.
        top: explain at most so many boxes, the best first; all by default.
        classes: explain boxes of these classes only, by name or index.
        ranks: explain only these boxes, counted from the best one, which is 1; where classes are given, of these.
        progress: called with the number of boxes done and their total.

    Raises:
        InputError: the image cannot be read.
        UnknownLayerError, UnknownNameError, EngineError: layer, target, method, class or engine is not there.
        ValueError: ``top`` is negative, or a rank below 1.
    """
    if top is not None and top < 0:
        raise ValueError(f"top: {top}, expected 0 or more")
    places = None if ranks is None else sorted({*([ranks] if isinstance(ranks, int | np.integer) else ranks)})
    if places is not None and any(place < 1 for place in places):
        raise ValueError(f"ranks: {ranks}, expected 1 or more")
    plan = Plan(model, method, layer, target, engine)
    wanted = class_indices(model, classes)
    pixels = read_image(image) if isinstance(image, str | os.PathLike) else check_array(image)
    prediction = model.predict(pixels, [view.layer for view in plan.views], engine, target)
    found = prediction.detections
    of_class = np.arange(len(found)) if wanted is None else np.flatnonzero(np.isin(found.labels, wanted))
    ranked = of_class if places is None else of_class[[place - 1 for place in places if place <= len(of_class)]]
    boxes = ranked[found.scores[ranked] >= lowest_score(model, score, classes, ranks)][:top].tolist()
    counted = itertools.count(1)

    def one_done() -> None:
        if progress is not None:
            progress(next(counted) // len(plan.views), len(boxes))

    made = [_parts(plan, view, prediction, boxes, one_done) for view in plan.views]
    return Explanation(
        image=pixels,
        detections=found.select(boxes),
        method=method,
        layer=plan.views[0].layer.name,
        engine=plan.gradient(plan.views[0]).engine,
        target=model.manifest.target(target).name,
        values=model.values(prediction, target)[boxes],
        parts=made[0],
        guides=made[1] if len(made) > 1 else None,
        other_boxes=len(found) - len(boxes),
    )


def lowest_score(model: Model, score: float | None = None, classes: object = None, ranks: object = None) -> float:
    """The score below which nothing is explained.

    It is 0.3 unless another is given. Of what is named there is nothing to leave out: of boxes given by rank, and of a
    classifier's classes, each of which is there once.

    Args:
        model: a detector or classifier.
        score, classes, ranks: as for `explain`.
    """
    if score is not None:
        return score
    named = ranks is not None or (classes is not None and model.manifest.outputs.whole_image)
    return 0.0 if named else DEFAULT_SCORE


@dataclass(frozen=True, eq=False)
class View:
    """A method at a layer."""

    method: Method
    layer: Layer


class Plan:
    """What has to be computed for an explanation; the arguments are those of `explain`.

    Attributes:
        views: the method at its layer; for a method that multiplies the map of another one, this one comes first.

    Raises:
        UnknownLayerError, UnknownNameError, EngineError: as for `explain`.
    """

    def __init__(
        self, model: Model, method: str, layer: str | None = None, target: str | None = None, engine: str = "auto"
    ) -> None:
        self.model, self.target, self.engine = model, target, engine
        chosen = METHODS[method]
        maps = next((name for name in model.layers if name != IMAGE), None) if layer is None else layer
        if maps in (None, IMAGE) and (chosen.means or chosen.times is not None):
            others = [name for name in model.layers if name != IMAGE]
            choose = (
                f"Choose another layer ({', '.join(others)}), or give" if others else "There is no other layer: give"
            )
            raise UnknownNameError(
                f"the method {method!r} is one of feature maps, and the channels of the image are its colours. {choose}"
                " --method saliency."
            )
        if chosen.times is not None:
            self.views = [View(METHODS[chosen.times], self._layer(method, maps))]
        elif chosen.image and layer not in (None, IMAGE):
            raise UnknownNameError(
                f"the method {method!r} is one of pixels: it is for the layer 'image', not {layer!r}."
            )
        else:
            self.views = []
        self.views.append(View(chosen, self._layer(method, IMAGE if chosen.image else maps or IMAGE)))
        for view in self.views:
            self.gradient(view)

    def gradient(self, view: View) -> Gradient:
        """The gradient that a view needs."""
        return self.model.gradient(view.layer, self.engine, self.target, view.method.rules)

    def open(self) -> None:
        """Open all engines, so that what is missing is said before any picture is read."""
        for view in self.views:
            self.model.engine(self.gradient(view), means=view.method.means)

    def _layer(self, method: str, name: str | None) -> Layer:
        if name == IMAGE and IMAGE not in self.model.layers:
            raise UnknownLayerError(
                IMAGE,
                self.model.layers,
                f"bundle {self.model.path}",
                advice=f"The method {method!r} needs it: export the model again with --layer image beside the others.",
            )
        return self.model.layer(name)


def _parts(
    plan: Plan, view: View, prediction: Prediction, boxes: Sequence[int], progress: Callable[[], None]
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its maps by the tensors of a layer."""
    model, layer, method = plan.model, view.layer, view.method
    patches = model.patches(
        prediction, layer, boxes, plan.engine, target=plan.target, rules=method.rules, means=method.means
    )
    made: list[list[Part]] = [[] for _ in boxes]
    waiting: list[tuple[int, Patch]] = []
    for number, of in enumerate(patches):
        waiting += [(number, patch) for patch in of]
        if number + 1 == len(boxes) or sum(_bytes(patch) for _, patch in waiting) > _WAITING:
            maps = _maps(method, [patch for _, patch in waiting], lambda one: model.activation(prediction, layer, one))
            for (box, patch), cells in zip(waiting, maps, strict=True):
                grid = model.grid(prediction, layer, patch)
                made[box].append(Part(layer.tensors[patch.tensor].name, cells, grid))
            waiting.clear()
        progress()
    return tuple(map(tuple, made))


def _bytes(patch: Patch) -> int:
    return patch.gradient.nbytes + (0 if patch.uniform is None else patch.uniform.nbytes)


def _maps(compute: Method, patches: Sequence[Patch], activation: Callable[[Patch], Float]) -> list[CellMap]:
    """One map for each patch; a method sees the patches of one feature map together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, patch in enumerate(patches):
        groups.setdefault((patch.tensor, patch.row), []).append(index)
    found: dict[int, CellMap] = {}
    for members in groups.values():
        mine = [patches[index] for index in members]
        found.update(zip(members, compute(activation(mine[0]), mine), strict=True))
    return [found[index] for index in range(len(patches))]


def class_indices(
    model: Model, classes: str | int | np.integer[Any] | Sequence[str | int | np.integer[Any]] | None
) -> list[int] | None:
    """Class names or numbers as indices; letters need not match in case.

    A bundle without class names says nothing of how many there are: then any number is taken, also as ``class 7``.

    Raises:
        UnknownNameError: the model has no such class.
    """
    if classes is None:
        return None
    names = model.manifest.labels
    result = []
    for wanted in [classes] if isinstance(classes, str | int | np.integer) else classes:
        text = str(wanted)
        number = text if names else text.lower().removeprefix("class ")
        if isinstance(wanted, str) and wanted in names:
            result += [k for k, name in enumerate(names) if name == wanted]  # ImageNet has two cranes
            continue
        if number.isdecimal():
            index = int(number)
        else:
            index = next((k for k, name in enumerate(names) if name.lower() == text.lower()), -1)
        if index < 0 or (names and index >= len(names)):
            raise _unknown_class(text, names)
        result.append(index)
    return result


def _unknown_class(wanted: str, names: Sequence[str]) -> UnknownNameError:
    if not names:
        return UnknownNameError(f"the model has no class {wanted!r}: it has no class names. Give the class's number.")
    known = {name.lower(): name for name in names}
    close = [known[name] for name in difflib.get_close_matches(wanted.lower(), known, n=3, cutoff=0.5)]
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return UnknownNameError(f"the model has no class {wanted!r}.{hint} There are: {shown}.")
