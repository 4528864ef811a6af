"""What the user's own code finds on the sample, and whether the model as it was read finds the same.

A file is JSON: a list of COCO results of one image (``category_id``, ``bbox`` as x y width height, ``score``), or one
object with ``boxes`` (x1 y1 x2 y2), ``scores`` and ``labels``, class indices or names. Boxes are in pixels of the
sample.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boxcam.errors import InputError

LIMITS = {"overlap": 0.75, "score": 0.1, "lowest": 0.25, "share": 0.1}
"""IoU from which two boxes are the same; by how much their scores may differ; boxes of a lower score are not compared,
unless the export has a higher threshold of its own; the share of boxes that may be missing, or be too many: another
NMS keeps others."""
_ADVICE = (
    'Pass a JSON file that is a list of COCO results, or {"boxes": [[x1, y1, x2, y2], …], "scores": […],'
    ' "labels": […]}.'
)


@dataclass(frozen=True, eq=False)
class Expected:
    """What the user's own code finds on the sample.

    Attributes:
        file: where it stands.
        boxes: float64 [K, 4], x1 y1 x2 y2 in pixels of the picture; None of a classifier.
        scores: float64 [K].
        labels: class names, or numbers.
        of_coco: whether the numbers are category IDs, which need not be class indices.
    """

    file: str
    boxes: npt.NDArray[np.float64] | None
    scores: npt.NDArray[np.float64]
    labels: tuple[str | int, ...]
    of_coco: bool = False


@dataclass(frozen=True, eq=False)
class Found:
    """What boxcam finds there.

    Attributes:
        boxes: float64 [K, 4], as of `Expected`.
        scores: float64 [K].
        labels: int64 [K].
        names: of all classes, by index.
    """

    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]

    def name(self, label: int) -> str:
        """The name of a class."""
        return self.names[label] if 0 <= label < len(self.names) else f"class {label}"


@dataclass(frozen=True)
class Comparison:
    """Which boxes of both are the same.

    Attributes:
        pairs: indices, of those expected and of those found.
        missing: expected, and not found.
        surplus: found, and not expected.
        agrees: whether that is the same but for a few.
        problems: what differs most, for people.
    """

    pairs: tuple[tuple[int, int], ...]
    missing: tuple[int, ...]
    surplus: tuple[int, ...]
    agrees: bool
    problems: tuple[str, ...]


def read(path: str | os.PathLike[str]) -> Expected:
    """Read what is expected.

    Raises:
        InputError: it cannot be read, or is neither of the two forms.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{os.fspath(path)} cannot be read: {error.strerror}. {_ADVICE}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{os.fspath(path)} is not valid JSON ({str(error)[:80]}). {_ADVICE}") from error
    try:
        return _of_coco(os.fspath(path), data) if isinstance(data, list) else _of_arrays(os.fspath(path), data)
    except (KeyError, TypeError, ValueError) as error:
        said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{os.fspath(path)} is not a list of detections: {said}. {_ADVICE}") from error


def _of_coco(file: str, data: list[Any]) -> Expected:
    if len({entry.get("image_id") for entry in data if isinstance(entry, dict)}) > 1:
        raise ValueError("it has results of several images, and those of the sample alone are needed")
    boxes = _numbers([entry["bbox"] for entry in data], 4)
    boxes[:, 2:] += boxes[:, :2]
    labels = tuple(_label(entry["category_id"]) for entry in data)
    return Expected(file, boxes, _numbers([entry["score"] for entry in data]), labels, of_coco=True)


def _of_arrays(file: str, data: Any) -> Expected:
    if not isinstance(data, dict):
        raise TypeError("it is neither a list nor an object")
    scores, labels = _numbers(data["scores"]), tuple(_label(label) for label in data["labels"])
    boxes = _numbers(data["boxes"], 4) if "boxes" in data else None
    if len(labels) != len(scores) or (boxes is not None and len(boxes) != len(scores)):
        raise ValueError("boxes, scores and labels are not equal in number")
    return Expected(file, boxes, scores, labels)


def _numbers(given: Any, width: int = 0) -> npt.NDArray[np.float64]:
    array = np.array(given, np.float64).reshape(-1, width) if width and not len(given) else np.array(given, np.float64)
    if array.ndim != (2 if width else 1) or (width and array.shape[1] != width) or not np.isfinite(array).all():
        raise ValueError(f"it has no {width or 1} finite numbers for each of its {'boxes' if width else 'scores'}")
    return array


