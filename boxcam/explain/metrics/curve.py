"""What of a box is found again while an image is hidden, or shown, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from boxcam.errors import ArgumentError
from boxcam.explain.metrics.arithmetic import Array
from boxcam.explain.metrics.overlap import best_match
from boxcam.types import Detections, Image, Int


@dataclass(frozen=True, eq=False)
class Curve:
    """The box that is found again, at each step.

    Attributes:
        iou: float64 [steps + 1], of the detection of the class that is largest by IoU times score; 0 without one.
        score: float64 [steps + 1], its score.
    """

    iou: Array
    score: Array

    @property
    def weighted(self) -> Array:
        """IoU times score."""
        found: Array = self.iou * self.score
        return found


def area_under(values: Array) -> float:
    """The area under a curve of equally spaced values over 0 to 1, by the trapezoidal rule.

    >>> import numpy as np
    >>> area_under(np.array([0, 1, 1]))
    0.75
    """
    return float((values[:-1] + values[1:]).mean() / 2)


def exchanged(start: Image, end: Image, order: Int, counts: Array) -> Iterator[Image]:
    """Images of which ever more pixels are those of another one.

    Args:
        start, end: uint8 [H, W, channels].
        order: indices of pixels, row by row, the first to be exchanged first.
        counts: how many are, in each image, never fewer than before.
    """
    pixels, done = start.copy(), 0
    flat, new = pixels.reshape(-1, *pixels.shape[2:]), end.reshape(-1, *end.shape[2:])
    for count in counts.tolist():
        now = order[done:count]
        flat[now] = new[now]
        done = max(done, count)
        yield pixels.copy()


def curve(
    look: Callable[[Image], Detections],
    ends: tuple[Image, Image],
    found: tuple[Detections, Detections],
    order: Int,
    steps: int,
    box: Array,
    label: int,
) -> Curve:
    """The box that is found again while the first image becomes the second one, by equally many pixels a step.

    Args:
        look: runs the model.
        ends: uint8 [H, W, channels], both.
        found: what the model finds on them.
        order: see `exchanged`.
        steps: how many, 1 or more.
        box: [4], the box that is looked for.
        label: its class.

    Raises:
        ArgumentError: there are no steps.
    """
    if steps < 1:
        raise ArgumentError(
            f"steps={steps} is not a whole number above 0. Pass how many steps a curve has, such as 20."
        )
    counts = np.rint(np.arange(1, steps) * (len(order) / steps)).astype(np.int64)
    between = (look(image) for image in exchanged(*ends, order, counts))
    matches = np.array([best_match(one, box, label) for one in (found[0], *between, found[1])])
    return Curve(matches[:, 0], matches[:, 1])
