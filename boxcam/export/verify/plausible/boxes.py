"""Are the best boxes boxes? Not empty, inverted, smaller than a few pixels, off the image, or all the same."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from boxcam.export.verify.plausible.criterion import Answer, Criterion
from boxcam.export.verify.plausible.formats import Boxes
from boxcam.export.verify.plausible.reading import Reading, Report, on_computed
from boxcam.plurals import counted, verb

LIMITS = {
    "best": 20,
    "smallest": 4.0,
    "part": 0.01,
    "least": 1.5,
    "share": 0.5,
    "certain": 0.9,
    "count": 5,
    "apart": 0.5,
}
"""Of the best boxes of each picture so many are looked at; the shortest side in pixels that a box has, which on a small
model input is a part of its longer side, but no less than the least; the share that is doubtful and the one that is
refused; how many boxes there have to be; pixels by which boxes that are not the same differ."""

_WORDS = {
    "inverted": "inverted (x2 < x1 or y2 < y1)",
    "tiny": "smaller than {least:.2g} pixels both ways",
    "empty": "empty",
    "outside": "outside of the image",
    "huge": "more than three times as large as the image",
}
Mask = npt.NDArray[np.bool_]


def answer(reading: Reading) -> Answer | None:
    """Whether the best boxes are boxes."""
    if reading.is_classifier:
        return None
    best = int(LIMITS["best"])
    boxes = np.concatenate([np.zeros((0, 4)), *(report.found.boxes[:best] for report in reading.reports)])
    if len(boxes) < LIMITS["count"]:
        return Answer("unknown", f"too few boxes were found ({len(boxes)}) to tell whether they are boxes")
    faults = {name: np.concatenate(parts) for name, parts in _faults(reading.reports, best).items()}
    bad = np.logical_or.reduce(list(faults.values()))
    figures = {name: float(mask.mean()) for name, mask in faults.items()} | {"boxes": float(len(boxes))}
    advice = (
        f"They were read as {reading.format}: pass another order or unit with box_format= or box_scale=, or other"
        " tensors with boxes= and scores=."
    )
    if reading.computed_by:
        advice = on_computed(reading.computed_by)
    if reading.subject.interpretation is None:
        advice = "Are the config and the checkpoint of the same model?"
    if bad.mean() >= LIMITS["share"]:
        least = max(_smallest(_canvas(report)) for report in reading.reports)
        words = {name: text.format(least=least) for name, text in _WORDS.items()}
        told = ", ".join(f"{int(mask.sum())} {words[name]}" for name, mask in faults.items() if mask.any())
        is_read = reading.subject.interpretation is not None  # and not of a source that knows its outputs
        verdict = "implausible" if is_read and bad.mean() >= LIMITS["certain"] else "doubtful"
        count = int(bad.sum())
        best_of_all = counted(len(boxes), "best box", "best boxes")
        seen = f"of the {best_of_all} {count} {verb(count, 'is not a box', 'are not boxes')}: {told}"
        return Answer(verdict, seen, advice, figures)  # type: ignore[arg-type]
    if _all_equal(reading):
        box = ", ".join(f"{side:.4g}" for side in boxes[0])
        return Answer(
            "doubtful", f"all {counted(len(boxes), 'best box', 'best boxes')} are the same, [{box}]", advice, figures
        )
    return Answer("plausible", f"the best boxes ({len(boxes)}) have a size and lie on the image", figures=figures)


def _faults(reports: tuple[Report, ...], best: int) -> dict[str, list[Mask]]:
    found: dict[str, list[Mask]] = {name: [] for name in _WORDS}
    for report in reports:
        for name, mask in _of(report.found.boxes[:best], _canvas(report)):
            found[name].append(mask)
    return found


def _canvas(report: Report) -> tuple[int, int]:
    """Width and height of the model input."""
    return report.transform.canvas_width, report.transform.canvas_height


def _smallest(canvas: tuple[int, int]) -> float:
    """A side that boxes have: 4 pixels, and fewer where the model input is small; more than one that is normalized."""
    return min(LIMITS["smallest"], max(LIMITS["least"], LIMITS["part"] * max(canvas)))


def _of(boxes: Boxes, canvas: tuple[int, int]) -> Iterator[tuple[str, Mask]]:
    """By fault, which boxes have it; each has one at most."""
    limits = np.array([*canvas, *canvas], np.float64)
    size = boxes[:, 2:] - boxes[:, :2]
    inside = np.clip(boxes, 0, limits)
    left = inside[:, 2:] - inside[:, :2]
    inverted = (size < -0.5).any(1)
    tiny = ~inverted & (size < _smallest(canvas)).all(1)
    empty = ~inverted & ~tiny & (size < 0.5).any(1)
    outside = ~inverted & ~tiny & ~empty & (left < 0.5).any(1)
    huge = ~inverted & ~outside & (size > 3 * limits[:2]).any(1)
    huge |= ~np.isfinite(boxes).all(1) & ~(inverted | tiny | empty | outside)
    masks = {"inverted": inverted, "tiny": tiny, "empty": empty, "outside": outside, "huge": huge}
    yield from ((name, np.asarray(mask)) for name, mask in masks.items())


def _all_equal(reading: Reading) -> bool:
    """Whether boxes that come from different cells, of one picture or of several, are all the same."""
    boxes = np.concatenate([report.found.boxes for report in reading.reports])
    return bool(len(boxes) >= LIMITS["count"] and np.ptp(boxes, axis=0).max() < LIMITS["apart"])


CRITERION = Criterion("boxes", "Are the best boxes boxes?", LIMITS, answer)
