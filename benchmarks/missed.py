"""What is paid for asking why a box was missed, and for a contrast of two classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import boxcam
from benchmarks.cases import PICTURE
from benchmarks.timing import medians
from boxcam.explain.finding import Finding
from boxcam.explain.options import RUNNER_UP
from boxcam.runtime.images import read_image

BOXES = 10


@dataclass(frozen=True)
class Missed:
    """One detector.

    Attributes:
        title: of it, for people.
        candidates: how many it has of a class.
        forward: seconds of a forward pass, and what is made of it.
        asked: seconds that the same takes with what candidates read as outputs, too.
        found: seconds that all candidates of one class take after it: their boxes, scores and logits.
        told: seconds until it is told why one class was not reported at one place.
        maps: seconds that ten boxes take to be explained, the forward pass included.
        contrast: seconds that the same takes against each box's runner-up.
    """

    title: str
    candidates: int
    forward: float
    asked: float
    found: float
    told: float
    maps: float
    contrast: float


def missed(bundles: Sequence[tuple[str, Path]], threads: int, repeats: int) -> list[Missed]:
    """Measure some bundles, each with its title."""
    return [_measured(title, bundle, threads, repeats) for title, bundle in bundles]


def _measured(title: str, bundle: Path, threads: int, repeats: int) -> Missed:
    model = boxcam.load(bundle, threads=threads)
    runtime, picture = model.runtime, read_image(PICTURE)
    names = runtime.selection.names
    prediction = runtime.predict(picture, extra=names)
    place = prediction.detections.boxes[0]
    label = int(prediction.detections.labels[0])
    other = (label + 1) % max(len(model.names), 1)
    near = Finding(runtime, prediction).near(label, place)
    seconds = medians(
        {
            "forward": lambda: runtime.predict(picture),
            "asked": lambda: runtime.predict(picture, extra=names),
            "found": lambda: Finding(runtime, prediction).near(label, place),
            "told": lambda: model.candidates(picture, place.tolist(), other),
            "maps": lambda: model.explain(picture, method="hirescam", score=0, top=BOXES),
            "contrast": lambda: model.explain(picture, method="hirescam", score=0, top=BOXES, against=RUNNER_UP),
        },
        repeats,
    )
    return Missed(title, len(near.iou), **seconds)
