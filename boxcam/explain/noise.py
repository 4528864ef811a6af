"""Gradients that are means over noisy images.

The target of a box is the number that it was in the image as it is, whether or not a noisy one shows the box: so one
forward pass serves all boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from boxcam.bundle import Layer
from boxcam.errors import RunError
from boxcam.explain.changed_input import ChangedInput
from boxcam.explain.evidence import Part
from boxcam.explain.gradients import add_to, same_place, scale, weighted_sum
from boxcam.explain.maps import maps_of
from boxcam.explain.methods import Method
from boxcam.explain.methods.smoothgrad import NOISE
from boxcam.explain.options import Options
from boxcam.runtime.engines import Patches
from boxcam.runtime.model import Model, Prediction
from boxcam.runtime.preprocess import prepare
from boxcam.types import Image


@dataclass(frozen=True)
class Noise:
    """Which noise: on how many images, of which share of the range of the input's values, and by which seed."""

    samples: int
    share: float
    seed: int


def noise_of(method: Method, options: Options) -> Noise:
    """The noise that is asked for."""
    return Noise(
        samples=method.samples if options.samples is None else int(options.samples),
        share=NOISE if options.noise is None else float(options.noise),
        seed=0 if options.seed is None else int(options.seed),
    )


def noisy_parts(
    model: Model,
    method: Method,
    layer: Layer,
    options: Options,
    image: Image,
    prediction: Prediction,
    boxes: Sequence[int],
    progress: Callable[[int], None],
) -> tuple[tuple[Part, ...], ...]:
    """Of each box, its maps of the mean gradient over noisy images.

    Args:
        model, method, layer, options: what is asked for.
        image: as `Model.predict` takes it.
        prediction: of the image.
        boxes: indices into its detections.
        progress: called with how many more noisy images are done.

    Raises:
        RunError: the gradient of a box lies elsewhere in one pass than in another.
    """
    noise = noise_of(method, options)
    if not boxes:
        progress(noise.samples)
        return ()
    tensor, place = prepare(image, model.manifest.preprocess)
    changed = ChangedInput(tensor, place, model.manifest.preprocess)
    spread = noise.share * float(np.ptp(changed.pixels))
    rng = np.random.default_rng(noise.seed)
    sums: list[Patches] = []
    for _ in range(noise.samples):
        noisy = changed.pixels + spread * rng.standard_normal(changed.pixels.shape, np.float32)
        passed = model.forward(changed.with_pixels(noisy), place, layer, options.engine, options.target)
        found = model.patches(
            passed, layer, boxes, options.engine, target=options.target, rules=method.rules, of=prediction
        )
        if sums:
            for total, mine in zip(sums, found, strict=True):  # a few boxes at a time, beside the sums of all
                _add(total, mine, layer)
        else:
            sums = [tuple(weighted_sum((patch,), (1.0,)) for patch in mine) for mine in found]
        progress(1)
    patches = [patch for of in sums for patch in of]
    for patch in patches:
        scale(patch, 1 / noise.samples)
    maps = iter(maps_of(method, patches, lambda patch: model.activation(prediction, layer, patch)))
    return tuple(
        tuple(Part(layer.tensors[patch.tensor].name, next(maps), model.grid(prediction, layer, patch)) for patch in of)
        for of in sums
    )


def _add(sums: Patches, found: Patches, layer: Layer) -> None:
    if len(sums) != len(found) or not all(map(same_place, sums, found)):
        raise RunError(
            f"where a box depends on layer {layer.name!r} is not the same in noisy images, so there is no mean of its"
            ' gradients. Choose a method of one forward pass, such as method="saliency".'
        )
    for total, patch in zip(sums, found, strict=True):
        add_to(total, patch)
