"""Maps of methods that run the model again, on the image behind random masks."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.bundle import Preprocess
from boxcam.errors import ArgumentError, BoxcamWarning
from boxcam.explain.changed_input import ChangedInput
from boxcam.explain.class_scores import ClassScores
from boxcam.explain.evidence import Part
from boxcam.explain.masks import Mask, Masks
from boxcam.explain.methods import Objects, Perturbation
from boxcam.explain.options import Options
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.preprocess import Transform, prepare
from boxcam.types import IMAGE, CellMap, Float, Image

_LOOKED_AT = 24
"""Forward passes from which it is told where the classes lie."""
_AT_ONCE = 8
"""Boxes whose masks are added up together."""


@dataclass(frozen=True)
class Draws:
    """Which masks: how many, and by which seed."""

    count: int
    seed: int


def draws_of(method: Perturbation, options: Options) -> Draws:
    """The masks that are asked for.

    Raises:
        ArgumentError: what is asked for is not for a method of masks.
    """
    engine = None if options.engine == "auto" else options.engine
    layer = None if options.layers in (None, (IMAGE,)) else ", ".join(options.layers or ())
    for name, given in (("layer", layer), ("target", options.target), ("engine", engine), ("fuse", options.fuse)):
        if given is not None:
            raise ArgumentError(
                f"the method {options.method!r} explains whole boxes by hiding parts of the image: it has no"
                f" {'fusion' if name == 'fuse' else name}."
                f" Leave out {name}={given!r}, or pass another method=."
            )
    return Draws(
        count=method.masks if options.masks is None else int(options.masks),
        seed=0 if options.seed is None else int(options.seed),
    )


def look(model: Model, image: Image) -> tuple[Prediction, HiddenImage]:
    """What the model finds on an image, uint8 [H, W, channels], and the image, to be hidden."""
    tensor, place = prepare(image, model.manifest.preprocess)
    seen = model.forward(tensor, place, extra=ClassScores.names(model))
    return seen, HiddenImage(tensor, place, model.manifest.preprocess)


def masked_parts(
    model: Model,
    method: Perturbation,
    looked: tuple[Prediction, HiddenImage],
    boxes: Sequence[int],
    draws: Draws,
    progress: Callable[[int, int], None],
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its map in pixels of the model's input: Σᵢ wᵢ Mᵢ / (n p), less its smallest value.

    Args:
        model, method: what is asked for.
        looked: what `look` gave.
        boxes: indices into the detections of the image; there is at least one.
        draws: the masks.
        progress: called with the number of masks that are done and their total.

    Warns:
        BoxcamWarning: the probabilities of all classes cannot be told, so weights are made of scores.
    """
    (seen, hidden), names = looked, ClassScores.names(model)
    place = seen.transform
    masks = list(hidden.masks.draw(draws.count, draws.seed))
    passes = (model.forward(hidden.behind(mask), place, extra=names) for mask in masks)
    first = list(itertools.islice(passes, _LOOKED_AT))
    classes = ClassScores(model.manifest, [seen, *first])
    if not classes.known and not model.manifest.outputs.whole_image:
        why = (
            f"bundle {model.path} does not tell which of its logits are the classes of one box"
            if len(names) == len(model.manifest.target().ends)
            else f"bundle {model.path} was exported by an earlier boxcam and does not give its logits (export the model"
            " again)"
        )
        warnings.warn(
            f"{why}, so masks are weighed by IoU times the score of the same class, and not by IoU times the cosine of"
            " all class probabilities.",
            BoxcamWarning,
            stacklevel=6,
        )
    explained = _objects(seen, classes, boxes)
    weights = np.zeros((len(boxes), len(masks)))
    progress(0, len(masks))
    for number, prediction in enumerate(itertools.chain(first, passes)):
        weights[:, number] = method.weigh(explained, _objects(prediction, classes))
        progress(number + 1, len(masks))
    grid = place.map_grid(place.canvas_height, place.canvas_width, (1, 1))
    parts = []
    for start in range(0, len(boxes), _AT_ONCE):
        for total in hidden.masks.add_up(masks, weights[start : start + _AT_ONCE]):
            values: Float = ((total - total.min()) / (len(masks) * hidden.masks.share)).astype(np.float32)
            parts.append((Part(model.manifest.input, CellMap(values, hidden.corner), grid),))
    return tuple(parts)


class HiddenImage:
    """The model's input, parts of which become black.

    Args:
        tensor: the model's input, with the image.
        place: where the image lies on it. What pads it is never hidden.
        spec: how it was made.
    """

    def __init__(self, tensor: npt.NDArray[Any], place: Transform, spec: Preprocess) -> None:
        self._input = ChangedInput(tensor, place, spec)
        self.corner = self._input.corner
        self.masks = Masks(*self._input.pixels.shape[1:])
        self._black: Float = (-np.array(spec.mean) / np.array(spec.std)).astype(np.float32)
        self._seen: Float = (self._input.pixels - self._black[:, None, None]).astype(np.float32, copy=False)

    def behind(self, mask: Mask) -> npt.NDArray[Any]:
        """The model's input behind a mask, until the next one is asked for: it is written over."""
        return self._input.masked(self._seen, self.masks.enlarge(mask), self._black)


def _objects(prediction: Prediction, classes: ClassScores, boxes: Sequence[int] | None = None) -> Objects:
    """What was found, or some of it."""
    found, vectors = prediction.detections, classes.of(prediction)
    chosen = slice(None) if boxes is None else np.asarray(boxes, np.int64)
    return Objects(
        found.boxes[chosen],
        found.labels[chosen],
        found.scores[chosen],
        None if vectors is None else vectors[chosen],
    )
