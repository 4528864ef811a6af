"""Maps that are integrals along a path: from a blurred image to the image itself.

Any box's target can be differentiated in the forward pass of any other image, as its origin says which number it is. So
one path of forward passes serves all boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np

from boxcam.bundle import Layer
from boxcam.errors import RunError
from boxcam.explain.evidence import Part
from boxcam.explain.gradients import same_place, weighted_sum
from boxcam.explain.maps import maps_of
from boxcam.explain.methods import Method
from boxcam.explain.options import Options
from boxcam.explain.regions import over_regions
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.preprocess import prepare
from boxcam.types import CellMap, Float, Image, Patch

_T = TypeVar("_T")

BLUR = 1 / 25
"""Standard deviation of the blur, as a share of the image's longer side."""
_WORKING_SIDE = 400
"""Pixels of the longer side at which an image is blurred: of what is so blurred, more would show nothing more."""
_AT_ONCE = 16
"""Boxes whose gradients are held together."""


def blurred(image: Image) -> Image:
    """The image without what tells objects: uint8 [H, W, channels], as the one given."""
    if image.shape[2] > 4:  # more than OpenCV resizes together
        planes = np.split(image, image.shape[2], axis=2)
        return np.concatenate([blurred(np.ascontiguousarray(plane)) for plane in planes], axis=2)
    height, width = image.shape[:2]
    factor = min(1.0, _WORKING_SIDE / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image
    found = cv2.GaussianBlur(small, (0, 0), max(size) * BLUR, borderType=cv2.BORDER_REPLICATE)
    if factor < 1:
        found = cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(found, np.uint8).reshape(image.shape)


def forward_passes(
    model: Model, image: Image, prediction: Prediction, layers: Sequence[Layer], options: Options, steps: int
) -> list[Prediction]:
    """The model on equally spaced blends of the blurred image, which is the first, and the image, which is the last.

    Args:
        model: the model.
        image: as `Model.predict` takes it.
        prediction: of the image, made with ``ends``.
        layers: what is explained.
        options: engine and target.
        steps: how many parts the path has.
    """
    start, place = prepare(blurred(image), model.manifest.preprocess)
    end, _ = prepare(image, model.manifest.preprocess)
    low, high = start.astype(np.float64), end.astype(np.float64)
    found = []
    for step in range(steps):
        blend = low + (high - low) * (step / steps)
        tensor = (np.rint(blend) if start.dtype.kind in "iu" else blend).astype(start.dtype)
        found.append(model.forward(tensor, place, layers, options.engine, options.target, ends=step == 0))
    return [*found, prediction]


def path_parts(
    model: Model,
    method: Method,
    layer: Layer,
    options: Options,
    passes: Sequence[Prediction],
    boxes: Sequence[int],
    progress: Callable[[], None],
    of: Prediction | None = None,
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its maps by the tensors of a layer, added up over the steps of the path.

    A step's map is of the mean gradient of both its ends and the difference of their features (the trapezoidal rule).
    The sums are over regions of the box's size where the method says so.

    Args:
        model, method, layer, options: what is asked for.
        passes: see `forward_passes`; none are needed without boxes.
        boxes: indices into the detections of the last one, or into those of another pass.
        progress: called for each box that is done.
        of: this other pass, see `Model.patches`.

    Raises:
        RunError: the gradient of a box lies elsewhere in one pass than in another.
    """
    if not boxes:
        return ()
    last, found = passes[-1], []
    for first in range(0, len(boxes), _AT_ONCE):
        some = boxes[first : first + _AT_ONCE]
        sums: list[Float] = []
        before: tuple[Prediction, list[Patch]] | None = None
        counts: list[int] = []
        for passed in passes:
            of_boxes = list(
                model.patches(
                    passed, layer, some, options.engine, target=options.target, rules=method.rules, of=of or last
                )
            )
            patches = [patch for of in of_boxes for patch in of]
            if before is not None:
                counts = _same([len(of) for of in of_boxes], counts, layer)
                difference = _Difference(model, layer, before[0], passed)
                means = [_mean(one, other, layer) for one, other in zip(before[1], patches, strict=True)]
                step = [cells.values for cells in maps_of(method, means, difference)]
                sums = [one + other for one, other in zip(sums, step, strict=True)] if sums else step
            before, counts = (passed, patches), [len(of) for of in of_boxes]
        assert before is not None
        parts = [
            Part(
                layer.tensors[patch.tensor].name,
                CellMap(values, patch.corner if patch.uniform is None else (0, 0)),
                model.grid(last, layer, patch),
            )
            for patch, values in zip(before[1], sums, strict=True)
        ]
        for box, count in zip(some, counts, strict=True):
            mine, parts = parts[:count], parts[count:]
            if method.regions:
                corners = (of or last).detections.boxes[box]
                mine = [over_regions(part, corners, method.regions) for part in mine]
            found.append(tuple(mine))
            progress()
    return tuple(found)


def completeness(
    model: Model, options: Options, passes: Sequence[Prediction], boxes: Sequence[int], parts: Sequence[Sequence[Part]]
) -> Float | None:
    """What each box's map adds up to, as a share of the change of its target along the path: float32 [K].

    It is 1 up to the error of the integral if all of the target comes through the layer. NaN where the target does not
    change. None if the bundle does not tell the target of another pass, as one of boxcam 0.1 does not.
    """
    if not boxes:
        return np.zeros(0, np.float32)
    start, end = (model.at_origin(passed, passes[-1], boxes, options.target) for passed in (passes[0], passes[-1]))
    if start is None or end is None:
        return None
    totals = [sum(float(part.cells.values.sum(dtype=np.float64)) for part in of) for of in parts]
    changes = end.astype(np.float64) - start
    shares = [total / change if change else math.nan for total, change in zip(totals, changes, strict=True)]
    return np.array(shares, np.float32)


class _Difference:
    """What a feature map changes by from one pass to the next."""

    def __init__(self, model: Model, layer: Layer, before: Prediction, after: Prediction) -> None:
        self._model, self._layer, self._before, self._after = model, layer, before, after

    def __call__(self, patch: Patch) -> Float:
        one, other = (self._model.activation(of, self._layer, patch) for of in (self._after, self._before))
        difference: Float = one - other
        return difference


def _mean(one: Patch, other: Patch, layer: Layer) -> Patch:
    """The mean of two gradients of one target, at the same place."""
    if not same_place(one, other):
        raise _moves(layer)
    return weighted_sum((one, other), (0.5, 0.5))


def _same(one: list[_T], other: list[_T], layer: Layer) -> list[_T]:
    """Both, which have to be the same."""
    if one != other:
        raise _moves(layer)
    return one


def _moves(layer: Layer) -> RunError:
    return RunError(
        f"where a box depends on layer {layer.name!r} is not the same in blurred images, so there is no integral along"
        ' them. Choose a method of one forward pass, such as method="hirescam".'
    )
