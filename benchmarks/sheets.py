"""What a sheet of heatmaps takes, of ten boxes of a large picture, once they are explained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

import boxcam
from benchmarks.cases import PICTURE
from benchmarks.timing import medians
from boxcam.runtime.images import read_image

BOXES, SIZE = 10, (3000, 4000)
METHODS = ("hirescam", "gradcam")
"""Each box's map covers a part of the picture, or all of it."""


@dataclass(frozen=True)
class Sheet:
    """One method.

    Attributes:
        method: its name.
        boxes: how many boxes the sheet shows.
        height, width: of the picture, in pixels.
        seconds: that drawing the sheet takes.
        maps: seconds that making the same maps as large as the picture takes, and nothing else.
    """

    method: str
    boxes: int
    height: int
    width: int
    seconds: float
    maps: float


def sheets(demo: Path, threads: int, repeats: int, size: tuple[int, int] = SIZE) -> list[Sheet]:
    """Measure the demo detector's sheets of a picture made as large as ``size``, height and width."""
    model = boxcam.load(demo, threads=threads)
    picture = cv2.resize(read_image(PICTURE), size[::-1], interpolation=cv2.INTER_CUBIC)
    found = []
    for method in METHODS:
        explanation = model.explain(picture, method=method, score=0, top=BOXES)
        times = medians(
            {"sheet": explanation.sheet, "maps": lambda of=explanation: [of.map(k) for k in range(len(of))]}, repeats
        )
        found.append(Sheet(method, len(explanation), *size, times["sheet"], times["maps"]))
    return found
