"""ODAM's insertion and deletion, of as many pixels as the object has."""

from __future__ import annotations

import numpy as np

from boxcam.explain.metrics.arithmetic import Array
from boxcam.explain.metrics.curve import area_under, exchanged
from boxcam.explain.metrics.overlap import best_score
from boxcam.explain.metrics.sample import Sample
from boxcam.types import Image

STEPS, EVERY = 100, 10
"""How many steps make up the object's area, and of how many one is looked at."""
_LEAST = 0.5
"""The IoU above which a box is the object's."""


def local_deletion(sample: Sample) -> float:
    """The area under the share of the score that is left while the map's highest pixels become noise.

    Zhao and Chan 2023 (see `compactness`), as their code has it (tools/eval_delet.py): 100 steps, each of a
    hundredth of the object's area, one pixel at least; the score after every tenth is the highest of the same class
    with an IoU above 0.5, divided by that on the image as it is. They report the curve; this is the area under it. All
    steps together touch as many pixels as the object has, wherever they lie, so that the figure is not comparable with
    `deletion`. Differences: pixels are those of the image and not of the model's input, to which that code enlarges map
    and image; equally high pixels come at random and not as a sort leaves them.

    Args:
        sample: a map, and its object.

    Returns:
        0 or more; the lower, the better. NaN if the object is not found on the image as it is.
    """
    before = best_score(sample.scene.whole, sample.thing.box, sample.thing.label, _LEAST)
    if not before > 0:
        return float("nan")
    after = _scores(sample, sample.scene.image, sample.scene.noise)
    return area_under(np.array([before, *after]) / before)


def local_insertion(sample: Sample) -> float:
    """The area under the score of the object while the map's highest pixels appear in a black image.

    As `local_deletion`, with its steps, and from tools/eval_insert.py: scores are not divided there, and begin at 0.

    Returns:
        0 to 1; the higher, the better.
    """
    scene = sample.scene
    return area_under(np.array([0.0, *_scores(sample, scene.fill("black"), scene.image)]))


def _scores(sample: Sample, start: Image, end: Image) -> list[float]:
    x1, y1, x2, y2 = sample.thing.box.tolist()
    once = max(1, int((x2 - x1) * (y2 - y1) / STEPS))
    counts: Array = once * np.arange(EVERY, STEPS + 1, EVERY)
    return [
        best_score(sample.scene.look(image), sample.thing.box, sample.thing.label, _LEAST)
        for image in exchanged(start, end, sample.order, counts)
    ]