def _label(given: Any) -> str | int:
    if isinstance(given, str):
        return given
    if isinstance(given, bool) or not isinstance(given, int | float) or given != int(given):
        raise ValueError(f"{given!r} is neither a class index nor a name")
    return int(given)


def compare(expected: Expected, found: Found, threshold: float | None = None) -> Comparison:
    """Pair the boxes of both: same class, and the greatest IoU first; and say what is left over.

    Args:
        expected, found: what to compare. A file without boxes says that there is nothing to find.
        threshold: the score from which on the model was told to report, as ``score_threshold=`` takes it: boxes of
            lower scores are not compared.
    """
    lowest = max(LIMITS["lowest"], threshold or 0)
    tried = [_compared(expected, found, numbers, lowest) for numbers in _numberings(expected, found)]
    return max(tried, key=lambda one: len(one.pairs))


def _numberings(expected: Expected, found: Found) -> list[list[int]]:
    """The class index of each box that is expected, by all numberings that it may be of; -1 for none."""
    known = {name: index for index, name in reversed(list(enumerate(found.names)))}
    plain = [known.get(label, -1) if isinstance(label, str) else label for label in expected.labels]
    if not expected.of_coco:
        return [plain]
    of_coco = {number: index for index, number in enumerate(_COCO)} if len(found.names) == len(_COCO) else {}
    return [plain, [number - 1 for number in plain], *([[of_coco.get(n, -1) for n in plain]] if of_coco else [])]


_COCO = tuple(n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83))
"""Category IDs of the 80 classes of COCO."""


def _compared(expected: Expected, found: Found, labels: Sequence[int], lowest: float) -> Comparison:
    wanted = np.flatnonzero(expected.scores >= lowest)
    overlap = _overlaps(expected.boxes, found.boxes, len(labels))
    same = np.asarray(labels)[:, None] == found.labels[None] if len(labels) else np.zeros(overlap.shape, bool)
    near = np.abs(expected.scores[:, None] - found.scores[None]) <= LIMITS["score"]
    fits = np.where(same & near & (overlap >= LIMITS["overlap"]), overlap, 0)
    pairs = []
    while fits.size and fits.max() > 0:
        first, second = np.unravel_index(int(fits.argmax()), fits.shape)
        pairs.append((int(first), int(second)))
        fits[first], fits[:, second] = 0, 0
    missing = tuple(int(k) for k in wanted if k not in {first for first, _ in pairs})
    taken = {second for _, second in pairs}
    certain = np.flatnonzero(found.scores >= lowest + LIMITS["score"])  # a lower one may be below it in the other code
    surplus = tuple(int(k) for k in certain if k not in taken)
    if expected.boxes is None:
        surplus = ()  # of a classifier, which reports all classes
    allowed = int(LIMITS["share"] * max(len(wanted), 1))
    agrees = len(missing) <= allowed and len(surplus) <= allowed
    problems = [_lost(expected, found, labels, k, overlap) for k in missing[:3]]
    problems += [f"not expected: {_text(found, k)}" for k in surplus[:3]]
    return Comparison(tuple(pairs), missing, surplus, agrees, tuple(problems))


def _lost(expected: Expected, found: Found, labels: Sequence[int], k: int, overlap: npt.NDArray[np.float64]) -> str:
    """A box that is expected, and what is found in its place."""
    label = expected.labels[k] if isinstance(expected.labels[k], str) else found.name(labels[k])
    box = "" if expected.boxes is None else f" at [{', '.join(f'{side:.0f}' for side in expected.boxes[k])}]"
    text = f"{label} {expected.scores[k]:.2f}{box} is not found"
    nearest = int(overlap[k].argmax()) if overlap.shape[1] else -1
    if nearest < 0 or overlap[k, nearest] <= 0 or expected.boxes is None:
        return text
    return f"{text} (the nearest is {_text(found, nearest)}, IoU {overlap[k, nearest]:.2f})"


def _text(found: Found, k: int) -> str:
    box = ", ".join(f"{side:.0f}" for side in found.boxes[k])
    return f"{found.name(int(found.labels[k]))} {found.scores[k]:.2f} at [{box}]"


def _overlaps(
    first: npt.NDArray[np.float64] | None, second: npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.float64]:
    """IoU of all boxes with all others; 1 where there are none of so many classes of a classifier."""
    if first is None:
        return np.ones((count, len(second)))
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), -1)
    areas = [np.prod(np.maximum(of[:, 2:] - of[:, :2], 0), -1) for of in (first, second)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))
