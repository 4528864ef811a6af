"""Annotations of YOLO's form: a text file for each image, with a line for each object.

A line is the number of the class, then the box as x and y of its centre, width and height, or an outline as x and y of
three points or more; all as shares of the image's width and height. That is what Ultralytics writes and documents
(docs.ultralytics.com/datasets/detect and /segment).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from boxcam.errors import InputError, PackageError
from boxcam.explain.evaluation.coco import draw
from boxcam.explain.evaluation.labels import Labels, read_text
from boxcam.explain.evaluation.truth import Entry
from boxcam.explain.metrics.arithmetic import Array
from boxcam.plurals import counted

NAMES = ("data.yaml", "data.yml", "classes.txt")
"""Files that say what the classes are called; the first one that is found counts."""
_ABOVE = 3
"""In the folder of the files, or so many above it."""
_LINE = "class x y width height, or class x1 y1 x2 y2 x3 y3 and so on, as shares of the image"
_CLASSES = 100_000
"""Classes are numbered below this."""
_MOST = 2.0
"""A share beyond this is a number of pixels."""


class Yolo(Labels):
    """A folder of text files.

    Raises:
        InputError: a file cannot be read, or a line is of another form.
        PackageError: outlines are to be drawn, or ``data.yaml`` read, and the package for it is not installed.
    """

    form = "YOLO"

    def __init__(self, folder: Path, files: Collection[Path]) -> None:
        super().__init__([file for file in files if file.name not in NAMES])
        self.names, self.named_by = _names(folder)
        self._lines = {key: list(_lines(file)) for key, file in self._files.items()}
        self.masks = any(numbers.size > 4 for of in self._lines.values() for _, numbers in of)
        if self.names is None:
            return
        for key, lines in self._lines.items():
            for number, (category, _) in enumerate(lines, 1):
                if category >= len(self.names):
                    raise InputError(
                        f"{self._files[key]}: object {number} is of class {category}, and {self.named_by} names"
                        f" {len(self.names)}, from 0. Correct one of them."
                    )

    @property
    def highest(self) -> int:
        """The highest number of a class; -1 if there is no object."""
        return max((category for of in self._lines.values() for category, _ in of), default=-1)

    def entries(self, key: str, file: Path, shape: tuple[int, ...]) -> list[Entry]:
        size = np.array([shape[1], shape[0]], np.float64)
        found = []
        for category, numbers in self._lines[key]:
            points = numbers.reshape(-1, 2) * size
            if len(points) == 2:
                center, sides = points
                found.append(Entry(np.concatenate([center - sides / 2, center + sides / 2]), category))
            else:
                box = np.concatenate([points.min(axis=0), points.max(axis=0)])
                found.append(Entry(box, category, draw(points, shape)))
        return found


def _lines(file: Path) -> Iterable[tuple[int, Array]]:
    """The objects of a file: class, and 4 numbers of a box or 6 or more of an outline, float64."""
    for number, line in enumerate(read_text(file).splitlines(), 1):
        words = line.split()
        if not words:
            continue
        where = f"{file}, line {number}"
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            raise InputError(f"{where} is {line[:80]!r}, and not numbers. Write it as {_LINE}.") from None
        if len(words) == 6:
            raise InputError(
                f"{where} has 6 numbers, as what a model found has, with its score. Pass the annotations, not results."
            )
        if len(words) < 5 or len(words) % 2 == 0:
            raise InputError(f"{where} has {counted(len(words), 'number')}. Write it as {_LINE}.")
        category, *rest = numbers
        if not (category >= 0 and category.is_integer()):
            raise InputError(
                f"{where} begins with {words[0]}, which is not the number of a class. Write it as {_LINE}."
            )
        if category >= _CLASSES:
            raise InputError(
                f"{where} is of class {words[0][:20]}, and classes are numbered from 0 to {_CLASSES - 1} at most. Write"
                f" it as {_LINE}."
            )
        if not all(-_MOST <= one <= _MOST for one in rest):  # NaN is not, either
            raise InputError(
                f"{where} has numbers that are no shares of an image: {' '.join(words[1:5])}. Divide pixels by the"
                f" image's width and height, and write it as {_LINE}."
            )
        if len(rest) == 4 and min(rest[2:]) < 0:
            raise InputError(f"{where} has a negative width or height. Write it as {_LINE}.")
        yield int(category), np.array(rest)


def _names(folder: Path) -> tuple[tuple[str, ...] | None, Path | None]:
    """The class names, and the file that has them."""
    for place in (folder.absolute(), *folder.absolute().parents[:_ABOVE]):
        for name in NAMES:
            file = place / name
            if not file.is_file():
                continue
            if file.suffix == ".txt":
                return _of_lines(file), file
            return _of_yaml(file), file
    return None, None


def _of_lines(file: Path) -> tuple[str, ...]:
    """The names in a ``classes.txt``: the place of a line is the number of its class."""
    names = [line.strip() for line in read_text(file).rstrip().splitlines()]
    if "" in names:
        raise InputError(
            f"{file}, line {names.index('') + 1} is blank, and the place of a line is the number of its class. Write a"
            " name there, or take the line out if classes are numbered without it."
        )
    return tuple(names)


def _of_yaml(file: Path) -> tuple[str, ...]:
    """The ``names`` of a ``data.yaml``: a list, or an object by number."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise PackageError.of("pyyaml", f"annotations= with {file.name}", "audit") from error
    try:
        data: Any = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        # the last three are of values that are not of the type which their tag says, as "!!bool x"
        raise InputError(f"{file} is not valid YAML ({' '.join(str(error).split())}). Correct it.") from error
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [one for _, one in sorted(names.items(), key=lambda item: int(item[0]))]
    if not isinstance(names, list) or not all(isinstance(one, str | int | float) for one in names):
        raise InputError(
            f"{file} has no list 'names'. Write the class names into it, in the order of their numbers from 0."
        )
    return tuple(map(str, names))
